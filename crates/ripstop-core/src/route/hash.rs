//! What consistent hashing hashes (`RouteAction.HashPolicy`): XXH64 with seed 0, combined as Envoy combines them.
use super::cookie::{cookie_value, set_cookie};
use super::matcher::query_value;
use crate::http::RequestHead;
use crate::record::ConnectionInfo;
use crate::snapshot::{HashKey, HashPolicy};
use smallvec::SmallVec;
use std::hash::Hasher;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use twox_hash::XxHash64;

/// The outcome of hash policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hashed {
    /// None: nothing that is hashed was there; the balancer takes a random number.
    pub hash: Option<u64>,
    /// Set-Cookie values for the response: cookies with a lifetime that the request did not have.
    pub cookies: SmallVec<[Vec<u8>; 1]>,
}

/// Hash a request by the policies of its route, in order; one that is terminal ends it once there is a hash.
///
/// `source` is the client's address as the request knows it (`x-forwarded-for` counted).
pub fn hash_request(
    policies: &[HashPolicy],
    head: &RequestHead,
    source: IpAddr,
    connection: &ConnectionInfo,
) -> Hashed {
    let mut hashed = Hashed::default();
    for policy in policies {
        if let Some(new) = hash_key(&policy.kind, head, source, connection, &mut hashed.cookies) {
            let old = hashed.hash.map_or(0, |hash| hash.rotate_left(1));
            hashed.hash = Some(old ^ new);
        }
        if policy.terminal && hashed.hash.is_some() {
            break;
        }
    }
    hashed
}

fn hash_key(
    key: &HashKey,
    head: &RequestHead,
    source: IpAddr,
    connection: &ConnectionInfo,
    cookies: &mut SmallVec<[Vec<u8>; 1]>,
) -> Option<u64> {
    match key {
        HashKey::Header(name) => hash_header(head, name),
        HashKey::Cookie { name, path, ttl } => {
            let value = cookie_value(&head.headers, name).filter(|value| !value.is_empty());
            match (value, ttl) {
                (Some(value), _) => Some(hash_of(value)),
                (None, Some(ttl)) => Some(new_cookie(name, path, *ttl, connection, cookies)),
                (None, None) => None,
            }
        }
        HashKey::SourceIp => Some(hash_text(format_args!("{source}"))),
        HashKey::Query(name) => query_value(head.query()?, name).map(hash_of),
    }
}

fn hash_of(text: &[u8]) -> u64 {
    XxHash64::oneshot(0, text)
}

/// The longest text is two IPv6 addresses with scopes and ports.
fn hash_text(text: std::fmt::Arguments<'_>) -> u64 {
    let mut buffer = [0; 160];
    let mut rest = &mut buffer[..];
    let _ = rest.write_fmt(text);
    let left = rest.len();
    hash_of(&buffer[..buffer.len() - left])
}

/// Several values are sorted first, so their order does not matter.
fn hash_header(head: &RequestHead, name: &[u8]) -> Option<u64> {
    if name.first() == Some(&b':') || name == b"host" {
        return head.value_of(name).map(hash_of);
    }
    let mut values: SmallVec<[&[u8]; 4]> = head.headers.get_all_name(name).collect();
    values.sort_unstable();
    let mut hasher = XxHash64::with_seed(0);
    for value in &values {
        hasher.write(value);
    }
    (!values.is_empty()).then(|| hasher.finish())
}

/// The cookie's value follows from the connection, so requests that race on one get the same.
fn new_cookie(
    name: &[u8],
    path: &[u8],
    ttl: Duration,
    connection: &ConnectionInfo,
    cookies: &mut SmallVec<[Vec<u8>; 1]>,
) -> u64 {
    let ends = hash_text(format_args!("{}{}", plain(connection.remote), plain(connection.local)));
    let value = format!("{ends:016x}");
    cookies.push(set_cookie(name, value.as_bytes(), path, ttl, &[]));
    hash_of(value.as_bytes())
}

/// IPv4 addresses that came by an IPv6 socket are shown as what they are.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

//! Stateful sessions (`filters.http.stateful_session`): which endpoint a client had is told in a cookie or a header, in
//! Envoy's encoding, so clients keep their endpoint when one data plane takes the other's place.
use super::base64;
use crate::http::{HeaderId, RequestHead, ResponseHead};
use crate::route::{cookie_value, set_cookie};
use crate::snapshot::{SessionState, StatefulSession};
use std::time::Duration;

/// What a request says about its session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// The endpoint it should go to, as `address:port`; None when it has none yet, or its time is over.
    pub host: Option<String>,
}

/// The session of a request; None where the filter does nothing: its cookie is for other paths.
///
/// `wall` is the time since the epoch.
pub fn begin(session: &StatefulSession, head: &RequestHead, wall: Duration) -> Option<Session> {
    match &session.state {
        SessionState::Cookie { name, path, .. } => is_for(path, head.path()).then(|| {
            let value = cookie_value(&head.headers, name);
            Session { host: value.and_then(base64::decode).and_then(|octets| host_of(octets, wall)) }
        }),
        SessionState::Header(name) => {
            let octets = head.headers.get_name(name).and_then(base64::decode);
            Some(Session { host: octets.and_then(text).filter(|host| !host.is_empty()) })
        }
    }
}

/// The endpoint that a request wants. See `begin` for the rest.
pub fn wanted_host(session: &StatefulSession, head: &RequestHead, wall: Duration) -> Option<String> {
    begin(session, head, wall)?.host
}

/// Tell the client which endpoint it had, unless that is the one it asked for.
pub fn answer(
    session: &StatefulSession,
    begun: &Session,
    host: &str,
    wall: Duration,
    head: &mut ResponseHead,
) {
    if begun.host.as_deref() == Some(host) {
        return;
    }
    match &session.state {
        SessionState::Cookie { name, path, ttl, attributes } => {
            let value = base64::encode(&cookie(host, *ttl, wall));
            head.headers.push_known(HeaderId::SetCookie, &set_cookie(name, &value, path, *ttl, attributes));
        }
        SessionState::Header(name) => head.headers.set_name(name, &base64::encode(host.as_bytes())),
    }
}

/// Whether a cookie's path covers a request's (RFC 6265, section 5.1.4).
fn is_for(cookie: &[u8], path: &[u8]) -> bool {
    match path.strip_prefix(cookie) {
        _ if cookie.is_empty() || cookie == b"/" => true,
        None => false,
        Some(rest) => cookie.ends_with(b"/") || matches!(rest.first(), None | Some(b'/' | b'?' | b'#')),
    }
}

fn text(octets: Vec<u8>) -> Option<String> {
    String::from_utf8(octets).ok()
}

/// `envoy.Cookie`: address = 1, expires = 2; or, in old cookies, the address alone.
fn host_of(octets: Vec<u8>, wall: Duration) -> Option<String> {
    let host = match read_cookie(&octets) {
        Some((_, expires)) if is_over(expires, wall) => return None,
        Some((host, _)) => host.to_owned(),
        None => text(octets)?,
    };
    (!host.is_empty()).then_some(host)
}

/// Envoy counts from when its machine was started, which means nothing elsewhere; Ripstop from the epoch. A small number
/// is Envoy's and is not judged: the browser knows when to forget the cookie.
const FROM_EPOCH: u64 = 1_000_000_000;

fn is_over(expires: u64, wall: Duration) -> bool {
    expires >= FROM_EPOCH && wall.as_secs() > expires
}

fn cookie(host: &str, ttl: Duration, wall: Duration) -> Vec<u8> {
    let mut octets = vec![0x0a];
    push_varint(host.len() as u64, &mut octets);
    octets.extend_from_slice(host.as_bytes());
    if ttl.as_secs() > 0 {
        octets.push(0x10);
        push_varint(wall.as_secs().saturating_add(ttl.as_secs()), &mut octets);
    }
    octets
}

fn push_varint(mut value: u64, octets: &mut Vec<u8>) {
    while value >= 0x80 {
        octets.push(value as u8 | 0x80);
        value >>= 7;
    }
    octets.push(value as u8);
}

/// None when it is no such message.
fn read_cookie(mut octets: &[u8]) -> Option<(&str, u64)> {
    let (mut host, mut expires) = ("", 0);
    while !octets.is_empty() {
        let tag = read_varint(&mut octets)?;
        match (tag >> 3, tag & 7) {
            (0, _) => return None,
            (1, 2) => host = std::str::from_utf8(read_bytes(&mut octets)?).ok()?,
            (2, 0) => expires = read_varint(&mut octets)?,
            (_, 0) => drop(read_varint(&mut octets)?),
            (_, 1) => drop(take(&mut octets, 8)?),
            (_, 2) => drop(read_bytes(&mut octets)?),
            (_, 5) => drop(take(&mut octets, 4)?),
            _ => return None,
        }
    }
    Some((host, expires))
}

fn read_varint(octets: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = octets.split_first()?;
        *octets = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn read_bytes<'a>(octets: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(read_varint(octets)?).ok()?;
    take(octets, len)
}

fn take<'a>(octets: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = octets.split_at_checked(len)?;
    *octets = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Duration = Duration::from_secs(1_900_000_000);

    fn by_cookie(path: &str, ttl_s: u64) -> StatefulSession {
        let state = SessionState::Cookie {
            name: b"sid".as_slice().into(),
            path: path.as_bytes().into(),
            ttl: Duration::from_secs(ttl_s),
            attributes: vec![("SameSite".into(), "Lax".into()), ("Secure".into(), String::new())],
        };
        StatefulSession { state }
    }

    fn request(path: &str, fields: &[(&str, &str)]) -> RequestHead {
        let mut head = RequestHead::default();
        head.set_path(path.as_bytes());
        for (name, value) in fields {
            head.headers.push(name.as_bytes(), value.as_bytes());
        }
        head
    }

    #[test]
    fn a_cookie_leads_back_to_the_endpoint_that_set_it() {
        let session = by_cookie("/", 60);
        let mut response = ResponseHead::default();
        answer(&session, &Session::default(), "10.0.0.1:80", NOW, &mut response);
        let set = response.headers.get(HeaderId::SetCookie).map(|v| String::from_utf8_lossy(v).into_owned());
        let set = set.unwrap_or_default();
        assert!(set.ends_with("\"; Max-Age=60; Path=/; SameSite=Lax; Secure; HttpOnly"), "{set}");
        let head = request("/", &[("cookie", &format!("a=b; {}", set.split("; ").next().unwrap_or("")))]);
        assert_eq!(wanted_host(&session, &head, NOW).as_deref(), Some("10.0.0.1:80"));
        assert_eq!(wanted_host(&session, &head, NOW + Duration::from_secs(61)), None);
    }

    #[test]
    fn cookies_that_envoy_made_are_understood() {
        let session = by_cookie("", 0);
        for (value, host) in [
            ("Cg4xMjcuMC4wLjE6ODA4MA==", Some("127.0.0.1:8080")),
            ("Cg4xMjcuMC4wLjE6ODA4MBCQTg==", Some("127.0.0.1:8080")),
            ("MTI3LjAuMC4xOjgwODA=", Some("127.0.0.1:8080")),
            ("", None),
            ("!", None),
        ] {
            let head = request("/", &[("cookie", &format!("sid=\"{value}\""))]);
            assert_eq!(wanted_host(&session, &head, NOW).as_deref(), host, "{value}");
        }
    }

    #[test]
    fn a_cookie_for_another_path_does_nothing() {
        for (cookie, path, applies) in [
            ("/a", "/a", true),
            ("/a", "/a/b", true),
            ("/a", "/a?b", true),
            ("/a", "/ab", false),
            ("/a/", "/a", false),
            ("/a/", "/a/b", true),
        ] {
            assert_eq!(
                begin(&by_cookie(cookie, 0), &request(path, &[]), NOW).is_some(),
                applies,
                "{cookie} {path}"
            );
        }
    }

    #[test]
    fn a_header_tells_when_another_endpoint_was_taken() {
        let session = StatefulSession { state: SessionState::Header(b"x-host".as_slice().into()) };
        let begun = begin(&session, &request("/", &[("x-host", "MTAuMC4wLjE6ODA=")]), NOW).unwrap();
        assert_eq!(begun.host.as_deref(), Some("10.0.0.1:80"));
        let mut response = ResponseHead::default();
        answer(&session, &begun, "10.0.0.1:80", NOW, &mut response);
        assert!(response.headers.is_empty());
        answer(&session, &begun, "10.0.0.2:80", NOW, &mut response);
        assert_eq!(response.headers.get_name(b"x-host"), Some(&b"MTAuMC4wLjI6ODA="[..]));
    }

    proptest! {
        #[test]
        fn no_cookie_makes_it_panic(octets in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = host_of(octets, NOW);
        }
    }
}

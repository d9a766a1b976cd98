//! What is known of a connection and of an exchange: what matchers, authorization and access logs look at.
use crate::http::{Headers, RequestHead, ResponseHead, Version};
use crate::outcome::Flags;
use crate::snapshot::{Cluster, Metadata, MetadataValue, Route};
use smallvec::SmallVec;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// A downstream connection.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// Counts up in the process.
    pub id: u64,
    /// The peer's address, after PROXY protocol.
    pub remote: SocketAddr,
    /// The socket's peer.
    pub direct_remote: SocketAddr,
    /// Our end, after PROXY protocol and original destination.
    pub local: SocketAddr,
    /// TLS, when it is spoken.
    pub tls: Option<Arc<TlsInfo>>,
    /// SNI, also when TLS passes through; lower case.
    pub server_name: Arc<str>,
    /// The filter chain's name.
    pub filter_chain: Arc<str>,
    /// `connection_termination_details`: why the network filters closed it.
    pub termination_details: String,
}

impl Default for ConnectionInfo {
    fn default() -> ConnectionInfo {
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        ConnectionInfo {
            id: 0,
            remote: nowhere,
            direct_remote: nowhere,
            local: nowhere,
            tls: None,
            server_name: Arc::from(""),
            filter_chain: Arc::from(""),
            termination_details: String::new(),
        }
    }
}

/// What a TLS handshake told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsInfo {
    /// `TLSv1.3`
    pub version: &'static str,
    /// The cipher suite's name.
    pub cipher: String,
    /// The protocol agreed on.
    pub alpn: String,
    /// The peer's certificate, if it showed one.
    pub peer: Option<PeerCertificate>,
    /// The URI SAN of our own certificate.
    pub local_uri: Arc<str>,
}

/// The peer's leaf certificate, verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerCertificate {
    /// URI SANs.
    pub uris: Vec<Arc<str>>,
    /// DNS SANs.
    pub dns_names: Vec<String>,
    /// The subject, RFC 2253.
    pub subject: String,
    /// SHA-256 of the certificate, hex.
    pub fingerprint: String,
}

/// A name or text that is kept without copying it.
#[derive(Clone, Debug)]
pub enum Word {
    /// Known when the program was built.
    Static(&'static str),
    /// Of a snapshot.
    Shared(Arc<str>),
}

impl std::ops::Deref for Word {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Word::Static(text) => text,
            Word::Shared(text) => text,
        }
    }
}

/// The value of a key of dynamic metadata.
#[derive(Clone, Debug)]
pub enum Told {
    /// Text.
    Word(Word),
    /// Anything else.
    Value(MetadataValue),
}

/// A key of dynamic metadata; short ones are kept in place.
type Key = SmallVec<[u8; 56]>;

/// Dynamic metadata: filter, key and value; few entries, so a list. Reused, it allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct DynamicMetadata(pub Vec<(Word, Key, Told)>);

impl DynamicMetadata {
    /// The last value of a key.
    pub fn get(&self, filter: &str, key: &str) -> Option<&Told> {
        let is_it = |(f, k, _): &&(Word, Key, Told)| **f == *filter && k[..] == *key.as_bytes();
        self.0.iter().rev().find(is_it).map(|(.., value)| value)
    }

    /// Set a key, which is made of `parts`.
    pub fn set(&mut self, filter: Word, parts: &[&str], value: Told) {
        let mut key = Key::new();
        for part in parts {
            key.extend_from_slice(part.as_bytes());
        }
        self.0.push((filter, key, value));
    }

    /// The keys of a filter with their last values.
    pub fn of(&self, filter: &str) -> impl Iterator<Item = (&str, &Told)> {
        self.0.iter().enumerate().filter_map(move |(index, (name, key, value))| {
            let is_newer = |(f, k, _): &(Word, Key, Told)| **f == *filter && k == key;
            let is_last = || !self.0[index + 1..].iter().any(is_newer);
            let text = std::str::from_utf8(key).ok()?;
            (**name == *filter && is_last()).then_some((text, value))
        })
    }
}

/// Everything about one exchange (or TCP connection) that a log line, a header template or a mapper may ask for.
#[derive(Clone, Copy)]
#[allow(missing_docs)]
pub struct Record<'a> {
    pub connection: &'a ConnectionInfo,
    /// None for TCP.
    pub request: Option<&'a RequestHead>,
    pub response: Option<&'a ResponseHead>,
    pub trailers: Option<&'a Headers>,
    pub protocol: Option<Version>,
    /// 0: no response.
    pub status: u16,
    pub grpc_status: Option<u32>,
    pub flags: Flags,
    /// `response_code_details`, for example `via_upstream`.
    pub details: &'a str,
    /// Wall clock at the start, since the epoch.
    pub start: Duration,
    /// From the start to now, or to the end.
    pub duration: Duration,
    /// To the last byte of the request.
    pub request_duration: Option<Duration>,
    /// To the first byte of the response.
    pub response_duration: Option<Duration>,
    pub bytes_received: u64,
    pub bytes_sent: u64,
    pub attempts: u32,
    pub upstream_host: Option<&'a str>,
    pub upstream_host_metadata: Option<&'a Metadata>,
    pub upstream_local: Option<SocketAddr>,
    pub upstream_tls: Option<&'a TlsInfo>,
    pub upstream_failure: &'a str,
    pub upstream_protocol: Option<Version>,
    pub cluster: Option<&'a Cluster>,
    pub route: Option<&'a Route>,
    pub virtual_host: &'a str,
    pub dynamic: &'a DynamicMetadata,
    pub stream_id: u64,
    pub local_reply_body: &'a str,
}

impl<'a> Record<'a> {
    /// Of something of which nothing is known but where it came from.
    pub fn new(connection: &'a ConnectionInfo, dynamic: &'a DynamicMetadata) -> Record<'a> {
        Record {
            connection,
            request: None,
            response: None,
            trailers: None,
            protocol: None,
            status: 0,
            grpc_status: None,
            flags: Flags::NONE,
            details: "",
            start: Duration::ZERO,
            duration: Duration::ZERO,
            request_duration: None,
            response_duration: None,
            bytes_received: 0,
            bytes_sent: 0,
            attempts: 0,
            upstream_host: None,
            upstream_host_metadata: None,
            upstream_local: None,
            upstream_tls: None,
            upstream_failure: "",
            upstream_protocol: None,
            cluster: None,
            route: None,
            virtual_host: "",
            dynamic,
            stream_id: 0,
            local_reply_body: "",
        }
    }
}

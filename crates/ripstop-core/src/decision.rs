//! What is kept of an exchange so that somebody can be told why it went where it went: one JSON object, attributes only,
//! never a body.
use crate::balance::{Class, ClusterState, HostSet};
use crate::http::{Headers, Version};
use crate::record::Record;
use crate::snapshot::{Direction, Metadata, MetadataValue};
use crate::template::json;
use crate::time::Time;
use std::io::Write;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Endpoints that are told of a cluster; the others are counted.
const CANDIDATES: usize = 16;
/// Request fields that are kept, and how much of each.
const FIELDS: usize = 32;
const FIELD_BYTES: usize = 256;
/// Fields whose value is a secret.
const SECRET_FIELDS: [&[u8]; 6] =
    [b"authorization", b"cookie", b"proxy-authorization", b"x-api-key", b"x-auth-token", b"set-cookie"];
/// A query parameter whose name has one of these is a secret.
const SECRET_PARAMETERS: [&[u8]; 7] = [b"token", b"secret", b"password", b"passwd", b"key", b"sig", b"auth"];
const REDACTED: &[u8] = b"[redacted]";

/// One attempt that was made.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The cluster asked.
    pub cluster: &'a str,
    /// The endpoint's address; empty when none was chosen.
    pub endpoint: &'a str,
    /// Since the exchange began.
    pub began: Duration,
    /// How long it took.
    pub took: Duration,
    /// Why it brought no answer; empty when it brought one.
    pub failure: &'a str,
    /// The answer's status; 0 without one.
    pub status: u16,
}

/// What a record does not say.
#[derive(Clone, Copy)]
#[allow(missing_docs)]
pub struct More<'a> {
    pub direction: Direction,
    pub listener: &'a str,
    /// Of the snapshot that was in use at the end.
    pub generation: u64,
    /// The service that stood in, and for what reason.
    pub fallback: Option<(&'a str, &'a str)>,
    pub attempts: &'a [Attempt<'a>],
    /// The endpoints of the last cluster, and what it had in flight.
    pub set: Option<&'a HostSet>,
    pub state: Option<&'a ClusterState>,
    pub class: Class,
    pub now: Time,
}

/// Write an exchange as a line of JSON.
pub fn write(record: &Record<'_>, more: &More<'_>, out: &mut Vec<u8>) {
    let mut object = Object::begin(out);
    if let Some(request) = record.request {
        let id = request.headers.get(crate::http::HeaderId::XRequestId).unwrap_or_default();
        object.text("id", id);
    }
    object.number("at", record.start.as_secs_f64());
    object.number("duration_ms", millis(record.duration));
    object.text("direction", direction(more.direction));
    object.text("listener", more.listener);
    object.text("filter_chain", &*record.connection.filter_chain);
    object.number("generation", more.generation as f64);
    object.nested("peer", |peer| connection(record, peer));
    if record.request.is_some() {
        object.nested("request", |into| request(record, into));
    }
    object.nested("dynamic", |into| told(record, into));
    object.text("virtual_host", record.virtual_host);
    if let Some(route) = record.route {
        object.nested("route", |into| {
            into.text("name", &*route.name);
            metadata(&route.metadata, into);
        });
    }
    if let Some((service, reason)) = more.fallback {
        object.nested("fallback", |into| {
            into.text("service", service);
            into.text("reason", reason);
        });
    }
    object.list("attempts", more.attempts.iter(), attempt);
    if let Some(cluster) = record.cluster {
        object.text("cluster", &*cluster.name);
        if let Some(state) = more.state {
            object.nested("breaker", |into| breaker(cluster, state, more.class, into));
        }
    }
    if let Some(set) = more.set {
        object.number("endpoints", set.hosts().len() as f64);
        object.list("candidates", set.hosts().iter().take(CANDIDATES), |entry, into| {
            candidate(entry, set, more.now, into);
        });
    }
    object.nested("answer", |into| answer(record, into));
    object.end();
    out.push(b'\n');
}

fn connection(record: &Record<'_>, into: &mut Object<'_>) {
    let _ = write!(into.key("address"), "\"{}\"", record.connection.remote);
    let tls = record.connection.tls.as_deref();
    let peer = tls.and_then(|tls| tls.peer.as_ref()).and_then(|peer| peer.uris.first());
    into.text("identity", peer.map_or("", |uri| uri));
    into.text("own_identity", tls.map_or("", |tls| &*tls.local_uri));
    into.text("tls", tls.map_or("", |tls| tls.version));
    into.text("server_name", &*record.connection.server_name);
}

fn request(record: &Record<'_>, into: &mut Object<'_>) {
    let Some(request) = record.request else { return };
    into.text("method", request.method_text());
    into.text("scheme", request.scheme());
    into.text("authority", request.authority());
    into.text("path", &redacted_path(request.path()));
    into.text(
        "protocol",
        match request.version {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
            Version::Http2 => "HTTP/2",
        },
    );
    into.nested("headers", |into| fields(&request.headers, into));
}

fn fields(headers: &Headers, into: &mut Object<'_>) {
    for field in headers.iter().take(FIELDS) {
        let value = if SECRET_FIELDS.contains(&field.name) { REDACTED } else { field.value };
        json::string(&value[..value.len().min(FIELD_BYTES)], into.key_bytes(field.name));
    }
}

/// A path whose query says no secret.
fn redacted_path(path: &[u8]) -> Vec<u8> {
    let Some(at) = memchr::memchr(b'?', path) else { return path.to_vec() };
    let (mut out, mut separator) = (path[..at].to_vec(), b'?');
    for pair in path[at + 1..].split(|byte| *byte == b'&') {
        out.push(separator);
        separator = b'&';
        let name_len = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        let name = pair[..name_len].to_ascii_lowercase();
        let is_secret = SECRET_PARAMETERS.iter().any(|word| memchr::memmem::find(&name, word).is_some());
        if is_secret && name_len < pair.len() {
            out.extend_from_slice(&pair[..=name_len]);
            out.extend_from_slice(REDACTED);
        } else {
            out.extend_from_slice(pair);
        }
    }
    out
}

/// What filters told: verdicts of authorization and rate limits.
fn told(record: &Record<'_>, into: &mut Object<'_>) {
    let mut done: Vec<&str> = Vec::new();
    for (filter, ..) in &record.dynamic.0 {
        if !done.contains(&&**filter) {
            done.push(filter);
            json::told_fields(record.dynamic.of(filter), into.key(filter));
        }
    }
}

/// Where a route comes from, as the compiler says (`filter_metadata.ripstop`).
fn metadata(all: &Metadata, into: &mut Object<'_>) {
    let Some(fields) = all.0.get("ripstop") else { return };
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort_unstable_by_key(|(name, _)| *name);
    for (name, value) in fields {
        if let MetadataValue::Text(text) = value {
            into.text(name, text);
        }
    }
}

fn attempt(attempt: &Attempt<'_>, into: &mut Object<'_>) {
    into.text("cluster", attempt.cluster);
    into.text("endpoint", attempt.endpoint);
    into.number("began_ms", millis(attempt.began));
    into.number("took_ms", millis(attempt.took));
    into.text("failure", attempt.failure);
    into.number("status", f64::from(attempt.status));
}

fn breaker(cluster: &crate::snapshot::Cluster, state: &ClusterState, class: Class, into: &mut Object<'_>) {
    let (limits, held) = (&cluster.breakers[class as usize], state.class(class));
    for (name, held, most) in [
        ("connections", &held.connections, limits.max_connections),
        ("pending", &held.pending, limits.max_pending),
        ("requests", &held.requests, limits.max_requests),
        ("retries", &held.retries, limits.max_retries),
    ] {
        into.nested(name, |into| {
            into.number("in_use", f64::from(held.load(Relaxed)));
            into.number("most", f64::from(most));
        });
    }
}

fn candidate(entry: &crate::balance::HostEntry, set: &HostSet, now: Time, into: &mut Object<'_>) {
    let host = &entry.host;
    into.text("endpoint", &*host.address_text);
    into.text("health", &entry.health_text());
    into.number("weight", f64::from(entry.weight));
    into.number("priority", f64::from(entry.priority));
    into.number("active", f64::from(host.active_requests()));
    into.number("latency_ms", host.latency.nanos(now) / 1e6);
    if let Some(info) = set.localities.get(entry.locality as usize) {
        into.text("zone", info.locality.zone.as_ref());
    }
}

fn answer(record: &Record<'_>, into: &mut Object<'_>) {
    into.number("status", f64::from(record.status));
    if let Some(status) = record.grpc_status {
        into.number("grpc_status", f64::from(status));
    }
    into.text("flags", &record.flags.to_string());
    into.text("details", record.details);
    into.text("upstream_failure", record.upstream_failure);
    into.number("bytes_received", record.bytes_received as f64);
    into.number("bytes_sent", record.bytes_sent as f64);
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
        Direction::Unspecified => "",
    }
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// An object that is being written; what is empty is left out.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    is_first: bool,
}

impl<'a> Object<'a> {
    fn begin(out: &'a mut Vec<u8>) -> Object<'a> {
        out.push(b'{');
        Object { out, is_first: true }
    }

    fn end(self) {
        self.out.push(b'}');
    }

    fn key(&mut self, name: &str) -> &mut Vec<u8> {
        self.key_bytes(name.as_bytes())
    }

    fn key_bytes(&mut self, name: &[u8]) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.is_first) {
            self.out.push(b',');
        }
        json::string(name, self.out);
        self.out.push(b':');
        self.out
    }

    fn text(&mut self, name: &str, value: &(impl AsRef<[u8]> + ?Sized)) {
        if !value.as_ref().is_empty() {
            json::string(value.as_ref(), self.key(name));
        }
    }

    fn number(&mut self, name: &str, value: f64) {
        json::number(value, self.key(name));
    }

    fn nested(&mut self, name: &str, fill: impl FnOnce(&mut Object<'_>)) {
        let mut inner = Object::begin(self.key(name));
        fill(&mut inner);
        inner.end();
    }

    fn list<T>(&mut self, name: &str, items: impl Iterator<Item = T>, fill: impl Fn(T, &mut Object<'_>)) {
        let out = self.key(name);
        out.push(b'[');
        for (index, item) in items.enumerate() {
            if index > 0 {
                out.push(b',');
            }
            let mut inner = Object::begin(out);
            fill(item, &mut inner);
            inner.end();
        }
        out.push(b']');
    }
}

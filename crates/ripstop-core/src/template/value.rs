//! What an operator stands for in a record.
use super::civil::format_time;
use super::json;
use crate::http::{HeaderId, Headers, RequestHead, ResponseHead};
use crate::outcome::Flags;
use crate::record::{DynamicMetadata, Record, TlsInfo, Told};
use crate::snapshot::{Cluster, Metadata, MetadataValue, Operator, Route};
use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The value of an operator; what is not there is `Missing`.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Missing,
    Bytes(&'a [u8]),
    Number(u64),
    Flags(Flags, bool),
    Time(Option<&'a str>, Duration),
    Address(SocketAddr, bool),
    Uris(&'a [Arc<str>]),
    /// Text in which white space becomes `_`.
    Words(&'a str),
    Data(&'a MetadataValue),
    /// All metadata of one filter.
    Fields(&'a HashMap<String, MetadataValue>),
    /// All dynamic metadata of one filter.
    Dynamic(&'a DynamicMetadata, &'a str),
    /// A status as a field: text, not a number.
    Status(u16),
}

impl Value<'_> {
    /// Write it as text; whether it is there.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> bool {
        let _ = match self {
            Value::Missing | Value::Data(MetadataValue::Null) => return false,
            Value::Bytes(bytes) => out.write_all(bytes),
            Value::Number(number) => out.write_all(itoa::Buffer::new().format(*number).as_bytes()),
            Value::Status(status) => out.write_all(itoa::Buffer::new().format(*status).as_bytes()),
            Value::Flags(flags, false) => write!(out, "{flags}"),
            Value::Flags(flags, true) => write_long(*flags, out),
            Value::Time(format, time) => {
                format_time(*format, *time, out);
                Ok(())
            }
            Value::Address(address, true) => write!(out, "{}", plain(*address)),
            Value::Address(address, false) => write!(out, "{}", plain(*address).ip()),
            Value::Uris(uris) => write_list(uris, out),
            Value::Words(text) => write_words(text, out),
            Value::Data(MetadataValue::Text(text)) => out.write_all(text.as_bytes()),
            Value::Data(value) => {
                json::metadata(value, out);
                Ok(())
            }
            Value::Fields(fields) => {
                json::metadata_fields(fields.iter(), out);
                Ok(())
            }
            Value::Dynamic(all, filter) => {
                json::told_fields(all.of(filter), out);
                Ok(())
            }
        };
        true
    }
}

/// IPv4 addresses that came by an IPv6 socket are shown as what they are.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn write_long(flags: Flags, out: &mut Vec<u8>) -> std::io::Result<()> {
    if flags.is_empty() {
        return out.write_all(b"-");
    }
    for (index, name) in flags.long_names().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
    }
    Ok(())
}

fn write_list(list: &[Arc<str>], out: &mut Vec<u8>) -> std::io::Result<()> {
    for (index, item) in list.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(item.as_bytes());
    }
    Ok(())
}

fn write_words(text: &str, out: &mut Vec<u8>) -> std::io::Result<()> {
    out.extend(text.bytes().map(|byte| if byte.is_ascii_whitespace() { b'_' } else { byte }));
    Ok(())
}

fn some(text: &str) -> Value<'_> {
    if text.is_empty() { Value::Missing } else { Value::Bytes(text.as_bytes()) }
}

fn maybe(text: Option<&str>) -> Value<'_> {
    text.map_or(Value::Missing, |text| Value::Bytes(text.as_bytes()))
}

fn millis(time: Option<Duration>) -> Value<'static> {
    time.map_or(Value::Missing, |time| Value::Number(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
}

/// What `operator` stands for.
pub(super) fn value_of<'a>(operator: &'a Operator, record: &Record<'a>) -> Value<'a> {
    match operator {
        Operator::StartTime(format) => Value::Time(format.as_deref(), record.start),
        Operator::Req(name, other) => of_request(record.request, name, other.as_deref()),
        Operator::Resp(name, other) => of_response(record, name, other.as_deref()),
        Operator::Trailer(name, other) => of_fields(record.trailers, name, other.as_deref()),
        Operator::Protocol => maybe(record.protocol.map(|version| version.name())),
        Operator::ResponseCode => Value::Number(u64::from(record.status)),
        Operator::ResponseCodeDetails if record.details.is_empty() => Value::Missing,
        Operator::ResponseCodeDetails => Value::Words(record.details),
        Operator::ConnectionTerminationDetails => some(&record.connection.termination_details),
        Operator::ResponseFlags => Value::Flags(record.flags, false),
        Operator::ResponseFlagsLong => Value::Flags(record.flags, true),
        Operator::GrpcStatus => grpc_name(record),
        Operator::GrpcStatusNumber => logged_grpc(record).map_or(Value::Missing, |n| Value::Number(n.into())),
        Operator::BytesReceived => Value::Number(record.bytes_received),
        Operator::BytesSent => Value::Number(record.bytes_sent),
        Operator::RouteName => some(record.route.map_or("", |route| &route.name)),
        Operator::RouteMetadata(filter, path) => data(record.route.map(metadata_of_route), filter, path),
        Operator::ClusterMetadata(filter, path) => {
            data(record.cluster.map(metadata_of_cluster), filter, path)
        }
        Operator::HostMetadata(filter, path) => data(record.upstream_host_metadata, filter, path),
        Operator::DynamicMetadata(filter, path) => dynamic(record, filter, path),
        Operator::VirtualHostName => some(record.virtual_host),
        Operator::StreamId => Value::Number(record.stream_id),
        Operator::LocalReplyBody => Value::Bytes(record.local_reply_body.as_bytes()),
        // The core does not know on which host it runs; `decode` may put its name into the template.
        Operator::Hostname => Value::Missing,
        Operator::Duration => millis(Some(record.duration)),
        Operator::RequestDuration => millis(record.request_duration),
        Operator::ResponseDuration => millis(record.response_duration),
        Operator::ResponseTxDuration => {
            millis(record.response_duration.map(|first| record.duration.saturating_sub(first)))
        }
        other => of_upstream(other, record),
    }
}

fn of_upstream<'a>(operator: &'a Operator, record: &Record<'a>) -> Value<'a> {
    match operator {
        Operator::UpstreamTransportFailureReason => some(record.upstream_failure),
        Operator::UpstreamRequestAttemptCount => Value::Number(record.attempts.into()),
        Operator::UpstreamHost => maybe(record.upstream_host),
        Operator::UpstreamCluster => maybe(record.cluster.map(|cluster| &*cluster.stat_name)),
        Operator::UpstreamClusterRaw => maybe(record.cluster.map(|cluster| &*cluster.name)),
        Operator::UpstreamLocalAddress => address(record.upstream_local),
        Operator::UpstreamProtocol => maybe(record.upstream_protocol.map(|version| version.name())),
        Operator::UpstreamPeerUriSan => peer_uris(record.upstream_tls),
        Operator::UpstreamLocalUriSan => some(record.upstream_tls.map_or("", |tls| &tls.local_uri)),
        other => of_connection(other, record),
    }
}

fn of_connection<'a>(operator: &'a Operator, record: &Record<'a>) -> Value<'a> {
    let connection = record.connection;
    let tls = connection.tls.as_deref();
    match operator {
        Operator::DownstreamPeerUriSan => peer_uris(tls),
        Operator::DownstreamLocalUriSan => some(tls.map_or("", |tls| &tls.local_uri)),
        Operator::DownstreamPeerSubject => {
            some(tls.and_then(|tls| tls.peer.as_ref()).map_or("", |peer| &peer.subject))
        }
        Operator::DownstreamRemoteAddress => Value::Address(connection.remote, true),
        Operator::DownstreamRemoteAddressWithoutPort => Value::Address(connection.remote, false),
        Operator::DownstreamDirectRemoteAddress => Value::Address(connection.direct_remote, true),
        Operator::DownstreamDirectRemoteAddressWithoutPort => Value::Address(connection.direct_remote, false),
        Operator::DownstreamLocalAddress => Value::Address(connection.local, true),
        Operator::DownstreamLocalPort => Value::Number(connection.local.port().into()),
        Operator::DownstreamTlsVersion => some(tls.map_or("", |tls| tls.version)),
        Operator::DownstreamTlsCipher => some(tls.map_or("", |tls| &tls.cipher)),
        Operator::RequestedServerName => some(&connection.server_name),
        Operator::FilterChainName => some(&connection.filter_chain),
        Operator::ConnectionId => Value::Number(connection.id),
        // `DownstreamTransportFailureReason`: a handshake that failed leaves no record.
        _ => Value::Missing,
    }
}

fn address(address: Option<SocketAddr>) -> Value<'static> {
    address.map_or(Value::Missing, |address| Value::Address(address, true))
}

fn peer_uris(tls: Option<&TlsInfo>) -> Value<'_> {
    match tls.and_then(|tls| tls.peer.as_ref()) {
        Some(peer) if !peer.uris.is_empty() => Value::Uris(&peer.uris),
        _ => Value::Missing,
    }
}

fn of_request<'a>(head: Option<&'a RequestHead>, name: &[u8], other: Option<&[u8]>) -> Value<'a> {
    let Some(head) = head else { return Value::Missing };
    let found = head.value_of(name).or_else(|| head.value_of(other?));
    found.map_or(Value::Missing, Value::Bytes)
}

fn of_response<'a>(record: &Record<'a>, name: &[u8], other: Option<&[u8]>) -> Value<'a> {
    let find = |name: &[u8]| match name {
        b":status" => record.response.map(status_of),
        name => record.response.and_then(|head| head.headers.get_name(name)).map(Value::Bytes),
    };
    find(name).or_else(|| find(other?)).unwrap_or(Value::Missing)
}

fn status_of(head: &ResponseHead) -> Value<'static> {
    Value::Status(head.status)
}

fn of_fields<'a>(fields: Option<&'a Headers>, name: &[u8], other: Option<&[u8]>) -> Value<'a> {
    let Some(fields) = fields else { return Value::Missing };
    let found = fields.get_name(name).or_else(|| fields.get_name(other?));
    found.map_or(Value::Missing, Value::Bytes)
}

fn metadata_of_route(route: &Route) -> &Metadata {
    &route.metadata
}

fn metadata_of_cluster(cluster: &Cluster) -> &Metadata {
    &cluster.metadata
}

fn data<'a>(metadata: Option<&'a Metadata>, filter: &str, path: &[String]) -> Value<'a> {
    let Some(metadata) = metadata else { return Value::Missing };
    if path.is_empty() {
        return metadata.0.get(filter).map_or(Value::Missing, Value::Fields);
    }
    metadata.get(filter, path).map_or(Value::Missing, Value::Data)
}

fn dynamic<'a>(record: &Record<'a>, filter: &'a str, path: &[String]) -> Value<'a> {
    if path.is_empty() && record.dynamic.of(filter).next().is_some() {
        return Value::Dynamic(record.dynamic, filter);
    }
    match find_dynamic(record, filter, path) {
        None => Value::Missing,
        Some(Found::Text(text)) => Value::Bytes(text.as_bytes()),
        Some(Found::Data(value)) => Value::Data(value),
    }
}

/// Dynamic metadata that was found.
pub(super) enum Found<'a> {
    Text(&'a str),
    Data(&'a MetadataValue),
}

/// Dynamic metadata under a filter's name and a path of keys.
pub(super) fn find_dynamic<'a>(record: &Record<'a>, filter: &str, path: &[String]) -> Option<Found<'a>> {
    let (first, rest) = path.split_first()?;
    let mut value = match record.dynamic.get(filter, first)? {
        Told::Word(word) => return rest.is_empty().then_some(Found::Text(word)),
        Told::Value(value) => value,
    };
    for key in rest {
        let MetadataValue::Struct(fields) = value else { return None };
        value = fields.get(key)?;
    }
    match value {
        MetadataValue::Text(text) => Some(Found::Text(text)),
        value => Some(Found::Data(value)),
    }
}

/// The gRPC status: of the trailers, else of the head, else what the HTTP status stands for.
pub(super) fn grpc_status(record: &Record<'_>) -> Option<u32> {
    if record.grpc_status.is_some() {
        return record.grpc_status;
    }
    let head = record.response.map(|head| &head.headers);
    let told = record.trailers.into_iter().chain(head).find_map(|fields| fields.get(HeaderId::GrpcStatus));
    match told.and_then(|text| std::str::from_utf8(text).ok()) {
        Some(text) => Some(text.parse().unwrap_or(2)),
        None => (record.status != 0).then(|| of_http_status(record.status)),
    }
}

/// What operators show: only for requests that are gRPC.
fn logged_grpc(record: &Record<'_>) -> Option<u32> {
    record.request.is_some_and(RequestHead::is_grpc).then(|| grpc_status(record)).flatten()
}

/// gRPC, "HTTP to gRPC Status Code Mapping".
fn of_http_status(status: u16) -> u32 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

const GRPC_NAMES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

fn grpc_name(record: &Record<'_>) -> Value<'static> {
    let Some(status) = logged_grpc(record) else { return Value::Missing };
    match GRPC_NAMES.get(status as usize) {
        Some(name) => Value::Bytes(name.as_bytes()),
        None => Value::Number(status.into()),
    }
}

//! Envoy's command operators: the parser of `%REQ(:METHOD)%` and its like (Envoy, "Access logging").
use super::matching::is_token;
use crate::snapshot::{Operator, Part, Template};

/// Read a text with operators in it. `%%` is a percent sign; an operator that is not known here is refused.
///
/// # Errors
///
/// What is wrong, in words for whoever wrote the text.
pub fn parse(text: &str) -> Result<Template, String> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        literal.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            literal.push('%');
            rest = after;
            continue;
        }
        let command = Command::read(rest)?;
        if !literal.is_empty() {
            parts.push(Part::Literal(std::mem::take(&mut literal).into()));
        }
        parts.push(command.part()?);
        rest = command.rest;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(Part::Literal(literal.into()));
    }
    Ok(Template(parts))
}

/// `text` without operators; `None` when it has some.
pub(super) fn only_text(template: Template) -> Option<String> {
    let mut parts = template.0.into_iter();
    match (parts.next(), parts.next()) {
        (None, _) => Some(String::new()),
        (Some(Part::Literal(text)), None) => Some(text.into_string()),
        _ => None,
    }
}

/// One operator as it is written: `NAME(argument):length%` and what comes after.
struct Command<'a> {
    name: &'a str,
    argument: Option<&'a str>,
    length: Option<u32>,
    rest: &'a str,
}

impl<'a> Command<'a> {
    fn read(text: &'a str) -> Result<Command<'a>, String> {
        let ends = |c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        let wrong = || format!("'%{}' is not an operator; a percent sign is written %%", head(text));
        let (name, mut rest) = text.split_at(text.find(ends).ok_or_else(wrong)?);
        let mut argument = None;
        if let Some(inside) = rest.strip_prefix('(') {
            let end = inside.find(')').ok_or_else(wrong)?;
            argument = Some(&inside[..end]);
            rest = &inside[end + 1..];
        }
        let mut length = None;
        if let Some(digits) = rest.strip_prefix(':') {
            let end = digits.find('%').ok_or_else(wrong)?;
            length = Some(digits[..end].parse().map_err(|_| wrong())?);
            rest = &digits[end..];
        }
        let rest = rest.strip_prefix('%').ok_or_else(wrong)?;
        if name.is_empty() {
            return Err(wrong());
        }
        Ok(Command { name, argument, length, rest })
    }

    fn part(&self) -> Result<Part, String> {
        let (operator, may_be_cut) = match self.argument {
            Some(argument) => self.with_argument(argument)?,
            None => (self.bare()?, false),
        };
        if self.length.is_some() && !may_be_cut {
            return Err(format!("%{}% takes no length", self.name));
        }
        Ok(Part::Operator(operator, self.length))
    }

    fn with_argument(&self, argument: &str) -> Result<(Operator, bool), String> {
        Ok(match self.name {
            "START_TIME" => (Operator::StartTime(some_text(argument)), false),
            "REQ" => {
                let (first, second) = headers(argument)?;
                (Operator::Req(first, second), true)
            }
            "RESP" => {
                let (first, second) = headers(argument)?;
                (Operator::Resp(first, second), true)
            }
            "TRAILER" => {
                let (first, second) = headers(argument)?;
                (Operator::Trailer(first, second), true)
            }
            "GRPC_STATUS" => (grpc_status(argument)?, false),
            "METADATA" => (any_metadata(argument)?, true),
            "DYNAMIC_METADATA" => keyed(argument, Operator::DynamicMetadata)?,
            "CLUSTER_METADATA" => keyed(argument, Operator::ClusterMetadata)?,
            "UPSTREAM_METADATA" => keyed(argument, Operator::HostMetadata)?,
            name if bare(name).is_some() => return Err(format!("%{name}% takes no argument")),
            name => return Err(unknown(name)),
        })
    }

    fn bare(&self) -> Result<Operator, String> {
        let needs = [
            "REQ",
            "RESP",
            "TRAILER",
            "METADATA",
            "DYNAMIC_METADATA",
            "CLUSTER_METADATA",
            "UPSTREAM_METADATA",
        ];
        if needs.contains(&self.name) {
            return Err(format!("%{}% needs an argument", self.name));
        }
        bare(self.name).ok_or_else(|| unknown(self.name))
    }
}

fn unknown(name: &str) -> String {
    format!("the operator %{name}% is not supported")
}

/// The first characters, for a message.
fn head(text: &str) -> String {
    text.chars().take(24).collect()
}

fn some_text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

type HeaderName = Box<[u8]>;

/// `NAME`, or `NAME?OTHER`: what is looked at when the first is missing.
fn headers(argument: &str) -> Result<(HeaderName, Option<HeaderName>), String> {
    let (first, second) = match argument.split_once('?') {
        Some((first, second)) => (first, Some(second)),
        None => (argument, None),
    };
    Ok((header(first)?, second.map(header).transpose()?))
}

fn header(name: &str) -> Result<HeaderName, String> {
    let token = name.strip_prefix(':').unwrap_or(name);
    if token.is_empty() || !token.bytes().all(is_token) {
        return Err(format!("'{name}' is not a header name"));
    }
    let lower = name.to_ascii_lowercase();
    // Envoy knows the host by its name in HTTP/2.
    let lower = if lower == "host" { ":authority".to_owned() } else { lower };
    Ok(lower.into_bytes().into())
}

fn grpc_status(format: &str) -> Result<Operator, String> {
    match format {
        "" | "CAMEL_STRING" => Ok(Operator::GrpcStatus),
        "NUMBER" => Ok(Operator::GrpcStatusNumber),
        _ => Err(format!("%GRPC_STATUS({format})% is not supported")),
    }
}

/// `METADATA(KIND:filter:key…)`
fn any_metadata(argument: &str) -> Result<Operator, String> {
    let (kind, rest) = argument.split_once(':').unwrap_or((argument, ""));
    let (filter, keys) = filter_and_keys(rest)?;
    Ok(match kind {
        "ROUTE" => Operator::RouteMetadata(filter, keys),
        "CLUSTER" => Operator::ClusterMetadata(filter, keys),
        "UPSTREAM_HOST" => Operator::HostMetadata(filter, keys),
        "DYNAMIC" => Operator::DynamicMetadata(filter, keys),
        _ => return Err(format!("metadata of {kind} is not supported")),
    })
}

fn keyed(
    argument: &str,
    operator: impl FnOnce(String, Vec<String>) -> Operator,
) -> Result<(Operator, bool), String> {
    let (filter, keys) = filter_and_keys(argument)?;
    Ok((operator(filter, keys), true))
}

/// `filter:key:key`, or the older `["filter", "key"]` of header values.
fn filter_and_keys(argument: &str) -> Result<(String, Vec<String>), String> {
    let inside = argument.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let mut words = match inside {
        Some(list) => list.split(',').map(quoted).collect::<Result<Vec<_>, _>>()?,
        None => argument.split(':').map(str::to_owned).collect(),
    }
    .into_iter();
    let filter = words.next().filter(|filter| !filter.is_empty());
    let keys: Vec<String> = words.collect();
    match filter {
        Some(filter) if !keys.iter().any(String::is_empty) => Ok((filter, keys)),
        _ => Err(format!("'{argument}' is not a filter's name and keys")),
    }
}

fn quoted(word: &str) -> Result<String, String> {
    let inside = word.trim().strip_prefix('"').and_then(|word| word.strip_suffix('"'));
    inside.map(str::to_owned).ok_or_else(|| format!("{word} is not in quotes"))
}

/// Operators without an argument.
fn bare(name: &str) -> Option<Operator> {
    use Operator as O;
    Some(match name {
        "START_TIME" => O::StartTime(None),
        "PROTOCOL" => O::Protocol,
        "RESPONSE_CODE" => O::ResponseCode,
        "RESPONSE_CODE_DETAILS" => O::ResponseCodeDetails,
        "CONNECTION_TERMINATION_DETAILS" => O::ConnectionTerminationDetails,
        "RESPONSE_FLAGS" => O::ResponseFlags,
        "RESPONSE_FLAGS_LONG" => O::ResponseFlagsLong,
        "GRPC_STATUS" => O::GrpcStatus,
        "GRPC_STATUS_NUMBER" => O::GrpcStatusNumber,
        "UPSTREAM_TRANSPORT_FAILURE_REASON" => O::UpstreamTransportFailureReason,
        "DOWNSTREAM_TRANSPORT_FAILURE_REASON" => O::DownstreamTransportFailureReason,
        "DURATION" => O::Duration,
        "REQUEST_DURATION" => O::RequestDuration,
        "RESPONSE_DURATION" => O::ResponseDuration,
        "RESPONSE_TX_DURATION" => O::ResponseTxDuration,
        "UPSTREAM_REQUEST_ATTEMPT_COUNT" => O::UpstreamRequestAttemptCount,
        "UPSTREAM_HOST" => O::UpstreamHost,
        "UPSTREAM_CLUSTER" => O::UpstreamCluster,
        "UPSTREAM_CLUSTER_RAW" => O::UpstreamClusterRaw,
        "UPSTREAM_LOCAL_ADDRESS" => O::UpstreamLocalAddress,
        "UPSTREAM_PROTOCOL" => O::UpstreamProtocol,
        "ROUTE_NAME" => O::RouteName,
        "BYTES_RECEIVED" => O::BytesReceived,
        "BYTES_SENT" => O::BytesSent,
        "DOWNSTREAM_PEER_URI_SAN" => O::DownstreamPeerUriSan,
        "DOWNSTREAM_LOCAL_URI_SAN" => O::DownstreamLocalUriSan,
        "DOWNSTREAM_PEER_SUBJECT" => O::DownstreamPeerSubject,
        "UPSTREAM_PEER_URI_SAN" => O::UpstreamPeerUriSan,
        "UPSTREAM_LOCAL_URI_SAN" => O::UpstreamLocalUriSan,
        "DOWNSTREAM_REMOTE_ADDRESS" => O::DownstreamRemoteAddress,
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => O::DownstreamRemoteAddressWithoutPort,
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" => O::DownstreamDirectRemoteAddress,
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT" => O::DownstreamDirectRemoteAddressWithoutPort,
        "DOWNSTREAM_LOCAL_ADDRESS" => O::DownstreamLocalAddress,
        "DOWNSTREAM_LOCAL_PORT" => O::DownstreamLocalPort,
        "DOWNSTREAM_TLS_VERSION" => O::DownstreamTlsVersion,
        "DOWNSTREAM_TLS_CIPHER" => O::DownstreamTlsCipher,
        "REQUESTED_SERVER_NAME" => O::RequestedServerName,
        "VIRTUAL_HOST_NAME" => O::VirtualHostName,
        "FILTER_CHAIN_NAME" => O::FilterChainName,
        "CONNECTION_ID" => O::ConnectionId,
        "STREAM_ID" => O::StreamId,
        "HOSTNAME" => O::Hostname,
        "LOCAL_REPLY_BODY" => O::LocalReplyBody,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> Part {
        Part::Literal(text.into())
    }

    #[test]
    fn text_and_operators_are_told_apart() {
        let made = parse("50%% of %REQ(X-Own?:PATH):7% at %START_TIME(%Y-%m)%!").unwrap();
        let path = Operator::Req(Box::from(&b"x-own"[..]), Some(Box::from(&b":path"[..])));
        assert_eq!(
            made.0,
            [
                literal("50% of "),
                Part::Operator(path, Some(7)),
                literal(" at "),
                Part::Operator(Operator::StartTime(Some("%Y-%m".to_owned())), None),
                literal("!"),
            ]
        );
    }

    #[test]
    fn metadata_is_named_by_colons_or_as_a_list() {
        let wanted = Operator::RouteMetadata("ripstop".to_owned(), vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(parse("%METADATA(ROUTE:ripstop:a:b)%").unwrap().0, [Part::Operator(wanted, None)]);
        let wanted = Operator::DynamicMetadata("f".to_owned(), vec!["k".to_owned()]);
        assert_eq!(parse(r#"%DYNAMIC_METADATA(["f", "k"])%"#).unwrap().0, [Part::Operator(wanted, None)]);
    }

    #[test]
    fn what_is_not_an_operator_is_refused() {
        for text in [
            "100%",
            "%req(a)%",
            "%REQ%",
            "%REQ()%",
            "%REQ(a b)%",
            "%PROTOCOL(x)%",
            "%PROTOCOL:3%",
            "%REQ(a%",
            "%NEW%",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn text_without_operators_is_only_text() {
        assert_eq!(only_text(parse("5%%").unwrap()), Some("5%".to_owned()));
        assert_eq!(only_text(parse("%PROTOCOL%").unwrap()), None);
    }
}

//! Request heads (RFC 9112, sections 2 and 3).
use super::framing::framing;
use super::parse::{Line, fields, is_same_line, target_end, token_end, wrong};
use super::target::{self, Target};
use super::{Limits, Parsed, Refusal};
use crate::http::{BodyLength, HeaderId, Method, RequestHead, Span, Version};

/// What a request's head says beside its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestMeta {
    /// How its body is framed.
    pub body: BodyLength,
    /// The connection may carry another request afterwards.
    pub keep_alive: bool,
    /// Its client says that it is its last one (RFC 9112, section 9.6).
    pub client_ends: bool,
    /// It asks for an upgrade (`Connection: upgrade` and `Upgrade`).
    pub upgrade: bool,
    /// `Expect: 100-continue`
    pub expects_continue: bool,
    /// Its target was in absolute form, as proxies are asked.
    pub absolute_form: bool,
}

const NOTHING: RequestMeta = RequestMeta {
    body: BodyLength::Empty,
    keep_alive: false,
    client_ends: false,
    upgrade: false,
    expects_continue: false,
    absolute_form: false,
};

/// Read a request's head from the start of `buf` into `head`, whose former content is lost.
///
/// `scanned` is 0 for a new head and else what the last call left: a slow head is read again when a line has ended, not
/// for each octet.
///
/// # Errors
/// What is not exactly HTTP/1.x is refused, with the status to answer; the connection must close.
pub fn parse_request(
    buf: &[u8],
    scanned: &mut usize,
    limits: &Limits,
    head: &mut RequestHead,
) -> Result<(Parsed, RequestMeta), Refusal> {
    let Some(skipped) = empty_line(buf)? else { return Ok((Parsed::Incomplete, NOTHING)) };
    let buf = &buf[skipped..];
    if !is_same_line(buf, *scanned, limits) {
        let text = &buf[..buf.len().min(limits.max_head_bytes)];
        if let Some((end, meta)) = request(text, limits, head)? {
            return Ok((Parsed::Complete(skipped + end), meta));
        }
        if buf.len() >= limits.max_head_bytes {
            return Err(Refusal::new(431, "headers_too_large"));
        }
    }
    *scanned = buf.len();
    Ok((Parsed::Incomplete, NOTHING))
}

/// One empty line before a request is ignored (RFC 9112, 2.2), no more: its length, if it can be told.
fn empty_line(buf: &[u8]) -> Result<Option<usize>, Refusal> {
    match buf {
        [] | [b'\r'] | [b'\r', b'\n'] => Ok(None),
        [b'\r', b'\n', b'\r' | b'\n', ..] => Err(Refusal::new(400, "empty_line_before_request")),
        [b'\r', b'\n', ..] => Ok(Some(2)),
        // What can be no request is told by its first octet: TLS, for one.
        [first, ..] if token_end(&[*first], 0) == 0 => Err(Refusal::new(400, "invalid_method")),
        _ => Ok(Some(0)),
    }
}

/// A whole head, or `None` for a part of one.
fn request(
    text: &[u8],
    limits: &Limits,
    head: &mut RequestHead,
) -> Result<Option<(usize, RequestMeta)>, Refusal> {
    head.clear();
    let (line, fields_at) = match request_line(text, limits)? {
        Line::Whole(line, next) => (line, next),
        Line::Partial => return Ok(None),
    };
    head.version = line.version;
    let mut host = None;
    let headers = &mut head.headers;
    let end = fields(text, fields_at, limits, 400, |field| {
        if field.id != HeaderId::Host {
            headers.push_spans(field.id, field.name, field.value);
            return Ok(());
        }
        // One, and a valid one (RFC 9112, section 3.2).
        if host.replace(field.value).is_some() {
            return Err(Refusal::new(400, "several_host_headers"));
        }
        let value = field.value.of(text);
        let is_valid = value.is_empty() || target::is_authority(value);
        if is_valid { Ok(()) } else { Err(Refusal::new(400, "invalid_host_header")) }
    })?;
    let Some(end) = end else { return Ok(None) };
    if host.is_none() && line.version == Version::Http11 {
        return Err(Refusal::new(400, "missing_host_header"));
    }
    head.headers.adopt(&text[..end]);
    head.headers.lower_names();
    head.point_method(line.method, line.method_text);
    head.point_authority(line.target.authority.or(host).unwrap_or_default());
    line.target.path.put(head);
    if let Some(scheme) = line.target.scheme {
        head.set_scheme(scheme);
    }
    let meta = meta(head, line.target.scheme.is_some())?;
    Ok(Some((end, meta)))
}

struct RequestLine {
    method: Method,
    method_text: Span,
    target: Target,
    version: Version,
}

fn request_line(text: &[u8], limits: &Limits) -> Result<Line<RequestLine>, Refusal> {
    let refuse = |at, why| wrong(text, at, Refusal::new(400, why));
    let space = token_end(text, 0);
    match text.get(space) {
        None => return Ok(Line::Partial),
        Some(b' ') => {}
        Some(b'\r' | b'\n') => return refuse(space, "invalid_request_line"),
        Some(_) => return refuse(space, "invalid_method"),
    }
    let start = space + 1;
    let end = target_end(text, start);
    match text.get(end) {
        None => return Ok(Line::Partial),
        Some(b' ') if end > start => {}
        Some(b' ' | b'\r' | b'\n') => return refuse(end, "invalid_request_line"),
        Some(_) => return refuse(end, "invalid_target"),
    }
    let (version, next) = match version(text, end + 1)? {
        Line::Whole(version, next) => (version, next),
        Line::Partial => return Ok(Line::Partial),
    };
    if end - start > limits.max_target {
        return Err(Refusal::new(414, "target_too_long"));
    }
    let method = Method::of(&text[..space]);
    let target = Target::read(text, start, end, method)?;
    Ok(Line::Whole(RequestLine { method, method_text: Span::between(0, space), target, version }, next))
}

/// The version and the end of the line.
fn version(text: &[u8], at: usize) -> Result<Line<Version>, Refusal> {
    let rest = &text[at..];
    match rest {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1', b'\r', b'\n', ..] => {
            return Ok(Line::Whole(Version::Http11, at + 10));
        }
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0', b'\r', b'\n', ..] => {
            return Ok(Line::Whole(Version::Http10, at + 10));
        }
        _ => {}
    }
    let Some(newline) = memchr::memchr(b'\n', rest) else { return Ok(Line::Partial) };
    Err(match &rest[..newline] {
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor, b'\r']
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Refusal::new(505, "unsupported_version")
        }
        line if line.ends_with(b"\r") => Refusal::new(400, "invalid_version"),
        _ => Refusal::new(400, "bare_lf"),
    })
}

fn meta(head: &mut RequestHead, absolute_form: bool) -> Result<RequestMeta, Refusal> {
    let version = head.version;
    let framing = framing(&mut head.headers, version, 400)?;
    let is_connect = head.method() == Method::Connect;
    let body = match (framing.is_chunked, framing.length) {
        (true, _) => BodyLength::Chunked,
        (false, None | Some(0)) => BodyLength::Empty,
        (false, Some(length)) => BodyLength::Exact(length),
    };
    if is_connect && body != BodyLength::Empty {
        // What follows a CONNECT is the tunnel's: a length is one of another opinion (RFC 9110, section 9.3.6).
        return Err(Refusal::new(400, "connect_with_body"));
    }
    let is_11 = version == Version::Http11;
    let upgrade = framing.upgrade_named && head.headers.has(HeaderId::Upgrade) && is_11;
    let expects = |value: &[u8]| value.eq_ignore_ascii_case(b"100-continue");
    let expects_continue = body != BodyLength::Empty && is_11;
    Ok(RequestMeta {
        body,
        // After a refused CONNECT what came early would be read as requests (draft-ietf-httpbis-optimistic-upgrade).
        keep_alive: framing.persists(version) && !is_connect,
        client_ends: !framing.persists(version) && !is_connect,
        upgrade: upgrade && !is_connect,
        expects_continue: expects_continue && head.headers.get(HeaderId::Expect).is_some_and(expects),
        absolute_form,
    })
}

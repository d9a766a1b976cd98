//! Request heads (RFC 9112, sections 2 and 3).
use super::framing::framing;
use super::parse::{end_of_head, fields, is_target, is_token};
use super::{Limits, Parsed, Refusal};
use crate::http::{BodyLength, HeaderId, Method, RequestHead, Version};

/// What a request's head says beside its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestMeta {
    /// How its body is framed.
    pub body: BodyLength,
    /// The connection may carry another request afterwards.
    pub keep_alive: bool,
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
    upgrade: false,
    expects_continue: false,
    absolute_form: false,
};

/// Read a request's head from the start of `buf` into `head` (cleared first once the head is complete).
///
/// `scanned` is where the search for the end goes on; 0 for a new head.
///
/// # Errors
/// What is not exactly HTTP/1.x is refused, with the status to answer; the connection must close.
pub fn parse_request(
    buf: &[u8],
    scanned: &mut usize,
    limits: &Limits,
    head: &mut RequestHead,
) -> Result<(Parsed, RequestMeta), Refusal> {
    // One empty line before a request is ignored (RFC 9112, 2.2), no more.
    let skipped = if buf.starts_with(b"\r\n") { 2 } else { 0 };
    if skipped == 2 && buf.len() == 2 {
        return Ok((Parsed::Incomplete, NOTHING));
    }
    let buf = &buf[skipped..];
    reject_early(buf)?;
    let end = end_of_head(buf, scanned, limits)
        .map_err(|why| Refusal::new(if why == "headers_too_large" { 431 } else { 400 }, why))?;
    let Some(end) = end else { return Ok((Parsed::Incomplete, NOTHING)) };
    head.clear();
    let lines = &buf[..end];
    let line_end = memchr::memchr(b'\r', lines).unwrap_or(0);
    if lines.get(line_end + 1) != Some(&b'\n') {
        return Err(Refusal::new(400, "bare_cr"));
    }
    let absolute_form = request_line(&lines[..line_end], limits, head)?;
    let mut hosts = 0;
    let has_own_authority = absolute_form || head.method() == Method::Connect;
    fields(&lines[line_end + 2..], limits, 400, |name, value| {
        if name.len() == 4 && name.eq_ignore_ascii_case(b"host") {
            hosts += 1;
            return host(head, value, hosts, has_own_authority);
        }
        head.headers.push(name, value);
        Ok(())
    })?;
    if hosts == 0 && head.version == Version::Http11 && !has_own_authority {
        return Err(Refusal::new(400, "missing_host_header"));
    }
    let meta = meta(head, absolute_form)?;
    Ok((Parsed::Complete(skipped + end), meta))
}

/// What can be no request is told by its first bytes: TLS, blank lines, garbage.
fn reject_early(buf: &[u8]) -> Result<(), Refusal> {
    match buf.first() {
        Some(b'\r' | b'\n') => Err(Refusal::new(400, "empty_line_before_request")),
        Some(byte) if !byte.is_ascii_alphabetic() && !is_token(&[*byte]) => {
            Err(Refusal::new(400, "invalid_method"))
        }
        _ => Ok(()),
    }
}

fn request_line(line: &[u8], limits: &Limits, head: &mut RequestHead) -> Result<bool, Refusal> {
    let refuse = |why| Refusal::new(400, why);
    let first = memchr::memchr(b' ', line).ok_or(refuse("invalid_request_line"))?;
    let last = memchr::memrchr(b' ', line).ok_or(refuse("invalid_request_line"))?;
    if last <= first {
        return Err(refuse("invalid_request_line"));
    }
    let (method, target, version) = (&line[..first], &line[first + 1..last], &line[last + 1..]);
    if !is_token(method) {
        return Err(refuse("invalid_method"));
    }
    head.version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        other if other.starts_with(b"HTTP/") => return Err(Refusal::new(505, "unsupported_version")),
        _ => return Err(refuse("invalid_version")),
    };
    if target.len() > limits.max_target {
        return Err(Refusal::new(414, "target_too_long"));
    }
    if !is_target(target) {
        return Err(refuse("invalid_target"));
    }
    head.set_method(method);
    set_target(target, head)
}

/// The four forms of RFC 9112, section 3.2; whether it is the absolute one.
fn set_target(target: &[u8], head: &mut RequestHead) -> Result<bool, Refusal> {
    if head.method() == Method::Connect {
        let has_port = target.iter().rposition(|b| *b == b':').is_some_and(|at| at + 1 < target.len());
        if !has_port || target.iter().any(|byte| matches!(byte, b'/' | b'?' | b'@')) {
            return Err(Refusal::new(400, "invalid_connect_target"));
        }
        head.set_authority(target);
        return Ok(false);
    }
    if target[0] == b'/' {
        head.set_path(target);
        return Ok(false);
    }
    if target == b"*" {
        if head.method() != Method::Options {
            return Err(Refusal::new(400, "invalid_target"));
        }
        head.set_path(b"*");
        return Ok(false);
    }
    let (scheme, rest) = if starts_with_ignoring_case(target, b"http://") {
        (&b"http"[..], &target[7..])
    } else if starts_with_ignoring_case(target, b"https://") {
        (&b"https"[..], &target[8..])
    } else {
        return Err(Refusal::new(400, "invalid_target"));
    };
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.is_empty() || authority.contains(&b'@') {
        return Err(Refusal::new(400, "invalid_target"));
    }
    head.set_scheme(scheme);
    head.set_authority(authority);
    match path.first() {
        None if head.method() == Method::Options => head.set_path(b"*"),
        None => head.set_path(b"/"),
        Some(b'?') => head.set_path(&[b"/", path].concat()),
        Some(_) => head.set_path(path),
    }
    Ok(true)
}

fn starts_with_ignoring_case(text: &[u8], start: &[u8]) -> bool {
    text.len() >= start.len() && text[..start.len()].eq_ignore_ascii_case(start)
}

/// Host: one and a valid one (RFC 9112, section 3.2). The authority of an absolute or CONNECT target replaces it.
fn host(head: &mut RequestHead, value: &[u8], hosts: usize, has_own_authority: bool) -> Result<(), Refusal> {
    if hosts > 1 {
        return Err(Refusal::new(400, "several_host_headers"));
    }
    let is_valid = value.iter().all(|byte| {
        byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'-' | b'.' | b'_' | b'~' | b':' | b'[' | b']' | b'%' | b'!' | b'$' | b'&' | b'\''
            )
            || matches!(byte, b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
    });
    if !is_valid || !has_valid_port(value) {
        return Err(Refusal::new(400, "invalid_host_header"));
    }
    if !has_own_authority {
        head.set_authority(value);
    }
    Ok(())
}

/// `uri-host [ ":" port ]`: a port is digits, and only a bracketed host has colons of its own (RFC 3986, section 3.2).
fn has_valid_port(host: &[u8]) -> bool {
    let after = match host.iter().position(|byte| *byte == b']') {
        Some(end) if host.starts_with(b"[") => &host[end + 1..],
        Some(_) => return false,
        None => &host[memchr::memchr(b':', host).unwrap_or(host.len())..],
    };
    match after.split_first() {
        None => true,
        Some((b':', port)) => port.iter().all(u8::is_ascii_digit),
        Some(_) => false,
    }
}

fn meta(head: &mut RequestHead, absolute_form: bool) -> Result<RequestMeta, Refusal> {
    let version = head.version;
    let framing = framing(&mut head.headers, version, 400)?;
    let body = match (framing.is_chunked, framing.length) {
        (true, _) => BodyLength::Chunked,
        (false, None | Some(0)) => BodyLength::Empty,
        (false, Some(length)) => BodyLength::Exact(length),
    };
    let is_connect = head.method() == Method::Connect;
    let upgrade = framing.upgrade_named && head.headers.has(HeaderId::Upgrade) && version == Version::Http11;
    let expects =
        head.headers.get(HeaderId::Expect).is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"));
    Ok(RequestMeta {
        // What follows a CONNECT is the tunnel's.
        body: if is_connect { BodyLength::Empty } else { body },
        keep_alive: framing.persists(version),
        upgrade: upgrade && !is_connect,
        expects_continue: expects && version == Version::Http11 && body != BodyLength::Empty,
        absolute_form,
    })
}

//! Request targets: the four forms of RFC 9112, section 3.2, and what an authority may be.
use super::Refusal;
use super::parse::host_end;
use crate::http::{Method, RequestHead, Span};

/// A target taken apart; spans are of the head.
pub(super) struct Target {
    /// Of the absolute form only.
    pub scheme: Option<&'static [u8]>,
    /// Of the absolute form and of CONNECT.
    pub authority: Option<Span>,
    pub path: Path,
}

/// The path, of which the absolute form may leave something out.
pub(super) enum Path {
    /// As it is in the head.
    At(Span),
    /// Another one.
    Text(&'static [u8]),
    /// The root with this query, its question mark included.
    Query(Span),
}

impl Path {
    /// Set it in a head that has the text.
    pub fn put(self, head: &mut RequestHead) {
        match self {
            Path::At(span) => head.point_path(span),
            Path::Text(text) => head.set_path(text),
            Path::Query(query) => head.set_path(&[b"/", head.headers.at(query)].concat()),
        }
    }
}

impl Target {
    /// Take apart `text[start..end]`, which is not empty and of octets that targets are made of.
    pub fn read(text: &[u8], start: usize, end: usize, method: Method) -> Result<Target, Refusal> {
        let target = &text[start..end];
        let whole = Span::between(start, end);
        if method == Method::Connect {
            return match is_authority(target) && has_port(target) {
                true => Ok(Target { scheme: None, authority: Some(whole), path: Path::Text(b"") }),
                false => Err(Refusal::new(400, "invalid_connect_target")),
            };
        }
        match target {
            [b'/', ..] => Ok(Target { scheme: None, authority: None, path: Path::At(whole) }),
            b"*" if method == Method::Options => {
                Ok(Target { scheme: None, authority: None, path: Path::At(whole) })
            }
            _ => absolute(text, start, end, method),
        }
    }
}

fn absolute(text: &[u8], start: usize, end: usize, method: Method) -> Result<Target, Refusal> {
    let target = &text[start..end];
    let (scheme, after) = if starts_with_ignoring_case(target, b"http://") {
        (&b"http"[..], start + 7)
    } else if starts_with_ignoring_case(target, b"https://") {
        (&b"https"[..], start + 8)
    } else {
        return Err(Refusal::new(400, "invalid_target"));
    };
    let rest = &text[after..end];
    let path_at = after + memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
    if !is_authority(&text[after..path_at]) {
        return Err(Refusal::new(400, "invalid_target"));
    }
    let path = match text[path_at..end].first() {
        // RFC 9112, section 3.2.4: the server itself is asked.
        None if method == Method::Options => Path::Text(b"*"),
        None => Path::Text(b"/"),
        Some(b'?') => Path::Query(Span::between(path_at, end)),
        Some(_) => Path::At(Span::between(path_at, end)),
    };
    Ok(Target { scheme: Some(scheme), authority: Some(Span::between(after, path_at)), path })
}

fn starts_with_ignoring_case(text: &[u8], start: &[u8]) -> bool {
    text.len() >= start.len() && text[..start.len()].eq_ignore_ascii_case(start)
}

/// Whether `text` is a host, perhaps with a port, and no more: no user, no second port (RFC 3986, section 3.2).
pub(super) fn is_authority(text: &[u8]) -> bool {
    let Some(end) = end_of_host(text) else { return false };
    match &text[end..] {
        [] => true,
        [b':', port @ ..] => port.len() <= 5 && port.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Whether a port follows the host of an authority.
fn has_port(authority: &[u8]) -> bool {
    end_of_host(authority).is_some_and(|end| authority.len() > end + 1)
}

/// Where a host that is not empty ends: a name, an address, or a literal in brackets.
fn end_of_host(text: &[u8]) -> Option<usize> {
    let [b'[', rest @ ..] = text else {
        let end = host_end(text, 0);
        return (end > 0).then_some(end);
    };
    let len = memchr::memchr(b']', rest)?;
    let is_literal = |byte: &u8| byte.is_ascii_alphanumeric() || b":.%-_~".contains(byte);
    (len > 0 && rest[..len].iter().all(is_literal)).then_some(len + 2)
}

//! Response heads (RFC 9112, section 4).
use super::framing::framing;
use super::parse::{Line, fields, is_same_line, line_end, value_end, wrong};
use super::{Limits, Parsed, Refusal};
use crate::http::{BodyLength, Method, ResponseHead, Version};

/// What a response's head says beside its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseMeta {
    /// How its body is framed.
    pub body: BodyLength,
    /// The connection may carry another request afterwards.
    pub keep_alive: bool,
}

/// Read a response's head from the start of `buf`; `method` is the request's. `scanned` is as for requests.
///
/// # Errors
/// What is not exactly HTTP/1.x is refused; the connection must not be used again.
pub fn parse_response(
    buf: &[u8],
    scanned: &mut usize,
    method: Method,
    limits: &Limits,
    head: &mut ResponseHead,
) -> Result<(Parsed, ResponseMeta), Refusal> {
    let nothing = ResponseMeta { body: BodyLength::Empty, keep_alive: false };
    let start = buf.len().min(5).min(limits.max_head_bytes);
    if buf[..start] != b"HTTP/"[..start] {
        return Err(Refusal::new(502, "not_http"));
    }
    if !is_same_line(buf, *scanned, limits) {
        let text = &buf[..buf.len().min(limits.max_head_bytes)];
        if let Some((end, meta)) = response(text, method, limits, head)? {
            return Ok((Parsed::Complete(end), meta));
        }
        if buf.len() >= limits.max_head_bytes {
            return Err(Refusal::new(502, "headers_too_large"));
        }
    }
    *scanned = buf.len();
    Ok((Parsed::Incomplete, nothing))
}

/// A whole head, or `None` for a part of one.
fn response(
    text: &[u8],
    method: Method,
    limits: &Limits,
    head: &mut ResponseHead,
) -> Result<Option<(usize, ResponseMeta)>, Refusal> {
    head.clear();
    let fields_at = match status_line(text, head)? {
        Line::Whole((), next) => next,
        Line::Partial => return Ok(None),
    };
    let end = fields(text, fields_at, limits, 502, |field| {
        head.headers.push_spans(field.id, field.name, field.value);
        Ok(())
    })?;
    let Some(end) = end else { return Ok(None) };
    head.headers.adopt(&text[..end]);
    head.headers.lower_names();
    let framing = framing(&mut head.headers, head.version, 502)?;
    let has_none = method == Method::Head || head.status < 200 || matches!(head.status, 204 | 304);
    let is_tunnel = method == Method::Connect && (200..300).contains(&head.status);
    let body = match (framing.is_chunked, framing.length) {
        _ if has_none || is_tunnel => BodyLength::Empty,
        (true, _) => BodyLength::Chunked,
        (false, Some(0)) => BodyLength::Empty,
        (false, Some(length)) => BodyLength::Exact(length),
        (false, None) => BodyLength::UntilClose,
    };
    let keep_alive = framing.persists(head.version) && body != BodyLength::UntilClose;
    Ok(Some((end, ResponseMeta { body, keep_alive })))
}

/// `HTTP/1.x`, three digits, a phrase that may be empty (RFC 9112, section 4); the space before it may be missing.
fn status_line(text: &[u8], head: &mut ResponseHead) -> Result<Line<()>, Refusal> {
    let refuse = |at| wrong(text, at, Refusal::new(502, "invalid_status_line"));
    let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ (b'0' | b'1'), b' ', a, b, c, ..] = text else {
        return refuse(0);
    };
    let digits = [*a, *b, *c];
    if !digits.iter().all(u8::is_ascii_digit) || *a == b'0' {
        return refuse(0);
    }
    head.version = if *minor == b'1' { Version::Http11 } else { Version::Http10 };
    head.status = digits.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    match text.get(12) {
        Some(b' ') => {
            let end = value_end(text, 13);
            let is_control = text.get(end).is_some_and(|byte| !matches!(byte, b'\r' | b'\n'));
            if is_control { refuse(0) } else { line_end(text, end, 502) }
        }
        Some(b'\r' | b'\n') | None => line_end(text, 12, 502),
        Some(_) => refuse(0),
    }
}

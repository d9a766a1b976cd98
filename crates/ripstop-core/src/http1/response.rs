//! Response heads (RFC 9112, section 4).
use super::framing::framing;
use super::parse::{end_of_head, fields};
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

/// Read a response's head from the start of `buf`; `method` is the request's.
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
    let start = buf.len().min(5);
    if buf[..start] != b"HTTP/"[..start] {
        return Err(Refusal::new(502, "not_http"));
    }
    let end = end_of_head(buf, scanned, limits).map_err(|why| Refusal::new(502, why))?;
    let Some(end) = end else { return Ok((Parsed::Incomplete, nothing)) };
    head.clear();
    let lines = &buf[..end];
    let line_end = memchr::memchr(b'\r', lines).unwrap_or(0);
    if lines.get(line_end + 1) != Some(&b'\n') {
        return Err(Refusal::new(502, "bare_cr"));
    }
    status_line(&lines[..line_end], head)?;
    fields(&lines[line_end + 2..], limits, 502, |name, value| {
        head.headers.push(name, value);
        Ok(())
    })?;
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
    Ok((Parsed::Complete(end), ResponseMeta { body, keep_alive }))
}

fn status_line(line: &[u8], head: &mut ResponseHead) -> Result<(), Refusal> {
    let refuse = Refusal::new(502, "invalid_status_line");
    head.version = match line.get(..9) {
        Some(b"HTTP/1.1 ") => Version::Http11,
        Some(b"HTTP/1.0 ") => Version::Http10,
        _ => return Err(refuse),
    };
    let Some([a, b, c]) = line.get(9..12) else { return Err(refuse) };
    let digits = [*a, *b, *c];
    let after = line.get(12);
    if !digits.iter().all(u8::is_ascii_digit) || after.is_some_and(|byte| *byte != b' ') || digits[0] == b'0'
    {
        return Err(refuse);
    }
    head.status = digits.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    Ok(())
}

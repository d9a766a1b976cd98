//! Lines and fields of a head, found and checked in one pass.
use super::{Limits, Refusal};
use crate::http::Headers;

const TOKEN: u8 = 1;
const VALUE: u8 = 2;
const TARGET: u8 = 4;

/// What an octet may be part of: tokens (RFC 9110, 5.6.2), field values (5.5), request targets (visible ASCII).
static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0u8; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        let is_alphanumeric = byte.is_ascii_alphanumeric();
        let is_mark = matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        );
        if is_alphanumeric || is_mark {
            table[at] |= TOKEN;
        }
        if byte == b'\t' || (byte >= 0x20 && byte != 0x7f) {
            table[at] |= VALUE;
        }
        if byte > 0x20 && byte < 0x7f && byte != b'#' {
            table[at] |= TARGET;
        }
        at += 1;
    }
    table
}

/// Whether `text` is a token.
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| CLASS[usize::from(*byte)] & TOKEN != 0)
}

pub(super) fn is_target(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| CLASS[usize::from(*byte)] & TARGET != 0)
}

/// Without spaces and tabs around it.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// Where the head in `buf` ends, the empty line included. `scanned` is how much was looked at before.
pub(super) fn end_of_head(
    buf: &[u8],
    scanned: &mut usize,
    limits: &Limits,
) -> Result<Option<usize>, &'static str> {
    let from = scanned.saturating_sub(3).min(buf.len());
    let looked_at = &buf[..buf.len().min(limits.max_head_bytes + 4)];
    for newline in memchr::memchr_iter(b'\n', &looked_at[from.min(looked_at.len())..]) {
        let at = from + newline;
        // A bare LF is no line end here (RFC 9112, 2.2 allows to take it for one; readers differ).
        if at == 0 || buf[at - 1] != b'\r' {
            return Err("bare_lf");
        }
        if at >= 3 && buf[at - 2] == b'\n' {
            return Ok(Some(at + 1));
        }
    }
    *scanned = buf.len();
    if buf.len() > limits.max_head_bytes { Err("headers_too_large") } else { Ok(None) }
}

/// The fields after a start line, up to the empty line. `lines` ends with it.
pub(super) fn fields(
    mut lines: &[u8],
    limits: &Limits,
    status: u16,
    mut take: impl FnMut(&[u8], &[u8]) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let mut count = 0;
    while lines != b"\r\n" {
        let Some(newline) = memchr::memchr(b'\n', lines) else { return Err(Refusal::new(status, "bare_lf")) };
        let line = &lines[..newline.saturating_sub(1)];
        lines = &lines[newline + 1..];
        count += 1;
        if count > limits.max_headers {
            return Err(Refusal::new(if status == 400 { 431 } else { status }, "too_many_headers"));
        }
        let (name, value) = field(line).map_err(|why| Refusal::new(status, why))?;
        take(name, value)?;
    }
    Ok(())
}

/// One field line. White space before the colon, folding and control characters are refused (RFC 9112, 5.1 and 5.2).
fn field(line: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let mut at = 0;
    while at < line.len() && CLASS[usize::from(line[at])] & TOKEN != 0 {
        at += 1;
    }
    if at == 0 {
        return Err(if matches!(line.first(), Some(b' ' | b'\t')) {
            "obs_fold"
        } else {
            "invalid_header_name"
        });
    }
    if line.get(at) != Some(&b':') {
        return Err(if matches!(line.get(at), Some(b' ' | b'\t')) {
            "space_before_colon"
        } else {
            "invalid_header_name"
        });
    }
    let value = trim(&line[at + 1..]);
    if !value.iter().all(|byte| CLASS[usize::from(*byte)] & VALUE != 0) {
        return Err("invalid_header_value");
    }
    Ok((&line[..at], value))
}

/// Trailers, which end with an empty line: where, once they are all there.
pub(super) fn trailers(
    buf: &[u8],
    limits: &Limits,
    into: &mut Headers,
    status: u16,
) -> Result<Option<usize>, Refusal> {
    let mut scanned = 0;
    let end = if buf.len() >= 2 && &buf[..2] == b"\r\n" {
        Some(2)
    } else {
        let own = Limits { max_head_bytes: limits.max_trailer_bytes, ..limits.clone() };
        end_of_head(buf, &mut scanned, &own).map_err(|why| Refusal::new(status, why))?
    };
    let Some(end) = end else { return Ok(None) };
    fields(&buf[..end], limits, status, |name, value| {
        into.push(name, value);
        Ok(())
    })?;
    Ok(Some(end))
}

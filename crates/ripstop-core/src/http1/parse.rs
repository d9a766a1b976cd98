//! Lines and fields, found and checked in one pass: what the octets are, and where a line ends.
use super::{Limits, Refusal};
use crate::http::{HeaderId, Headers, Span};

const TOKEN: u8 = 1;
const VALUE: u8 = 2;
const TARGET: u8 = 4;
const HOST: u8 = 8;
const ONES: u64 = 0x0101_0101_0101_0101;

/// What an octet may be part of: tokens (RFC 9110, 5.6.2), field values (5.5), request targets (visible ASCII), names of
/// hosts (RFC 3986, 3.2.2).
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
        let is_reg_name_mark = matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'%'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
        );
        if is_alphanumeric || is_reg_name_mark {
            table[at] |= HOST;
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

/// Where the token that starts at `at` ends.
pub(super) fn token_end(text: &[u8], at: usize) -> usize {
    class_end::<TOKEN>(text, at)
}

/// Where the request target that starts at `at` ends.
pub(super) fn target_end(text: &[u8], at: usize) -> usize {
    class_end::<TARGET>(text, at)
}

/// Where the host name that starts at `at` ends.
pub(super) fn host_end(text: &[u8], at: usize) -> usize {
    class_end::<HOST>(text, at)
}

#[inline]
fn class_end<const OF: u8>(text: &[u8], mut at: usize) -> usize {
    while at < text.len() && CLASS[usize::from(text[at])] & OF != 0 {
        at += 1;
    }
    at
}

/// Where the field value that starts at `at` ends: at a control character other than a tab. Many octets at a time, but
/// after a tab.
#[inline]
pub(super) fn value_end(text: &[u8], mut at: usize) -> usize {
    while let Some(block) = text.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
        // Without a way out in the middle: compiled to one comparison of sixteen octets.
        if block.iter().fold(false, |found, byte| found | (*byte < 0x20) | (*byte == 0x7f)) {
            break;
        }
        at += 16;
    }
    while let Some(word) = text.get(at..).and_then(|rest| rest.first_chunk()) {
        let hits = controls(u64::from_le_bytes(*word));
        if hits != 0 {
            at += (hits.trailing_zeros() / 8) as usize;
            break;
        }
        at += 8;
    }
    class_end::<VALUE>(text, at)
}

/// The top bit of the first octet in `word` that is a control character; octets above it may be wrong.
const fn controls(word: u64) -> u64 {
    let delete = word ^ (0x7f * ONES);
    let low = word.wrapping_sub(0x20 * ONES) & !word;
    (low | (delete.wrapping_sub(ONES) & !delete)) & (0x80 * ONES)
}

/// Where the colon of a field line is, if it comes within a known name's length and the text is there.
#[inline]
fn near_colon(text: &[u8], at: usize) -> Option<usize> {
    for (index, word) in text.get(at..)?.as_chunks().0.iter().take(4).enumerate() {
        let colon = u64::from_le_bytes(*word) ^ (b':' as u64 * ONES);
        let hits = colon.wrapping_sub(ONES) & !colon & (0x80 * ONES);
        if hits != 0 {
            return Some(at + index * 8 + (hits.trailing_zeros() / 8) as usize);
        }
    }
    None
}

/// What reading a line came to.
pub(super) enum Line<T> {
    /// A whole line, and where the next one starts.
    Whole(T, usize),
    /// Its end has not come yet.
    Partial,
}

/// Why a line is refused, and that it is only once its end has come: pieces of a head are read as the whole is.
pub(super) fn wrong<T>(text: &[u8], at: usize, refusal: Refusal) -> Result<Line<T>, Refusal> {
    let has_end = text.get(at..).is_some_and(|rest| memchr::memchr(b'\n', rest).is_some());
    if has_end { Err(refusal) } else { Ok(Line::Partial) }
}

/// The line end at `at`: CR and LF, nothing else (RFC 9112, section 2.2 would allow a bare LF; readers differ).
pub(super) fn line_end(text: &[u8], at: usize, status: u16) -> Result<Line<()>, Refusal> {
    match text.get(at..) {
        None | Some([] | [b'\r']) => Ok(Line::Partial),
        Some([b'\r', b'\n', ..]) => Ok(Line::Whole((), at + 2)),
        Some([b'\r', ..]) => wrong(text, at, Refusal::new(status, "bare_cr")),
        Some([b'\n', ..]) => wrong(text, at, Refusal::new(status, "bare_lf")),
        Some(_) => wrong(text, at, Refusal::new(status, "invalid_header_value")),
    }
}

/// A field, as ranges of the text.
pub(super) struct RawField {
    pub id: HeaderId,
    pub name: Span,
    pub value: Span,
}

/// The field line at `at`, or `None` for the empty line that ends them.
///
/// White space before the colon, folding and control characters are refused (RFC 9112, 5.1 and 5.2).
#[inline]
pub(super) fn field_line(text: &[u8], at: usize, status: u16) -> Result<Line<Option<RawField>>, Refusal> {
    let near = near_colon(text, at);
    let mut colon = near.unwrap_or(at);
    let id = HeaderId::of_any_case(&text[at..colon]);
    // A known name is a token.
    if id == HeaderId::Other {
        colon = token_end(text, at);
        if colon == at || text.get(colon) != Some(&b':') {
            return no_field(text, at, colon, status);
        }
    }
    // The end of the text is not looked at by words.
    let id = if near.is_none() { HeaderId::of_any_case(&text[at..colon]) } else { id };
    let mut start = colon + 1;
    while let Some(b' ' | b'\t') = text.get(start) {
        start += 1;
    }
    let end = value_end(text, start);
    let next = match text.get(end..) {
        Some([b'\r', b'\n', ..]) => end + 2,
        _ => match line_end(text, end, status)? {
            Line::Whole((), next) => next,
            Line::Partial => return Ok(Line::Partial),
        },
    };
    let len = trim_end(&text[start..end]).len();
    let field = RawField { id, name: Span::between(at, colon), value: Span::between(start, start + len) };
    Ok(Line::Whole(Some(field), next))
}

#[cold]
fn no_field(text: &[u8], at: usize, stop: usize, status: u16) -> Result<Line<Option<RawField>>, Refusal> {
    let why = match (text.get(stop), stop == at) {
        (None, _) => return Ok(Line::Partial),
        (Some(b'\r'), true) => {
            return Ok(match line_end(text, at, status)? {
                Line::Whole((), next) => Line::Whole(None, next),
                Line::Partial => Line::Partial,
            });
        }
        (Some(b'\n'), _) => "bare_lf",
        (Some(b' ' | b'\t'), true) => "obs_fold",
        (Some(b' ' | b'\t'), false) => "space_before_colon",
        _ => "invalid_header_name",
    };
    wrong(text, stop, Refusal::new(status, why))
}

/// The fields from `at` to the empty line: `take` gets each; where they end, once that came.
pub(super) fn fields(
    text: &[u8],
    mut at: usize,
    limits: &Limits,
    status: u16,
    mut take: impl FnMut(RawField) -> Result<(), Refusal>,
) -> Result<Option<usize>, Refusal> {
    let mut count = 0;
    loop {
        match field_line(text, at, status)? {
            Line::Partial => return Ok(None),
            Line::Whole(None, end) => return Ok(Some(end)),
            Line::Whole(Some(field), next) => {
                count += 1;
                if count > limits.max_headers {
                    let status = if status == 400 { 431 } else { status };
                    return Err(Refusal::new(status, "too_many_headers"));
                }
                take(field)?;
                at = next;
            }
        }
    }
}

/// Trailers, which end with an empty line: where, once they are all there. They are read again from their start
/// until then; `max_trailer_bytes` bounds what that costs.
pub(super) fn trailers(
    buf: &[u8],
    limits: &Limits,
    into: &mut Headers,
    status: u16,
) -> Result<Option<usize>, Refusal> {
    let text = &buf[..buf.len().min(limits.max_trailer_bytes)];
    into.clear();
    let end = fields(text, 0, limits, status, |field| {
        into.push(field.name.of(text), field.value.of(text));
        Ok(())
    })?;
    match end {
        None if buf.len() >= limits.max_trailer_bytes => Err(Refusal::new(status, "trailers_too_large")),
        end => Ok(end),
    }
}

/// Without spaces and tabs around it.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    trim_end(text)
}

fn trim_end(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// Whether nothing can have come to pass since a head was last read: no line ended. Reading a slow head again at each
/// line, not at each octet, keeps its cost within `max_headers` readings.
pub(super) fn is_same_line(buf: &[u8], scanned: usize, limits: &Limits) -> bool {
    let text = &buf[..buf.len().min(limits.max_head_bytes)];
    scanned > 0
        && buf.len() < limits.max_head_bytes
        && memchr::memchr(b'\n', &text[scanned.min(text.len())..]).is_none()
}

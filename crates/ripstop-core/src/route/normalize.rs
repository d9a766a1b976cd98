//! Path normalisation (`normalize_path`, `merge_slashes`, `path_with_escaped_slashes_action`).
//!
//! Dot segments go (RFC 3986, section 5.2.4), unreserved characters are unescaped (section 6.2.2.2), what may not stand in
//! a path is escaped, and a backslash is a slash, as browsers and Envoy have it. Queries are left alone.
use super::rewrite::PathText;
use crate::http::RequestHead;
use crate::snapshot::{EscapedSlashes, HttpManager};

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathChange {
    /// Go on with the path as it is in the head now.
    Continue,
    /// Answer 307 with the head's path as `Location` (`UNESCAPE_AND_REDIRECT`); 400 for gRPC.
    Redirect,
}

/// The path cannot be made normal: 400, details `path_normalization_failed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathRefused;

/// Normalise the path of a request as its connection manager says.
///
/// # Errors
/// A fragment, an escaped slash that is to be refused, a NUL, or octets that are not UTF-8.
pub fn normalize_path(head: &mut RequestHead, manager: &HttpManager) -> Result<PathChange, PathRefused> {
    let path = head.path();
    if path.is_empty() || path == b"*" || is_normal(path, manager) {
        return Ok(PathChange::Continue);
    }
    if memchr::memchr(b'#', path).is_some() {
        return Err(PathRefused);
    }
    let split = memchr::memchr(b'?', path).unwrap_or(path.len());
    let (only, query) = path.split_at(split);
    let (mut new, change) = unescape_slashes(only, manager.escaped_slashes)?;
    if manager.normalize_path {
        new = canonical(&new)?;
    }
    if manager.merge_slashes {
        merge_slashes(&mut new);
    }
    new.extend_from_slice(query);
    if new[..] != *path {
        head.set_path(&new);
    }
    Ok(change)
}

/// Whether nothing can be there to do: one look at each octet, for the many paths that are in order.
fn is_normal(path: &[u8], manager: &HttpManager) -> bool {
    let (normalizes, merges) = (manager.normalize_path, manager.merge_slashes);
    let unescapes = normalizes || manager.escaped_slashes != EscapedSlashes::Keep;
    if memchr::memchr(b'#', path).is_some() || (normalizes && path[0] != b'/') {
        return false;
    }
    let mut before = 0;
    for byte in path {
        let is_suspect = match byte {
            b'?' => return true,
            b'%' => unescapes,
            b'.' => normalizes && before == b'/',
            b'/' => merges && before == b'/',
            _ => normalizes && CLASSES[usize::from(*byte)] == Class::Escape,
        };
        if is_suspect {
            return false;
        }
        before = *byte;
    }
    true
}

fn unescape_slashes(path: &[u8], action: EscapedSlashes) -> Result<(PathText, PathChange), PathRefused> {
    let mut text = PathText::from_slice(path);
    if action == EscapedSlashes::Keep || !unescape(&mut text) {
        return Ok((text, PathChange::Continue));
    }
    match action {
        EscapedSlashes::Reject => Err(PathRefused),
        EscapedSlashes::UnescapeAndRedirect => Ok((text, PathChange::Redirect)),
        EscapedSlashes::UnescapeAndForward | EscapedSlashes::Keep => Ok((text, PathChange::Continue)),
    }
}

/// `%2F` and `%5C` become what they stand for; whether there were any.
fn unescape(text: &mut PathText) -> bool {
    let (mut from, mut to) = (0, 0);
    while from < text.len() {
        let (byte, len) = match text.get(from..from + 3) {
            Some([b'%', b'2', b'f' | b'F']) => (b'/', 3),
            Some([b'%', b'5', b'c' | b'C']) => (b'\\', 3),
            _ => (text[from], 1),
        };
        text[to] = byte;
        (from, to) = (from + len, to + 1);
    }
    text.truncate(to);
    from != to
}

/// A path of nothing but slashes keeps two of them, as Envoy's does.
fn merge_slashes(text: &mut PathText) {
    if text.iter().all(|byte| *byte == b'/') {
        return text.truncate(2);
    }
    let mut before = 0;
    text.retain(|byte| {
        let is_double = before == b'/' && *byte == b'/';
        before = *byte;
        !is_double
    });
}

/// What is done with an octet in a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Stays as it is, escaped or not.
    Pass,
    /// Is escaped.
    Escape,
    /// Is unescaped: unreserved (RFC 3986, section 2.3).
    Unreserved,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Escape; 256];
    let mut byte = 0;
    while byte < 128 {
        let c = byte as u8;
        if c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_' | b'~') {
            classes[byte] = Class::Unreserved;
        } else if matches!(
            c,
            b'!' | b'$' | b'%' | b'&'..=b',' | b'/' | b':' | b';' | b'=' | b'@' | b'[' | b']'
        ) {
            classes[byte] = Class::Pass;
        }
        byte += 1;
    }
    classes
};

/// The canonical form of a path without its query.
fn canonical(path: &[u8]) -> Result<PathText, PathRefused> {
    let text = std::str::from_utf8(path).map_err(|_| PathRefused)?;
    let mut made = PathText::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    if !matches!(bytes.first(), Some(b'/' | b'\\')) {
        made.push(b'/');
    }
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'/' | b'\\' => {
                made.push(b'/');
                1
            }
            b'%' => take_escape(&bytes[at..], &mut made)?,
            0 => return Err(PathRefused),
            byte if CLASSES[usize::from(*byte)] == Class::Escape => {
                push_escaped(*byte, &mut made);
                1
            }
            byte => {
                made.push(*byte);
                1
            }
        };
    }
    remove_dot_segments(&mut made);
    Ok(made)
}

/// An escape is kept as it was written unless it stands for an unreserved character. A percent sign that begins none
/// stays, unless what follows it would make one once it is unescaped: `%%34%31` is no way to say `%41`.
fn take_escape(rest: &[u8], made: &mut PathText) -> Result<usize, PathRefused> {
    let Some(value) = escaped_value(rest) else {
        made.extend_from_slice(if becomes_escape(&rest[1..]) { b"%25" } else { b"%" });
        return Ok(1);
    };
    match CLASSES[usize::from(value)] {
        _ if value == 0 => return Err(PathRefused),
        Class::Unreserved => made.push(value),
        _ => made.extend_from_slice(&rest[..3]),
    }
    Ok(3)
}

/// Whether the next two characters are hexadecimal digits once they are unescaped.
fn becomes_escape(rest: &[u8]) -> bool {
    let unescaped = |rest: &[u8]| match escaped_value(rest) {
        Some(value) => (value, 3),
        None => (rest.first().copied().unwrap_or(0), 1),
    };
    let (first, len) = unescaped(rest);
    let (second, _) = unescaped(rest.get(len..).unwrap_or_default());
    first.is_ascii_hexdigit() && second.is_ascii_hexdigit()
}

fn escaped_value(rest: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = rest else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
    Some(digit(high)? << 4 | digit(low)?)
}

fn push_escaped(byte: u8, made: &mut PathText) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    made.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

/// RFC 3986, section 5.2.4, in place. A last segment of dots leaves a slash behind.
fn remove_dot_segments(text: &mut PathText) {
    let (mut from, mut to) = (0, 0);
    while from < text.len() {
        let end = memchr::memchr(b'/', &text[from + 1..]).map_or(text.len(), |at| from + 1 + at);
        match dots(&text[from + 1..end]) {
            0 => {
                text.copy_within(from..end, to);
                to += end - from;
            }
            dots => {
                if dots == 2 {
                    to = memchr::memrchr(b'/', &text[..to]).unwrap_or(0);
                }
                if end == text.len() {
                    text[to] = b'/';
                    to += 1;
                }
            }
        }
        from = end;
    }
    text.truncate(to);
}

/// How many dots a segment is; 0 for any other. Parameters after a semicolon do not count, for some servers drop them
/// before they look at dots.
fn dots(segment: &[u8]) -> usize {
    let name = &segment[..memchr::memchr(b';', segment).unwrap_or(segment.len())];
    if name == b"." || name == b".." { name.len() } else { 0 }
}

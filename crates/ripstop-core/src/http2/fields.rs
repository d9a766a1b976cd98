//! What a single field may look like in HTTP/2 (RFC 9113, sections 8.2.1, 8.2.2 and 8.3.1). A field that comes from the
//! compression table was checked when it went in.
use super::hpack::Kind;
use crate::http::HeaderId as Id;

/// `tchar` of RFC 9110, section 5.6.2, without upper case.
const NAME: u8 = 1;
/// What a value may have: all but controls; tab is allowed.
const VALUE: u8 = 2;
/// What a path or query may have: visible ASCII without `#`.
const PATH: u8 = 4;
/// What an authority may have: visible ASCII without what ends it or hides a user name.
const AUTHORITY: u8 = 8;
/// `tchar` with upper case.
const TOKEN: u8 = 16;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        let is_lower = byte.is_ascii_lowercase() || byte.is_ascii_digit() || is_mark(byte);
        if is_lower {
            table[at] |= NAME;
        }
        if is_lower || byte.is_ascii_uppercase() {
            table[at] |= TOKEN;
        }
        if byte == b'\t' || (byte >= 0x20 && byte != 0x7f) {
            table[at] |= VALUE;
        }
        if byte.is_ascii_graphic() && byte != b'#' {
            table[at] |= PATH;
            if !matches!(
                byte,
                b'/' | b'?' | b'@' | b'\\' | b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}'
            ) {
                table[at] |= AUTHORITY;
            }
        }
        at += 1;
    }
    table
}

const fn is_mark(byte: u8) -> bool {
    matches!(
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
    )
}

fn all(text: &[u8], class: u8) -> bool {
    text.iter().fold(class, |have, &byte| have & CLASS[byte as usize]) != 0
}

/// What is wrong with a field by itself.
pub(super) fn fault_of(kind: Kind, name: &[u8], value: &[u8]) -> Option<&'static str> {
    let is_right = match kind {
        Kind::Method => !value.is_empty() && all(value, TOKEN),
        Kind::Scheme => is_scheme(value),
        Kind::Authority => all(value, AUTHORITY),
        Kind::Path => all(value, PATH) && (value.starts_with(b"/") || value == b"*"),
        Kind::Protocol => !value.is_empty() && all(value, VALUE),
        Kind::Status => value.len() == 3 && value.iter().all(u8::is_ascii_digit) && value[0] != b'0',
        Kind::Pseudo => return Some("unknown pseudo-header"),
        Kind::Field(id) => return field_fault(id, name, value),
    };
    (!is_right).then_some(match kind {
        Kind::Method => "bad :method",
        Kind::Scheme => "bad :scheme",
        Kind::Authority => "bad :authority",
        Kind::Path => "bad :path",
        Kind::Protocol => "bad :protocol",
        _ => "bad :status",
    })
}

fn field_fault(id: Id, name: &[u8], value: &[u8]) -> Option<&'static str> {
    match id {
        Id::Connection | Id::ProxyConnection | Id::KeepAlive | Id::TransferEncoding | Id::Upgrade => {
            return Some("connection-specific field");
        }
        Id::Te if value != b"trailers" => return Some("te other than trailers"),
        Id::Host if !all(value, AUTHORITY) || value.is_empty() => return Some("bad host"),
        Id::Other if name.is_empty() || !all(name, NAME) => return Some("bad field name"),
        _ => {}
    }
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if !all(value, VALUE) {
        Some("control character in a value")
    } else if is_blank(value.first()) || is_blank(value.last()) {
        Some("white space around a value")
    } else {
        None
    }
}

fn is_scheme(value: &[u8]) -> bool {
    let [first, rest @ ..] = value else { return false };
    first.is_ascii_alphabetic() && rest.iter().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b))
}

/// The value of Content-Length: digits only, of a number that fits.
pub(super) fn length_of(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 {
        return None;
    }
    value.iter().try_fold(0u64, |sum, &byte| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0')))
}

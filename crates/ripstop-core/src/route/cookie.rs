//! Cookies: read one of a request, make one for a response.
use crate::http::{HeaderId, Headers};
use std::io::Write;
use std::time::Duration;

/// The value of a cookie; the last Cookie field that has it counts, quotes around it are taken away (RFC 6265, section 4.1.1).
pub fn cookie_value<'a>(fields: &'a Headers, name: &[u8]) -> Option<&'a [u8]> {
    fields.get_all(HeaderId::Cookie).filter_map(|field| in_field(field, name)).last()
}

fn in_field<'a>(field: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    field.split(|byte| *byte == b';').find_map(|pair| {
        let at = memchr::memchr(b'=', pair)?;
        let spaces = pair.iter().take_while(|byte| **byte == b' ').count().min(at);
        (&pair[spaces..at] == name).then(|| unquoted(&pair[at + 1..]))
    })
}

fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] => inner,
        _ => value,
    }
}

/// The value of a Set-Cookie field, as Envoy writes it. A lifetime of zero is left out: the cookie ends with the browser.
pub fn set_cookie(
    name: &[u8],
    value: &[u8],
    path: &[u8],
    ttl: Duration,
    attributes: &[(String, String)],
) -> Vec<u8> {
    let mut text = Vec::with_capacity(name.len() + value.len() + path.len() + 48);
    text.extend_from_slice(name);
    text.extend_from_slice(b"=\"");
    text.extend_from_slice(value);
    text.push(b'"');
    if ttl.as_secs() > 0 {
        let _ = write!(text, "; Max-Age={}", ttl.as_secs());
    }
    if !path.is_empty() {
        text.extend_from_slice(b"; Path=");
        text.extend_from_slice(path);
    }
    for (key, value) in attributes {
        let _ = match value.is_empty() {
            true => write!(text, "; {key}"),
            false => write!(text, "; {key}={value}"),
        };
    }
    text.extend_from_slice(b"; HttpOnly");
    text
}

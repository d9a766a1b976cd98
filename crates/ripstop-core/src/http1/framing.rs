//! How long a body is, from the fields of its head (RFC 9112, section 6): no two readings are possible, or it is refused.
use super::Refusal;
use super::parse::trim;
use crate::http::{HeaderId, Headers, Version};

/// What the fields say about framing and the connection.
#[derive(Debug, Default)]
pub(super) struct Framing {
    pub length: Option<u64>,
    pub is_chunked: bool,
    pub has_transfer_encoding: bool,
    pub closes: bool,
    pub keeps_alive: bool,
    pub upgrade_named: bool,
}

/// Read `Content-Length`, `Transfer-Encoding`, `Connection`.
pub(super) fn framing(headers: &mut Headers, version: Version, status: u16) -> Result<Framing, Refusal> {
    let refuse = |why| Refusal::new(status, why);
    let mut found = Framing::default();
    let mut lengths = 0;
    for value in headers.get_all(HeaderId::ContentLength) {
        let length = digits(value).ok_or(refuse("invalid_content_length"))?;
        if found.length.is_some_and(|before| before != length) {
            return Err(refuse("differing_content_lengths"));
        }
        found.length = Some(length);
        lengths += 1;
    }
    let mut codings = 0;
    for value in headers.get_all(HeaderId::TransferEncoding) {
        found.has_transfer_encoding = true;
        for coding in value.split(|byte| *byte == b',') {
            codings += 1;
            if !trim(coding).eq_ignore_ascii_case(b"chunked") {
                return Err(Refusal::new(
                    if status == 400 { 501 } else { status },
                    "unknown_transfer_coding",
                ));
            }
        }
    }
    if codings > 1 {
        return Err(refuse("chunked_twice"));
    }
    found.is_chunked = codings == 1;
    if found.has_transfer_encoding && version == Version::Http10 {
        return Err(refuse("transfer_encoding_in_http_10"));
    }
    if found.has_transfer_encoding && found.length.is_some() {
        return Err(refuse("content_length_and_transfer_encoding"));
    }
    if lengths > 1 {
        let mut text = itoa::Buffer::new();
        let length = text.format(found.length.unwrap_or(0)).as_bytes();
        headers.set(HeaderId::ContentLength, length);
    }
    for value in headers.get_all(HeaderId::Connection) {
        for option in value.split(|byte| *byte == b',').map(trim) {
            match option.len() {
                5 => found.closes |= option.eq_ignore_ascii_case(b"close"),
                10 => found.keeps_alive |= option.eq_ignore_ascii_case(b"keep-alive"),
                7 => found.upgrade_named |= option.eq_ignore_ascii_case(b"upgrade"),
                _ => {}
            }
        }
    }
    Ok(found)
}

impl Framing {
    /// Whether the connection stays open after the message (RFC 9112, 9.3).
    pub fn persists(&self, version: Version) -> bool {
        !self.closes && (version != Version::Http10 || self.keeps_alive)
    }
}

/// `1*DIGIT` below 2^63.
fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value =
        text.iter().try_fold(0u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')))?;
    (value < 1 << 63).then_some(value)
}

//! From decoded fields to heads: what makes a message malformed (RFC 9113, sections 8.1 to 8.5).
use super::fields::length_of;
use super::hpack::{Decoded, Kind};
use super::streams::NO_LENGTH;
use crate::http::{HeaderId, Headers, Method, RequestHead, ResponseHead, Version};

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Malformed(&'static str),
    /// More than SETTINGS_MAX_HEADER_LIST_SIZE.
    TooLarge,
}

const METHOD: u8 = 1;
const SCHEME: u8 = 2;
const AUTHORITY: u8 = 4;
const PATH: u8 = 8;
const PROTOCOL: u8 = 16;
const STATUS: u8 = 32;

/// What every kind of header section has in common.
struct Rules {
    /// Octets of the header list that may still come.
    room: usize,
    refusal: Option<Refusal>,
    /// A bit for each pseudo-header that came.
    pseudo: u8,
    has_fields: bool,
    length: u64,
}

impl Rules {
    fn new(room: usize) -> Rules {
        Rules { room, refusal: None, pseudo: 0, has_fields: false, length: NO_LENGTH }
    }

    fn malformed(&mut self, why: &'static str) {
        self.refusal.get_or_insert(Refusal::Malformed(why));
    }

    /// Whether to look at this field: nothing after the first fault is kept.
    #[inline]
    fn admit(&mut self, field: &Decoded<'_>) -> bool {
        match self.room.checked_sub(field.name.len() + field.value.len() + 32) {
            Some(room) => self.room = room,
            None => self.refusal = Some(Refusal::TooLarge),
        }
        if let Some(why) = field.fault {
            self.malformed(why);
        }
        self.refusal.is_none()
    }

    /// Note a pseudo-header: each may come once, before the fields.
    #[inline]
    fn pseudo(&mut self, bit: u8) -> bool {
        if self.has_fields {
            self.malformed("pseudo-header after a field");
        } else if self.pseudo & bit != 0 {
            self.malformed("pseudo-header twice");
        }
        self.pseudo |= bit;
        self.refusal.is_none()
    }

    /// Keep a field. Equal lengths are merged, others are a fault (RFC 9110, section 8.6).
    #[inline]
    fn keep(&mut self, id: HeaderId, field: &Decoded<'_>, headers: &mut Headers) {
        self.has_fields = true;
        if id == HeaderId::ContentLength {
            match length_of(field.value) {
                Some(length) if self.length == NO_LENGTH => self.length = length,
                Some(length) if self.length == length => return,
                _ => return self.malformed("bad content-length"),
            }
        }
        headers.push_decoded(id, field.name, field.value, field.sensitive);
    }

    fn outcome(&self) -> Result<u64, Refusal> {
        self.refusal.map_or(Ok(self.length), Err)
    }
}

/// Reads a request head.
pub(super) struct RequestReader<'a> {
    rules: Rules,
    head: &'a mut RequestHead,
    /// The crumbs that came, joined (RFC 9113, section 8.2.3).
    cookie: &'a mut Vec<u8>,
    has_sensitive_cookie: bool,
    has_host: bool,
}

impl<'a> RequestReader<'a> {
    pub(super) fn new(head: &'a mut RequestHead, cookie: &'a mut Vec<u8>, room: usize) -> Self {
        head.clear();
        head.version = Version::Http2;
        cookie.clear();
        RequestReader { rules: Rules::new(room), head, cookie, has_sensitive_cookie: false, has_host: false }
    }

    #[inline]
    pub(super) fn field(&mut self, field: Decoded<'_>) {
        if !self.rules.admit(&field) {
            return;
        }
        match field.kind {
            Kind::Field(HeaderId::Cookie) => self.crumb(&field),
            Kind::Field(HeaderId::Host) => self.host(field.value),
            Kind::Field(id) => self.rules.keep(id, &field, &mut self.head.headers),
            Kind::Method if self.rules.pseudo(METHOD) => self.head.set_method(field.value),
            Kind::Scheme if self.rules.pseudo(SCHEME) => self.head.set_scheme(field.value),
            Kind::Authority if self.rules.pseudo(AUTHORITY) => self.head.set_authority(field.value),
            Kind::Path if self.rules.pseudo(PATH) => self.head.set_path(field.value),
            Kind::Protocol if self.rules.pseudo(PROTOCOL) => self.head.set_protocol(field.value),
            _ => self.rules.malformed("pseudo-header of a response"),
        }
    }

    fn crumb(&mut self, field: &Decoded<'_>) {
        self.rules.has_fields = true;
        if !self.cookie.is_empty() {
            self.cookie.extend_from_slice(b"; ");
        }
        self.cookie.extend_from_slice(field.value);
        self.has_sensitive_cookie |= field.sensitive;
    }

    /// Host is the authority under another name; both must say the same (RFC 9113, section 8.3.1).
    fn host(&mut self, value: &[u8]) {
        self.rules.has_fields = true;
        if self.head.authority().is_empty() {
            self.head.set_authority(value);
        } else if !self.head.authority().eq_ignore_ascii_case(value) {
            self.rules.malformed("host differs from :authority");
        }
        if std::mem::replace(&mut self.has_host, true) {
            self.rules.malformed("host twice");
        }
    }

    /// The length that the head promises.
    pub(super) fn finish(mut self, end: bool, allow_connect: bool) -> Result<u64, Refusal> {
        if let Some(why) = self.missing(allow_connect) {
            self.rules.malformed(why);
        }
        if end && !matches!(self.rules.length, 0 | NO_LENGTH) {
            self.rules.malformed("content-length without content");
        }
        let length = self.rules.outcome()?;
        if !self.cookie.is_empty() {
            let is_sensitive = self.has_sensitive_cookie;
            self.head.headers.push_decoded(HeaderId::Cookie, b"cookie", self.cookie, is_sensitive);
        }
        Ok(length)
    }

    /// What is wrong with the pseudo-headers taken together (RFC 9113, sections 8.3.1 and 8.5; RFC 8441, section 4).
    fn missing(&self, allow_connect: bool) -> Option<&'static str> {
        let have = self.rules.pseudo;
        let is_connect = self.head.method() == Method::Connect;
        let is_extended = have & PROTOCOL != 0;
        let needed = if is_connect && !is_extended { METHOD } else { METHOD | SCHEME | PATH };
        if have & needed != needed {
            Some("pseudo-header missing")
        } else if is_extended && !(is_connect && allow_connect) {
            Some(":protocol where it is not allowed")
        } else if is_connect && !is_extended && have & (SCHEME | PATH) != 0 {
            Some("CONNECT with :scheme or :path")
        } else if self.head.authority().is_empty() {
            Some("no authority")
        } else if self.head.path() == b"*" && self.head.method() != Method::Options {
            Some("bad :path")
        } else {
            None
        }
    }
}

/// Reads a response head.
pub(super) struct ResponseReader<'a> {
    rules: Rules,
    head: &'a mut ResponseHead,
}

impl<'a> ResponseReader<'a> {
    pub(super) fn new(head: &'a mut ResponseHead, room: usize) -> Self {
        head.clear();
        head.version = Version::Http2;
        ResponseReader { rules: Rules::new(room), head }
    }

    #[inline]
    pub(super) fn field(&mut self, field: Decoded<'_>) {
        if !self.rules.admit(&field) {
            return;
        }
        match field.kind {
            Kind::Field(id) => self.rules.keep(id, &field, &mut self.head.headers),
            Kind::Status if self.rules.pseudo(STATUS) => {
                self.head.status = field.value.iter().fold(0, |sum, b| sum * 10 + u16::from(b & 15));
            }
            _ => self.rules.malformed("pseudo-header of a request"),
        }
    }

    /// The length that the head promises. `has_no_body`: the request was HEAD.
    pub(super) fn finish(mut self, end: bool, is_head: bool) -> Result<u64, Refusal> {
        let status = self.head.status;
        let has_no_body = is_head || status == 204 || status == 304;
        if status == 0 {
            self.rules.malformed("pseudo-header missing");
        } else if status == 101 {
            self.rules.malformed("101 in HTTP/2");
        } else if status < 200 && end {
            self.rules.malformed("an interim response that ends the stream");
        } else if end && !has_no_body && !matches!(self.rules.length, 0 | NO_LENGTH) {
            self.rules.malformed("content-length without content");
        }
        let length = self.rules.outcome()?;
        Ok(if has_no_body { 0 } else { length })
    }
}

/// Reads a trailer section.
pub(super) struct TrailerReader<'a> {
    rules: Rules,
    trailers: &'a mut Headers,
}

impl<'a> TrailerReader<'a> {
    pub(super) fn new(trailers: &'a mut Headers, room: usize) -> Self {
        trailers.clear();
        TrailerReader { rules: Rules::new(room), trailers }
    }

    pub(super) fn field(&mut self, field: Decoded<'_>) {
        if !self.rules.admit(&field) {
            return;
        }
        match field.kind {
            // Framing and routing have no place behind the content (RFC 9110, section 6.5.1).
            Kind::Field(HeaderId::ContentLength | HeaderId::Host | HeaderId::Te) => {}
            Kind::Field(id) => self.rules.keep(id, &field, self.trailers),
            _ => self.rules.malformed("pseudo-header in trailers"),
        }
    }

    pub(super) fn finish(mut self, end: bool) -> Result<u64, Refusal> {
        if !end {
            self.rules.malformed("a second head that does not end the stream");
        }
        self.rules.outcome()
    }
}

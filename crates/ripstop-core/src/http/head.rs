//! Heads of requests and responses.
use super::headers::Span;
use super::{HeaderId, Headers};

/// By which version a message came or goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
    /// HTTP/2
    Http2,
}

impl Version {
    /// As access logs show it (`%PROTOCOL%`).
    pub const fn name(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
            Version::Http2 => "HTTP/2",
        }
    }
}

/// How long a body is, as its head says (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is none; the head is all.
    Empty,
    /// Content-Length.
    Exact(u64),
    /// Transfer-Encoding: chunked, or HTTP/2 without a length.
    Chunked,
    /// Until the connection closes (responses only).
    UntilClose,
}

/// A request method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Method {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    Trace,
    Patch,
    Connect,
    /// Another token; its text is with the head.
    Other,
}

/// In the order of `Method`.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT"];

impl Method {
    /// The method of a token (case-sensitive, RFC 9110 section 9.1).
    pub fn of(token: &[u8]) -> Method {
        match token {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"OPTIONS" => Method::Options,
            b"TRACE" => Method::Trace,
            b"PATCH" => Method::Patch,
            b"CONNECT" => Method::Connect,
            _ => Method::Other,
        }
    }

    /// Whether repeating it has the effect of doing it once (RFC 9110, section 9.2.2).
    pub const fn is_idempotent(self) -> bool {
        use Method::{Delete, Get, Head, Options, Put, Trace};
        matches!(self, Get | Head | Options | Trace | Put | Delete)
    }
}

/// A request head. `Host` is no field of `headers`: it is the authority. Reused, it allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    /// The fields, without Host.
    pub headers: Headers,
    /// The version it came by.
    pub version: Version,
    kind: Method,
    method: Span,
    scheme: Span,
    authority: Span,
    path: Span,
    protocol: Span,
}

impl RequestHead {
    /// Forget all; capacity is kept.
    pub fn clear(&mut self) {
        self.headers.clear();
        self.version = Version::Http11;
        self.kind = Method::Get;
        let none = Span::default();
        (self.method, self.scheme, self.authority, self.path, self.protocol) = (none, none, none, none, none);
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.kind
    }

    /// The method's text.
    pub fn method_text(&self) -> &[u8] {
        match METHODS.get(self.kind as usize) {
            Some(name) => name.as_bytes(),
            None => self.headers.at(self.method),
        }
    }

    /// `http` or `https`; empty until it is known.
    pub fn scheme(&self) -> &[u8] {
        self.headers.at(self.scheme)
    }

    /// The host asked for, with its port if one came.
    pub fn authority(&self) -> &[u8] {
        self.headers.at(self.authority)
    }

    /// Path and query; `*` for OPTIONS of a server, empty for CONNECT.
    pub fn path(&self) -> &[u8] {
        self.headers.at(self.path)
    }

    /// The path without its query.
    pub fn path_only(&self) -> &[u8] {
        let path = self.path();
        &path[..memchr::memchr(b'?', path).unwrap_or(path.len())]
    }

    /// The query without its question mark, when there is one.
    pub fn query(&self) -> Option<&[u8]> {
        let path = self.path();
        memchr::memchr(b'?', path).map(|at| &path[at + 1..])
    }

    /// `:protocol` of an extended CONNECT (RFC 8441); empty without.
    pub fn protocol(&self) -> &[u8] {
        self.headers.at(self.protocol)
    }

    /// Set the method.
    pub fn set_method(&mut self, token: &[u8]) {
        self.kind = Method::of(token);
        if self.kind == Method::Other {
            self.method = self.headers.store(token);
        }
    }

    /// The method is in the text of the fields already.
    pub(crate) fn point_method(&mut self, kind: Method, text: Span) {
        (self.kind, self.method) = (kind, text);
    }

    /// The authority is in the text of the fields already.
    pub(crate) fn point_authority(&mut self, authority: Span) {
        self.authority = authority;
    }

    /// Path and query are in the text of the fields already.
    pub(crate) fn point_path(&mut self, path: Span) {
        self.path = path;
    }

    /// Set the scheme.
    pub fn set_scheme(&mut self, scheme: &[u8]) {
        self.scheme = self.headers.store(scheme);
    }

    /// Set the authority.
    pub fn set_authority(&mut self, authority: &[u8]) {
        self.authority = self.headers.store(authority);
    }

    /// Set path and query.
    pub fn set_path(&mut self, path: &[u8]) {
        self.path = self.headers.store(path);
    }

    /// Set `:protocol`.
    pub fn set_protocol(&mut self, protocol: &[u8]) {
        self.protocol = self.headers.store(protocol);
    }

    /// Whether this is gRPC (`application/grpc`, `application/grpc+…`).
    pub fn is_grpc(&self) -> bool {
        is_grpc(&self.headers)
    }

    /// The value of a header by name (lower case), pseudo headers and `host` among them, as matchers see it.
    pub fn value_of(&self, name: &[u8]) -> Option<&[u8]> {
        let pseudo = match name {
            b":method" => self.method_text(),
            b":path" => self.path(),
            b":authority" | b"host" => self.authority(),
            b":scheme" => self.scheme(),
            b":protocol" => self.protocol(),
            _ => return self.headers.get_name(name),
        };
        (!pseudo.is_empty()).then_some(pseudo)
    }
}

/// A response head. Reused, it allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    /// The fields.
    pub headers: Headers,
    /// The version it came by.
    pub version: Version,
    /// The status code.
    pub status: u16,
}

impl ResponseHead {
    /// Forget all; capacity is kept.
    pub fn clear(&mut self) {
        self.headers.clear();
        self.version = Version::Http11;
        self.status = 0;
    }

    /// Whether it is an interim answer (1xx), 101 excepted.
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// Whether this is gRPC.
    pub fn is_grpc(&self) -> bool {
        is_grpc(&self.headers)
    }
}

fn is_grpc(headers: &Headers) -> bool {
    headers
        .get(HeaderId::ContentType)
        .and_then(|kind| kind.strip_prefix(b"application/grpc"))
        .is_some_and(|rest| rest.is_empty() || rest[0] == b'+' || rest[0] == b';')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_its_token_and_nothing_else() {
        let mut head = RequestHead::default();
        for token in METHODS.into_iter().chain(["get", "PURGE", "GETS", "GE"]) {
            head.clear();
            head.set_method(token.as_bytes());
            assert_eq!(head.method_text(), token.as_bytes());
            assert_eq!(head.method() == Method::Other, !METHODS.contains(&token));
        }
    }
}

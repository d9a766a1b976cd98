//! The static table (RFC 7541, Appendix A).
use super::Kind;
use crate::http::HeaderId as Id;

/// How many entries there are; the dynamic table begins after them.
pub(super) const COUNT: usize = 61;

const fn other() -> Kind {
    Kind::Field(Id::Other)
}

const fn known(id: Id) -> Kind {
    Kind::Field(id)
}

/// Kind, name, value; index 1 is the first.
#[rustfmt::skip]
pub(super) static TABLE: [(Kind, &str, &str); COUNT] = [
    (Kind::Authority, ":authority", ""),
    (Kind::Method, ":method", "GET"),
    (Kind::Method, ":method", "POST"),
    (Kind::Path, ":path", "/"),
    (Kind::Path, ":path", "/index.html"),
    (Kind::Scheme, ":scheme", "http"),
    (Kind::Scheme, ":scheme", "https"),
    (Kind::Status, ":status", "200"),
    (Kind::Status, ":status", "204"),
    (Kind::Status, ":status", "206"),
    (Kind::Status, ":status", "304"),
    (Kind::Status, ":status", "400"),
    (Kind::Status, ":status", "404"),
    (Kind::Status, ":status", "500"),
    (other(), "accept-charset", ""),
    (known(Id::AcceptEncoding), "accept-encoding", "gzip, deflate"),
    (known(Id::AcceptLanguage), "accept-language", ""),
    (known(Id::AcceptRanges), "accept-ranges", ""),
    (known(Id::Accept), "accept", ""),
    (known(Id::AccessControlAllowOrigin), "access-control-allow-origin", ""),
    (other(), "age", ""),
    (other(), "allow", ""),
    (known(Id::Authorization), "authorization", ""),
    (known(Id::CacheControl), "cache-control", ""),
    (other(), "content-disposition", ""),
    (known(Id::ContentEncoding), "content-encoding", ""),
    (other(), "content-language", ""),
    (known(Id::ContentLength), "content-length", ""),
    (other(), "content-location", ""),
    (other(), "content-range", ""),
    (known(Id::ContentType), "content-type", ""),
    (known(Id::Cookie), "cookie", ""),
    (known(Id::Date), "date", ""),
    (known(Id::Etag), "etag", ""),
    (known(Id::Expect), "expect", ""),
    (other(), "expires", ""),
    (other(), "from", ""),
    (known(Id::Host), "host", ""),
    (other(), "if-match", ""),
    (other(), "if-modified-since", ""),
    (other(), "if-none-match", ""),
    (other(), "if-range", ""),
    (other(), "if-unmodified-since", ""),
    (known(Id::LastModified), "last-modified", ""),
    (other(), "link", ""),
    (known(Id::Location), "location", ""),
    (other(), "max-forwards", ""),
    (known(Id::ProxyAuthenticate), "proxy-authenticate", ""),
    (known(Id::ProxyAuthorization), "proxy-authorization", ""),
    (other(), "range", ""),
    (known(Id::Referer), "referer", ""),
    (other(), "refresh", ""),
    (known(Id::RetryAfter), "retry-after", ""),
    (known(Id::Server), "server", ""),
    (known(Id::SetCookie), "set-cookie", ""),
    (other(), "strict-transport-security", ""),
    (known(Id::TransferEncoding), "transfer-encoding", ""),
    (known(Id::UserAgent), "user-agent", ""),
    (known(Id::Vary), "vary", ""),
    (known(Id::Via), "via", ""),
    (other(), "www-authenticate", ""),
];

/// The index of the name of each known header; zero when there is none.
static FIELD_INDEX: [u8; Id::COUNT] = field_index();

const fn field_index() -> [u8; Id::COUNT] {
    let mut index = [0; Id::COUNT];
    let mut at = 0;
    while at < COUNT {
        if let Kind::Field(id) = TABLE[at].0 {
            index[id as usize] = at as u8 + 1;
        }
        at += 1;
    }
    index[Id::Other as usize] = 0;
    index
}

/// The index of a name; zero when it is not in the table.
pub(super) fn name_index(kind: Kind) -> usize {
    match kind {
        Kind::Authority => 1,
        Kind::Method => 2,
        Kind::Path => 4,
        Kind::Scheme => 6,
        Kind::Status => 8,
        Kind::Protocol | Kind::Pseudo => 0,
        Kind::Field(id) => usize::from(FIELD_INDEX[id as usize]),
    }
}

/// The index of a field with exactly this value; zero when it is not in the table.
#[inline]
pub(super) fn exact_index(kind: Kind, value: &[u8]) -> usize {
    match (kind, value) {
        (Kind::Method, b"GET") => 2,
        (Kind::Method, b"POST") => 3,
        (Kind::Path, b"/") => 4,
        (Kind::Path, b"/index.html") => 5,
        (Kind::Scheme, b"http") => 6,
        (Kind::Scheme, b"https") => 7,
        (Kind::Status, b"200") => 8,
        (Kind::Status, b"204") => 9,
        (Kind::Status, b"206") => 10,
        (Kind::Status, b"304") => 11,
        (Kind::Status, b"400") => 12,
        (Kind::Status, b"404") => 13,
        (Kind::Status, b"500") => 14,
        (Kind::Field(Id::AcceptEncoding), b"gzip, deflate") => 16,
        _ => 0,
    }
}

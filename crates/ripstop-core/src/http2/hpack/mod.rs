//! Header compression for HTTP/2 (RFC 7541).
mod decoder;
mod encoder;
pub mod huffman;
mod integer;
mod statics;
mod table;
#[cfg(test)]
mod tests;

pub use decoder::{Decoded, Decoder, HpackError};
pub use encoder::Encoder;

use crate::http::HeaderId;

/// What a name means, decided once when it is first read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `:method`
    Method,
    /// `:scheme`
    Scheme,
    /// `:authority`
    Authority,
    /// `:path`
    Path,
    /// `:protocol` (RFC 8441)
    Protocol,
    /// `:status`
    Status,
    /// Another name with a colon in front.
    Pseudo,
    /// A field.
    Field(HeaderId),
}

impl Kind {
    /// The kind of a name in lower case.
    pub fn of(name: &[u8]) -> Kind {
        match name {
            b":method" => Kind::Method,
            b":scheme" => Kind::Scheme,
            b":authority" => Kind::Authority,
            b":path" => Kind::Path,
            b":protocol" => Kind::Protocol,
            b":status" => Kind::Status,
            [b':', ..] => Kind::Pseudo,
            _ => Kind::Field(HeaderId::of(name)),
        }
    }

    /// The name; empty when the kind does not tell it.
    #[inline]
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Method => ":method",
            Kind::Scheme => ":scheme",
            Kind::Authority => ":authority",
            Kind::Path => ":path",
            Kind::Protocol => ":protocol",
            Kind::Status => ":status",
            Kind::Pseudo => "",
            Kind::Field(id) => id.name(),
        }
    }
}

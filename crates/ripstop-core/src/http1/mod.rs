//! HTTP/1.1 as bytes (RFC 9112), without leniency: what two readers could understand differently is refused.
mod body;
mod framing;
mod parse;
mod request;
mod response;
mod strip;
mod target;
#[cfg(test)]
mod tests;
mod write;

pub use body::{BodyDecoder, Decoded};
pub use request::{RequestMeta, parse_request};
pub use response::{ResponseMeta, parse_response};
pub use strip::{strip_hop_by_hop_request, strip_hop_by_hop_response};
pub use write::{chunk_header, write_chunk, write_last_chunk, write_request, write_response};

/// What a message may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a head, start line and empty line included.
    pub max_head_bytes: usize,
    /// Fields of a head or of trailers.
    pub max_headers: usize,
    /// Bytes of one chunk's extensions.
    pub max_chunk_extension: usize,
    /// Bytes of all extensions of a message.
    pub max_chunk_extensions: usize,
    /// Bytes of the trailer section.
    pub max_trailer_bytes: usize,
    /// Bytes of a request target.
    pub max_target: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_head_bytes: 60 * 1024,
            max_headers: 100,
            max_chunk_extension: 256,
            max_chunk_extensions: 4096,
            max_trailer_bytes: 16 * 1024,
            max_target: 32 * 1024,
        }
    }
}

/// How far a head was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// More bytes are needed.
    Incomplete,
    /// It ends after so many bytes.
    Complete(usize),
}

/// A message that is not understood, and must not be guessed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What a server answers; 502 for an answer of an upstream.
    pub status: u16,
    /// The rule, as response code details show it.
    pub why: &'static str,
}

impl Refusal {
    pub(crate) const fn new(status: u16, why: &'static str) -> Refusal {
        Refusal { status, why }
    }
}

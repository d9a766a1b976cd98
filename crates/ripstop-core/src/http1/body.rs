//! Bodies: by length, in chunks, until the connection closes (RFC 9112, sections 6 and 7).
use super::parse::{trailers, value_end};
use super::{Limits, Refusal};
use crate::http::{BodyLength, Headers};
use std::ops::Range;

/// What one call made of its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes used.
    pub consumed: usize,
    /// Bytes of the body, a range of the input.
    pub data: Range<usize>,
    /// The body is complete.
    pub done: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Exact(u64),
    UntilClose,
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    Done,
}

/// Reads one body.
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
    extensions: usize,
    trailers: Option<Box<Headers>>,
}

/// For a body of an answer the caller says 502.
const REFUSED: u16 = 400;

impl BodyDecoder {
    /// A decoder for a body of this framing.
    pub fn new(length: BodyLength) -> BodyDecoder {
        let state = match length {
            BodyLength::Empty | BodyLength::Exact(0) => State::Done,
            BodyLength::Exact(length) => State::Exact(length),
            BodyLength::Chunked => State::ChunkSize,
            BodyLength::UntilClose => State::UntilClose,
        };
        BodyDecoder { state, extensions: 0, trailers: None }
    }

    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the connection's end is the body's.
    pub fn ends_with_connection(&self) -> bool {
        self.state == State::UntilClose
    }

    /// Move the trailers that came into `into`.
    pub fn take_trailers(&mut self, into: &mut Headers) {
        if let Some(trailers) = self.trailers.take() {
            *into = *trailers;
        }
    }

    /// Read the next piece; each call gives at most one range. What it does not consume, a line whose end has not come,
    /// is to be given again with what follows.
    ///
    /// # Errors
    /// Chunks that are not exactly as RFC 9112, section 7.1 says.
    pub fn decode(&mut self, input: &[u8], limits: &Limits) -> Result<Decoded, Refusal> {
        let mut at = 0;
        loop {
            match self.state {
                State::Done => return Ok(self.gave(at, at..at)),
                State::UntilClose => return Ok(self.gave(input.len(), at..input.len())),
                State::Exact(left) => {
                    let end = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let left = left - end as u64;
                    self.state = if left == 0 { State::Done } else { State::Exact(left) };
                    return Ok(self.gave(end, 0..end));
                }
                State::ChunkData(left) => return Ok(self.chunk_data(input, at, left)),
                State::ChunkEnd => match &input[at..] {
                    [b'\r', b'\n', ..] => {
                        at += 2;
                        self.state = State::ChunkSize;
                    }
                    [] | [b'\r'] => return Ok(self.gave(at, at..at)),
                    _ => return Err(Refusal::new(REFUSED, "invalid_chunk_end")),
                },
                State::ChunkSize => {
                    let Some((used, size)) = self.chunk_size(&input[at..], limits)? else {
                        return Ok(self.gave(at, at..at));
                    };
                    at += used;
                    self.state = if size == 0 { State::Trailers } else { State::ChunkData(size) };
                }
                State::Trailers => match self.trailers(&input[at..], limits)? {
                    Some(used) => {
                        at += used;
                        self.state = State::Done;
                    }
                    None => return Ok(self.gave(at, at..at)),
                },
            }
        }
    }

    fn chunk_data(&mut self, input: &[u8], start: usize, left: u64) -> Decoded {
        let len = (input.len() - start).min(usize::try_from(left).unwrap_or(usize::MAX));
        let end = start + len;
        let left = left - len as u64;
        self.state = if left == 0 { State::ChunkEnd } else { State::ChunkData(left) };
        // The usual end in one go: the data and that it was the last.
        if left == 0 && input[end..].starts_with(b"\r\n0\r\n\r\n") {
            self.state = State::Done;
            return self.gave(end + 7, start..end);
        }
        self.gave(end, start..end)
    }

    fn trailers(&mut self, input: &[u8], limits: &Limits) -> Result<Option<usize>, Refusal> {
        if input.starts_with(b"\r\n") {
            return Ok(Some(2));
        }
        let mut found = Headers::new();
        let used = trailers(input, limits, &mut found, REFUSED)?;
        if used.is_some() {
            remove_not_allowed(&mut found);
            self.trailers = (!found.is_empty()).then(|| Box::new(found));
        }
        Ok(used)
    }

    fn gave(&self, consumed: usize, data: Range<usize>) -> Decoded {
        Decoded { consumed, data, done: self.is_done() }
    }

    /// A chunk's first line, once it is whole: how many bytes it has, the chunk's size. No white space, no bare CR or LF.
    fn chunk_size(&mut self, input: &[u8], limits: &Limits) -> Result<Option<(usize, u64)>, Refusal> {
        let refuse = |why| Err(Refusal::new(REFUSED, why));
        let (mut size, mut digits) = (0u64, 0);
        while let Some(digit) = input.get(digits).and_then(|byte| char::from(*byte).to_digit(16)) {
            digits += 1;
            if digits > 16 || size >> 59 != 0 {
                return refuse("chunk_size_overflow");
            }
            size = size << 4 | u64::from(digit);
        }
        let rest = &input[digits..];
        match rest {
            [] => Ok(None),
            _ if digits == 0 => refuse("invalid_chunk_size"),
            [b'\r'] => Ok(None),
            [b'\r', b'\n', ..] => Ok(Some((digits + 2, size))),
            [b';', ..] => Ok(self.extension(rest, limits)?.map(|len| (digits + len + 2, size))),
            _ => refuse("invalid_chunk_size"),
        }
    }

    /// The length of a chunk's extensions, which are dropped. A CR or LF within them is how two readers come apart.
    fn extension(&mut self, rest: &[u8], limits: &Limits) -> Result<Option<usize>, Refusal> {
        let refuse = |why| Err(Refusal::new(REFUSED, why));
        let end = value_end(&rest[..rest.len().min(limits.max_chunk_extension + 1)], 0);
        if end > limits.max_chunk_extension {
            return refuse("chunk_extension_too_long");
        }
        match &rest[end..] {
            [] | [b'\r'] => Ok(None),
            [b'\r', b'\n', ..] => {
                self.extensions += end;
                let is_within = self.extensions <= limits.max_chunk_extensions;
                if is_within { Ok(Some(end)) } else { refuse("chunk_extensions_too_long") }
            }
            _ => refuse("invalid_chunk_extension"),
        }
    }
}

/// Trailers never say how a message is framed, routed, authorised or read (RFC 9110, section 6.5.1).
fn remove_not_allowed(trailers: &mut Headers) {
    use crate::http::HeaderId as Id;
    trailers.retain(|field| {
        let is_framing = matches!(
            field.id,
            Id::Connection
                | Id::ContentLength
                | Id::Host
                | Id::KeepAlive
                | Id::ProxyConnection
                | Id::Te
                | Id::Trailer
                | Id::TransferEncoding
                | Id::Upgrade
                | Id::Http2Settings
        );
        let is_content = matches!(field.id, Id::CacheControl | Id::ContentEncoding | Id::ContentType);
        let is_access = matches!(
            field.id,
            Id::Authorization
                | Id::Cookie
                | Id::Expect
                | Id::Location
                | Id::ProxyAuthenticate
                | Id::ProxyAuthorization
                | Id::SetCookie
                | Id::XRequestId
        );
        let is_forwarded = field.id == Id::Forwarded || field.name.starts_with(b"x-forwarded-");
        let is_ours = field.name.starts_with(b"x-envoy-") || field.name.starts_with(b"x-ripstop-");
        !(is_framing || is_content || is_access || is_forwarded || is_ours)
    });
}

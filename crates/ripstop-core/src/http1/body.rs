//! Bodies: by length, in chunks, until the connection closes (RFC 9112, sections 6 and 7).
use super::parse::trailers;
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

    /// Read the next piece. Called in a loop: each call gives at most one range.
    ///
    /// # Errors
    /// Chunks that are not exactly as RFC 9112, section 7.1 says.
    pub fn decode(&mut self, input: &[u8], limits: &Limits) -> Result<Decoded, Refusal> {
        let mut at = 0;
        loop {
            match self.state {
                State::Exact(left) | State::ChunkData(left) => {
                    let available = input.len() - at;
                    let len = usize::try_from(left).unwrap_or(usize::MAX).min(available);
                    let rest = left - len as u64;
                    let is_chunk = matches!(self.state, State::ChunkData(_));
                    self.state = match (rest, is_chunk) {
                        (0, true) => State::ChunkEnd,
                        (0, false) => State::Done,
                        (rest, true) => State::ChunkData(rest),
                        (rest, false) => State::Exact(rest),
                    };
                    return Ok(self.gave(at + len, at..at + len));
                }
                State::UntilClose => return Ok(self.gave(input.len(), at..input.len())),
                State::Done => return Ok(self.gave(at, 0..0)),
                State::ChunkEnd => match &input[at..] {
                    [b'\r', b'\n', ..] => {
                        at += 2;
                        self.state = State::ChunkSize;
                    }
                    [] | [b'\r'] => return Ok(self.gave(at, 0..0)),
                    _ => return Err(Refusal::new(REFUSED, "invalid_chunk_end")),
                },
                State::ChunkSize => match self.chunk_size(&input[at..], limits)? {
                    Some((used, 0)) => {
                        at += used;
                        self.state = State::Trailers;
                    }
                    Some((used, size)) => {
                        at += used;
                        self.state = State::ChunkData(size);
                    }
                    None => return Ok(self.gave(at, 0..0)),
                },
                State::Trailers => {
                    let mut found = Headers::new();
                    let Some(used) = trailers(&input[at..], limits, &mut found, REFUSED)? else {
                        return Ok(self.gave(at, 0..0));
                    };
                    at += used;
                    self.state = State::Done;
                    if !found.is_empty() {
                        self.trailers = Some(Box::new(without_framing(found)));
                    }
                }
            }
        }
    }

    fn gave(&self, consumed: usize, data: Range<usize>) -> Decoded {
        Decoded { consumed, data, done: self.is_done() }
    }

    /// A chunk's first line: how many bytes it has, the chunk's size.
    fn chunk_size(&mut self, input: &[u8], limits: &Limits) -> Result<Option<(usize, u64)>, Refusal> {
        let refuse = |why| Err(Refusal::new(REFUSED, why));
        let mut size = 0u64;
        let mut digits = 0;
        for byte in input.iter().take(17) {
            let Some(digit) = char::from(*byte).to_digit(16) else { break };
            digits += 1;
            if digits > 15 {
                return refuse("chunk_size_overflow");
            }
            size = size << 4 | u64::from(digit);
        }
        let rest = &input[digits..];
        if digits == 0 {
            return if rest.is_empty() { Ok(None) } else { refuse("invalid_chunk_size") };
        }
        match rest {
            [] | [b'\r'] => return Ok(None),
            [b'\r', b'\n', ..] => return Ok(Some((digits + 2, size))),
            [b';', ..] => {}
            _ => return refuse("invalid_chunk_size"),
        }
        // Extensions are dropped; a CR or LF within them is how two readers come apart.
        let looked_at = &rest[..rest.len().min(limits.max_chunk_extension + 2)];
        match memchr::memchr2(b'\r', b'\n', looked_at) {
            None if rest.len() > limits.max_chunk_extension => refuse("chunk_extension_too_long"),
            None => Ok(None),
            Some(end) if looked_at[end] == b'\n' => refuse("invalid_chunk_extension"),
            Some(end) => match rest.get(end + 1) {
                None => Ok(None),
                Some(b'\n') => {
                    self.extensions += end;
                    if self.extensions > limits.max_chunk_extensions {
                        return refuse("chunk_extensions_too_long");
                    }
                    Ok(Some((digits + end + 2, size)))
                }
                Some(_) => refuse("invalid_chunk_extension"),
            },
        }
    }
}

/// Trailers never say how a message is framed, routed or authorised (RFC 9110, section 6.5.1).
fn without_framing(mut trailers: Headers) -> Headers {
    use crate::http::HeaderId::{
        Authorization, Connection, ContentLength, Cookie, Host, KeepAlive, ProxyConnection, SetCookie, Te,
        TransferEncoding, Upgrade, XForwardedClientCert, XForwardedFor,
    };
    trailers.retain(|field| {
        !matches!(
            field.id,
            Authorization
                | Connection
                | ContentLength
                | Cookie
                | Host
                | KeepAlive
                | ProxyConnection
                | SetCookie
                | Te
                | TransferEncoding
                | Upgrade
                | XForwardedClientCert
                | XForwardedFor
        )
    });
    trailers
}

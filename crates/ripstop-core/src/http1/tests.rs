//! The codec as a peer sees it.
mod bodies;
mod cost;
mod heads;
mod refused;
mod splits;
mod written;

use super::{BodyDecoder, Limits, Parsed, Refusal, RequestMeta, ResponseMeta};
use super::{parse_request, parse_response};
use crate::http::{BodyLength, Headers, Method, RequestHead, ResponseHead};

/// A request read at once; it must be whole.
fn request(text: &[u8]) -> Result<(RequestHead, RequestMeta, usize), Refusal> {
    let mut head = RequestHead::default();
    match parse_request(text, &mut 0, &Limits::default(), &mut head)? {
        (Parsed::Complete(used), meta) => Ok((head, meta, used)),
        (Parsed::Incomplete, _) => panic!("incomplete: {}", text.escape_ascii()),
    }
}

/// A response to `method` read at once; it must be whole.
fn response_to(method: Method, text: &[u8]) -> Result<(ResponseHead, ResponseMeta, usize), Refusal> {
    let mut head = ResponseHead::default();
    match parse_response(text, &mut 0, method, &Limits::default(), &mut head)? {
        (Parsed::Complete(used), meta) => Ok((head, meta, used)),
        (Parsed::Incomplete, _) => panic!("incomplete: {}", text.escape_ascii()),
    }
}

fn response(text: &[u8]) -> Result<(ResponseHead, ResponseMeta, usize), Refusal> {
    response_to(Method::Get, text)
}

/// What reading a body came to: its bytes, trailers, how much was used, whether it ended.
#[derive(Debug, Default, PartialEq)]
struct Body {
    data: Vec<u8>,
    trailers: Headers,
    used: usize,
    done: bool,
}

/// Read a body from pieces, as the caller does: what is not consumed is given again with the next piece.
fn body(length: BodyLength, pieces: &[&[u8]], limits: &Limits) -> Result<Body, Refusal> {
    let mut decoder = BodyDecoder::new(length);
    let (mut kept, mut read) = (Vec::new(), Body::default());
    for piece in pieces {
        kept.extend_from_slice(piece);
        loop {
            let decoded = decoder.decode(&kept, limits)?;
            read.data.extend_from_slice(&kept[decoded.data.clone()]);
            read.used += decoded.consumed;
            kept.drain(..decoded.consumed);
            assert_eq!(decoded.done, decoder.is_done());
            if decoded.consumed == 0 || decoded.done {
                break;
            }
        }
    }
    decoder.take_trailers(&mut read.trailers);
    read.done = decoder.is_done();
    Ok(read)
}

fn chunked(text: &[u8]) -> Result<Body, Refusal> {
    body(BodyLength::Chunked, &[text], &Limits::default())
}

//! Heads, chunks and trailers as bytes. Framing is written by us alone, whatever fields came.
use crate::http::{BodyLength, HeaderId, Headers, Method, RequestHead, ResponseHead, Version};

/// Write a request's head: origin form, or authority form for CONNECT; Host first.
pub fn write_request(head: &RequestHead, body: BodyLength, keep_alive: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(head.method_text());
    out.push(b' ');
    let target = if head.method() == Method::Connect { head.authority() } else { head.path() };
    out.extend_from_slice(if target.is_empty() { b"/" } else { target });
    out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    out.extend_from_slice(head.authority());
    out.extend_from_slice(b"\r\n");
    head.headers.write_lines(OURS, out);
    if head.headers.has(HeaderId::Upgrade) {
        out.extend_from_slice(b"connection: upgrade\r\n");
    } else if !keep_alive {
        out.extend_from_slice(b"connection: close\r\n");
    }
    framing(body, out);
    out.extend_from_slice(b"\r\n");
}

/// Write a response's head for a request of `method` that came by `version`.
pub fn write_response(
    head: &ResponseHead,
    body: BodyLength,
    method: Method,
    version: Version,
    keep_alive: bool,
    out: &mut Vec<u8>,
) {
    if head.status == 200 {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    } else {
        let mut text = itoa::Buffer::new();
        let status = text.format(head.status).as_bytes();
        for part in [b"HTTP/1.1 ", status, b" ", reason(head.status).as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    head.headers.write_lines(OURS, out);
    let has_no_length = head.status < 200 || head.status == 204;
    let is_tunnel = method == Method::Connect && (200..300).contains(&head.status);
    if head.status == 101 {
        out.extend_from_slice(b"connection: upgrade\r\n");
    } else if head.status >= 200 && !is_tunnel {
        if !keep_alive {
            out.extend_from_slice(b"connection: close\r\n");
        } else if version == Version::Http10 {
            out.extend_from_slice(b"connection: keep-alive\r\n");
        }
    }
    if !has_no_length && !is_tunnel {
        framing(body, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Fields that are ours to write, if they are written at all.
const OURS: u128 = ids(&[
    HeaderId::Host,
    HeaderId::ContentLength,
    HeaderId::TransferEncoding,
    HeaderId::Connection,
    HeaderId::KeepAlive,
    HeaderId::ProxyConnection,
]);

const fn ids(list: &[HeaderId]) -> u128 {
    let (mut set, mut at) = (0, 0);
    while at < list.len() {
        set |= 1 << list[at] as u32;
        at += 1;
    }
    set
}

fn framing(body: BodyLength, out: &mut Vec<u8>) {
    match body {
        BodyLength::Exact(length) => {
            out.extend_from_slice(b"content-length: ");
            let mut text = itoa::Buffer::new();
            out.extend_from_slice(text.format(length).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        BodyLength::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        BodyLength::Empty | BodyLength::UntilClose => {}
    }
}

/// The first line of a chunk of `len` bytes.
pub fn chunk_header(len: usize, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        out.push(HEX[len >> (digit * 4) & 15]);
    }
    out.extend_from_slice(b"\r\n");
}

/// A whole chunk; nothing for no data, since an empty chunk is the end.
pub fn write_chunk(data: &[u8], out: &mut Vec<u8>) {
    if !data.is_empty() {
        chunk_header(data.len(), out);
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
}

/// The last chunk, trailers, the end.
pub fn write_last_chunk(trailers: Option<&Headers>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        trailers.write_lines(OURS, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// The phrase of a status (RFC 9110, section 15).
fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Payload Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Entity",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        511 => "Network Authentication Required",
        _ => "Unknown",
    }
}

//! Bodies and trailers.
use super::{body, chunked};
use crate::http::BodyLength::{Chunked, Empty, Exact, UntilClose};
use crate::http1::{BodyDecoder, Limits};

#[test]
fn a_body_by_length_ends_where_it_ends() {
    let read = body(Exact(5), &[b"he", b"llo, more"], &Limits::default()).unwrap();
    assert_eq!((read.data.as_slice(), read.used, read.done), (&b"hello"[..], 5, true));
    assert!(BodyDecoder::new(Exact(0)).is_done() && BodyDecoder::new(Empty).is_done());
    assert!(!body(Exact(5), &[b"hell"], &Limits::default()).unwrap().done);
}

#[test]
fn a_body_until_close_never_ends_by_itself() {
    let read = body(UntilClose, &[b"he", b"llo"], &Limits::default()).unwrap();
    assert_eq!((read.data.as_slice(), read.done), (&b"hello"[..], false));
    assert!(BodyDecoder::new(UntilClose).ends_with_connection());
}

#[test]
fn chunks_are_read_and_extensions_are_dropped() {
    let text = b"5\r\nhello\r\n00A;name=\"value\";x\r\n, worlds!!\r\n1;\r\n.\r\n0;last\r\n\r\nGET";
    let read = chunked(text).unwrap();
    assert_eq!(read.data, b"hello, worlds!!.");
    assert_eq!((&text[read.used..], read.done, read.trailers.is_empty()), (&b"GET"[..], true, true));
}

#[test]
fn the_last_chunk_comes_with_its_end() {
    let input = b"5\r\nhello\r\n0\r\n\r\nnext";
    let decoded = BodyDecoder::new(Chunked).decode(input, &Limits::default()).unwrap();
    assert_eq!((decoded.consumed, decoded.data, decoded.done), (15, 3..8, true));
}

#[test]
fn trailers_come_without_what_they_must_not_say() {
    let text = b"3\r\nabc\r\n0\r\nGrpc-Status: 0\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\nHost: evil\r\n\
        Authorization: x\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Client-Cert: y\r\nX-Envoy-Internal: true\r\n\
        Set-Cookie: a\r\nContent-Type: b\r\nX-Sum: 7\r\n\r\n";
    let read = chunked(text).unwrap();
    let kept: Vec<_> = read.trailers.iter().map(|field| (field.name, field.value)).collect();
    assert_eq!(kept, [(&b"grpc-status"[..], &b"0"[..]), (b"x-sum", b"7")]);
    assert_eq!(read.used, text.len());
}

#[test]
fn extensions_and_trailers_have_limits() {
    let limits = Limits {
        max_chunk_extension: 8,
        max_chunk_extensions: 20,
        max_trailer_bytes: 32,
        ..Limits::default()
    };
    let read =
        |text: &str| body(Chunked, &[text.as_bytes()], &limits).map(|read| read.done).map_err(|r| r.why);
    assert_eq!(read("1;1234567\r\na\r\n0\r\n\r\n"), Ok(true));
    assert_eq!(read("1;12345678\r\na\r\n0\r\n\r\n"), Err("chunk_extension_too_long"));
    assert_eq!(read("1;123456789"), Err("chunk_extension_too_long"));
    assert_eq!(read(&format!("{}0\r\n\r\n", "1;1234567\r\na\r\n".repeat(2))), Ok(true));
    assert_eq!(read(&"1;1234567\r\na\r\n".repeat(3)), Err("chunk_extensions_too_long"));
    assert_eq!(read("0\r\nx: 4567890123456789012345678\r\n\r\n"), Ok(true));
    assert_eq!(read("0\r\nx: 45678901234567890123456789\r\n\r\n"), Err("trailers_too_large"));
    assert_eq!(read(&format!("0\r\n{}\r\n", "x:\r\n".repeat(101))), Err("trailers_too_large"));
}

#[test]
fn trailers_are_moved_out_once() {
    let mut decoder = BodyDecoder::new(Chunked);
    while !decoder.is_done() {
        decoder.decode(b"0\r\nx: y\r\n\r\n", &Limits::default()).unwrap();
    }
    let mut trailers = crate::http::Headers::new();
    decoder.take_trailers(&mut trailers);
    assert_eq!(trailers.get_name(b"x"), Some(&b"y"[..]));
    let mut again = crate::http::Headers::new();
    decoder.take_trailers(&mut again);
    assert!(again.is_empty());
}

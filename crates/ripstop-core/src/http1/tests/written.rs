//! What is written is what was meant, and is read back as such.
use super::{body, chunked, request, response};
use crate::http::BodyLength::{Chunked, Empty, Exact, UntilClose};
use crate::http::{BodyLength, HeaderId, Headers, Method, RequestHead, ResponseHead, Version};
use crate::http1::{
    Limits, chunk_header, strip_hop_by_hop_request, strip_hop_by_hop_response, write_chunk, write_last_chunk,
    write_request, write_response,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn sent(head: &RequestHead, body: BodyLength, keep_alive: bool) -> String {
    let mut out = Vec::new();
    write_request(head, body, keep_alive, &mut out);
    String::from_utf8(out).unwrap()
}

fn answered(head: &ResponseHead, body: BodyLength, method: Method, version: Version, keep: bool) -> String {
    let mut out = Vec::new();
    write_response(head, body, method, version, keep, &mut out);
    String::from_utf8(out).unwrap()
}

/// A request as it goes on, its hop-by-hop fields gone.
fn forwarded(text: &str) -> String {
    let (mut head, meta, _) = request(text.as_bytes()).unwrap();
    strip_hop_by_hop_request(&mut head, meta.upgrade);
    sent(&head, meta.body, true)
}

#[test]
fn a_request_goes_in_origin_form_with_its_host_first() {
    let text = "POST http://shop:81/a?b HTTP/1.1\r\nX-One: 1\r\nHost: other\r\nContent-Length: 3\r\nX-Two: 2\r\n\r\n";
    assert_eq!(
        forwarded(text),
        "POST /a?b HTTP/1.1\r\nhost: shop:81\r\nx-one: 1\r\nx-two: 2\r\ncontent-length: 3\r\n\r\n"
    );
    let connect = forwarded("CONNECT db:5432 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(connect, "CONNECT db:5432 HTTP/1.1\r\nhost: db:5432\r\n\r\n");
    assert_eq!(forwarded("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"), "OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(forwarded("GET / HTTP/1.0\r\n\r\n"), "GET / HTTP/1.1\r\nhost: \r\n\r\n");
}

#[test]
fn white_space_and_changes_are_written_plainly() {
    let text = b"GET / HTTP/1.1\r\nHost: a\r\nX-One:1\r\nX-Two: 2  \r\nX-Three:\t3\r\nX-Four: 4\r\nServer: s\r\n\r\n";
    let (mut head, ..) = request(text).unwrap();
    head.headers.set_name(b"x-four", b"four");
    head.headers.set(HeaderId::Server, b"new");
    head.headers.remove_name(b"x-two");
    head.headers.push(b"X-Five", b"5");
    let lines = "x-one: 1\r\nx-three: 3\r\nserver: new\r\nx-four: four\r\nx-five: 5\r\n";
    assert_eq!(sent(&head, Empty, true), format!("GET / HTTP/1.1\r\nhost: a\r\n{lines}\r\n"));
}

#[test]
fn framing_is_ours_whatever_fields_are_there() {
    let mut head = RequestHead::default();
    head.set_method(b"POST");
    head.set_authority(b"a");
    head.set_path(b"/");
    for (name, value) in
        [("content-length", "9"), ("transfer-encoding", "gzip"), ("connection", "x"), ("keep-alive", "5")]
    {
        head.headers.push(name.as_bytes(), value.as_bytes());
    }
    let start = "POST / HTTP/1.1\r\nhost: a\r\n";
    assert_eq!(sent(&head, Exact(5), true), format!("{start}content-length: 5\r\n\r\n"));
    assert_eq!(sent(&head, Chunked, true), format!("{start}transfer-encoding: chunked\r\n\r\n"));
    assert_eq!(sent(&head, Empty, false), format!("{start}connection: close\r\n\r\n"));
}

#[test]
fn an_answer_has_the_framing_of_its_status_and_request() {
    let with = |status| ResponseHead { status, ..ResponseHead::default() };
    let v11 = Version::Http11;
    let cases = [
        (200, Exact(5), Method::Get, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        (200, Exact(5), Method::Head, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        (404, Chunked, Method::Get, "HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\n\r\n"),
        (204, Exact(0), Method::Get, "HTTP/1.1 204 No Content\r\n\r\n"),
        (304, Exact(5), Method::Get, "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"),
        (103, Empty, Method::Get, "HTTP/1.1 103 Early Hints\r\n\r\n"),
        (101, Empty, Method::Get, "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\r\n"),
        (200, UntilClose, Method::Connect, "HTTP/1.1 200 OK\r\n\r\n"),
        (200, Chunked, Method::Connect, "HTTP/1.1 200 OK\r\n\r\n"),
        (299, Empty, Method::Get, "HTTP/1.1 299 Unknown\r\n\r\n"),
    ];
    for (status, body, method, expected) in cases {
        assert_eq!(answered(&with(status), body, method, v11, true), expected);
    }
    let old = answered(&with(200), Exact(0), Method::Get, Version::Http10, true);
    assert_eq!(old, "HTTP/1.1 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n");
    let last = answered(&with(200), Exact(0), Method::Get, v11, false);
    assert_eq!(last, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
}

#[test]
fn fields_of_one_hop_end_here() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Mine, X-Request-Id, Cookie\r\nX-Mine: 1\r\n\
        X-Request-Id: 2\r\nCookie: c\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nProxy-Authorization: y\r\n\
        TE: gzip, trailers;q=1\r\nUpgrade: h2c\r\nHTTP2-Settings: z\r\nAccept: */*\r\n\r\n";
    let expected = "GET / HTTP/1.1\r\nhost: a\r\nx-request-id: 2\r\ncookie: c\r\naccept: */*\r\n\r\n";
    assert_eq!(forwarded(text), expected);
    let text = "GET / HTTP/1.1\r\nHost: a\r\nTE: deflate, Trailers\r\nConnection: TE\r\n\r\n";
    assert_eq!(forwarded(text), "GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\n\r\n");
}

#[test]
fn connection_cannot_name_what_a_request_stands_on() {
    for name in [
        "Authorization",
        "X-Forwarded-For",
        "X-Forwarded-Client-Cert",
        "X-Forwarded-Proto",
        "X-Ripstop-Hop",
        "X-Envoy-Attempt-Count",
        "X-Request-Id",
    ] {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {name}, Host\r\n{name}: v\r\n\r\n");
        let expected = format!("GET / HTTP/1.1\r\nhost: a\r\n{}: v\r\n\r\n", name.to_lowercase());
        assert_eq!(forwarded(&text), expected);
    }
    let text = "POST / HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\nContent-Length: 3\r\n\r\n";
    assert!(forwarded(text).contains("content-length: 3\r\n"));
}

#[test]
fn an_upgrade_passes_with_its_fields() {
    let text = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";
    let expected = "GET /ws HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nsec-websocket-key: k\r\nconnection: upgrade\r\n\r\n";
    assert_eq!(forwarded(text), expected);
    let (mut head, ..) =
        response(b"HTTP/1.1 200 OK\r\nUpgrade: h2\r\nProxy-Authenticate: x\r\nX: y\r\n\r\n").unwrap();
    strip_hop_by_hop_response(&mut head, false);
    let names: Vec<_> = head.headers.iter().map(|field| field.name).collect();
    assert_eq!(names, [b"x"]);
}

#[test]
fn chunks_are_written_as_they_are_read() {
    let mut out = Vec::new();
    for len in [0, 1, 15, 16, 255, 256, 65_535, usize::MAX] {
        out.clear();
        chunk_header(len, &mut out);
        assert_eq!(out, format!("{len:x}\r\n").as_bytes());
    }
    out.clear();
    write_chunk(b"hello", &mut out);
    write_chunk(b"", &mut out);
    let mut trailers = Headers::new();
    for (name, value) in [("grpc-status", "0"), ("Content-Length", "4")] {
        trailers.push(name.as_bytes(), value.as_bytes());
    }
    write_last_chunk(Some(&trailers), &mut out);
    assert_eq!(out, b"5\r\nhello\r\n0\r\ngrpc-status: 0\r\n\r\n");
    let read = chunked(&out).unwrap();
    assert_eq!(
        (read.data.as_slice(), read.trailers.get(HeaderId::GrpcStatus)),
        (&b"hello"[..], Some(&b"0"[..]))
    );
    out.clear();
    write_last_chunk(None, &mut out);
    assert_eq!(out, b"0\r\n\r\n");
}

fn field() -> impl Strategy<Value = (String, String)> {
    let name =
        prop_oneof!["[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,20}", Just("Accept".to_owned()), Just("DATE".to_owned())];
    (name, "([!-~\u{a1}-\u{ff}]([ -~\t]{0,30}[!-~])?)?")
}

proptest! {
    #[test]
    fn what_is_read_is_what_was_written(fields in vec(field(), 0..12), space in "[ \t]{0,2}", remove in any::<u16>()) {
        let mut text = "GET /x HTTP/1.1\r\nHost: a\r\n".to_owned();
        let is_ours = |name: &str| HeaderId::of(name.to_lowercase().as_bytes()) != HeaderId::Other;
        let fields: Vec<_> = fields.into_iter().filter(|(n, _)| !is_ours(n) || n.len() == 6 || n.len() == 4).collect();
        let fields: Vec<_> = fields.into_iter().filter(|(n, _)| !n.eq_ignore_ascii_case("host")).collect();
        for (name, value) in &fields {
            text += &format!("{name}:{space}{value}\r\n");
        }
        text += "\r\n";
        let (mut head, ..) = request(text.as_bytes()).unwrap();
        let mut at = 0;
        head.headers.retain(|_| { at += 1; remove >> (at % 16) & 1 == 0 });
        let mut out = Vec::new();
        write_request(&head, BodyLength::Empty, true, &mut out);
        let (again, ..) = request(&out).unwrap();
        prop_assert_eq!(&head.headers, &again.headers);
        let kept = fields.iter().enumerate().filter(|(at, _)| remove >> ((at + 1) % 16) & 1 == 0);
        let kept: Vec<_> = kept.map(|(_, (n, v))| (n.to_lowercase().into_bytes(), v.clone().into_bytes())).collect();
        let read: Vec<_> = again.headers.iter().map(|f| (f.name.to_vec(), f.value.to_vec())).collect();
        prop_assert_eq!(kept, read);
    }

    #[test]
    fn a_body_in_chunks_is_the_body(pieces in vec(vec(any::<u8>(), 0..50), 0..10)) {
        let mut out = Vec::new();
        for piece in &pieces {
            write_chunk(piece, &mut out);
        }
        write_last_chunk(None, &mut out);
        let read = body(BodyLength::Chunked, &[&out], &Limits::default()).unwrap();
        prop_assert_eq!((read.data, read.used, read.done), (pieces.concat(), out.len(), true));
    }
}

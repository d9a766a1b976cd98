//! Heads that are taken, and what they say.
use super::{request, response, response_to};
use crate::http::BodyLength::{Chunked, Empty, Exact, UntilClose};
use crate::http::{HeaderId, Method, RequestHead, Version};
use crate::http1::{Limits, Parsed, parse_request};

fn shown(head: &RequestHead) -> [&str; 4] {
    [head.method_text(), head.scheme(), head.authority(), head.path()]
        .map(|text| str::from_utf8(text).unwrap())
}

#[test]
fn a_head_is_read_as_it_was_written() {
    let text =
        b"POST /a/b?c=d HTTP/1.1\r\nHost: shop.example:8080\r\nX-Own:one\r\nx-own: \t two \t\r\nX-Empty:\r\n\
        Content-Length: 12\r\nX-Tab: a\tb\r\nX-Latin: caf\xe9\r\nTE: trailers\r\n\r\nbody";
    let (head, meta, used) = request(text).unwrap();
    assert_eq!(shown(&head), ["POST", "", "shop.example:8080", "/a/b?c=d"]);
    assert_eq!((head.version, meta.body, meta.keep_alive), (Version::Http11, Exact(12), true));
    assert_eq!(&text[used..], b"body");
    let fields: Vec<(&[u8], &[u8])> = head.headers.iter().map(|field| (field.name, field.value)).collect();
    let expected: [(&[u8], &[u8]); 7] = [
        (b"x-own", b"one"),
        (b"x-own", b"two"),
        (b"x-empty", b""),
        (b"content-length", b"12"),
        (b"x-tab", b"a\tb"),
        (b"x-latin", b"caf\xe9"),
        (b"te", b"trailers"),
    ];
    assert_eq!(fields, expected);
    assert_eq!(head.headers.get(HeaderId::Te), Some(&b"trailers"[..]));
    assert_eq!(head.headers.get_all_name(b"x-own").count(), 2);
}

#[test]
fn a_head_that_is_used_again_keeps_nothing() {
    let (mut head, limits) = (RequestHead::default(), Limits::default());
    let first = b"PURGE http://b/x HTTP/1.0\r\nX-One: 1\r\nContent-Length: 1\r\n\r\n";
    let second = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    parse_request(first, &mut 0, &limits, &mut head).unwrap();
    assert_eq!(shown(&head), ["PURGE", "http", "b", "/x"]);
    parse_request(second, &mut 0, &limits, &mut head).unwrap();
    assert_eq!(shown(&head), ["GET", "", "a", "/"]);
    assert!(head.headers.is_empty() && !head.headers.has(HeaderId::ContentLength));
    assert_eq!(head.version, Version::Http11);
}

#[test]
fn a_target_has_four_forms() {
    let cases = [
        ("GET / HTTP/1.1", ["GET", "", "own", "/"]),
        ("GET /a?b=%20 HTTP/1.1", ["GET", "", "own", "/a?b=%20"]),
        ("GET http://other:81/a?b HTTP/1.1", ["GET", "http", "other:81", "/a?b"]),
        ("GET HTTPS://Other HTTP/1.1", ["GET", "https", "Other", "/"]),
        ("GET http://other?x=/ HTTP/1.1", ["GET", "http", "other", "/?x=/"]),
        ("GET http://[::1]:80/ HTTP/1.1", ["GET", "http", "[::1]:80", "/"]),
        ("OPTIONS * HTTP/1.1", ["OPTIONS", "", "own", "*"]),
        ("OPTIONS http://other HTTP/1.1", ["OPTIONS", "http", "other", "*"]),
        ("OPTIONS http://other/ HTTP/1.1", ["OPTIONS", "http", "other", "/"]),
        ("CONNECT other:443 HTTP/1.1", ["CONNECT", "", "other:443", ""]),
        ("M-SEARCH /x HTTP/1.1", ["M-SEARCH", "", "own", "/x"]),
    ];
    for (line, expected) in cases {
        let (head, meta, _) = request(format!("{line}\r\nHost: own\r\n\r\n").as_bytes()).expect(line);
        assert_eq!(shown(&head), expected, "{line}");
        assert_eq!(meta.absolute_form, !expected[1].is_empty());
        assert!(!head.headers.has(HeaderId::Host), "Host is the authority");
    }
}

#[test]
fn hosts_that_are_valid_are_taken() {
    for host in
        ["", "a", "a:80", "a:", "[::1]", "[fe80::1%25eth0]:8080", "a_b.c-d", "1.2.3.4:5", "x%20y", "*.a"]
    {
        let (head, ..) = request(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).expect(host);
        assert_eq!(head.authority(), host.as_bytes());
    }
}

#[test]
fn one_empty_line_before_a_request_is_ignored() {
    let (_, _, used) = request(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nX").unwrap();
    assert_eq!(used, 29);
}

#[test]
fn connections_stay_open_by_the_rules_of_their_version() {
    let cases = [
        ("HTTP/1.1", "", true),
        ("HTTP/1.1", "Connection: close\r\n", false),
        ("HTTP/1.1", "Connection: keep-alive\r\nConnection: x, CLOSE\r\n", false),
        ("HTTP/1.1", "Connection: closed\r\n", true),
        ("HTTP/1.0", "", false),
        ("HTTP/1.0", "Connection: Keep-Alive\r\n", true),
        ("HTTP/1.0", "Connection: keep-alive, close\r\n", false),
    ];
    for (version, lines, stays) in cases {
        let text = format!("GET / {version}\r\nHost: a\r\n{lines}\r\n");
        assert_eq!(request(text.as_bytes()).unwrap().1.keep_alive, stays, "{version} {lines}");
        let text = format!("{version} 200 OK\r\nContent-Length: 0\r\n{lines}\r\n");
        assert_eq!(response(text.as_bytes()).unwrap().1.keep_alive, stays, "{version} {lines}");
    }
    // What a client sent before its CONNECT was answered must not become a request when the answer is no.
    assert!(!request(b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().1.keep_alive);
}

#[test]
fn an_upgrade_needs_both_fields_and_http_11() {
    let cases = [
        ("HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n", true),
        ("HTTP/1.1", "Connection: keep-alive, upgrade\r\nUpgrade: websocket\r\n", true),
        ("HTTP/1.1", "Upgrade: websocket\r\n", false),
        ("HTTP/1.1", "Connection: upgrade\r\n", false),
        ("HTTP/1.0", "Connection: upgrade\r\nUpgrade: websocket\r\n", false),
    ];
    for (version, lines, upgrades) in cases {
        let text = format!("GET / {version}\r\nHost: a\r\n{lines}\r\n");
        assert_eq!(request(text.as_bytes()).unwrap().1.upgrade, upgrades, "{version} {lines}");
    }
}

#[test]
fn a_continue_is_expected_only_before_a_body_of_http_11() {
    for (start, lines, expects) in [
        ("POST / HTTP/1.1", "Content-Length: 5\r\n", true),
        ("POST / HTTP/1.1", "Transfer-Encoding: chunked\r\n", true),
        ("POST / HTTP/1.1", "", false),
        ("POST / HTTP/1.0", "Content-Length: 5\r\n", false),
    ] {
        let text = format!("{start}\r\nHost: a\r\nExpect: 100-Continue\r\n{lines}\r\n");
        assert_eq!(request(text.as_bytes()).unwrap().1.expects_continue, expects, "{start} {lines}");
    }
}

#[test]
fn equal_lengths_are_one_length() {
    let text = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 05\r\nContent-Length: 5\r\n\r\n";
    let (head, meta, _) = request(text).unwrap();
    assert_eq!(meta.body, Exact(5));
    assert_eq!(head.headers.get_all(HeaderId::ContentLength).collect::<Vec<_>>(), [b"5"]);
    let text = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:  9223372036854775807 \r\n\r\n";
    assert_eq!(request(text).unwrap().1.body, Exact(i64::MAX as u64));
}

#[test]
fn the_length_of_an_answer_depends_on_the_request_and_the_status() {
    let cases = [
        (Method::Get, "200", "", UntilClose),
        (Method::Get, "200", "Content-Length: 0\r\n", Empty),
        (Method::Get, "200", "Content-Length: 7\r\n", Exact(7)),
        (Method::Get, "200", "Transfer-Encoding: chunked\r\n", Chunked),
        (Method::Head, "200", "Content-Length: 7\r\n", Empty),
        (Method::Head, "200", "Transfer-Encoding: chunked\r\n", Empty),
        (Method::Get, "100", "", Empty),
        (Method::Get, "103", "Content-Length: 7\r\n", Empty),
        (Method::Get, "204", "Content-Length: 7\r\n", Empty),
        (Method::Get, "304", "Content-Length: 7\r\n", Empty),
        (Method::Connect, "200", "Content-Length: 7\r\n", Empty),
        (Method::Connect, "407", "Content-Length: 7\r\n", Exact(7)),
    ];
    for (method, status, lines, expected) in cases {
        let text = format!("HTTP/1.1 {status} x\r\n{lines}\r\n");
        let (head, meta, _) = response_to(method, text.as_bytes()).unwrap();
        assert_eq!((head.status.to_string().as_str(), meta.body), (status, expected), "{method:?} {text}");
        assert_eq!(meta.keep_alive, expected != UntilClose);
    }
}

#[test]
fn a_phrase_may_be_anything_or_nothing() {
    for line in ["HTTP/1.1 200 ", "HTTP/1.1 200", "HTTP/1.1 200 Not at all OK", "HTTP/1.0 299 \u{e9}\t"] {
        assert!(response(format!("{line}\r\n\r\n").as_bytes()).is_ok(), "{line}");
    }
}

#[test]
fn heads_have_limits() {
    let long = "x".repeat(33 * 1024);
    let read =
        |text: &str| request(text.as_bytes()).map(|_| ()).map_err(|refusal| (refusal.status, refusal.why));
    assert_eq!(read(&format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")), Err((414, "target_too_long")));
    let longer = "x".repeat(60 * 1024);
    let text = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {longer}\r\n\r\n");
    assert_eq!(read(&text), Err((431, "headers_too_large")));
    let lines = |count| "X: y\r\n".repeat(count);
    assert_eq!(read(&format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", lines(99))), Ok(()));
    let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", lines(100));
    assert_eq!(read(&text), Err((431, "too_many_headers")));
    let text = format!("HTTP/1.1 200 OK\r\n{}\r\n", lines(101));
    let refusal = response(text.as_bytes()).map(|_| ()).unwrap_err();
    assert_eq!((refusal.status, refusal.why), (502, "too_many_headers"));
}

#[test]
fn a_head_as_long_as_allowed_is_taken_and_one_byte_more_is_not() {
    let text = b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: 1234567890\r\n\r\n";
    for max_head_bytes in [text.len() - 1, text.len()] {
        let limits = Limits { max_head_bytes, ..Limits::default() };
        let mut head = RequestHead::default();
        let read = parse_request(text, &mut 0, &limits, &mut head);
        match read {
            Ok((Parsed::Complete(used), _)) => assert_eq!((used, max_head_bytes), (text.len(), text.len())),
            Err(refusal) => assert_eq!((refusal.status, max_head_bytes), (431, text.len() - 1)),
            Ok((Parsed::Incomplete, _)) => panic!("would wait for ever"),
        }
    }
}

//! Everything that two readers could understand differently: request smuggling, response splitting, and their kin.
use super::{chunked, request, response};
use crate::http1::Limits;

/// A GET with these lines after the request line.
fn with(lines: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes()
}

fn refused(text: &[u8]) -> (u16, &'static str) {
    match request(text) {
        Ok((head, meta, _)) => panic!("taken: {} as {head:?} {meta:?}", text.escape_ascii()),
        Err(refusal) => (refusal.status, refusal.why),
    }
}

#[track_caller]
fn all_refused(cases: &[(&str, u16, &str)]) {
    for (lines, status, why) in cases {
        assert_eq!(refused(&with(lines)), (*status, *why), "{}", lines.escape_debug());
    }
}

#[test]
fn a_length_and_a_transfer_coding_are_refused_in_any_order() {
    all_refused(&[
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400, "content_length_and_transfer_encoding"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400, "content_length_and_transfer_encoding"),
        ("transfer-encoding: CHUNKED\r\ncontent-length: 0\r\n", 400, "content_length_and_transfer_encoding"),
    ]);
}

#[test]
fn a_length_is_digits_and_one_value() {
    let values = [
        "+5",
        "-5",
        "0x5",
        "5, 5",
        "5,5",
        "5 5",
        "",
        "5.0",
        "5;",
        "five",
        "1e3",
        "\u{665}",
        "'5'",
        "\"5\"",
        "9223372036854775808",
        "18446744073709551616",
        "99999999999999999999",
    ];
    for value in values {
        let lines = format!("Content-Length: {value}\r\n");
        assert_eq!(refused(&with(&lines)), (400, "invalid_content_length"), "{value}");
    }
    all_refused(&[
        ("Content-Length: 5\r\nContent-Length: 6\r\n", 400, "differing_content_lengths"),
        ("Content-Length: 5\r\nX: y\r\ncontent-length: 0\r\n", 400, "differing_content_lengths"),
        ("Content-Length: 5\r\nContent-Length: x\r\n", 400, "invalid_content_length"),
    ]);
}

#[test]
fn chunked_is_the_one_coding_and_comes_once() {
    all_refused(&[
        ("Transfer-Encoding: chunked, chunked\r\n", 400, "chunked_twice"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400, "chunked_twice"),
        ("Transfer-Encoding: identity\r\n", 501, "unknown_transfer_coding"),
        ("Transfer-Encoding: gzip, chunked\r\n", 501, "unknown_transfer_coding"),
        ("Transfer-Encoding: chunked, gzip\r\n", 501, "unknown_transfer_coding"),
        ("Transfer-Encoding: xchunked\r\n", 501, "unknown_transfer_coding"),
        ("Transfer-Encoding: chunked;q=1\r\n", 501, "unknown_transfer_coding"),
        ("Transfer-Encoding: \"chunked\"\r\n", 501, "unknown_transfer_coding"),
        ("Transfer-Encoding: chunked,\r\n", 501, "unknown_transfer_coding"),
        ("Transfer-Encoding:\r\n", 501, "unknown_transfer_coding"),
        ("Transfer-Encoding: \x0bchunked\r\n", 400, "invalid_header_value"),
        ("Transfer-Encoding: chunked\x00\r\n", 400, "invalid_header_value"),
        ("Transfer-Encoding : chunked\r\n", 400, "space_before_colon"),
        ("Transfer-Encoding\t: chunked\r\n", 400, "space_before_colon"),
        (" Transfer-Encoding: chunked\r\n", 400, "obs_fold"),
        ("Transfer-Encoding:\r\n chunked\r\n", 400, "obs_fold"),
        ("Transfer\u{2d}Encoding\x0b: chunked\r\n", 400, "invalid_header_name"),
    ]);
}

#[test]
fn names_that_only_look_like_framing_are_other_names() {
    for lines in ["Content_Length: 5\r\n", "Transfer_Encoding: chunked\r\n", "Content-Length-: 5\r\n"] {
        let (head, meta, _) = request(&with(lines)).expect(lines);
        assert_eq!((meta.body, head.headers.len()), (crate::http::BodyLength::Empty, 1));
    }
    // CR with the bit of lower case set is the hyphen.
    all_refused(&[("Content\rLength: 5\r\n", 400, "invalid_header_name")]);
}

#[test]
fn http_10_knows_no_transfer_coding() {
    let text = b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(refused(text), (400, "transfer_encoding_in_http_10"));
}

#[test]
fn lines_end_with_cr_and_lf() {
    let cases: [(&[u8], &str); 11] = [
        (b"GET / HTTP/1.1\nHost: a\r\n\r\n", "bare_lf"),
        (b"GET / HTTP/1.1\r\nHost: a\n\r\n", "bare_lf"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\n\r\n", "bare_lf"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\n", "bare_lf"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX\n\r\n", "bare_lf"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\rZ: 1\r\n\r\n", "bare_cr"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\r\n\r\n", "bare_cr"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n", "bare_cr"),
        (b"GET /\rx HTTP/1.1\r\nHost: a\r\n\r\n", "invalid_request_line"),
        (b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", "invalid_version"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", "obs_fold"),
    ];
    for (text, why) in cases {
        assert_eq!(refused(text), (400, why), "{}", text.escape_ascii());
    }
}

#[test]
fn control_characters_are_in_no_name_and_no_value() {
    for byte in (0..=0x1f).chain([0x7f]).filter(|byte| !matches!(byte, b'\t' | b'\r' | b'\n')) {
        for at in 0..20 {
            let mut value = [b'v'; 20];
            value[at] = byte;
            let text = [b"GET / HTTP/1.1\r\nHost: a\r\nX: ", &value[..], b"\r\n\r\n"].concat();
            assert_eq!(refused(&text), (400, "invalid_header_value"), "{byte:#x} at {at}");
        }
        let text = [b"GET / HTTP/1.1\r\nHost: a\r\nX", &[byte][..], b": v\r\n\r\n"].concat();
        assert_eq!(refused(&text), (400, "invalid_header_name"), "{byte:#x}");
    }
    all_refused(&[
        (": v\r\n", 400, "invalid_header_name"),
        ("X\r\n", 400, "invalid_header_name"),
        ("X Y: v\r\n", 400, "space_before_colon"),
        ("X\u{e9}: v\r\n", 400, "invalid_header_name"),
        ("(X): v\r\n", 400, "invalid_header_name"),
        ("X/Y: v\r\n", 400, "invalid_header_name"),
    ]);
}

#[test]
fn white_space_before_the_first_field_is_refused() {
    assert_eq!(refused(b"GET / HTTP/1.1\r\n Host: a\r\nHost: b\r\n\r\n"), (400, "obs_fold"));
    assert_eq!(refused(b"GET / HTTP/1.1\r\n\tX: a\r\nHost: b\r\n\r\n"), (400, "obs_fold"));
}

#[test]
fn the_request_line_is_three_words() {
    let cases = [
        ("GET /", 400, "invalid_request_line"),
        ("GET  / HTTP/1.1", 400, "invalid_request_line"),
        ("GET / ", 400, "invalid_version"),
        ("GET /  HTTP/1.1", 400, "invalid_version"),
        ("GET / HTTP/1.1 ", 400, "invalid_version"),
        ("GET / x HTTP/1.1", 400, "invalid_version"),
        ("GET\t/ HTTP/1.1", 400, "invalid_method"),
        ("GE(T / HTTP/1.1", 400, "invalid_method"),
        (" GET / HTTP/1.1", 400, "invalid_method"),
        ("G\u{e9}T / HTTP/1.1", 400, "invalid_method"),
        ("GET / http/1.1", 400, "invalid_version"),
        ("GET / HTTP/1", 400, "invalid_version"),
        ("GET / HTTP/1.1.1", 400, "invalid_version"),
        ("GET / HTTP/01.1", 400, "invalid_version"),
        ("GET / HTTP/ 1.1", 400, "invalid_version"),
        ("GET / HTTP/1.2", 505, "unsupported_version"),
        ("GET / HTTP/0.9", 505, "unsupported_version"),
        ("GET / HTTP/2.0", 505, "unsupported_version"),
        ("PRI * HTTP/2.0", 505, "unsupported_version"),
    ];
    for (line, status, why) in cases {
        let text = format!("{line}\r\nHost: a\r\n\r\n");
        assert_eq!(refused(text.as_bytes()), (status, why), "{line}");
    }
}

#[test]
fn targets_are_visible_ascii_and_of_a_known_form() {
    let cases = [
        "/a#b",
        "/a\x01b",
        "/a\x7fb",
        "/caf\u{e9}",
        "a/b",
        "",
        "*",
        "//",
        "ftp://a/",
        "http://",
        "http:///x",
        "http://u@a/",
        "http://a:b/",
        "http://a:80:90/",
        "https:/a",
        "http://[::1/",
        "http://a#f",
        "?x",
    ];
    for target in cases {
        let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let taken = request(text.as_bytes()).is_ok();
        // Two slashes are a path; what they mean is for path normalisation.
        assert_eq!(taken, target == "//", "{target}");
    }
    for target in ["a", "a:", ":80", "/", "http://a:80", "a:80/x", "u@a:80", "a:99999999", "a:8o", "*"] {
        let text = format!("CONNECT {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(refused(text.as_bytes()), (400, "invalid_connect_target"), "{target}");
    }
}

#[test]
fn a_host_is_one_and_valid() {
    assert_eq!(refused(b"GET / HTTP/1.1\r\nX: y\r\n\r\n"), (400, "missing_host_header"));
    assert_eq!(refused(b"GET http://a/ HTTP/1.1\r\nX: y\r\n\r\n"), (400, "missing_host_header"));
    assert_eq!(refused(&with("Host: a\r\n")), (400, "several_host_headers"));
    assert_eq!(refused(&with("host: b\r\n")), (400, "several_host_headers"));
    for host in [
        "a b", "a/b", "a@b", "a:80:90", "a:b", "[::1", "::1", "a\\b", "a?b", "a#b", "\u{e9}", "a:123456",
        "<a>",
    ] {
        let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(refused(text.as_bytes()), (400, "invalid_host_header"), "{host}");
    }
}

#[test]
fn a_connect_has_no_body() {
    for lines in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"] {
        let text = format!("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n{lines}\r\n");
        assert_eq!(refused(text.as_bytes()), (400, "connect_with_body"));
    }
}

#[test]
fn what_is_no_request_is_told_by_its_first_bytes() {
    for start in [&b"\x16\x03\x01"[..], b"\n", b"\r\n\r", b"\r\n\n", b"\rG", b" ", b"\0", b"(", b"\xff"] {
        let mut head = crate::http::RequestHead::default();
        let read = crate::http1::parse_request(start, &mut 0, &Limits::default(), &mut head);
        assert_eq!(read.map_err(|refusal| refusal.status).unwrap_err(), 400, "{}", start.escape_ascii());
    }
}

#[test]
fn answers_are_as_strict() {
    let cases: [(&[u8], &str); 22] = [
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "content_length_and_transfer_encoding",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "differing_content_lengths"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n", "invalid_content_length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "unknown_transfer_coding"),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "transfer_encoding_in_http_10"),
        (b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n", "space_before_colon"),
        (b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n", "obs_fold"),
        (b"HTTP/1.1 200 OK\r\n X: y\r\n\r\n", "obs_fold"),
        (b"HTTP/1.1 200 OK\r\nX: y\n\r\n", "bare_lf"),
        (b"HTTP/1.1 200 OK\nX: y\r\n\r\n", "bare_lf"),
        (b"HTTP/1.1 200 OK\r\nX: y\rz\r\n\r\n", "bare_cr"),
        (b"HTTP/1.1 200 O\rK\r\n\r\n", "bare_cr"),
        (b"HTTP/1.1 200 O\0K\r\n\r\n", "invalid_status_line"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "invalid_status_line"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "invalid_status_line"),
        (b"HTTP/1.1 099 OK\r\n\r\n", "invalid_status_line"),
        (b"HTTP/1.1 2x0 OK\r\n\r\n", "invalid_status_line"),
        (b"HTTP/1.1  200 OK\r\n\r\n", "invalid_status_line"),
        (b"HTTP/2.0 200 OK\r\n\r\n", "invalid_status_line"),
        (b"HTTP/1.2 200 OK\r\n\r\n", "invalid_status_line"),
        (b"HTTP/1.1\r\n\r\n", "invalid_status_line"),
        (b"ICY 200 OK\r\n\r\n", "not_http"),
    ];
    for (text, why) in cases {
        let refusal = response(text).map(|(head, ..)| head).expect_err(why);
        assert_eq!((refusal.status, refusal.why), (502, why), "{}", text.escape_ascii());
    }
}

#[test]
fn chunks_are_exact() {
    let cases: [(&[u8], &str); 22] = [
        (b"5 \r\nhello\r\n0\r\n\r\n", "invalid_chunk_size"),
        (b" 5\r\nhello\r\n0\r\n\r\n", "invalid_chunk_size"),
        (b"+5\r\nhello\r\n0\r\n\r\n", "invalid_chunk_size"),
        (b"-5\r\nhello\r\n0\r\n\r\n", "invalid_chunk_size"),
        (b"0x5\r\nhello\r\n0\r\n\r\n", "invalid_chunk_size"),
        (b"5_0\r\nhello\r\n0\r\n\r\n", "invalid_chunk_size"),
        (b"\r\nhello\r\n0\r\n\r\n", "invalid_chunk_size"),
        (b";a=b\r\nhello\r\n0\r\n\r\n", "invalid_chunk_size"),
        (b"5\nhello\r\n0\r\n\r\n", "invalid_chunk_size"),
        (b"5\rhello\r\n0\r\n\r\n", "invalid_chunk_size"),
        (b"5 ;a\r\nhello\r\n0\r\n\r\n", "invalid_chunk_size"),
        (b"5\r\nhelloX\n0\r\n\r\n", "invalid_chunk_end"),
        (b"5\r\nhello\n0\r\n\r\n", "invalid_chunk_end"),
        (b"5\r\nhello\r0\r\n\r\n", "invalid_chunk_end"),
        (b"5\r\nhello0\r\n\r\n", "invalid_chunk_end"),
        (b"8000000000000000\r\n", "chunk_size_overflow"),
        (b"FFFFFFFFFFFFFFFF\r\n", "chunk_size_overflow"),
        (b"10000000000000005\r\n", "chunk_size_overflow"),
        (b"00000000000000005\r\n", "chunk_size_overflow"),
        // "TERM.EXT" and its kin: a line end that only one reader sees.
        (b"5;a\nhello\r\n0\r\n\r\n", "invalid_chunk_extension"),
        (b"5;a\rb\r\nhello\r\n0\r\n\r\n", "invalid_chunk_extension"),
        (b"5;a\x00\r\nhello\r\n0\r\n\r\n", "invalid_chunk_extension"),
    ];
    for (text, why) in cases {
        assert_eq!(chunked(text).map_err(|refusal| refusal.why), Err(why), "{}", text.escape_ascii());
    }
}

#[test]
fn the_end_of_chunks_is_exact() {
    let cases: [(&[u8], &str); 7] = [
        (b"0\r\nX: y\n\r\n", "bare_lf"),
        (b"0\r\n\n", "bare_lf"),
        (b"0\r\n\rX\r\n", "bare_cr"),
        (b"0\r\nX : y\r\n\r\n", "space_before_colon"),
        (b"0\r\n X: y\r\n\r\n", "obs_fold"),
        (b"0\r\nGET / HTTP/1.1\r\n\r\n", "space_before_colon"),
        (b"0\r\nX: a\0b\r\n\r\n", "invalid_header_value"),
    ];
    for (text, why) in cases {
        assert_eq!(chunked(text).map_err(|refusal| refusal.why), Err(why), "{}", text.escape_ascii());
    }
}

//! Messages that are malformed, and what is made of those that are not (the section is of RFC 9113).
use super::super::frame::*;
use super::super::*;
use super::frames::{GET, block, get, raw, server, written};
use super::pair::{Told, feed, pair, request, response};
use crate::http::{HeaderId, Headers, Method, ResponseHead};

const M: (&str, &str) = (":method", "GET");
const S: (&str, &str) = (":scheme", "http");
const P: (&str, &str) = (":path", "/");
const A: (&str, &str) = (":authority", "a");

fn with(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    GET.iter().chain(more).copied().collect()
}

#[test]
fn malformed_requests_are_reset_and_not_told() {
    let cases: Vec<(&str, Vec<(&str, &str)>)> = vec![
        ("8.2 upper case", with(&[("X-Own", "1")])),
        ("8.2.1 space in a name", with(&[("x own", "1")])),
        ("8.2.1 colon in a name", with(&[("x:own", "1")])),
        ("8.2.1 control in a name", with(&[("x\x01", "1")])),
        ("8.2.1 octet above 0x7f in a name", with(&[("x\u{e9}", "1")])),
        ("8.2.1 empty name", with(&[("", "1")])),
        ("8.2.1 CR in a value", with(&[("x", "a\rb")])),
        ("8.2.1 LF in a value", with(&[("x", "a\nb")])),
        ("8.2.1 NUL in a value", with(&[("x", "a\0b")])),
        ("8.2.1 DEL in a value", with(&[("x", "a\x7fb")])),
        ("8.2.1 space before a value", with(&[("x", " a")])),
        ("8.2.1 tab after a value", with(&[("x", "a\t")])),
        ("8.2.1 LF in a known field", with(&[("user-agent", "a\nb")])),
        ("8.2.2 connection", with(&[("connection", "close")])),
        ("8.2.2 keep-alive", with(&[("keep-alive", "1")])),
        ("8.2.2 proxy-connection", with(&[("proxy-connection", "close")])),
        ("8.2.2 transfer-encoding", with(&[("transfer-encoding", "chunked")])),
        ("8.2.2 upgrade", with(&[("upgrade", "h2c")])),
        ("8.2.2 te", with(&[("te", "gzip")])),
        ("8.3 unknown", with(&[(":own", "1")])),
        ("8.3 of a response", with(&[(":status", "200")])),
        ("8.3 after a field", vec![M, S, P, ("x", "1"), A]),
        ("8.3 after a cookie", vec![M, S, P, ("cookie", "a=1"), A]),
        ("8.3.1 no method", vec![S, P, A]),
        ("8.3.1 no scheme", vec![M, P, A]),
        ("8.3.1 no path", vec![M, S, A]),
        ("8.3.1 method twice", vec![M, M, S, P, A]),
        ("8.3.1 path twice", vec![M, S, P, P, A]),
        ("8.3.1 authority twice", vec![M, S, P, A, A]),
        ("8.3.1 empty path", vec![M, S, (":path", ""), A]),
        ("8.3.1 path without slash", vec![M, S, (":path", "x"), A]),
        ("8.3.1 absolute path", vec![M, S, (":path", "http://a/"), A]),
        ("8.3.1 space in the path", vec![M, S, (":path", "/a b"), A]),
        ("8.3.1 fragment in the path", vec![M, S, (":path", "/a#b"), A]),
        ("8.3.1 star for GET", vec![M, S, (":path", "*"), A]),
        ("8.3.1 bad method", vec![(":method", "GE T"), S, P, A]),
        ("8.3.1 bad scheme", vec![M, (":scheme", "ht tp"), P, A]),
        ("8.3.1 user name in the authority", vec![M, S, P, (":authority", "u@a")]),
        ("8.3.1 slash in the authority", vec![M, S, P, (":authority", "a/b")]),
        ("8.3.1 no authority", vec![M, S, P]),
        ("8.3.1 empty authority", vec![M, S, P, (":authority", "")]),
        ("8.3.1 host differs", with(&[("host", "b")])),
        ("8.3.1 host twice", with(&[("host", "a"), ("host", "a")])),
        ("8.5 CONNECT with a path", vec![(":method", "CONNECT"), S, P, A]),
        ("8.5 CONNECT without authority", vec![(":method", "CONNECT")]),
        ("RFC 8441 not announced", vec![(":method", "CONNECT"), (":protocol", "websocket"), S, P, A]),
        ("RFC 8441 without CONNECT", vec![M, (":protocol", "websocket"), S, P, A]),
        ("8.1.1 length without content", with(&[("content-length", "5")])),
        ("8.1.1 lengths differ", with(&[("content-length", "0"), ("content-length", "1")])),
        ("8.1.1 length is no number", with(&[("content-length", "+0")])),
        ("8.1.1 length too large", with(&[("content-length", "99999999999999999999")])),
    ];
    for (name, fields) in cases {
        let mut server = server(Settings::default());
        assert_eq!(feed(&mut server, &raw(HEADERS, 5, 1, &block(&fields))).unwrap(), [], "{name}");
        assert_eq!(written(&mut server), [(RST_STREAM, 0, 1, vec![0, 0, 0, 1])], "{name}");
        assert_eq!((server.malformed_requests(), server.active_streams()), (1, 0), "{name}");
        // The connection goes on.
        assert_eq!(feed(&mut server, &get(3, END_STREAM)).unwrap(), [Told::Request(3, "/".into(), true)]);
    }
}

#[test]
fn a_fault_in_the_compression_table_is_found_again_when_it_is_referred_to() {
    let mut server = server(Settings::default());
    let mut literal = block(GET);
    literal.extend_from_slice(b"\x40\x01X\x011");
    feed(&mut server, &raw(HEADERS, 5, 1, &literal)).unwrap();
    let mut indexed = block(GET);
    indexed.push(0xbe);
    assert_eq!(feed(&mut server, &raw(HEADERS, 5, 3, &indexed)).unwrap(), []);
    assert_eq!(server.malformed_requests(), 2);
}

#[test]
fn content_that_differs_from_its_length_is_told_as_malformed() {
    let head = |stream| raw(HEADERS, 4, stream, &block(&with(&[("content-length", "3")])));
    let trailers = |stream| raw(HEADERS, 5, stream, &block(&[("a", "b")]));
    let cases = [
        vec![raw(DATA, 0, 1, b"abcd")],
        vec![raw(DATA, END_STREAM, 1, b"ab")],
        vec![raw(DATA, 0, 1, b"ab"), raw(DATA, END_STREAM, 1, b"")],
        vec![raw(DATA, 0, 1, b"ab"), trailers(1)],
    ];
    for rest in cases {
        let mut server = server(Settings::default());
        let told = feed(&mut server, &[head(1), rest.concat()].concat()).unwrap();
        let why = "content-length differs from the content";
        assert_eq!(told.last(), Some(&Told::Other(Event::Malformed { stream: 1, why })));
    }
    let mut server = server(Settings::default());
    let whole = [head(1), raw(DATA, 0, 1, b"ab"), raw(DATA, END_STREAM, 1, b"c")].concat();
    assert_eq!(feed(&mut server, &whole).unwrap().len(), 3);
}

#[test]
fn cookie_crumbs_are_joined() {
    let mut server = server(Settings::default());
    let fields = with(&[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")]);
    feed(&mut server, &raw(HEADERS, 5, 1, &block(&fields))).unwrap();
    let headers = &server.request_head().headers;
    assert_eq!(headers.get_all(HeaderId::Cookie).collect::<Vec<_>>(), [b"a=1; b=2; c=3"]);
}

#[test]
fn host_stands_in_for_a_missing_authority_and_is_no_field() {
    for fields in [vec![M, S, P, ("host", "a")], with(&[("host", "A")])] {
        let mut server = server(Settings::default());
        feed(&mut server, &raw(HEADERS, 5, 1, &block(&fields))).unwrap();
        let head = server.request_head();
        assert_eq!((head.authority(), head.headers.has(HeaderId::Host)), (&b"a"[..], false));
    }
}

#[test]
fn extended_connect_is_taken_where_it_is_announced() {
    let settings = Settings { allow_connect: true, ..Settings::default() };
    let mut announced = Connection::server(settings.clone());
    let mut client = Connection::client(Settings::default());
    feed(&mut client, &std::mem::take(announced.out())).unwrap();
    assert!(client.peer_allows_connect());
    let mut server = server(settings);
    let fields = [(":method", "CONNECT"), (":protocol", "websocket"), S, (":path", "/chat"), A];
    let told = feed(&mut server, &raw(HEADERS, 4, 1, &block(&fields))).unwrap();
    assert_eq!(told, [Told::Request(1, "/chat".into(), false)]);
    let head = server.request_head();
    assert_eq!((head.method(), head.protocol()), (Method::Connect, &b"websocket"[..]));
}

#[test]
fn plain_connect_and_options_star_are_taken() {
    for fields in [vec![(":method", "CONNECT"), A], vec![(":method", "OPTIONS"), S, (":path", "*"), A]] {
        let mut server = server(Settings::default());
        assert_eq!(feed(&mut server, &raw(HEADERS, 5, 1, &block(&fields))).unwrap().len(), 1);
    }
}

#[test]
fn malformed_responses_are_told_and_reset() {
    let with = |more: &[(&'static str, &'static str)]| [&[(":status", "200")], more].concat();
    let cases: Vec<(&str, Vec<(&str, &str)>)> = vec![
        ("pseudo-header missing", vec![("server", "x")]),
        ("bad :status", vec![(":status", "20")]),
        ("bad :status", vec![(":status", "099")]),
        ("pseudo-header twice", vec![(":status", "200"), (":status", "200")]),
        ("pseudo-header of a request", with(&[(":path", "/")])),
        ("connection-specific field", with(&[("connection", "close")])),
        ("bad field name", with(&[("X", "y")])),
        ("content-length without content", with(&[("content-length", "5")])),
        ("101 in HTTP/2", vec![(":status", "101")]),
        ("an interim response that ends the stream", vec![(":status", "100")]),
    ];
    for (why, fields) in cases {
        let mut client = Connection::client(Settings::default());
        feed(&mut client, &raw(SETTINGS, 0, 0, &[])).unwrap();
        let stream = client.send_request(&request("/"), true).unwrap();
        client.out().clear();
        let told = feed(&mut client, &raw(HEADERS, 5, stream, &block(&fields))).unwrap();
        assert_eq!(told, [Told::Other(Event::Malformed { stream, why })]);
        assert_eq!(written(&mut client), [(RST_STREAM, 0, stream, vec![0, 0, 0, 1])]);
    }
}

#[test]
fn data_before_a_response_head_is_malformed() {
    let mut client = Connection::client(Settings::default());
    feed(&mut client, &raw(SETTINGS, 0, 0, &[])).unwrap();
    client.send_request(&request("/"), true).unwrap();
    let told = feed(&mut client, &raw(DATA, 0, 1, b"x")).unwrap();
    assert_eq!(told, [Told::Other(Event::Malformed { stream: 1, why: "DATA before the head" })]);
}

#[test]
fn a_response_to_head_may_tell_a_length() {
    let (mut client, mut server) = pair(Settings::default(), Settings::default());
    let mut head = request("/");
    head.set_method(b"HEAD");
    let stream = client.send_request(&head, true).unwrap();
    feed(&mut server, &std::mem::take(client.out())).unwrap();
    let mut answer = response(200);
    answer.headers.push_known(HeaderId::ContentLength, b"1000");
    server.send_response(stream, &answer, true);
    let told = feed(&mut client, &std::mem::take(server.out())).unwrap();
    assert_eq!(told, [Told::Response(stream, 200, true)]);
}

#[test]
fn a_header_list_beyond_the_limit_is_answered_431() {
    let mut server = server(Settings { max_header_list_size: 1000, ..Settings::default() });
    // By names and values it would fit; 32 octets a field count too (section 6.5.2).
    let fields: Vec<_> = GET.iter().copied().chain((0..30).map(|_| ("a", "b"))).collect();
    assert_eq!(feed(&mut server, &raw(HEADERS, 4, 1, &block(&fields))).unwrap(), []);
    let frames = written(&mut server);
    let kinds: Vec<u8> = frames.iter().map(|(kind, ..)| *kind).collect();
    assert_eq!((kinds, frames[0].1), (vec![HEADERS, RST_STREAM], 5));
    assert_eq!(frames[1].3, [0, 0, 0, 0]);
    assert_eq!(feed(&mut server, &get(3, END_STREAM)).unwrap().len(), 1);
}

#[test]
fn fields_of_http_1_are_not_sent() {
    let (mut client, mut server) = pair(Settings::default(), Settings::default());
    let mut head = request("/");
    for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te", "host"]
    {
        head.headers.push(name.as_bytes(), b"x");
    }
    head.headers.push(b"te", b"trailers");
    client.send_request(&head, true).unwrap();
    feed(&mut server, &std::mem::take(client.out())).unwrap();
    let names: Vec<_> = server.request_head().headers.iter().map(|f| f.name.to_vec()).collect();
    assert_eq!(names, [b"user-agent".to_vec(), b"te".to_vec()]);
}

#[test]
fn what_may_never_be_indexed_stays_so_on_the_next_hop() {
    let (mut client, mut server) = pair(Settings::default(), Settings::default());
    let mut first = super::frames::server(Settings::default());
    let fields = with(&[("x-secret", "a long value that would be worth keeping in the table")]);
    for stream in [1, 3, 5] {
        feed(&mut first, &raw(HEADERS, 5, stream, &block(&fields))).unwrap();
        let head = first.request_head().clone();
        client.send_request(&head, true).unwrap();
        feed(&mut server, &std::mem::take(client.out())).unwrap();
        let marks: Vec<bool> = server.request_head().headers.iter_sensitive().map(|(_, mark)| mark).collect();
        assert_eq!(marks, [true]);
    }
}

#[test]
fn long_blocks_go_on_in_continuation_frames() {
    let (mut client, mut server) = pair(Settings::default(), Settings::default());
    let mut head = request("/");
    let long = [b'x'; 20_000];
    head.headers.push(b"x-long", &long);
    head.headers.push(b"x-longer", &long);
    client.send_request(&head, true).unwrap();
    let told = feed(&mut server, &std::mem::take(client.out())).unwrap();
    assert_eq!(told, [Told::Request(1, "/".into(), true)]);
    assert_eq!(server.request_head().headers, head.headers);
}

#[test]
fn padding_is_taken_off_and_given_back_to_the_windows() {
    let mut server = server(Settings { initial_stream_window: 600, ..Settings::default() });
    let mut padded = vec![255];
    padded.extend_from_slice(b"ab");
    padded.extend_from_slice(&[0; 255]);
    feed(&mut server, &get(1, 0)).unwrap();
    for _ in 0..10 {
        let told = feed(&mut server, &raw(DATA, PADDED, 1, &padded)).unwrap();
        assert_eq!(told, [Told::Data(1, b"ab".to_vec(), false)]);
    }
    let given: u32 = written(&mut server)
        .iter()
        .filter(|(kind, _, stream, _)| (*kind, *stream) == (WINDOW_UPDATE, 1))
        .map(|(.., more)| u32::from_be_bytes(more[..].try_into().unwrap()))
        .sum();
    assert!(given >= 10 * 258 - 300);
}

#[test]
fn routing_fields_in_trailers_are_dropped_and_pseudo_headers_refused() {
    let mut server = server(Settings::default());
    let trailers = block(&[("grpc-status", "0"), ("content-length", "9"), ("host", "b")]);
    let told = feed(&mut server, &[get(1, 0), raw(HEADERS, 5, 1, &trailers)].concat()).unwrap();
    assert_eq!(told[1], Told::Trailers(1, 1));
    let bad = [get(3, 0), raw(HEADERS, 5, 3, &block(&[(":path", "/")]))].concat();
    let why = "pseudo-header in trailers";
    assert_eq!(feed(&mut server, &bad).unwrap()[1], Told::Other(Event::Malformed { stream: 3, why }));
}

#[test]
fn what_is_sent_on_a_stream_that_is_gone_goes_nowhere() {
    let mut server = server(Settings::default());
    feed(&mut server, &[get(1, 0), raw(RST_STREAM, 0, 1, &[0, 0, 0, 8])].concat()).unwrap();
    server.send_response(1, &ResponseHead { status: 200, ..ResponseHead::default() }, false);
    server.send_data(1, b"x", false);
    server.send_trailers(1, &Headers::new());
    server.reset(1, Code::CANCEL);
    assert_eq!(written(&mut server), []);
}

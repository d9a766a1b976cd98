//! Frames that break a rule, and what a server answers (the section is of RFC 9113).
use super::super::frame::*;
use super::super::hpack::{Encoder, Kind};
use super::super::*;
use super::pair::{Told, feed, pair, request, response};

/// One frame.
pub(super) fn raw(kind: u8, flags: u8, stream: StreamId, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    head(&mut out, payload.len(), kind, flags, stream);
    out.extend_from_slice(payload);
    out
}

/// A header block without a table.
pub(super) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let (mut encoder, mut out) = (Encoder::new(4096, false), Vec::new());
    for (name, value) in fields {
        encoder.field(Kind::of(name.as_bytes()), name.as_bytes(), value.as_bytes(), true, &mut out);
    }
    out
}

pub(super) const GET: &[(&str, &str)] =
    &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];

/// HEADERS of a whole request head.
pub(super) fn get(stream: StreamId, flags: u8) -> Vec<u8> {
    raw(HEADERS, flags | END_HEADERS, stream, &block(GET))
}

/// The frames that an end has written: kind, flags, stream, payload.
pub(super) fn written(end: &mut Connection) -> Vec<(u8, u8, StreamId, Vec<u8>)> {
    let out = std::mem::take(end.out());
    let mut rest = &out[..];
    let mut frames = Vec::new();
    while let Some(octets) = rest.first_chunk::<HEAD>() {
        let found = Head::read(octets);
        let len = HEAD + found.len as usize;
        frames.push((found.kind, found.flags, found.stream, rest[HEAD..len].to_vec()));
        rest = &rest[len..];
    }
    assert!(rest.is_empty());
    frames
}

/// A server after the preface and empty settings of its client.
pub(super) fn server(settings: Settings) -> Connection {
    let mut server = Connection::server(settings);
    feed(&mut server, &[&PREFACE[..], &raw(SETTINGS, 0, 0, &[]), &raw(SETTINGS, ACK, 0, &[])].concat())
        .unwrap();
    server.out().clear();
    server
}

#[derive(Debug, PartialEq)]
enum Answer {
    /// The connection ends.
    Fails(Code),
    /// The stream ends.
    Resets(StreamId, Code),
    /// It goes on as if nothing had come.
    GoesOn,
}
use Answer::{Fails, GoesOn, Resets};

fn answer(settings: Settings, input: &[u8]) -> Answer {
    let mut server = server(settings);
    let outcome = feed(&mut server, input);
    let frames = written(&mut server);
    if let Err(error) = outcome {
        let (kind, _, _, payload) = frames.last().unwrap();
        assert_eq!((*kind, &payload[4..8]), (GOAWAY, &error.code.0.to_be_bytes()[..]));
        return Fails(error.code);
    }
    match frames.iter().find(|(kind, ..)| *kind == RST_STREAM) {
        Some((_, _, stream, code)) => Resets(*stream, Code(u32::from_be_bytes(code[..].try_into().unwrap()))),
        None => GoesOn,
    }
}

#[test]
fn frames_that_break_a_rule_are_answered_as_the_rfc_says() {
    let cases: Vec<(&str, Vec<Vec<u8>>, Answer)> = vec![
        ("4.1 unknown type", vec![raw(0x16, 0xff, 0, b"any")], GoesOn),
        ("4.1 unknown type on a stream", vec![raw(0x16, 0, 77, b"any")], GoesOn),
        ("4.2 too long", vec![raw(DATA, 0, 1, &[0; 16_385])], Fails(Code::FRAME_SIZE_ERROR)),
        ("4.3 bad block", vec![raw(HEADERS, 5, 1, &[0xff; 9])], Fails(Code::COMPRESSION_ERROR)),
        ("5.1 DATA, idle", vec![raw(DATA, 0, 1, b"x")], Fails(Code::PROTOCOL_ERROR)),
        ("5.1 RST_STREAM, idle", vec![raw(RST_STREAM, 0, 1, &[0; 4])], Fails(Code::PROTOCOL_ERROR)),
        (
            "5.1 WINDOW_UPDATE, idle",
            vec![raw(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])],
            Fails(Code::PROTOCOL_ERROR),
        ),
        ("5.1 CONTINUATION, idle", vec![raw(CONTINUATION, 4, 1, b"")], Fails(Code::PROTOCOL_ERROR)),
        (
            "5.1 DATA, half closed",
            vec![get(1, END_STREAM), raw(DATA, 0, 1, b"x")],
            Resets(1, Code::STREAM_CLOSED),
        ),
        (
            "5.1 HEADERS, half closed",
            vec![get(1, END_STREAM), get(1, END_STREAM)],
            Resets(1, Code::STREAM_CLOSED),
        ),
        (
            "5.1 WINDOW_UPDATE, half closed",
            vec![get(1, END_STREAM), raw(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])],
            GoesOn,
        ),
        (
            "5.1 DATA after the client's reset",
            vec![get(1, 0), raw(RST_STREAM, 0, 1, &[0, 0, 0, 8]), raw(DATA, 0, 1, b"x")],
            Resets(1, Code::STREAM_CLOSED),
        ),
        (
            "5.1 HEADERS after the client's reset",
            vec![get(1, 0), raw(RST_STREAM, 0, 1, &[0, 0, 0, 8]), get(1, END_STREAM)],
            Fails(Code::STREAM_CLOSED),
        ),
        ("5.1.1 even id", vec![get(2, END_STREAM)], Fails(Code::PROTOCOL_ERROR)),
        ("5.1.1 smaller id", vec![get(5, END_STREAM), get(3, END_STREAM)], Fails(Code::PROTOCOL_ERROR)),
        ("6.1 DATA on 0", vec![raw(DATA, 0, 0, b"x")], Fails(Code::PROTOCOL_ERROR)),
        ("6.1 padding", vec![get(1, 0), raw(DATA, PADDED, 1, b"\x05abcd")], Fails(Code::PROTOCOL_ERROR)),
        ("6.1 no padding length", vec![get(1, 0), raw(DATA, PADDED, 1, b"")], Fails(Code::FRAME_SIZE_ERROR)),
        ("6.2 HEADERS on 0", vec![get(0, END_STREAM)], Fails(Code::PROTOCOL_ERROR)),
        ("6.2 padding", vec![raw(HEADERS, PADDED | 5, 1, b"\x05abcd")], Fails(Code::PROTOCOL_ERROR)),
        (
            "6.2 short priority",
            vec![raw(HEADERS, HAS_PRIORITY | 5, 1, b"abcd")],
            Fails(Code::FRAME_SIZE_ERROR),
        ),
        ("6.3 PRIORITY on 0", vec![raw(PRIORITY, 0, 0, &[0; 5])], Fails(Code::PROTOCOL_ERROR)),
        (
            "6.3 PRIORITY of four octets",
            vec![get(1, 0), raw(PRIORITY, 0, 1, &[0; 4])],
            Resets(1, Code::FRAME_SIZE_ERROR),
        ),
        ("6.3 PRIORITY, idle", vec![raw(PRIORITY, 0, 9, &[0; 5])], GoesOn),
        ("6.4 RST_STREAM on 0", vec![raw(RST_STREAM, 0, 0, &[0; 4])], Fails(Code::PROTOCOL_ERROR)),
        ("6.4 length", vec![get(1, 0), raw(RST_STREAM, 0, 1, &[0; 3])], Fails(Code::FRAME_SIZE_ERROR)),
        ("6.5 SETTINGS on a stream", vec![raw(SETTINGS, 0, 1, &[])], Fails(Code::PROTOCOL_ERROR)),
        ("6.5 length", vec![raw(SETTINGS, 0, 0, &[0; 5])], Fails(Code::FRAME_SIZE_ERROR)),
        ("6.5 ACK with content", vec![raw(SETTINGS, ACK, 0, &[0; 6])], Fails(Code::FRAME_SIZE_ERROR)),
        ("6.5.2 push", vec![raw(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2])], Fails(Code::PROTOCOL_ERROR)),
        ("6.5.2 window", vec![raw(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0])], Fails(Code::FLOW_CONTROL_ERROR)),
        (
            "6.5.2 frame size",
            vec![raw(SETTINGS, 0, 0, &[0, 5, 0, 0, 0x3f, 0xff])],
            Fails(Code::PROTOCOL_ERROR),
        ),
        ("6.5.2 unknown", vec![raw(SETTINGS, 0, 0, &[0, 0x77, 1, 2, 3, 4])], GoesOn),
        (
            "6.6 PUSH_PROMISE",
            vec![get(1, 0), raw(PUSH_PROMISE, 4, 1, &[0, 0, 0, 2])],
            Fails(Code::PROTOCOL_ERROR),
        ),
        ("6.7 PING on a stream", vec![raw(PING, 0, 1, &[0; 8])], Fails(Code::PROTOCOL_ERROR)),
        ("6.7 length", vec![raw(PING, 0, 0, &[0; 7])], Fails(Code::FRAME_SIZE_ERROR)),
        ("6.8 GOAWAY on a stream", vec![raw(GOAWAY, 0, 1, &[0; 8])], Fails(Code::PROTOCOL_ERROR)),
        ("6.8 length", vec![raw(GOAWAY, 0, 0, &[0; 7])], Fails(Code::FRAME_SIZE_ERROR)),
        ("6.9 zero", vec![raw(WINDOW_UPDATE, 0, 0, &[0; 4])], Fails(Code::PROTOCOL_ERROR)),
        (
            "6.9 zero, stream",
            vec![get(1, 0), raw(WINDOW_UPDATE, 0, 1, &[0; 4])],
            Resets(1, Code::PROTOCOL_ERROR),
        ),
        ("6.9 length", vec![raw(WINDOW_UPDATE, 0, 0, &[0; 3])], Fails(Code::FRAME_SIZE_ERROR)),
        (
            "6.9.1 above 2^31-1",
            vec![raw(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])],
            Fails(Code::FLOW_CONTROL_ERROR),
        ),
        (
            "6.9.1 above 2^31-1, stream",
            vec![get(1, 0), raw(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff])],
            Resets(1, Code::FLOW_CONTROL_ERROR),
        ),
        (
            "6.10 another frame inside a block",
            vec![raw(HEADERS, END_STREAM, 1, &block(GET)), raw(PING, 0, 0, &[0; 8])],
            Fails(Code::PROTOCOL_ERROR),
        ),
        (
            "6.10 another stream inside a block",
            vec![raw(HEADERS, END_STREAM, 1, &block(GET)), raw(CONTINUATION, END_HEADERS, 3, b"")],
            Fails(Code::PROTOCOL_ERROR),
        ),
        (
            "8.1 a second head without the end",
            vec![get(1, 0), raw(HEADERS, END_HEADERS, 1, &block(&[("a", "b")]))],
            Resets(1, Code::PROTOCOL_ERROR),
        ),
    ];
    for (name, frames, expected) in cases {
        assert_eq!(answer(Settings::default(), &frames.concat()), expected, "{name}");
    }
}

#[test]
fn a_preface_that_is_none_fails_at_its_first_wrong_octet() {
    for input in [&b"GET / HTTP/1.1\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSX"] {
        let mut server = Connection::server(Settings::default());
        assert_eq!(feed(&mut server, input).unwrap_err().code, Code::PROTOCOL_ERROR);
    }
    let mut server = Connection::server(Settings::default());
    let input = [&PREFACE[..], &raw(PING, 0, 0, &[0; 8])].concat();
    assert_eq!(feed(&mut server, &input).unwrap_err().reason, "the first frame is not SETTINGS");
}

#[test]
fn after_an_error_nothing_is_read_and_no_second_goaway_is_written() {
    let mut server = server(Settings::default());
    let error = feed(&mut server, &raw(PING, 0, 1, &[0; 8])).unwrap_err();
    assert_eq!(feed(&mut server, &get(1, END_STREAM)), Err(error));
    assert_eq!(written(&mut server).len(), 1);
    assert!(server.is_closing());
}

#[test]
fn windows_that_are_overrun_are_errors_of_flow_control() {
    let small = Settings { initial_stream_window: 10, ..Settings::default() };
    let frames = [get(1, 0), raw(DATA, 0, 1, &[0; 11])].concat();
    assert_eq!(answer(small, &frames), Resets(1, Code::FLOW_CONTROL_ERROR));
    let mut server = server(Settings { initial_connection_window: 65_535, ..Settings::default() });
    // Nothing is released: the fifth frame of 16 KiB is too much.
    let frames = [get(1, 0), raw(DATA, 0, 1, &[0; 16_384]).repeat(4)].concat();
    let mut input = &frames[..];
    let error = loop {
        match server.receive(input) {
            Ok((used, _)) => input = &input[used..],
            Err(error) => break error,
        }
    };
    assert_eq!(error.code, Code::FLOW_CONTROL_ERROR);
}

#[test]
fn streams_beyond_the_limit_are_refused_and_the_table_stays_right() {
    let mut server = server(Settings { max_concurrent_streams: 1, ..Settings::default() });
    let mut encoder = Encoder::new(4096, false);
    let mut heads = Vec::new();
    for stream in [1, 3, 5] {
        let mut block = Vec::new();
        for (name, value) in GET {
            encoder.field(Kind::of(name.as_bytes()), name.as_bytes(), value.as_bytes(), false, &mut block);
        }
        heads.push(raw(HEADERS, 5, stream, &block));
    }
    feed(&mut server, &heads[0]).unwrap();
    assert_eq!(feed(&mut server, &heads[1]).unwrap(), []);
    assert_eq!(written(&mut server), [(RST_STREAM, 0, 3, vec![0, 0, 0, 7])]);
    server.send_response(1, &response(200), true);
    assert_eq!(feed(&mut server, &heads[2]).unwrap(), [Told::Request(5, "/".into(), true)]);
}

#[test]
fn late_frames_of_a_stream_that_we_reset_are_nothing() {
    let mut server = server(Settings::default());
    feed(&mut server, &get(1, 0)).unwrap();
    server.reset(1, Code::CANCEL);
    server.out().clear();
    let trailers = raw(HEADERS, 5, 1, &block(&[("a", "b")]));
    let late = [raw(DATA, 0, 1, b"x"), raw(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]), trailers].concat();
    assert_eq!(feed(&mut server, &late).unwrap(), []);
    assert_eq!(written(&mut server), []);
}

#[test]
fn a_graceful_goaway_comes_in_two_steps_and_open_streams_go_on() {
    let (mut client, mut server) = pair(Settings::default(), Settings::default());
    let open = client.send_request(&request("/open"), true).unwrap();
    feed(&mut server, &std::mem::take(client.out())).unwrap();
    server.go_away(Code::NO_ERROR, true);
    assert!(!server.is_closing());
    // This one was on its way when the warning was written.
    let late = client.send_request(&request("/late"), true).unwrap();
    assert_eq!(feed(&mut server, &std::mem::take(client.out())).unwrap().len(), 1);
    let told = feed(&mut client, &std::mem::take(server.out())).unwrap();
    assert_eq!(told, [Told::Other(Event::GoAway { last: MAX_31, code: Code::NO_ERROR })]);
    assert_eq!(client.send_request(&request("/no"), true), Err(SendError::GoingAway));
    server.go_away(Code::NO_ERROR, true);
    assert!(server.is_closing());
    for id in [open, late] {
        server.send_response(id, &response(200), true);
    }
    let told = feed(&mut client, &std::mem::take(server.out())).unwrap();
    let expected = [
        Told::Other(Event::GoAway { last: late, code: Code::NO_ERROR }),
        Told::Response(open, 200, true),
        Told::Response(late, 200, true),
    ];
    assert_eq!(told, expected);
}

#[test]
fn streams_above_a_goaway_are_told_as_refused() {
    let (mut client, mut server) = pair(Settings::default(), Settings::default());
    let first = client.send_request(&request("/1"), true).unwrap();
    feed(&mut server, &std::mem::take(client.out())).unwrap();
    server.go_away(Code::NO_ERROR, false);
    let second = client.send_request(&request("/2"), true).unwrap();
    assert_eq!(feed(&mut server, &std::mem::take(client.out())).unwrap(), []);
    let told = feed(&mut client, &std::mem::take(server.out())).unwrap();
    let refused = Event::Reset { stream: second, code: Code::REFUSED_STREAM };
    let expected = [Told::Other(Event::GoAway { last: first, code: Code::NO_ERROR }), Told::Other(refused)];
    assert_eq!(told, expected);
    assert_eq!(client.active_streams(), 1);
}

#[test]
fn a_client_refuses_push_and_streams_of_the_server() {
    let cases = [
        raw(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]),
        raw(HEADERS, 5, 2, &block(&[(":status", "200")])),
        raw(DATA, 0, 2, b"x"),
        raw(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 1]),
    ];
    for frame in cases {
        let mut client = Connection::client(Settings::default());
        feed(&mut client, &raw(SETTINGS, 0, 0, &[])).unwrap();
        client.send_request(&request("/"), true).unwrap();
        assert_eq!(feed(&mut client, &frame).unwrap_err().code, Code::PROTOCOL_ERROR);
    }
}

#[test]
fn pings_are_answered_and_answers_are_told() {
    let mut server = server(Settings::default());
    feed(&mut server, &raw(PING, 0, 0, b"12345678")).unwrap();
    assert_eq!(written(&mut server), [(PING, ACK, 0, b"12345678".to_vec())]);
    let told = feed(&mut server, &raw(PING, ACK, 0, b"abcdefgh")).unwrap();
    assert_eq!(told, [Told::Other(Event::Pong(*b"abcdefgh"))]);
}

#[test]
fn an_answer_that_is_complete_ends_the_rest_of_the_request() {
    let (mut client, mut server) = pair(Settings::default(), Settings::default());
    let stream = client.send_request(&request("/"), false).unwrap();
    client.send_data(stream, b"a part", false);
    feed(&mut server, &std::mem::take(client.out())).unwrap();
    server.send_response(stream, &response(413), true);
    let told = feed(&mut client, &std::mem::take(server.out())).unwrap();
    assert_eq!(told, [Told::Response(stream, 413, true)]);
    client.send_data(stream, b"the rest", true);
    assert_eq!(written(&mut client), [(RST_STREAM, 0, stream, Code::CANCEL.0.to_be_bytes().to_vec())]);
    assert_eq!(client.active_streams(), 0);
}

#[test]
fn an_idle_connection_gives_its_memory_back_and_goes_on() {
    let (mut client, mut server) = pair(Settings::default(), Settings::default());
    for _ in 0..2 {
        let stream = client.send_request(&request("/"), true).unwrap();
        feed(&mut server, &std::mem::take(client.out())).unwrap();
        server.send_response(stream, &response(200), true);
        feed(&mut client, &std::mem::take(server.out())).unwrap();
        client.trim();
        server.trim();
        assert_eq!((client.out().capacity(), server.out().capacity()), (0, 0));
    }
}

#[test]
fn as_many_streams_are_opened_as_the_peer_allows() {
    let (mut client, mut server) =
        pair(Settings::default(), Settings { max_concurrent_streams: 2, ..Settings::default() });
    assert_eq!(client.peer_max_streams(), 2);
    for _ in 0..2 {
        client.send_request(&request("/"), true).unwrap();
    }
    assert!(!client.can_open());
    assert_eq!(client.send_request(&request("/"), true), Err(SendError::TooManyStreams));
    feed(&mut server, &std::mem::take(client.out())).unwrap();
    server.send_response(1, &response(200), true);
    feed(&mut client, &std::mem::take(server.out())).unwrap();
    assert!(client.can_open());
}

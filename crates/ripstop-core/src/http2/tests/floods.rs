//! Peers that send much of what costs them nothing.
use super::super::frame::*;
use super::super::*;
use super::frames::{GET, block, get, raw, server, written};
use super::pair::{feed, response};
use crate::time::Time;

fn calmed(server: &mut Connection, frame: impl Fn(u32) -> Vec<u8>, most: u32) -> bool {
    let input: Vec<u8> = (0..most).flat_map(frame).collect();
    feed(server, &input).is_err_and(|error| error.code == Code::ENHANCE_YOUR_CALM)
}

#[test]
fn floods_end_the_connection() {
    type Frame = fn(u32) -> Vec<u8>;
    let cases: [(&str, Frame); 9] = [
        ("PING", |_| raw(PING, 0, 0, &[0; 8])),
        ("SETTINGS", |_| raw(SETTINGS, 0, 0, &[])),
        ("PRIORITY", |_| raw(PRIORITY, 0, 1, &[0; 5])),
        ("WINDOW_UPDATE", |_| raw(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("empty DATA", |n| if n == 0 { get(1, 0) } else { raw(DATA, 0, 1, b"") }),
        ("padding only", |n| if n == 0 { get(1, 0) } else { raw(DATA, PADDED, 1, b"\x02\0\0") }),
        ("rapid reset", |n| [get(2 * n + 1, 5), raw(RST_STREAM, 0, 2 * n + 1, &[0, 0, 0, 8])].concat()),
        ("make you reset", |n| [get(2 * n + 1, 0), raw(WINDOW_UPDATE, 0, 2 * n + 1, &[0; 4])].concat()),
        ("malformed requests", |n| raw(HEADERS, 5, 2 * n + 1, &block(&GET[1..]))),
    ];
    for (name, frame) in cases {
        assert!(calmed(&mut server(Settings::default()), frame, 3000), "{name}");
    }
}

#[test]
fn continuation_frames_are_bounded_by_number_and_by_size() {
    let many = |n| match n {
        0 => raw(HEADERS, END_STREAM, 1, &block(GET)),
        _ => raw(CONTINUATION, 0, 1, b""),
    };
    let large = |n| match n {
        0 => raw(HEADERS, END_STREAM, 1, &block(GET)),
        _ => raw(CONTINUATION, 0, 1, &[0x82; 16_384]),
    };
    assert!(calmed(&mut server(Settings::default()), many, 50));
    assert!(calmed(&mut server(Settings::default()), large, 6));
}

#[test]
fn resets_are_forgiven_for_streams_that_end_well_and_with_time() {
    let mut server = server(Settings { max_resets: 10, ..Settings::default() });
    let mut stream = 1;
    let mut reset = |server: &mut Connection| {
        let frames = [get(stream, END_STREAM), raw(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat();
        stream += 2;
        feed(server, &frames)
    };
    for second in 0..50 {
        server.tick(Time::from_millis(second * 1000));
        reset(&mut server).unwrap();
    }
    for _ in 0..9 {
        reset(&mut server).unwrap();
    }
    assert_eq!(reset(&mut server).unwrap_err().code, Code::ENHANCE_YOUR_CALM);
}

#[test]
fn a_client_that_also_lets_streams_end_may_reset_as_many() {
    let mut server = server(Settings { max_resets: 10, ..Settings::default() });
    for n in 0..1000 {
        let (kept, dropped) = (4 * n + 1, 4 * n + 3);
        feed(&mut server, &get(kept, END_STREAM)).unwrap();
        server.send_response(kept, &response(200), true);
        let frames = [get(dropped, END_STREAM), raw(RST_STREAM, 0, dropped, &[0, 0, 0, 8])].concat();
        feed(&mut server, &frames).unwrap();
    }
}

#[test]
fn pings_whose_answers_are_written_are_no_flood() {
    let mut server = server(Settings { max_outbound_control_frames: 10, ..Settings::default() });
    for _ in 0..1000 {
        feed(&mut server, &raw(PING, 0, 0, &[0; 8])).unwrap();
        assert_eq!(written(&mut server).len(), 1);
    }
}

#[test]
fn a_bomb_of_references_to_a_large_entry_costs_no_memory() {
    let mut server = server(Settings::default());
    let mut text = block(GET);
    text.extend_from_slice(b"\x40\x01a\x7f\xa1\x1e");
    text.extend_from_slice(&[b'v'; 4000]);
    text.extend_from_slice(&[0xbe; 10_000]);
    feed(&mut server, &raw(HEADERS, 5, 1, &text)).unwrap();
    assert!(server.request_head().headers.size() <= 60 << 10);
}

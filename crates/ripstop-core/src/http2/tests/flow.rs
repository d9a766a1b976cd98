//! Flow control: nothing goes beyond a window, and nothing is left behind when it opens.
use proptest::prelude::*;

use super::super::frame::*;
use super::super::*;
use super::frames::{get, raw, server, written};
use super::pair::{Told, feed, pair, request, response};
use crate::http::Headers;

/// Octets of DATA that were written on a stream, and whether it was ended.
fn data_of(frames: &[(u8, u8, StreamId, Vec<u8>)], stream: StreamId) -> (usize, bool) {
    let of = frames.iter().filter(|(kind, _, id, _)| *kind == DATA && *id == stream);
    of.fold((0, false), |(sum, end), (_, flags, _, data)| (sum + data.len(), end | (flags & END_STREAM != 0)))
}

fn update(stream: StreamId, more: u32) -> Vec<u8> {
    raw(WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

#[test]
fn what_the_window_does_not_let_go_is_kept_and_sent_when_it_opens() {
    let mut server = server(Settings::default());
    feed(&mut server, &get(1, END_STREAM)).unwrap();
    server.send_response(1, &response(200), false);
    server.send_data(1, &[7; 100_000], true);
    assert_eq!(data_of(&written(&mut server), 1), (65_535, false));
    assert_eq!(server.pending(1), 100_000 - 65_535);
    assert_eq!(feed(&mut server, &update(0, 1 << 20)).unwrap(), []);
    assert_eq!(written(&mut server), []);
    let told = feed(&mut server, &update(1, 20_000)).unwrap();
    assert_eq!(told, [Told::Other(Event::Writable { stream: 1 })]);
    assert_eq!(data_of(&written(&mut server), 1), (20_000, false));
    let told = feed(&mut server, &update(1, 20_000)).unwrap();
    assert_eq!(told, [Told::Other(Event::Writable { stream: 1 })]);
    assert_eq!(data_of(&written(&mut server), 1), (14_465, true));
    assert_eq!(server.active_streams(), 0);
}

#[test]
fn streams_take_turns_when_the_window_of_the_connection_opens() {
    let mut server = server(Settings::default());
    for stream in [1, 3, 5] {
        feed(&mut server, &get(stream, END_STREAM)).unwrap();
        server.send_response(stream, &response(200), false);
        server.send_data(stream, &vec![0; 65_535], true);
    }
    let frames = written(&mut server);
    assert_eq!((data_of(&frames, 1).0, data_of(&frames, 3).0), (65_535, 0));
    feed(&mut server, &update(0, 65_536)).unwrap();
    let frames = written(&mut server);
    assert_eq!((data_of(&frames, 3).0, data_of(&frames, 5).0), (32_768, 32_768));
}

#[test]
fn trailers_wait_behind_what_is_kept() {
    let mut server = server(Settings::default());
    feed(&mut server, &get(1, END_STREAM)).unwrap();
    server.send_response(1, &response(200), false);
    server.send_data(1, &[0; 70_000], false);
    let mut trailers = Headers::new();
    trailers.push(b"grpc-status", b"0");
    server.send_trailers(1, &trailers);
    assert!(
        !written(&mut server).iter().any(|(kind, flags, ..)| *kind == HEADERS && flags & END_STREAM != 0)
    );
    feed(&mut server, &[update(0, 70_000), update(1, 70_000)].concat()).unwrap();
    let frames = written(&mut server);
    let last = frames.last().unwrap();
    assert_eq!((last.0, last.1), (HEADERS, END_STREAM | END_HEADERS));
    assert_eq!(server.active_streams(), 0);
}

#[test]
fn a_smaller_first_window_can_make_windows_negative() {
    let mut server = server(Settings::default());
    feed(&mut server, &get(1, END_STREAM)).unwrap();
    server.send_response(1, &response(200), false);
    server.send_data(1, &[0; 65_535], false);
    written(&mut server);
    feed(&mut server, &[update(0, 70_000), raw(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 10])].concat()).unwrap();
    server.send_data(1, &[0; 100], true);
    feed(&mut server, &update(1, 65_525)).unwrap();
    assert_eq!(data_of(&written(&mut server), 1), (0, false));
    feed(&mut server, &update(1, 50)).unwrap();
    assert_eq!(data_of(&written(&mut server), 1), (50, false));
    // A larger one opens them again.
    feed(&mut server, &raw(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])).unwrap();
    assert_eq!(data_of(&written(&mut server), 1), (50, true));
}

#[test]
fn a_first_window_of_zero_that_grows_lets_go_what_was_kept() {
    let mut server = server(Settings::default());
    feed(&mut server, &raw(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).unwrap();
    feed(&mut server, &get(1, END_STREAM)).unwrap();
    server.send_response(1, &response(200), false);
    server.send_data(1, &[0; 10], true);
    written(&mut server);
    feed(&mut server, &raw(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1])).unwrap();
    assert_eq!(data_of(&written(&mut server), 1), (1, false));
}

#[test]
fn an_end_without_content_needs_no_window() {
    let mut server = server(Settings::default());
    feed(&mut server, &[raw(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]), get(1, END_STREAM)].concat()).unwrap();
    server.send_response(1, &response(200), false);
    server.send_data(1, b"", true);
    assert_eq!(data_of(&written(&mut server), 1), (0, true));
}

#[test]
fn window_updates_are_batched() {
    let (mut client, mut server) = pair(Settings::default(), Settings::default());
    let stream = client.send_request(&request("/"), false).unwrap();
    for _ in 0..1000 {
        client.send_data(stream, &[0; 100], false);
        feed(&mut server, &std::mem::take(client.out())).unwrap();
    }
    assert_eq!(written(&mut server), []);
}

#[test]
fn what_is_released_late_still_opens_the_connection() {
    let mut server = server(Settings { initial_connection_window: 65_535, ..Settings::default() });
    feed(&mut server, &get(1, 0)).unwrap();
    let frame = raw(DATA, 0, 1, &[0; 16_384]);
    let mut input = &frame.repeat(3)[..];
    let mut flows = 0;
    loop {
        let (used, event) = server.receive(input).unwrap();
        input = &input[used..];
        match event {
            Event::Data { flow, .. } => flows += flow,
            Event::NeedMore => break,
            _ => {}
        }
    }
    server.reset(1, Code::CANCEL);
    written(&mut server);
    server.release(1, flows);
    assert_eq!(written(&mut server), [(WINDOW_UPDATE, 0, 0, (3 * 16_384u32).to_be_bytes().to_vec())]);
}

proptest! {
    /// Whatever the windows, each stream gets exactly what was sent on it, and no end ever overruns the other's window (the
    /// receiving machine would end the connection).
    #[test]
    fn all_arrives_through_any_windows(
        stream_window in 1u32..200_000,
        connection_window in 65_535u32..300_000,
        sends in proptest::collection::vec((0usize..4, 0usize..60_000, any::<bool>()), 1..40),
    ) {
        let limits = Settings {
            initial_stream_window: stream_window,
            initial_connection_window: connection_window,
            max_window_update_per_data: 1000,
            ..Settings::default()
        };
        let (mut client, mut server) = pair(Settings::default(), limits);
        let ids: Vec<StreamId> =
            (0..4).map(|n| client.send_request(&request(&format!("/{n}")), false).unwrap()).collect();
        let mut sent = [0usize; 4];
        let mut got = [0usize; 4];
        let mut ended = [false; 4];
        let mut exchange = |client: &mut Connection, server: &mut Connection| {
            let told = feed(server, &std::mem::take(client.out())).unwrap();
            for event in told {
                if let Told::Data(stream, data, end) = event {
                    let n = (stream / 2) as usize;
                    got[n] += data.len();
                    ended[n] |= end;
                }
            }
            feed(client, &std::mem::take(server.out())).unwrap();
            (got, ended)
        };
        for (n, len, is_now) in sends {
            client.send_data(ids[n], &vec![0; len], false);
            sent[n] += len;
            if is_now {
                exchange(&mut client, &mut server);
            }
        }
        ids.iter().for_each(|id| client.send_data(*id, b"", true));
        let mut last = None;
        loop {
            let now = exchange(&mut client, &mut server);
            if last == Some(now) {
                break;
            }
            last = Some(now);
        }
        prop_assert_eq!(last, Some((sent, [true; 4])));
    }
}

//! Octets may be cut anywhere: the machines tell the same.
use proptest::collection::vec;
use proptest::prelude::*;

use super::super::*;
use super::pair::{Told, feed, pair, request, response};
use crate::http::Headers;

/// Feed `input` in pieces of the given lengths; parts of a body are put together.
fn feed_cut(end: &mut Connection, mut input: &[u8], cuts: &[usize]) -> Vec<Told> {
    let mut told: Vec<Told> = Vec::new();
    let mut cuts = cuts.iter().cycle();
    while !input.is_empty() {
        let n = cuts.next().map_or(1, |n| *n).min(input.len());
        told.extend(feed(end, &input[..n]).unwrap());
        input = &input[n..];
    }
    joined(told)
}

fn joined(told: Vec<Told>) -> Vec<Told> {
    let mut all: Vec<Told> = Vec::new();
    for event in told {
        match (all.last_mut(), event) {
            (Some(Told::Data(last, text, false)), Told::Data(stream, more, end)) if *last == stream => {
                text.extend_from_slice(&more);
                all.last_mut().into_iter().for_each(|e| {
                    if let Told::Data(_, _, is_end) = e {
                        *is_end = end;
                    }
                });
            }
            (_, event) => all.push(event),
        }
    }
    all
}

#[derive(Clone, Debug)]
struct Message {
    fields: Vec<(String, String)>,
    body: Vec<Vec<u8>>,
    has_trailers: bool,
}

fn message() -> impl Strategy<Value = Message> {
    let field = ("[a-z][a-z0-9-]{0,12}", "([!-~]([ -~]{0,30}[!-~])?)?");
    (vec(field, 0..6), vec(vec(any::<u8>(), 0..300), 0..3), any::<bool>())
        .prop_map(|(fields, body, has_trailers)| Message { fields, body, has_trailers })
}

/// Names that have a meaning of their own are another test's matter.
fn headers(fields: &[(String, String)]) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in fields {
        headers.push(format!("x-{name}").as_bytes(), value.as_bytes());
    }
    headers
}

proptest! {
    #[test]
    fn messages_arrive_as_sent_however_they_are_cut(
        messages in vec((message(), message()), 1..6),
        cuts in vec(1usize..60, 1..20),
        huffman in any::<bool>(),
    ) {
        let settings = Settings { huffman, ..Settings::default() };
        let (mut client, mut server) = pair(settings.clone(), settings);
        for (number, (asked, answered)) in messages.iter().enumerate() {
            let path = format!("/{number}");
            let mut head = request(&path);
            headers(&asked.fields).iter().for_each(|f| head.headers.push(f.name, f.value));
            let stream = client.send_request(&head, false).unwrap();
            let told = passed(&mut client, &mut server, stream, asked, &cuts);
            let first = Told::Request(stream, path, false);
            prop_assert_eq!(told, expected(first, stream, asked));
            prop_assert_eq!(&server.request_head().headers, &head.headers);
            let mut head = response(200);
            headers(&answered.fields).iter().for_each(|f| head.headers.push(f.name, f.value));
            server.send_response(stream, &head, false);
            let told = passed(&mut server, &mut client, stream, answered, &cuts);
            prop_assert_eq!(told, expected(Told::Response(stream, 200, false), stream, answered));
            prop_assert_eq!(&client.response_head().headers, &head.headers);
        }
        prop_assert_eq!((client.active_streams(), server.active_streams()), (0, 0));
    }

    /// Whatever comes, and however it is cut, the same is told and answered.
    #[test]
    fn cuts_change_nothing_even_for_nonsense(
        frames in vec(frame(), 0..30),
        broken in proptest::option::of((any::<usize>(), any::<u8>())),
        cuts in vec(1usize..30, 1..20),
        is_client in any::<bool>(),
    ) {
        let mut octets = frames.concat();
        if let Some((at, byte)) = broken.filter(|_| !octets.is_empty()) {
            let at = at % octets.len();
            octets[at] = byte;
        }
        let mut whole = started(is_client);
        let mut cut = started(is_client);
        let told = steering(&mut whole, &[&octets]);
        let mut pieces = Vec::new();
        let (mut rest, mut cuts) = (&octets[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, more) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            pieces.push(piece);
            rest = more;
        }
        prop_assert_eq!(told, steering(&mut cut, &pieces));
        prop_assert_eq!(whole.out(), cut.out());
        prop_assert_eq!(whole.active_streams(), cut.active_streams());
    }

    #[test]
    fn no_octets_make_a_machine_panic(
        frames in vec((0u8..11, any::<u8>(), 0u32..8, vec(any::<u8>(), 0..40)), 0..40),
        is_client in any::<bool>(),
    ) {
        let mut end = if is_client { Connection::client(Settings::default()) } else {
            super::frames::server(Settings::default())
        };
        if is_client {
            let _ = feed(&mut end, &super::frames::raw(4, 0, 0, &[]));
            let _ = end.send_request(&request("/"), false);
        }
        for (kind, flags, stream, payload) in frames {
            let frame = super::frames::raw(kind, flags, stream, &payload);
            if feed(&mut end, &frame).is_err() {
                break;
            }
            end.send_response(stream, &response(200), flags & 2 == 0);
            end.send_data(stream, &payload, flags & 4 == 0);
        }
    }
}

/// A frame that may be right.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    use super::frames::{GET, block, raw};
    let stream = prop_oneof![Just(0u32), Just(1), Just(3), Just(5), Just(7)];
    let head = prop_oneof![
        Just(block(GET)),
        Just(block(&[(":status", "200")])),
        Just(block(&[("x-end", "1")])),
        Just(block(&[("content-length", "5")])),
    ];
    let flags =
        prop_oneof![Just(0u8), Just(1), Just(4), Just(5), Just(8), Just(0x20), Just(0x2d), any::<u8>()];
    (0u8..11, flags, stream, head, vec(any::<u8>(), 0..20)).prop_map(|(kind, flags, stream, head, other)| {
        match kind {
            1 | 9 => raw(kind, flags, stream, &head),
            2 => raw(kind, flags, stream, &other[..other.len().min(5)]),
            3 | 8 => raw(kind, flags, stream, &[0, 0, 0, other.len() as u8]),
            4 => raw(kind, flags & 1, 0, &other[..other.len() / 6 * 6]),
            6 => raw(kind, flags & 1, 0, &[7; 8]),
            _ => raw(kind, flags, stream, &other),
        }
    })
}

fn started(is_client: bool) -> Connection {
    if !is_client {
        return super::frames::server(Settings::default());
    }
    let mut client = Connection::client(Settings::default());
    feed(&mut client, &super::frames::raw(4, 0, 0, &[])).unwrap();
    for _ in 0..3 {
        client.send_request(&request("/"), false).unwrap();
    }
    client
}

/// All that is told but content, and the error at the end. Content that breaks its length may come in part before that is seen.
fn steering(end: &mut Connection, pieces: &[&[u8]]) -> (Vec<Event>, Option<ConnectionError>) {
    let mut told = Vec::new();
    for piece in pieces {
        let mut rest = *piece;
        loop {
            match end.receive(rest) {
                Ok((_, Event::NeedMore)) => break,
                Ok((used, Event::Data { stream, flow, .. })) => {
                    rest = &rest[used..];
                    end.release(stream, flow);
                }
                Ok((used, event)) => {
                    rest = &rest[used..];
                    told.push(event);
                }
                Err(error) => return (told, Some(error)),
            }
        }
    }
    (told, None)
}

/// Send the rest of a message and hand all to the other end.
fn passed(
    from: &mut Connection,
    to: &mut Connection,
    stream: StreamId,
    message: &Message,
    cuts: &[usize],
) -> Vec<Told> {
    for part in &message.body {
        from.send_data(stream, part, false);
    }
    if message.has_trailers {
        from.send_trailers(stream, &headers(&[("end".into(), "1".into())]));
    } else {
        from.send_data(stream, b"", true);
    }
    feed_cut(to, &std::mem::take(from.out()), cuts)
}

fn expected(first: Told, stream: StreamId, message: &Message) -> Vec<Told> {
    let body = message.body.concat();
    let mut all = vec![first];
    if !body.is_empty() || !message.has_trailers {
        all.push(Told::Data(stream, body, !message.has_trailers));
    }
    if message.has_trailers {
        all.push(Told::Trailers(stream, 1));
    }
    all
}

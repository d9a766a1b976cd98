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

//! A client machine and a server machine that talk to each other.
use super::super::*;
use crate::http::{HeaderId, Headers, RequestHead, ResponseHead, Version};

/// What one end was told, with the message parts copied out.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Told {
    Request(StreamId, String, bool),
    Response(StreamId, u16, bool),
    Trailers(StreamId, usize),
    Data(StreamId, Vec<u8>, bool),
    Other(Event),
}

/// Feed octets and copy out what is told; all DATA is released at once.
pub(super) fn feed(end: &mut Connection, mut input: &[u8]) -> Result<Vec<Told>, ConnectionError> {
    let mut told = Vec::new();
    loop {
        let (used, event) = end.receive(input)?;
        let chunk = input;
        input = &input[used..];
        told.push(match event {
            Event::NeedMore => {
                assert!(input.is_empty());
                return Ok(told);
            }
            Event::Request { stream, end: is_end } => {
                let path = String::from_utf8_lossy(end.request_head().path()).into_owned();
                Told::Request(stream, path, is_end)
            }
            Event::Response { stream, end: is_end } => {
                Told::Response(stream, end.response_head().status, is_end)
            }
            Event::Trailers { stream } => Told::Trailers(stream, end.trailers().len()),
            Event::Data { stream, data, end: is_end, flow } => {
                end.release(stream, flow);
                Told::Data(stream, chunk[data].to_vec(), is_end)
            }
            event => Told::Other(event),
        });
    }
}

pub(super) fn request(path: &str) -> RequestHead {
    let mut head = RequestHead::default();
    head.version = Version::Http2;
    head.set_method(b"POST");
    head.set_scheme(b"http");
    head.set_authority(b"shop.example");
    head.set_path(path.as_bytes());
    head.headers.push_known(HeaderId::UserAgent, b"test");
    head
}

pub(super) fn response(status: u16) -> ResponseHead {
    let mut head = ResponseHead { status, ..ResponseHead::default() };
    head.headers.push_known(HeaderId::Server, b"test");
    head
}

/// Two ends whose settings have been exchanged.
pub(super) fn pair(client: Settings, server: Settings) -> (Connection, Connection) {
    let (mut client, mut server) = (Connection::client(client), Connection::server(server));
    for _ in 0..2 {
        feed(&mut server, &std::mem::take(client.out())).unwrap();
        feed(&mut client, &std::mem::take(server.out())).unwrap();
    }
    (client, server)
}

#[test]
fn a_request_and_its_answer_pass_with_bodies_and_trailers() {
    let (mut client, mut server) = pair(Settings::default(), Settings::default());
    let id = client.send_request(&request("/a"), false).unwrap();
    client.send_data(id, b"hello", true);
    let told = feed(&mut server, &std::mem::take(client.out())).unwrap();
    assert_eq!(told, [Told::Request(1, "/a".into(), false), Told::Data(1, b"hello".to_vec(), true)]);

    let mut trailers = Headers::new();
    trailers.push(b"grpc-status", b"0");
    server.send_response(id, &response(103), false);
    server.send_response(id, &response(200), false);
    server.send_data(id, b"world", false);
    server.send_trailers(id, &trailers);
    let told = feed(&mut client, &std::mem::take(server.out())).unwrap();
    let expected = [
        Told::Response(1, 103, false),
        Told::Response(1, 200, false),
        Told::Data(1, b"world".to_vec(), false),
        Told::Trailers(1, 1),
    ];
    assert_eq!(told, expected);
    assert_eq!((client.active_streams(), server.active_streams()), (0, 0));
}

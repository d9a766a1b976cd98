//! The `h2` crate as the other end: both agree on what was said.
use std::collections::HashMap;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::super::*;
use super::pair::{Told, feed, request};
use crate::http::{Headers, ResponseHead};

/// A body that tells its number and length.
fn body(number: usize) -> Vec<u8> {
    (0..number * 7919 % 150_000).map(|at| (at * 31 + number) as u8).collect()
}

fn run(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
}

/// A server that gives each request its body back, the number in a field, and a trailer.
async fn echo(mut socket: DuplexStream, settings: Settings) {
    let mut server = Connection::server(settings);
    let mut buffer = vec![0; 10_000];
    loop {
        let out = std::mem::take(server.out());
        if socket.write_all(&out).await.is_err() {
            return;
        }
        let n = socket.read(&mut buffer).await.unwrap_or(0);
        if n == 0 {
            return;
        }
        for told in feed(&mut server, &buffer[..n]).unwrap() {
            match told {
                Told::Request(stream, path, _) => {
                    let mut head = ResponseHead { status: 200, ..ResponseHead::default() };
                    head.headers.push(b"x-path", path.as_bytes());
                    server.send_response(stream, &head, false);
                }
                Told::Data(stream, data, is_end) => {
                    server.send_data(stream, &data, false);
                    if is_end {
                        let mut trailers = Headers::new();
                        trailers.push(b"x-end", b"yes");
                        server.send_trailers(stream, &trailers);
                    }
                }
                Told::Other(event) => {
                    assert!(!matches!(event, Event::Malformed { .. } | Event::Reset { .. }), "{event:?}");
                }
                _ => {}
            }
        }
    }
}

/// One request of the `h2` crate to [`echo`].
async fn ask(mut send: h2::client::SendRequest<Bytes>, number: usize) {
    send = send.ready().await.unwrap();
    let path = format!("http://shop.example/{number}");
    let head = http::Request::post(path).header("x-number", number).body(()).unwrap();
    let (answer, mut stream) = send.send_request(head, false).unwrap();
    stream.send_data(body(number).into(), true).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.headers()["x-path"], format!("/{number}"));
    let mut content = answer.into_body();
    let mut got = Vec::new();
    while let Some(part) = content.data().await {
        let part = part.unwrap();
        content.flow_control().release_capacity(part.len()).unwrap();
        got.extend_from_slice(&part);
    }
    assert!(got == body(number), "{number}");
    assert_eq!(content.trailers().await.unwrap().unwrap()["x-end"], "yes");
}

#[test]
fn a_client_of_the_h2_crate_gets_back_what_it_sent() {
    for (window, huffman) in [(1000, false), (70_000, true), (16 << 20, false)] {
        run(async move {
            let (ours, theirs) = tokio::io::duplex(3000);
            let settings = Settings {
                initial_stream_window: window,
                max_concurrent_streams: 10,
                huffman,
                ..Settings::default()
            };
            tokio::spawn(echo(ours, settings));
            let mut builder = h2::client::Builder::new();
            builder.initial_window_size(window).initial_max_send_streams(1);
            let (send, connection) = builder.handshake(theirs).await.unwrap();
            let driver = tokio::spawn(connection);
            let asked: Vec<_> = (0..40).map(|number| tokio::spawn(ask(send.clone(), number))).collect();
            for one in asked {
                one.await.unwrap();
            }
            drop(send);
            driver.await.unwrap().unwrap();
        });
    }
}

/// A server of the `h2` crate that gives each request its body back, the path in a field, and a trailer.
async fn their_echo(socket: DuplexStream) {
    let mut connection =
        h2::server::Builder::new().max_concurrent_streams(10).handshake::<_, Bytes>(socket).await.unwrap();
    while let Some(accepted) = connection.accept().await {
        let Ok((head, mut respond)) = accepted else { return };
        tokio::spawn(async move {
            let path = head.uri().path().to_string();
            let mut content = head.into_body();
            let mut got = Vec::new();
            while let Some(part) = content.data().await {
                let part = part.unwrap();
                content.flow_control().release_capacity(part.len()).unwrap();
                got.extend_from_slice(&part);
            }
            let answer = http::Response::builder().header("x-path", path).body(()).unwrap();
            let mut stream = respond.send_response(answer, false).unwrap();
            stream.send_data(got.into(), false).unwrap();
            let trailers =
                [("x-end", "yes")].map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            stream.send_trailers(trailers.into_iter().collect()).unwrap();
        });
    }
}

/// Send forty requests, as many at a time as the peer lets us, and gather the answers by stream.
async fn ask_all(mut socket: DuplexStream) -> HashMap<StreamId, (usize, Vec<u8>, usize)> {
    let mut client = Connection::client(Settings::default());
    let mut answers = HashMap::new();
    let (mut next, mut done) = (0, 0);
    let mut buffer = vec![0; 10_000];
    while done < 40 {
        while next < 40 && client.is_established() && client.can_open() {
            let stream = client.send_request(&request(&format!("/{next}")), false).unwrap();
            client.send_data(stream, &body(next), true);
            answers.insert(stream, (next, Vec::new(), 0));
            next += 1;
        }
        let out = std::mem::take(client.out());
        let n = if out.is_empty() { socket.read(&mut buffer).await.unwrap() } else { 0 };
        socket.write_all(&out).await.unwrap();
        for told in feed(&mut client, &buffer[..n]).unwrap() {
            match told {
                Told::Data(stream, data, _) => answers.get_mut(&stream).unwrap().1.extend_from_slice(&data),
                Told::Trailers(stream, fields) => {
                    answers.get_mut(&stream).unwrap().2 = fields;
                    done += 1;
                }
                Told::Other(event) => {
                    assert!(!matches!(event, Event::Malformed { .. } | Event::Reset { .. }), "{event:?}");
                }
                _ => {}
            }
        }
    }
    answers
}

#[test]
fn a_server_of_the_h2_crate_gives_back_what_we_sent() {
    run(async {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        tokio::spawn(their_echo(theirs));
        let answers = ask_all(ours).await;
        assert_eq!(answers.len(), 40);
        for (number, got, trailers) in answers.into_values() {
            assert!(got == body(number) && trailers == 1, "{number}");
        }
    });
}

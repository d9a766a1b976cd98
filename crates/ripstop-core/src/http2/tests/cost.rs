//! What a request costs in the middle of two connections. Asked for by hand: `cargo test -- --ignored --nocapture cost`.
use std::time::{Duration, Instant};

use super::super::*;
use super::pair::{feed, pair, request, response};
use crate::http::{HeaderId, RequestHead, ResponseHead};

const STREAMS: usize = 10;
const ROUNDS: usize = 20_000;

/// The middle: a server for the one side, a client for the other, and what an exchange keeps.
struct Hop {
    down: Connection,
    up: Connection,
    request: RequestHead,
    response: ResponseHead,
    /// By half of the upstream's id.
    streams: std::collections::VecDeque<(StreamId, StreamId)>,
}

impl Hop {
    fn requests(&mut self, mut input: &[u8]) {
        loop {
            let (used, event) = self.down.receive(input).unwrap();
            input = &input[used..];
            match event {
                Event::NeedMore => return,
                Event::Request { stream, end } => {
                    std::mem::swap(self.down.request_head(), &mut self.request);
                    let up = self.up.send_request(&self.request, end).unwrap();
                    self.streams.push_back((up, stream));
                }
                _ => {}
            }
        }
    }

    fn responses(&mut self, input: &[u8]) {
        let mut rest = input;
        loop {
            let (used, event) = self.up.receive(rest).unwrap();
            let chunk = rest;
            rest = &rest[used..];
            match event {
                Event::NeedMore => return,
                Event::Response { end, .. } => {
                    std::mem::swap(self.up.response_head(), &mut self.response);
                    self.down.send_response(self.streams[0].1, &self.response, end);
                }
                Event::Data { stream, data, end, flow } => {
                    self.down.send_data(self.streams[0].1, &chunk[data], end);
                    self.up.release(stream, flow);
                    if end {
                        self.streams.pop_front();
                    }
                }
                _ => {}
            }
        }
    }
}

#[test]
#[ignore = "a measurement"]
fn a_hop_in_nanoseconds() {
    let (mut client, down) = pair(Settings::default(), Settings::default());
    let (up, mut server) = pair(Settings::default(), Settings::default());
    let (request_head, response_head) = (RequestHead::default(), ResponseHead::default());
    let mut hop =
        Hop { down, up, request: request_head, response: response_head, streams: Default::default() };
    let mut answer = response(200);
    answer.headers.push_known(HeaderId::ContentType, b"text/plain");
    answer.headers.push_known(HeaderId::Date, b"Mon, 21 Oct 2013 20:13:21 GMT");
    answer.headers.push_known(HeaderId::ContentLength, b"128");
    let mut took: [Vec<Duration>; 2] = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        for stream in 0..STREAMS {
            let mut head = request("/api/items?of=shop");
            head.headers.push_known(HeaderId::Accept, b"*/*");
            head.headers.push_known(HeaderId::AcceptEncoding, b"gzip, br");
            head.headers.push(b"x-tenant", b"blue");
            let id = format!("{:08x}-4f3a-4a0c-9e52-{:012x}", round * 77_777, stream * 999);
            head.headers.push_known(HeaderId::XRequestId, id.as_bytes());
            client.send_request(&head, true).unwrap();
        }
        let bytes = std::mem::take(client.out());
        let start = Instant::now();
        hop.requests(&bytes);
        took[0].push(start.elapsed());
        feed(&mut server, hop.up.out()).unwrap();
        hop.up.out().clear();
        for stream in 0..STREAMS {
            let id = ((round * STREAMS + stream) * 2 + 1) as StreamId;
            server.send_response(id, &answer, false);
            server.send_data(id, &[b'x'; 128], true);
        }
        let bytes = std::mem::take(server.out());
        let start = Instant::now();
        hop.responses(&bytes);
        took[1].push(start.elapsed());
        feed(&mut client, hop.down.out()).unwrap();
        hop.down.out().clear();
    }
    // The machine may be busy with other things: the quick rounds are the ones that nothing disturbed.
    let each = took.map(|mut rounds| {
        rounds.sort();
        rounds[ROUNDS / 10].as_nanos() as usize / STREAMS
    });
    println!("request {} ns, response {} ns", each[0], each[1]);
}

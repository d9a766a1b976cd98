//! HTTP/2 connections: events of the machine become requests and answers.
use super::Worker;
use super::connection::{Close, Machine, Streams};
use super::exchange::{Kind, Side};
use super::slots::Key;
use ripstop_core::http::BodyLength;
use ripstop_core::http2::{Code, Connection as H2, Event};
use ripstop_core::time::Time;

impl Worker {
    /// Bytes of an HTTP/2 connection, up or down; how many were used.
    pub(crate) fn h2_input(&mut self, key: Key, data: &[u8]) -> usize {
        let now = self.now;
        if let Some((machine, _)) = self.h2(key) {
            machine.tick(now);
        }
        let mut at = 0;
        loop {
            let Some((machine, _)) = self.h2(key) else { return data.len() };
            match machine.receive(&data[at..]) {
                Ok((used, Event::NeedMore)) => {
                    at += used;
                    break;
                }
                Ok((used, event)) => {
                    let base = at;
                    at += used;
                    self.h2_event(key, event, &data[base..]);
                }
                Err(error) => {
                    self.h2_failed(key, error.reason);
                    return data.len();
                }
            }
        }
        self.mark_dirty_if_unsent(key);
        at
    }

    /// The machine of a connection and the exchanges of its streams.
    pub(crate) fn h2(&mut self, key: Key) -> Option<(&mut H2, &mut Streams)> {
        match &mut self.connections.get_mut(key)?.machine {
            Machine::H2Server(h2) => Some((&mut h2.machine, &mut h2.streams)),
            Machine::H2Client(h2) => Some((&mut h2.machine, &mut h2.streams)),
            _ => None,
        }
    }

    pub(crate) fn mark_dirty_if_unsent(&mut self, key: Key) {
        if self.connections.get(key).is_some_and(|connection| connection.unsent() > 0) {
            self.mark_dirty(key);
        }
    }

    fn h2_event(&mut self, key: Key, event: Event, data: &[u8]) {
        match event {
            Event::Request { stream, end } => self.h2_request(key, stream, end),
            Event::Response { stream, end } => self.h2_response(key, stream, end),
            Event::Data { stream, data: range, end, flow } => {
                self.h2_data(key, stream, &data[range], end, flow)
            }
            Event::Trailers { stream } => self.h2_trailers(key, stream),
            Event::Reset { stream, code } => self.h2_reset(key, stream, code, ""),
            Event::Malformed { stream, why } => self.h2_reset(key, stream, Code::PROTOCOL_ERROR, why),
            Event::Writable { stream } => {
                let exchange = self.h2(key).and_then(|(_, streams)| streams.get(stream));
                if let Some(exchange) = exchange {
                    self.with_exchange(exchange, |worker, key, ex| worker.make_room(key, ex));
                }
            }
            Event::GoAway { last, .. } => self.h2_go_away(key, last),
            Event::Pong(_) => {
                if let Some(Machine::H2Client(h2)) = self.connections.get_mut(key).map(|c| &mut c.machine) {
                    h2.ping_sent = None;
                }
            }
            Event::Settings => self.serve_waiting(key),
            Event::NeedMore | Event::Handled => {}
        }
    }

    fn h2_request(&mut self, key: Key, stream: u32, end: bool) {
        let exchange = self.new_exchange(key, stream, Kind::Http);
        let now = self.now;
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Machine::H2Server(h2) = &mut connection.machine else { return };
        connection.deadline = h2.draining.filter(|at| *at > now).unwrap_or(Time::NEVER);
        h2.requests += 1;
        h2.streams.insert(stream, exchange);
        let manager = connection.chain.as_ref().and_then(|chain| chain.manager.as_ref());
        let most = manager.map_or(0, |manager| manager.max_requests_per_connection);
        if most > 0 && h2.requests >= u64::from(most) && h2.draining.is_none() {
            h2.draining = Some(self.now);
            h2.machine.go_away(Code::NO_ERROR, false);
        }
        let mut size = 0;
        if let Some(ex) = self.exchanges.get_mut(exchange) {
            std::mem::swap(&mut ex.request, h2.machine.request_head());
            size = ex.request.headers.held();
        }
        self.took(size); // compressed, it was less
        self.with_exchange(exchange, |worker, key, ex| {
            ex.request_ended = end;
            ex.request_body = match content_length(&ex.request.headers) {
                Some(length) if !end => BodyLength::Exact(length),
                _ if end => BodyLength::Empty,
                _ => BodyLength::Chunked,
            };
            worker.start_request(key, ex, false);
        });
    }

    fn h2_response(&mut self, key: Key, stream: u32, end: bool) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Machine::H2Client(h2) = &mut connection.machine else { return };
        let Some(exchange) = h2.streams.get(stream) else { return };
        let Some(ex) = self.exchanges.get_mut(exchange) else { return };
        std::mem::swap(&mut ex.response, h2.machine.response_head());
        ex.any_response_byte = true;
        let is_interim = ex.response.is_interim();
        if end {
            h2.streams.remove(stream);
            ex.up = Side::NONE;
            self.stream_ended(key);
        }
        self.with_exchange(exchange, |worker, key, ex| match is_interim {
            true => worker.interim_response(ex),
            false => worker.response_head(key, ex, end),
        });
    }

    fn h2_data(&mut self, key: Key, stream: u32, data: &[u8], end: bool, flow: usize) {
        let Some((machine, streams)) = self.h2(key) else { return };
        let Some(exchange) = streams.get(stream) else {
            machine.release(stream, flow); // of nobody: the connection's window must not shrink for it
            return self.h2_leftover(key, stream, data.len(), end);
        };
        let is_downstream = self.connections.get(key).is_some_and(|c| c.upstream.is_none());
        if is_downstream {
            return self.request_data(exchange, data, end, flow);
        }
        if end {
            if let Some((_, streams)) = self.h2(key) {
                streams.remove(stream);
            }
            if let Some(ex) = self.exchanges.get_mut(exchange) {
                ex.up = Side::NONE;
                ex.trailers.clear();
            }
            self.release_flow(key, stream, flow);
            self.stream_ended(key);
            return self
                .with_exchange(exchange, |worker, key, ex| worker.response_data(key, ex, data, true, 0));
        }
        self.with_exchange(exchange, |worker, key, ex| worker.response_data(key, ex, data, false, flow));
    }

    /// The rest of a request that was answered already: taken for a while, since clients that are reset at once do not
    /// all read the answer; then the stream is reset (RFC 9113, section 8.1).
    fn h2_leftover(&mut self, key: Key, stream: u32, len: usize, end: bool) {
        const MOST: usize = 1024 * 1024;
        let Some(Machine::H2Server(h2)) = self.connections.get_mut(key).map(|c| &mut c.machine) else {
            return;
        };
        let Some(at) = h2.leftover.iter().position(|(left, _)| *left == stream) else { return };
        h2.leftover[at].1 += len;
        if end || h2.leftover[at].1 > MOST {
            h2.leftover.swap_remove(at);
            if !end {
                h2.machine.reset(stream, Code::NO_ERROR);
            }
        }
    }

    fn h2_trailers(&mut self, key: Key, stream: u32) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        match &mut connection.machine {
            Machine::H2Server(h2) => {
                let Some(exchange) = h2.streams.get(stream) else {
                    return h2.leftover.retain(|(left, _)| *left != stream);
                };
                if let Some(ex) = self.exchanges.get_mut(exchange) {
                    let mut trailers = ripstop_core::http::Headers::new();
                    std::mem::swap(&mut trailers, h2.machine.trailers());
                    ex.request_trailers = Some(Box::new(trailers));
                }
                self.request_data(exchange, &[], true, 0);
            }
            Machine::H2Client(h2) => {
                let Some(exchange) = h2.streams.remove(stream) else { return };
                if let Some(ex) = self.exchanges.get_mut(exchange) {
                    std::mem::swap(&mut ex.trailers, h2.machine.trailers());
                    ex.up = Side::NONE;
                }
                self.stream_ended(key);
                self.with_exchange(exchange, |worker, key, ex| worker.response_data(key, ex, &[], true, 0));
            }
            _ => {}
        }
    }

    /// The peer reset a stream, or said something on it that is not HTTP.
    fn h2_reset(&mut self, key: Key, stream: u32, code: Code, malformed: &'static str) {
        let Some((_, streams)) = self.h2(key) else { return };
        let Some(exchange) = streams.remove(stream) else {
            if let Some(Machine::H2Server(h2)) = self.connections.get_mut(key).map(|c| &mut c.machine) {
                h2.leftover.retain(|(left, _)| *left != stream);
            }
            return;
        };
        let is_downstream = self.connections.get(key).is_some_and(|c| c.upstream.is_none());
        if !is_downstream {
            self.stream_ended(key);
        } else {
            self.h2_server_idle(key);
        }
        self.with_exchange(exchange, |worker, key, ex| {
            if is_downstream {
                ex.down = Side::NONE;
                let flag = ripstop_core::outcome::Flags::DOWNSTREAM_REMOTE_RESET;
                worker.downstream_gone(key, ex, flag);
            } else {
                ex.up = Side::NONE;
                match malformed {
                    "" => worker.upstream_reset(key, ex, code),
                    why => worker.response_broken(key, ex, why),
                }
            }
        });
    }

    fn h2_failed(&mut self, key: Key, reason: &'static str) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.upstream.is_some() {
            let _ = connection.flush();
            self.leave_pool(key);
            for exchange in self.exchanges_of(key) {
                self.with_exchange(exchange, |worker, key, ex| {
                    ex.up = Side::NONE;
                    worker.response_broken(key, ex, reason);
                });
            }
            return self.close(key);
        }
        for exchange in self.exchanges_of(key) {
            let flag = ripstop_core::outcome::Flags::DOWNSTREAM_PROTOCOL_ERROR;
            self.with_exchange(exchange, |worker, key, ex| worker.downstream_gone(key, ex, flag));
        }
        // GOAWAY says why; then the connection ends.
        if let Some(connection) = self.connections.get_mut(key) {
            connection.close_after_write = Close::Both;
        }
        self.mark_dirty(key);
    }

    /// A stream of a downstream connection has ended both ways.
    pub(crate) fn h2_server_done(&mut self, key: Key, stream: u32) {
        if let Some((_, streams)) = self.h2(key) {
            streams.remove(stream);
        }
        self.mark_dirty_if_unsent(key);
        self.h2_server_idle(key);
    }

    fn h2_server_idle(&mut self, key: Key) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Machine::H2Server(h2) = &mut connection.machine else { return };
        if h2.streams.is_empty() {
            match h2.draining {
                Some(at) if at > now => return self.set_deadline(key, at),
                Some(_) => {
                    connection.close_after_write = Close::Both;
                    return self.mark_dirty(key);
                }
                None => {}
            }
            self.set_idle_deadline(key);
        }
    }

    /// The deadline of a downstream HTTP/2 connection: idle, old, or warned long enough ago.
    pub(crate) fn h2_server_timer(&mut self, key: Key) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Machine::H2Server(h2) = &mut connection.machine else { return };
        if !h2.streams.is_empty() && h2.draining.is_some_and(|at| at <= now) {
            h2.machine.go_away(Code::NO_ERROR, false);
            connection.deadline = Time::NEVER;
            return self.mark_dirty(key);
        }
        if h2.streams.is_empty() {
            h2.machine.go_away(Code::NO_ERROR, false);
            connection.close_after_write = Close::Both;
            return self.mark_dirty(key);
        }
        if h2.draining.is_none() {
            h2.draining = Some(self.now);
            h2.machine.go_away(Code::NO_ERROR, true);
            self.mark_dirty(key);
        }
    }

    /// The upstream takes no new streams; those above `last` were never looked at and are safe to send again.
    fn h2_go_away(&mut self, key: Key, last: u32) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Machine::H2Client(h2) = &mut connection.machine else { return };
        h2.is_closing = true;
        let mut refused = Vec::new();
        let mut kept = Streams::default();
        for (stream, exchange) in h2.streams.drain() {
            if stream > last { refused.push(exchange) } else { kept.insert(stream, exchange) }
        }
        h2.streams = kept;
        self.leave_pool(key);
        for exchange in refused {
            self.with_exchange(exchange, |worker, key, ex| {
                ex.up = Side::NONE;
                worker.upstream_reset(key, ex, Code::REFUSED_STREAM);
            });
        }
        self.stream_ended(key);
    }

    /// Give window back to the peer that sent so many bytes on a stream.
    pub(crate) fn release_flow(&mut self, key: Key, stream: u32, bytes: usize) {
        if bytes == 0 {
            return;
        }
        if let Some((machine, _)) = self.h2(key) {
            machine.release(stream, bytes);
        }
        self.mark_dirty_if_unsent(key);
    }
}

/// `Content-Length`, checked by whoever read the head.
pub(crate) fn content_length(headers: &ripstop_core::http::Headers) -> Option<u64> {
    std::str::from_utf8(headers.get(ripstop_core::http::HeaderId::ContentLength)?).ok()?.parse().ok()
}

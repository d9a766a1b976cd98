//! HTTP/1.1 connections: requests from downstream, answers from upstream.
use super::Worker;
use super::connection::{Close, Machine};
use super::exchange::{Kind, Phase};
use super::slots::Key;
use ripstop_core::http::{BodyLength, HeaderId};
use ripstop_core::http1::{self, BodyDecoder, Parsed};
use ripstop_core::time::Time;

impl Worker {
    /// Bytes of a downstream connection; how many were used. While a request is being answered the next one waits.
    pub(crate) fn h1_server_input(&mut self, key: Key, data: &[u8]) -> usize {
        let mut at = 0;
        loop {
            let Some(connection) = self.connections.get_mut(key) else { return data.len() };
            let Machine::H1Server(h1) = &mut connection.machine else {
                self.resume.push(key); // an upgrade: what is left is for whoever follows
                return at;
            };
            let exchange = h1.exchange;
            if h1.body.is_some() {
                let before = at;
                at += self.h1_request_body(key, exchange, &data[at..]);
                if at == before && self.has_request_body(key) {
                    return at;
                }
                continue;
            }
            if exchange != Key::NONE || h1.is_last {
                connection.paused = at < data.len(); // pipelined
                return at;
            }
            if at == data.len() {
                return at;
            }
            match self.h1_request_head(key, &data[at..]) {
                0 => return at,
                used => at += used,
            }
        }
    }

    fn has_request_body(&self, key: Key) -> bool {
        let connection = self.connections.get(key);
        connection.is_some_and(|c| matches!(&c.machine, Machine::H1Server(h1) if h1.body.is_some()))
    }

    fn h1_request_body(&mut self, key: Key, exchange: Key, data: &[u8]) -> usize {
        let Some(connection) = self.connections.get_mut(key) else { return data.len() };
        let limits = connection.chain.as_ref().map(|chain| &chain.limits);
        let (Machine::H1Server(h1), Some(limits)) = (&mut connection.machine, limits) else {
            return data.len();
        };
        let Some(body) = &mut h1.body else { return 0 };
        match body.decode(data, limits) {
            Ok(decoded) => {
                if decoded.done {
                    let mut body = h1.body.take();
                    if let (Some(body), Some(ex)) = (&mut body, self.exchanges.get_mut(exchange)) {
                        let mut trailers = ripstop_core::http::Headers::new();
                        body.take_trailers(&mut trailers);
                        if !trailers.is_empty() {
                            ex.request_trailers = Some(Box::new(trailers));
                        }
                    }
                }
                self.request_data(exchange, &data[decoded.data], decoded.done, 0);
                decoded.consumed
            }
            Err(refusal) => {
                h1.body = None;
                h1.is_last = true;
                self.with_exchange(exchange, |worker, key, ex| worker.request_broken(key, ex, refusal.why));
                data.len()
            }
        }
    }

    /// Read a head; 0 when it is not complete.
    fn h1_request_head(&mut self, key: Key, data: &[u8]) -> usize {
        let Some(connection) = self.connections.get_mut(key) else { return data.len() };
        let Some(chain) = connection.chain.clone() else { return data.len() };
        let Machine::H1Server(h1) = &mut connection.machine else { return data.len() };
        let mut exchange = self.spare.pop().unwrap_or_else(|| Box::new(super::Exchange::new()));
        let parsed = http1::parse_request(data, &mut h1.scanned, &chain.limits, &mut exchange.request);
        let used = match &parsed {
            Ok((Parsed::Incomplete, _)) => {
                self.recycle(exchange);
                self.await_head(key);
                return 0;
            }
            Ok((Parsed::Complete(used), _)) => *used,
            Err(_) => data.len(),
        };
        h1.scanned = 0;
        h1.head_since = None;
        h1.requests += 1;
        exchange.down = super::exchange::Side { connection: key, stream: 0 };
        exchange.info = Some(connection.info.clone());
        exchange.chain = Some(chain);
        connection.deadline = Time::NEVER;
        let exchange = self.begin(exchange);
        let Some(connection) = self.connections.get_mut(key) else { return used };
        let Machine::H1Server(h1) = &mut connection.machine else { return used };
        h1.exchange = exchange;
        match parsed {
            Err(refusal) => {
                h1.is_last = true;
                self.with_exchange(exchange, |worker, key, ex| {
                    ex.request_ended = true;
                    worker.refuse_message(key, ex, refusal.status, refusal.why);
                });
            }
            Ok((_, meta)) => {
                h1.keep_alive = meta.keep_alive;
                h1.client_ends = meta.client_ends;
                h1.body = match meta.body {
                    BodyLength::Empty => None,
                    length => Some(BodyDecoder::new(length)),
                };
                self.with_exchange(exchange, |worker, key, ex| {
                    ex.request_body = meta.body;
                    ex.request_ended = meta.body == BodyLength::Empty;
                    ex.upgrade = meta.upgrade;
                    worker.start_request(key, ex, meta.expects_continue);
                });
            }
        }
        used
    }

    /// A head is on its way: it has a time in which to be complete (`request_headers_timeout`).
    fn await_head(&mut self, key: Key) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some(manager) = connection.chain.as_ref().and_then(|chain| chain.manager.as_ref()) else {
            return;
        };
        let timeout = manager.request_headers_timeout;
        let Machine::H1Server(h1) = &mut connection.machine else { return };
        if h1.head_since.is_none() {
            h1.head_since = Some(now);
            if !timeout.is_zero() {
                self.set_deadline(key, now.after(timeout));
            }
        }
    }

    /// The deadline of a downstream HTTP/1 connection: a slow head is answered 408, an idle connection closed.
    pub(crate) fn h1_server_timer(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Machine::H1Server(h1) = &mut connection.machine else { return };
        if h1.exchange != Key::NONE {
            return; // the exchange has deadlines of its own
        }
        if h1.head_since.is_none() {
            return self.close(key);
        }
        self.answer_partial_head(key, |worker, key, ex| {
            worker.refuse_message(key, ex, 408, "request_header_timeout");
        });
    }

    /// Answer a head that is not complete; the connection ends with that.
    pub(crate) fn answer_partial_head(
        &mut self,
        key: Key,
        answer: impl FnOnce(&mut Worker, Key, &mut super::Exchange),
    ) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let (chain, info) = (connection.chain.clone(), connection.info.clone());
        let Machine::H1Server(h1) = &mut connection.machine else { return };
        h1.is_last = true;
        let mut exchange = self.spare.pop().unwrap_or_else(|| Box::new(super::Exchange::new()));
        exchange.down = super::exchange::Side { connection: key, stream: 0 };
        exchange.request_ended = true;
        (exchange.info, exchange.chain) = (Some(info), chain);
        let exchange = self.begin(exchange);
        if let Some(Machine::H1Server(h1)) = self.connections.get_mut(key).map(|c| &mut c.machine) {
            h1.exchange = exchange;
        }
        self.with_exchange(exchange, answer);
    }

    /// An answer was written to its end: the connection is free for the next request, or ends.
    pub(crate) fn h1_server_done(&mut self, key: Key, request_ended: bool) {
        let draining = self.overload.is_shedding() || self.is_draining_connection(key);
        let Some(connection) = self.connections.get_mut(key) else { return };
        let most = connection
            .chain
            .as_ref()
            .and_then(|c| c.manager.as_ref())
            .map_or(0, |m| m.max_requests_per_connection);
        let Machine::H1Server(h1) = &mut connection.machine else { return };
        h1.exchange = Key::NONE;
        let worn_out = most > 0 && h1.requests >= u64::from(most);
        if !request_ended || !h1.keep_alive || h1.is_last || worn_out || draining {
            h1.is_last = true;
            h1.body = None;
            connection.paused = false;
            // Closing with unread input would send a reset: not while any may come.
            let is_over = request_ended && h1.client_ends && !connection.readable;
            connection.close_after_write = if is_over { Close::Now } else { Close::Both };
            return self.mark_dirty(key);
        }
        connection.paused = false;
        if !connection.kept.is_empty() || connection.readable {
            self.resume.push(key);
        }
        self.set_idle_deadline(key);
    }

    // --- upstream ---

    /// Bytes of an upstream connection; how many were used.
    pub(crate) fn h1_client_input(&mut self, key: Key, data: &[u8]) -> usize {
        let mut at = 0;
        loop {
            let Some(connection) = self.connections.get_mut(key) else { return data.len() };
            let Machine::H1Client(h1) = &mut connection.machine else {
                self.resume.push(key);
                return at;
            };
            let exchange = h1.exchange;
            if at == data.len() {
                return at;
            }
            if exchange == Key::NONE {
                // Nothing was asked: what came is of no request, and the connection cannot be trusted.
                self.leave_pool(key);
                self.close(key);
                return data.len();
            }
            let used = if h1.head_done {
                self.h1_response_body(key, exchange, &data[at..])
            } else {
                self.h1_response_head(key, exchange, &data[at..])
            };
            at += used;
            let is_waiting = self
                .connections
                .get(key)
                .is_some_and(|c| matches!(&c.machine, Machine::H1Client(h1) if h1.exchange == exchange));
            if used == 0 && is_waiting {
                return at;
            }
            if !is_waiting && at < data.len() {
                let is_raw = self.connections.get(key).is_some_and(|c| matches!(c.machine, Machine::Raw(_)));
                if !is_raw {
                    self.close(key); // bytes after the answer: never used again
                    return data.len();
                }
            }
        }
    }

    fn h1_response_head(&mut self, key: Key, exchange: Key, data: &[u8]) -> usize {
        let Some(connection) = self.connections.get_mut(key) else { return data.len() };
        let Machine::H1Client(h1) = &mut connection.machine else { return 0 };
        let Some(ex) = self.exchanges.get_mut(exchange) else {
            self.close(key);
            return data.len();
        };
        h1.answered = true;
        ex.any_response_byte = true;
        let parsed = http1::parse_response(
            data,
            &mut h1.scanned,
            ex.request.method(),
            &self.response_limits,
            &mut ex.response,
        );
        match parsed {
            Ok((Parsed::Incomplete, _)) => 0,
            Ok((Parsed::Complete(used), _)) if ex.response.is_interim() => {
                h1.scanned = 0;
                self.with_exchange(exchange, |worker, _, ex| worker.interim_response(ex));
                used
            }
            Ok((Parsed::Complete(used), meta)) => {
                (h1.scanned, h1.head_done) = (0, true);
                h1.keep_alive = meta.keep_alive;
                let end = meta.body == BodyLength::Empty;
                h1.body = if end { None } else { Some(BodyDecoder::new(meta.body)) };
                if end && ex.response.status != 101 {
                    self.h1_client_detach(key);
                }
                self.with_exchange(exchange, |worker, key, ex| worker.response_head(key, ex, end));
                used
            }
            Err(refusal) => {
                self.h1_client_detach_broken(key);
                self.with_exchange(exchange, |worker, key, ex| worker.response_broken(key, ex, refusal.why));
                data.len()
            }
        }
    }

    fn h1_response_body(&mut self, key: Key, exchange: Key, data: &[u8]) -> usize {
        let Some(connection) = self.connections.get_mut(key) else { return data.len() };
        let Machine::H1Client(h1) = &mut connection.machine else { return 0 };
        let Some(body) = &mut h1.body else { return 0 };
        match body.decode(data, &self.response_limits) {
            Ok(decoded) => {
                if decoded.done {
                    if let Some(ex) = self.exchanges.get_mut(exchange) {
                        ex.trailers.clear();
                        body.take_trailers(&mut ex.trailers);
                    }
                    self.h1_client_detach(key);
                }
                let range = decoded.data;
                if !range.is_empty() || decoded.done {
                    self.with_exchange(exchange, |worker, key, ex| {
                        worker.response_data(key, ex, &data[range], decoded.done, 0);
                    });
                }
                decoded.consumed
            }
            Err(refusal) => {
                self.h1_client_detach_broken(key);
                self.with_exchange(exchange, |worker, key, ex| worker.response_broken(key, ex, refusal.why));
                data.len()
            }
        }
    }

    /// The answer is complete: the connection goes back to its pool, or ends when it cannot be used again.
    fn h1_client_detach(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Machine::H1Client(h1) = &mut connection.machine else { return };
        let exchange = std::mem::replace(&mut h1.exchange, Key::NONE);
        let request_sent = self.exchanges.get(exchange).is_some_and(|ex| ex.request_end_sent);
        if let Some(ex) = self.exchanges.get_mut(exchange) {
            ex.up = super::exchange::Side::NONE;
        }
        let reusable = h1.keep_alive && request_sent && !connection.read_closed;
        if reusable {
            self.pool_idle(key);
        } else {
            self.close(key);
        }
    }

    fn h1_client_detach_broken(&mut self, key: Key) {
        if let Some(Machine::H1Client(h1)) = self.connections.get_mut(key).map(|c| &mut c.machine) {
            let exchange = std::mem::replace(&mut h1.exchange, Key::NONE);
            if let Some(ex) = self.exchanges.get_mut(exchange) {
                ex.up = super::exchange::Side::NONE;
            }
        }
        self.close(key);
    }

    /// The upstream ended its side: the end of a body without a length, or a broken answer.
    pub(crate) fn h1_client_ended(&mut self, key: Key, is_broken: bool) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Machine::H1Client(h1) = &mut connection.machine else { return };
        let exchange = h1.exchange;
        let ends_here =
            !is_broken && h1.head_done && h1.body.as_ref().is_some_and(BodyDecoder::ends_with_connection);
        if exchange != Key::NONE && ends_here {
            self.h1_client_detach(key);
            self.with_exchange(exchange, |worker, key, ex| worker.response_data(key, ex, &[], true, 0));
            return;
        }
        if exchange != Key::NONE && h1.answered {
            // Part of an answer is none (RFC 9112, section 8).
            self.h1_client_detach_broken(key);
            let why = "incomplete_answer";
            return self.with_exchange(exchange, |worker, key, ex| worker.response_broken(key, ex, why));
        }
        self.upstream_broken(key, if is_broken { "remote reset" } else { "connection termination" });
    }

    /// Interim answers (1xx) pass, but not to HTTP/1.0, which does not know them (RFC 9110, section 15.2).
    pub(crate) fn interim_response(&mut self, ex: &mut super::Exchange) {
        let manager = ex.chain.as_ref().and_then(|chain| chain.manager.as_ref());
        let is_continue = ex.response.status == 100;
        let passes = manager.is_some_and(|manager| !is_continue || manager.proxy_100_continue);
        if passes && ex.phase == Phase::Sent && ex.kind != Kind::Mirror {
            http1::strip_hop_by_hop_response(&mut ex.response, false);
            self.send_interim(ex);
        }
        ex.response.clear();
    }

    /// `100 Continue`, by us, before the request is decided on (Envoy without `proxy_100_continue`).
    pub(crate) fn send_continue(&mut self, ex: &mut super::Exchange) {
        ex.request.headers.remove(HeaderId::Expect);
        ex.response.clear();
        ex.response.status = 100;
        self.send_interim(ex);
        ex.response.clear();
    }
}

//! A request on its way to an upstream: its head, its body, and who waits for whom.
use super::Worker;
use super::attempt::Failure;
use super::connection::Machine;
use super::exchange::{Exchange, Kind, Phase, REPLAY_LIMIT, Side};
use super::slots::Key;
use ripstop_core::http::{BodyLength, HeaderId, Method, RequestHead, Version};
use ripstop_core::http1;
use ripstop_core::time::Time;

impl Worker {
    /// Put the request on a connection.
    pub(crate) fn send_request(&mut self, key: Key, ex: &mut Exchange, connection_key: Key) {
        if ex.holds_pending {
            self.release_pending(ex);
        }
        let Some(connection) = self.connections.get_mut(connection_key) else {
            return self.attempt_failed(key, ex, Failure::Terminated);
        };
        ex.phase = Phase::Sent;
        if let Some(cluster) = ex.cluster.and_then(|key| self.clusters.get(key)) {
            self.stats.upstream_request(cluster.stats);
        }
        ex.upstream_tls = connection.info.tls.clone();
        ex.up = Side { connection: connection_key, stream: 0 };
        let tells_attempts = ex.matched.as_ref().is_some_and(|m| m.virtual_host.tells_attempts);
        if tells_attempts && ex.kind == Kind::Http {
            let mut text = itoa::Buffer::new();
            ex.request.headers.set(HeaderId::XEnvoyAttemptCount, text.format(ex.attempts).as_bytes());
        }
        let length = upstream_length(ex);
        match &mut connection.machine {
            Machine::H1Client(h1) => {
                h1.exchange = key;
                h1.requests += 1;
                h1.sends_chunked = length == BodyLength::Chunked;
                h1.answered = false;
                connection.deadline = Time::NEVER;
                ex.upstream_version = Some(Version::Http11);
                http1::write_request(&ex.request, length, true, &mut connection.plain);
            }
            Machine::H2Client(h2) => {
                let end = ex.request_ended
                    && ex.body.is_empty()
                    && ex.request_trailers.is_none()
                    && matches!(ex.kind, Kind::Http | Kind::Mirror);
                let sent = match ex.kind {
                    Kind::Upgrade => h2.machine.send_request(&extended_connect(&ex.request), false),
                    _ => h2.machine.send_request(&ex.request, end),
                };
                let Ok(stream) = sent else {
                    ex.up = Side::NONE;
                    return self.attempt_failed(key, ex, Failure::Refused);
                };
                h2.requests += 1;
                h2.streams.insert(stream, key);
                ex.up.stream = stream;
                ex.upstream_version = Some(Version::Http2);
                ex.request_end_sent = end;
            }
            Machine::Raw(_) => {}
            _ => {
                ex.up = Side::NONE;
                return self.attempt_failed(key, ex, Failure::Terminated);
            }
        }
        self.mark_dirty(connection_key);
        if matches!(ex.kind, Kind::Tcp | Kind::Connect) {
            self.tunnel_ready(key, ex);
        }
        self.send_kept_body(ex);
    }

    /// The body that came before there was an upstream, or that is sent again.
    fn send_kept_body(&mut self, ex: &mut Exchange) {
        if ex.kind == Kind::Upgrade {
            return; // the tunnel's bytes wait until there is one
        }
        let body = std::mem::take(&mut ex.body);
        let end = ex.request_ended;
        if !body.is_empty() || (end && !ex.request_end_sent) {
            self.write_up(ex, &body, end);
        }
        ex.body = body;
        ex.body_sent = ex.body.len();
        if !ex.is_replayable {
            ex.body.clear();
        }
        self.release_request(ex);
    }

    /// Body bytes towards the upstream, and the end with trailers.
    fn write_up(&mut self, ex: &mut Exchange, data: &[u8], end: bool) {
        let Some(connection) = self.connections.get_mut(ex.up.connection) else { return };
        match &mut connection.machine {
            Machine::H1Client(h1) => {
                let is_chunked = h1.sends_chunked;
                if !data.is_empty() && is_chunked {
                    http1::chunk_header(data.len(), &mut connection.plain);
                }
                connection.write_body(data);
                if !data.is_empty() && is_chunked {
                    connection.plain.extend_from_slice(b"\r\n");
                }
                if end && is_chunked {
                    http1::write_last_chunk(ex.request_trailers.as_deref(), &mut connection.plain);
                }
            }
            Machine::H2Client(h2) => {
                let trailers = ex.request_trailers.as_deref().filter(|_| end);
                if !data.is_empty() || (end && trailers.is_none()) {
                    h2.machine.send_data(ex.up.stream, data, end && trailers.is_none());
                }
                if let Some(trailers) = trailers {
                    h2.machine.send_trailers(ex.up.stream, trailers);
                }
            }
            Machine::Raw(_) => {
                connection.write_body(data);
                if end {
                    connection.close_after_write = super::connection::Close::Write;
                }
            }
            _ => return,
        }
        ex.request_end_sent |= end;
        self.mark_dirty(ex.up.connection);
    }

    /// A piece of a request's body came; `flow` is to be released to an HTTP/2 peer.
    pub(crate) fn request_data(&mut self, exchange: Key, data: &[u8], end: bool, flow: usize) {
        self.with_exchange(exchange, |worker, _, ex| {
            ex.last_active = worker.now;
            ex.bytes_received += data.len() as u64;
            ex.owed_request += flow;
            if end && !ex.request_ended {
                worker.request_complete(ex);
                ex.down_half_closed = matches!(ex.kind, Kind::Upgrade | Kind::Connect);
            }
            worker.mirror_data(ex.stream_id, data, end);
            let waits = ex.kind == Kind::Upgrade && !ex.response_started;
            let is_flowing = ex.up.is_some() && matches!(ex.phase, Phase::Sent | Phase::Answering) && !waits;
            if !is_flowing {
                ex.body.extend_from_slice(data);
            } else {
                worker.write_up(ex, data, end);
                if ex.is_replayable {
                    if ex.body.len() + data.len() <= REPLAY_LIMIT && !ex.response_started {
                        ex.body.extend_from_slice(data);
                    } else {
                        (ex.is_replayable, ex.body) = (false, Vec::new());
                    }
                }
            }
            worker.release_request(ex);
        });
    }

    /// Let the downstream send on, or hold it while the upstream is full.
    pub(crate) fn release_request(&mut self, ex: &mut Exchange) {
        let waits = !ex.up.is_some() && ex.body.len() > REPLAY_LIMIT;
        let is_full = waits || (ex.up.is_some() && self.is_full_side(ex.up));
        let owed = std::mem::take(&mut ex.owed_request);
        if is_full {
            ex.owed_request = owed;
        } else {
            self.release_flow(ex.down.connection, ex.down.stream, owed);
        }
        self.pause(ex.down, is_full);
        if is_full && ex.up.is_some() {
            self.wait_for_room(ex.up, ex.down);
        }
    }

    /// An HTTP/1 or raw connection is read no further while whoever takes its bytes is full.
    pub(crate) fn pause(&mut self, source: Side, is_full: bool) {
        let Some(connection) = self.connections.get_mut(source.connection) else { return };
        if !matches!(connection.machine, Machine::H1Server(_) | Machine::H1Client(_) | Machine::Raw(_)) {
            return;
        }
        if connection.paused && !is_full {
            connection.paused = false;
            if connection.readable || !connection.kept.is_empty() {
                self.resume.push(source.connection);
            }
        } else if is_full {
            connection.paused = true;
        }
    }

    /// See that the exchange hears of it when `full` has room.
    fn wait_for_room(&mut self, full: Side, source: Side) {
        let exchange = self.exchange_at(source).or_else(|| self.exchange_at(full));
        if let (Some(exchange), Some(connection)) = (exchange, self.connections.get_mut(full.connection))
            && !connection.blocked.contains(&exchange)
        {
            connection.blocked.push(exchange);
        }
    }

    /// The exchange on a side.
    pub(crate) fn exchange_at(&self, side: Side) -> Option<Key> {
        match &self.connections.get(side.connection)?.machine {
            Machine::H1Server(h1) => Some(h1.exchange),
            Machine::H1Client(h1) => Some(h1.exchange),
            Machine::Raw(raw) => Some(raw.exchange),
            Machine::H2Server(h2) => h2.streams.get(side.stream),
            Machine::H2Client(h2) => h2.streams.get(side.stream),
            _ => None,
        }
    }

    /// One of the exchange's sides has room again.
    pub(crate) fn make_room(&mut self, _key: Key, ex: &mut Exchange) {
        self.release_request(ex);
        self.release_response(ex);
    }

    /// The same as `release_request`, for the answer.
    pub(crate) fn release_response(&mut self, ex: &mut Exchange) {
        let is_full = ex.down.is_some() && self.is_full_side(ex.down);
        let owed = std::mem::take(&mut ex.owed_response);
        if is_full {
            ex.owed_response = owed;
        } else {
            self.release_flow(ex.up.connection, ex.up.stream, owed);
        }
        self.pause(ex.up, is_full);
        if is_full {
            self.wait_for_room(ex.down, ex.up);
        }
    }
}

/// How the body is framed for an HTTP/1 upstream. Methods that carry content say so when there is none (RFC 9110, 8.6).
fn upstream_length(ex: &Exchange) -> BodyLength {
    match ex.request_body {
        BodyLength::Empty if matches!(ex.request.method(), Method::Post | Method::Put | Method::Patch) => {
            BodyLength::Exact(0)
        }
        length => length,
    }
}

/// An upgrade as HTTP/2 says it (RFC 8441, section 4).
fn extended_connect(request: &RequestHead) -> RequestHead {
    let mut head = request.clone();
    let protocol = head.headers.get(HeaderId::Upgrade).unwrap_or_default().to_vec();
    head.set_method(b"CONNECT");
    head.set_protocol(&protocol);
    head.headers.remove(HeaderId::Upgrade);
    head.headers.remove(HeaderId::Connection);
    head
}

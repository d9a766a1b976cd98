//! Bytes as they are: TCP proxies, CONNECT, and connections that were upgraded.
use super::Worker;
use super::attempt::{Failure, flag_of};
use super::connection::{Close, Machine};
use super::exchange::{Exchange, Kind, Phase, Side};
use super::slots::Key;
use ripstop_core::http::HeaderId;
use ripstop_core::http2::Code;
use ripstop_core::resilience::ReportKind;
use ripstop_core::snapshot::TcpProxy;
use ripstop_core::time::Time;
use std::sync::Arc;
use std::time::Duration;

/// A half-closed tunnel may stay so for this long without a byte.
const HALF_CLOSED_IDLE: Duration = Duration::from_secs(300);

/// The cluster of a TCP connection: by SNI, or by weight.
pub(crate) fn choose_cluster(proxy: &TcpProxy, ex: &Exchange) -> Option<Arc<str>> {
    let info = ex.info.as_ref()?;
    ripstop_core::route::tcp_cluster(proxy, &info.server_name, ex.random).cloned()
}

/// `hash_policy: source_ip`
fn source_hash(info: &ripstop_core::record::ConnectionInfo) -> u64 {
    use ripstop_core::http::RequestHead;
    use ripstop_core::snapshot::{HashKey, HashPolicy};
    let policy = [HashPolicy { kind: HashKey::SourceIp, terminal: true }];
    let hashed = ripstop_core::route::hash_request(&policy, &RequestHead::default(), info.remote.ip(), info);
    hashed.hash.unwrap_or(0)
}

impl Worker {
    /// A downstream connection for a TCP proxy: find it an upstream.
    pub(crate) fn start_tcp_exchange(&mut self, exchange: Key, proxy: Arc<TcpProxy>) {
        self.with_exchange(exchange, |worker, key, ex| {
            if proxy.hash_source_ip {
                ex.hash = ex.info.as_ref().map(|info| source_hash(info));
            }
            ex.idle = proxy.idle_timeout;
            if !proxy.max_duration.is_zero() {
                ex.max_duration_at = worker.now.after(proxy.max_duration);
            }
            ex.tcp = Some(proxy);
            ex.is_replayable = true;
            worker.pause(ex.down, true);
            worker.attempt(key, ex);
        });
    }

    /// The upstream connection of a tunnel is there.
    pub(crate) fn tunnel_ready(&mut self, key: Key, ex: &mut Exchange) {
        ex.last_active = self.now;
        ex.is_replayable = false;
        self.judge(ex, ReportKind::Success);
        if let (Some(cluster), Kind::Connect) = (ex.cluster.and_then(|key| self.clusters.get(key)), ex.kind) {
            self.stats.upstream_status(cluster.stats, 200, self.now.since(ex.attempt_start));
        }
        ex.phase = Phase::Answering;
        if ex.kind == Kind::Tcp {
            self.pause(ex.down, false);
            return;
        }
        // CONNECT: the tunnel begins with our answer (RFC 9110, section 9.3.6).
        ex.response.clear();
        ex.response.status = 200;
        ex.status = 200;
        ex.details = "via_upstream";
        ex.response_started = true;
        ex.response_start_at = self.now;
        ex.timeout_at = Time::NEVER;
        self.base_response_headers(ex, false);
        ex.response.headers.remove(HeaderId::ContentLength);
        self.send_head(ex, false);
        let Some(connection) = self.connections.get_mut(ex.down.connection) else { return };
        if matches!(connection.machine, Machine::H1Server(_)) {
            if let Some(chain) = &connection.chain {
                self.stats.became_tunnel(chain.stats);
            }
            connection.machine = Machine::Raw(super::connection::Raw { exchange: key, is_downstream: true });
            connection.deadline = Time::NEVER;
            connection.paused = false;
            ex.request_ended = false;
            self.resume.push(ex.down.connection);
        }
    }

    /// How long a tunnel may be silent.
    pub(crate) fn tunnel_idle(&self, ex: &Exchange) -> Duration {
        let own = ex.matched.as_ref().and_then(|m| m.forward()).and_then(|forward| forward.idle_timeout);
        let manager = ex.chain.as_ref().and_then(|chain| chain.manager.as_ref());
        own.unwrap_or_else(|| manager.map_or(Duration::ZERO, |manager| manager.stream_idle_timeout))
    }

    /// Bytes on a raw connection; all are used.
    pub(crate) fn raw_input(&mut self, key: Key, data: &[u8]) -> usize {
        let Some(Machine::Raw(raw)) = self.connections.get(key).map(|c| &c.machine) else { return 0 };
        let (exchange, is_downstream) = (raw.exchange, raw.is_downstream);
        self.with_exchange(exchange, |worker, _, ex| {
            ex.last_active = worker.now;
            if is_downstream {
                ex.bytes_received += data.len() as u64;
                worker.tunnel_up(ex, data, false);
            } else {
                worker.tunnel_down(ex, data, false);
            }
        });
        data.len()
    }

    /// A side of a tunnel ended, well or not.
    pub(crate) fn raw_ended(&mut self, key: Key, exchange: Key, is_downstream: bool, is_broken: bool) {
        let mut is_over = self.exchanges.get(exchange).is_none();
        self.with_exchange(exchange, |worker, ex_key, ex| {
            let before_upstream = !ex.up.is_some() || ex.phase != Phase::Answering;
            if is_broken || before_upstream {
                if is_downstream {
                    ex.flags.set(ripstop_core::outcome::Flags::DOWNSTREAM_CONNECTION_TERMINATION);
                } else if is_broken && ex.kind == Kind::Tcp {
                    ex.flags.set(ripstop_core::outcome::Flags::UPSTREAM_REMOTE_RESET);
                } else {
                    ex.flags.set(ripstop_core::outcome::Flags::UPSTREAM_CONNECTION_TERMINATION);
                }
                if is_broken {
                    worker.reset_tunnel(ex);
                }
                worker.end_tunnel(ex_key, ex, is_broken);
                return;
            }
            if is_downstream {
                ex.down_half_closed = true;
                ex.request_ended = true;
                worker.tunnel_up(ex, &[], true);
            } else {
                ex.up_half_closed = true;
                worker.tunnel_down(ex, &[], true);
            }
            if ex.down_half_closed && ex.up_half_closed {
                worker.end_tunnel(ex_key, ex, false);
            } else {
                ex.idle = if ex.idle.is_zero() { HALF_CLOSED_IDLE } else { ex.idle.min(HALF_CLOSED_IDLE) };
            }
            is_over = false;
        });
        if is_over {
            self.close(key);
        }
    }

    /// One side broke: the other hears of it by a reset too, lest it takes what it got for all.
    fn reset_tunnel(&mut self, ex: &Exchange) {
        for side in [ex.down, ex.up] {
            let Some(connection) = self.connections.get_mut(side.connection) else { continue };
            if matches!(connection.machine, Machine::Raw(_)) && connection.tls.is_none() {
                connection.socket.reset_when_closed();
                connection.plain.clear();
                (connection.written, connection.read_closed) = (0, true);
            }
        }
    }

    /// Both sides have said all: what is unsent is written, then both end.
    fn end_tunnel(&mut self, key: Key, ex: &mut Exchange, is_broken: bool) {
        for side in [ex.down, ex.up] {
            let Some(connection) = self.connections.get_mut(side.connection) else { continue };
            match &mut connection.machine {
                Machine::H2Server(h2) if is_broken => h2.machine.reset(side.stream, Code::CONNECT_ERROR),
                Machine::H2Client(h2) if is_broken => h2.machine.reset(side.stream, Code::CANCEL),
                Machine::Raw(raw) => {
                    raw.exchange = Key::NONE;
                    connection.close_after_write = Close::Both;
                    connection.paused = false;
                }
                _ => continue,
            }
            self.mark_dirty(side.connection);
        }
        let up = std::mem::replace(&mut ex.up, Side::NONE);
        if let Some(Machine::H2Client(h2)) = self.connections.get_mut(up.connection).map(|c| &mut c.machine) {
            h2.streams.remove(up.stream);
            self.stream_ended(up.connection);
        }
        ex.response_ended = true;
        self.finish(key, ex);
    }

    /// Tunnel bytes towards the upstream.
    pub(crate) fn tunnel_up(&mut self, ex: &mut Exchange, data: &[u8], end: bool) {
        if !ex.up.is_some() || ex.phase != Phase::Answering {
            ex.body.extend_from_slice(data); // until the upstream is there
            return;
        }
        self.write_tunnel(ex.up, data, end);
        ex.request_end_sent |= end;
        self.release_request(ex);
    }

    /// Tunnel bytes towards the downstream.
    fn tunnel_down(&mut self, ex: &mut Exchange, data: &[u8], end: bool) {
        ex.bytes_sent += data.len() as u64;
        self.write_tunnel(ex.down, data, end);
        self.release_response(ex);
    }

    fn write_tunnel(&mut self, side: Side, data: &[u8], end: bool) {
        let Some(connection) = self.connections.get_mut(side.connection) else { return };
        match &mut connection.machine {
            Machine::H2Server(h2) => h2.machine.send_data(side.stream, data, end),
            Machine::H2Client(h2) => h2.machine.send_data(side.stream, data, end),
            Machine::Raw(_) => {
                connection.write_body(data);
                if end && connection.close_after_write == Close::No {
                    connection.close_after_write = Close::Write;
                }
            }
            _ => return,
        }
        self.mark_dirty(side.connection);
    }

    /// No upstream connection: try another, or give up.
    pub(crate) fn tcp_attempt_failed(&mut self, key: Key, ex: &mut Exchange, failure: &Failure) {
        if ex.response_started || ex.phase == Phase::Answering {
            ex.flags.set(flag_of(failure));
            return self.end_tunnel(key, ex, true);
        }
        let most = ex.tcp.as_ref().map_or(1, |proxy| proxy.max_connect_attempts.max(1));
        if matches!(failure, Failure::Connect(_)) && ex.attempts < most {
            ex.phase = Phase::BackingOff;
            ex.resume_at = self.now;
            return;
        }
        if let Failure::Connect(reason) = failure {
            if reason != "connection timeout" {
                ex.failure.clone_from(reason);
            }
            ex.flags.set(ripstop_core::outcome::Flags::UPSTREAM_RETRY_LIMIT_EXCEEDED);
        }
        ex.flags.set(flag_of(failure));
        self.end_tunnel(key, ex, true);
    }

    /// A silent TCP connection ends (`idle_timeout`).
    pub(crate) fn tcp_idle(&mut self, key: Key, ex: &mut Exchange) {
        self.end_tunnel(key, ex, false);
    }
}

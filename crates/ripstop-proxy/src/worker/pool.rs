//! Connections to upstreams: made, kept for the next request, shared by streams, given up.
use super::Worker;
use super::attempt::Failure;
use super::cluster::Spoken;
use super::connection::{Close, Connection, H1Client, H2Client, Machine, Raw, Streams};
use super::exchange::{Exchange, Side};
use super::slots::Key;
use super::socket::{Socket, Target};
use crate::tls;
use ripstop_core::balance::{Class, Host, HostId};
use ripstop_core::http2::{self, Code};
use ripstop_core::record::ConnectionInfo;
use ripstop_core::snapshot::{Address, Http2Options, UpstreamProtocol, UpstreamTls};
use ripstop_core::time::Time;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

/// The connections of one thread to one endpoint.
#[derive(Default)]
pub(crate) struct Pool {
    /// HTTP/1 connections without a request; the last one used is the first to be used again.
    pub idle: Vec<Key>,
    /// HTTP/2 connections that take streams.
    pub shared: Vec<Key>,
    pub connecting: usize,
    pub waiting: VecDeque<Key>,
}

/// What an upstream connection belongs to.
pub(crate) struct Link {
    pub cluster: Key,
    pub host: Arc<Host>,
    pub spoken: Spoken,
    /// Of a raw connection.
    pub exchange: Key,
    pub class: Class,
    /// TCP is there; TLS may not be yet.
    pub is_connected: bool,
    pub is_ready: bool,
    /// Not used for new requests: its endpoint is gone, its identity old.
    pub is_retired: bool,
    pub stats: super::stats::ClusterId,
    pub state: Arc<ripstop_core::balance::ClusterState>,
}

impl Link {
    fn pool(&self) -> (HostId, Spoken) {
        (self.host.id, self.spoken)
    }
}

impl Worker {
    /// Give the exchange a connection to `host`, at once or when one is ready.
    pub(crate) fn acquire(
        &mut self,
        key: Key,
        ex: &mut Exchange,
        cluster: Key,
        host: &Arc<Host>,
        spoken: Spoken,
    ) {
        if spoken != Spoken::Raw
            && let Some(connection) = self.reusable(cluster, (host.id, spoken))
        {
            return self.send_request(key, ex, connection);
        }
        let class = ex.class();
        let Some(thread) = self.clusters.get_mut(cluster) else {
            return self.attempt_failed(key, ex, Failure::NoCluster);
        };
        let breaker = &thread.config.breakers[class as usize];
        if !thread.state.try_pending(class, breaker) {
            self.end_attempt(ex); // what is held is counted with the host
            ex.host = None;
            return self.attempt_failed(key, ex, Failure::Overflow);
        }
        ex.holds_pending = true;
        self.stats.pending(thread.stats, 1);
        ex.phase = super::exchange::Phase::Connecting;
        let pool = thread.pools.entry((host.id, spoken)).or_default();
        let needs_one = match spoken {
            Spoken::H2 | Spoken::Auto => pool.connecting == 0,
            Spoken::H1 => pool.connecting <= pool.waiting.len(),
            Spoken::Raw => true,
        };
        if spoken != Spoken::Raw {
            pool.waiting.push_back(key);
        }
        if !needs_one {
            return;
        }
        let exchange = if spoken == Spoken::Raw { key } else { Key::NONE };
        match self.connect(cluster, host, spoken, class, exchange) {
            Ok(connection) if spoken == Spoken::Raw => ex.up = Side { connection, stream: 0 },
            Ok(_) => {}
            Err(failure) => {
                if let Some(pool) =
                    self.clusters.get_mut(cluster).and_then(|c| c.pools.get_mut(&(host.id, spoken)))
                {
                    pool.waiting.retain(|waiting| *waiting != key);
                }
                self.attempt_failed(key, ex, failure);
            }
        }
    }

    /// A connection that can take a request now.
    fn reusable(&mut self, cluster: Key, pool: (HostId, Spoken)) -> Option<Key> {
        let pool = self.clusters.get_mut(cluster)?.pools.get_mut(&pool)?;
        for &key in &pool.shared {
            if let Some(Machine::H2Client(h2)) = self.connections.get_mut(key).map(|c| &mut c.machine)
                && !h2.is_closing
                && h2.machine.can_open()
            {
                return Some(key);
            }
        }
        while let Some(key) = pool.idle.pop() {
            // What became readable while idle is closed, or says what nobody asked for.
            if self.connections.get(key).is_some_and(|c| !c.readable && !c.read_closed) {
                return Some(key);
            }
            self.resume.push(key);
        }
        None
    }

    /// Begin a connection.
    fn connect(
        &mut self,
        cluster_key: Key,
        host: &Arc<Host>,
        spoken: Spoken,
        class: Class,
        exchange: Key,
    ) -> Result<Key, Failure> {
        let Some(cluster) = self.clusters.get_mut(cluster_key) else { return Err(Failure::NoCluster) };
        if let Some(fault) = &cluster.tls_fault {
            return Err(Failure::Connect(format!("TLS_error: {fault}")));
        }
        let target = match &host.address {
            Address::Socket(address) => Target::Socket(*address),
            Address::Pipe(path) => Target::Pipe(path.as_ref().into()),
            Address::Name(..) => return Err(Failure::Connect("unresolved address".into())),
        };
        let is_first = host.counters.active_connections.load(std::sync::atomic::Ordering::Relaxed) == 0;
        let breaker = &cluster.config.breakers[class as usize];
        if !cluster.state.try_connection(class, breaker, is_first) {
            if spoken == Spoken::Raw {
                return Err(Failure::Overflow);
            }
            return Ok(Key::NONE); // it waits until another request is done with its connection
        }
        let stats = cluster.stats;
        let state = cluster.state.clone();
        let timeout = cluster.config.connect_timeout;
        let socket = match Socket::connect(&target) {
            Ok(socket) => socket,
            Err(error) => {
                cluster.state.release_connection(class);
                self.stats.connect_failed(stats);
                return Err(Failure::Connect(connect_reason(&error)));
            }
        };
        let session = match &cluster.tls {
            Some(config) => {
                match tls::Session::client(config, server_name(cluster.config.tls.as_deref(), host)) {
                    Ok(session) => Some(Box::new(session)),
                    Err(fault) => {
                        cluster.state.release_connection(class);
                        return Err(Failure::Connect(tls_reason(fault.reason)));
                    }
                }
            }
            None => None,
        };
        if let Some(pool) = cluster.pools.get_mut(&(host.id, spoken)) {
            pool.connecting += 1;
        }
        let link = Link {
            cluster: cluster_key,
            host: host.clone(),
            spoken,
            exchange,
            class,
            is_connected: false,
            is_ready: false,
            is_retired: false,
            stats,
            state,
        };
        host.connection_opened();
        self.stats.upstream_connection(stats, 1);
        let info = Rc::new(ConnectionInfo::default());
        let mut connection = Connection::new(socket, Machine::Connecting, info, self.now);
        connection.tls = session;
        connection.upstream = Some(Box::new(link));
        connection.deadline = self.now.after(timeout);
        Ok(self.add_connection(connection))
    }

    /// The socket of a connection that is being made became ready, or failed.
    pub(crate) fn connect_progress(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if let Some(error) = connection.socket.error() {
            let reason = connect_reason(&error);
            return self.connect_failed(key, reason);
        }
        if !connection.writable || !connection.socket.is_connected() {
            return;
        }
        if let Some(link) = &mut connection.upstream {
            link.is_connected = true;
        }
        let info = ConnectionInfo { local: connection.socket.local(), ..ConnectionInfo::default() };
        connection.info = Rc::new(info);
        let Connection { tls, cipher, .. } = &mut **connection;
        let Some(session) = tls else { return self.upstream_ready(key, None) };
        // The client speaks first.
        if let Err(fault) = session.start(cipher) {
            return self.connect_failed(key, tls_reason(fault.reason));
        }
        self.mark_dirty(key);
    }

    /// TLS towards an upstream is done.
    pub(crate) fn upstream_handshake_done(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some(session) = &connection.tls else { return };
        let alpn = session.alpn().map(<[u8]>::to_vec);
        let mut info = (*connection.info).clone();
        info.tls = Some(session.info());
        connection.info = Rc::new(info);
        if let Some(link) = &connection.upstream {
            self.stats.count(link.stats, crate::control::stats::ClusterStat::SslHandshake);
        }
        self.upstream_ready(key, alpn);
    }

    fn upstream_ready(&mut self, key: Key, alpn: Option<Vec<u8>>) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some(link) = &mut connection.upstream else { return };
        link.is_ready = true;
        let pool_key = link.pool();
        let (cluster_key, exchange) = (link.cluster, link.exchange);
        let Some(cluster) = self.clusters.get_mut(cluster_key) else { return self.close(key) };
        let is_h2 = match link.spoken {
            Spoken::H2 => true,
            Spoken::Auto => alpn.as_deref() == Some(b"h2"),
            _ => false,
        };
        connection.deadline = Time::NEVER;
        match link.spoken {
            Spoken::Raw => connection.machine = Machine::Raw(Raw { exchange, is_downstream: false }),
            _ if is_h2 => {
                let options = h2_options(&cluster.config.protocol);
                let machine = http2::Connection::client(http2::Settings::from(&options));
                let next_ping = match options.keepalive_interval {
                    none if none.is_zero() => Time::NEVER,
                    interval => now.after(interval),
                };
                connection.deadline = next_ping;
                connection.machine = Machine::H2Client(Box::new(H2Client {
                    machine,
                    streams: Streams::default(),
                    requests: 0,
                    is_closing: false,
                    idle_since: now,
                    next_ping,
                    ping_sent: None,
                }));
            }
            _ => connection.machine = Machine::H1Client(new_h1_client(now)),
        }
        let deadline = connection.deadline;
        self.arm_connection(key, deadline);
        self.mark_dirty(key);
        if let Some(pool) = self.clusters.get_mut(cluster_key).and_then(|c| c.pools.get_mut(&pool_key)) {
            pool.connecting = pool.connecting.saturating_sub(1);
            if is_h2 {
                pool.shared.push(key);
            }
        }
        if pool_key.1 == Spoken::Raw {
            return self.with_exchange(exchange, |worker, ex_key, ex| worker.send_request(ex_key, ex, key));
        }
        if !is_h2 {
            self.pool_idle(key);
        } else {
            self.serve_waiting(key);
        }
    }

    /// An HTTP/1 connection is free: the next request that waits takes it, else it is kept.
    pub(crate) fn pool_idle(&mut self, key: Key) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some(link) = &connection.upstream else { return };
        let (cluster_key, pool_key, is_retired) = (link.cluster, link.pool(), link.is_retired);
        let Machine::H1Client(h1) = &mut connection.machine else { return };
        (h1.head_done, h1.scanned, h1.body) = (false, 0, None);
        h1.idle_since = now;
        let requests = h1.requests;
        let Some(cluster) = self.clusters.get_mut(cluster_key) else { return self.close(key) };
        let most = cluster.config.max_requests_per_connection;
        let idle = cluster.config.idle_timeout;
        let age = cluster.config.max_connection_duration;
        let too_old = !age.is_zero() && now >= connection.opened.after(age);
        if is_retired || too_old || (most > 0 && requests >= most) {
            return self.close(key);
        }
        let Some(pool) = cluster.pools.get_mut(&pool_key) else { return self.close(key) };
        while let Some(waiting) = pool.waiting.pop_front() {
            if self.exchanges.get(waiting).is_some() {
                return self
                    .with_exchange(waiting, |worker, ex_key, ex| worker.send_request(ex_key, ex, key));
            }
        }
        pool.idle.push(key);
        let deadline = if idle.is_zero() { Time::NEVER } else { now.after(idle) };
        self.set_deadline(key, deadline);
    }

    /// Requests that wait for a stream of a shared connection.
    pub(crate) fn serve_waiting(&mut self, key: Key) {
        loop {
            let Some(connection) = self.connections.get_mut(key) else { return };
            let Machine::H2Client(h2) = &mut connection.machine else { return };
            if h2.is_closing || !h2.machine.can_open() {
                break;
            }
            let Some(link) = &connection.upstream else { return };
            let (cluster_key, pool_key) = (link.cluster, link.pool());
            let pool = self.clusters.get_mut(cluster_key).and_then(|c| c.pools.get_mut(&pool_key));
            let Some(waiting) = pool.and_then(|pool| pool.waiting.pop_front()) else { return };
            self.with_exchange(waiting, |worker, ex_key, ex| worker.send_request(ex_key, ex, key));
        }
        self.connect_for_waiting(key);
    }

    /// The shared connection is full or going: those who wait need another.
    fn connect_for_waiting(&mut self, key: Key) {
        let Some(link) = self.connections.get(key).and_then(|c| c.upstream.as_ref()) else { return };
        let (cluster_key, host, spoken, class) = (link.cluster, link.host.clone(), link.spoken, link.class);
        self.connect_if_waiting(cluster_key, &host, spoken, class);
    }

    fn connect_if_waiting(&mut self, cluster_key: Key, host: &Arc<Host>, spoken: Spoken, class: Class) {
        let pool = self.clusters.get_mut(cluster_key).and_then(|c| c.pools.get_mut(&(host.id, spoken)));
        if pool.is_some_and(|pool| !pool.waiting.is_empty() && pool.connecting == 0)
            && let Err(failure) = self.connect(cluster_key, host, spoken, class, Key::NONE)
        {
            self.fail_waiting(cluster_key, (host.id, spoken), &failure);
        }
    }

    /// A stream ended: there is room for another, or the connection may go.
    pub(crate) fn stream_ended(&mut self, key: Key) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Machine::H2Client(h2) = &mut connection.machine else { return };
        if !h2.streams.is_empty() {
            return self.serve_waiting(key);
        }
        h2.idle_since = now;
        if h2.is_closing {
            connection.close_after_write = Close::Both;
            return self.mark_dirty(key);
        }
        self.serve_waiting(key);
        self.set_upstream_deadline(key);
    }

    fn set_upstream_deadline(&mut self, key: Key) {
        let Some(connection) = self.connections.get(key) else { return };
        let Some(link) = &connection.upstream else { return };
        let Machine::H2Client(h2) = &connection.machine else { return };
        let idle =
            self.clusters.get(link.cluster).map(|c| c.config.idle_timeout).filter(|idle| !idle.is_zero());
        let idle = match idle {
            Some(idle) if h2.streams.is_empty() => h2.idle_since.after(idle),
            _ => Time::NEVER,
        };
        let ping = h2.next_ping;
        self.set_deadline(key, idle.min(ping));
    }

    /// A deadline of an upstream connection: idle for long, a PING to send or missed.
    pub(crate) fn upstream_timer(&mut self, key: Key) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some(link) = &connection.upstream else { return };
        if !link.is_ready {
            return self.upstream_broken(key, "connection timeout");
        }
        let Some(cluster) = self.clusters.get(link.cluster) else { return self.close(key) };
        let options = h2_options(&cluster.config.protocol);
        let idle = cluster.config.idle_timeout;
        match &mut connection.machine {
            Machine::H1Client(h1) if h1.exchange == Key::NONE => self.leave_and_close(key),
            Machine::H2Client(h2) => {
                if h2.streams.is_empty() && !idle.is_zero() && now >= h2.idle_since.after(idle) {
                    h2.machine.go_away(Code::NO_ERROR, false);
                    let _ = connection.flush();
                    return self.leave_and_close(key);
                }
                if now >= h2.next_ping {
                    if h2.ping_sent.is_some() {
                        return self.upstream_broken(key, "keepalive timeout");
                    }
                    h2.machine.ping(*b"ripstop.");
                    h2.ping_sent = Some(now);
                    let wait = options.keepalive_timeout.max(std::time::Duration::from_millis(100));
                    h2.next_ping = now.after(wait.max(options.keepalive_interval));
                    self.mark_dirty(key);
                }
                self.set_upstream_deadline(key);
            }
            _ => {}
        }
    }

    fn leave_and_close(&mut self, key: Key) {
        self.leave_pool(key);
        self.close(key);
    }

    /// Take no new requests on a connection.
    pub(crate) fn leave_pool(&mut self, key: Key) {
        let Some(link) = self.connections.get(key).and_then(|c| c.upstream.as_ref()) else { return };
        let (cluster, pool_key) = (link.cluster, link.pool());
        if let Some(pool) = self.clusters.get_mut(cluster).and_then(|c| c.pools.get_mut(&pool_key)) {
            pool.idle.retain(|other| *other != key);
            pool.shared.retain(|other| *other != key);
        }
    }

    /// Endpoints are gone, or an identity is old: their connections finish what they carry and end.
    pub(crate) fn retire_pools(&mut self, cluster_key: Key, is_gone: impl Fn(HostId) -> bool) {
        let Some(cluster) = self.clusters.get_mut(cluster_key) else { return };
        let pools: Vec<(HostId, Spoken)> =
            cluster.pools.keys().filter(|(host, _)| is_gone(*host)).copied().collect();
        if pools.is_empty() {
            return;
        }
        let mut idle = Vec::new();
        for pool in &pools {
            if let Some(pool) = cluster.pools.get_mut(pool) {
                idle.append(&mut pool.idle);
                idle.append(&mut pool.shared);
            }
        }
        for key in self.connections.keys() {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            let Some(link) = &mut connection.upstream else { continue };
            if link.cluster == cluster_key && pools.contains(&link.pool()) {
                link.is_retired = true;
                if let Machine::H2Client(h2) = &mut connection.machine {
                    h2.is_closing = true;
                }
            }
        }
        for key in idle {
            let Some(connection) = self.connections.get(key) else { continue };
            let is_free = match &connection.machine {
                Machine::H1Client(h1) => h1.exchange == Key::NONE,
                Machine::H2Client(h2) => h2.streams.is_empty(),
                _ => false,
            };
            if is_free {
                self.close(key);
            }
        }
    }

    fn connect_failed(&mut self, key: Key, reason: String) {
        let Some(link) = self.connections.get(key).and_then(|c| c.upstream.as_ref()) else { return };
        let (cluster, pool_key, exchange) = (link.cluster, link.pool(), link.exchange);
        self.stats.connect_failed(link.stats);
        link.host.counters.connect_failures.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.close(key);
        let failure = Failure::Connect(reason);
        if pool_key.1 == Spoken::Raw {
            return self.with_exchange(exchange, |worker, key, ex| {
                ex.up = Side::NONE;
                worker.attempt_failed(key, ex, failure);
            });
        }
        self.fail_waiting(cluster, pool_key, &failure);
    }

    fn fail_waiting(&mut self, cluster: Key, pool: (HostId, Spoken), failure: &Failure) {
        let pool = self.clusters.get_mut(cluster).and_then(|c| c.pools.get_mut(&pool));
        let waiting = pool.map(|pool| std::mem::take(&mut pool.waiting)).unwrap_or_default();
        for exchange in waiting {
            let failure = failure.clone();
            self.with_exchange(exchange, |worker, key, ex| worker.attempt_failed(key, ex, failure));
        }
    }

    /// An upstream connection broke: while it was made, or with requests on it.
    pub(crate) fn upstream_broken(&mut self, key: Key, reason: &'static str) {
        let Some(connection) = self.connections.get(key) else { return };
        let Some(link) = &connection.upstream else { return self.close(key) };
        if !link.is_ready {
            if reason == "connection timeout" {
                self.stats.count(link.stats, crate::control::stats::ClusterStat::CxConnectTimeout);
            }
            let reason = match (reason, connection.tls.is_some()) {
                ("connection timeout", _) => "connection timeout".to_owned(),
                (why, true) => tls_reason(why),
                (why, false) => why.to_owned(),
            };
            return self.connect_failed(key, reason);
        }
        if let Machine::Raw(raw) = &connection.machine {
            let exchange = raw.exchange;
            return self.raw_ended(key, exchange, false, true);
        }
        self.leave_pool(key);
        for exchange in self.exchanges_of(key) {
            self.with_exchange(exchange, |worker, key, ex| {
                ex.up = Side::NONE;
                worker.attempt_failed(key, ex, Failure::Terminated);
            });
        }
        self.close(key);
    }

    /// Accounts of an upstream connection that is gone.
    pub(crate) fn upstream_closed(&mut self, key: Key, connection: &Connection) {
        let Some(link) = &connection.upstream else { return };
        link.state.release_connection(link.class);
        link.host.connection_closed();
        self.stats.upstream_connection(link.stats, -1);
        self.stats.upstream_bytes(link.stats, connection.bytes_in, connection.bytes_out);
        let pool_key = link.pool();
        if let Some(pool) = self.clusters.get_mut(link.cluster).and_then(|c| c.pools.get_mut(&pool_key)) {
            pool.idle.retain(|other| *other != key);
            pool.shared.retain(|other| *other != key);
            if !link.is_ready {
                pool.connecting = pool.connecting.saturating_sub(1);
            }
        }
        if link.is_ready && pool_key.1 != Spoken::Raw {
            self.connect_if_waiting(link.cluster, &link.host, link.spoken, link.class);
        }
    }
}

/// A failure of TLS in one word, as Envoy has it.
fn tls_reason(why: &str) -> String {
    let why = why.replace(' ', "_");
    if why.starts_with("TLS_error") { why } else { format!("TLS_error:|{why}:TLS_error_end") }
}

fn new_h1_client(now: Time) -> H1Client {
    H1Client {
        exchange: Key::NONE,
        scanned: 0,
        head_done: false,
        body: None,
        keep_alive: true,
        requests: 0,
        sends_chunked: false,
        idle_since: now,
        answered: false,
    }
}

fn h2_options(protocol: &UpstreamProtocol) -> Http2Options {
    match protocol {
        UpstreamProtocol::Http2(options)
        | UpstreamProtocol::Auto(_, options)
        | UpstreamProtocol::AsDownstream(_, options) => (**options).clone(),
        UpstreamProtocol::Http1(_) => Http2Options::default(),
    }
}

/// Why a connection was not made, in Envoy's words (`%UPSTREAM_TRANSPORT_FAILURE_REASON%`).
fn connect_reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    format!("delayed_connect_error:_{}", words.replace(' ', "_"))
}

/// The SNI to ask an endpoint with (`sni`, `auto_host_sni`).
fn server_name<'a>(tls: Option<&'a UpstreamTls>, host: &'a Host) -> &'a str {
    match tls {
        Some(tls) if tls.auto_host_sni && !host.hostname.is_empty() => &host.hostname,
        Some(tls) => &tls.sni,
        None => "",
    }
}

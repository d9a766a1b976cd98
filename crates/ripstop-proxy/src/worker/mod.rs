//! A data thread: one epoll loop that owns its connections and exchanges. Nothing in it waits, locks or is shared, but for
//! the state of endpoints and clusters, which is atomics.
//!
//! A turn: wait for events; read what came, decide, put answers into the connections' buffers; look at deadlines; take
//! what the control thread sent; write every buffer that changed, once.
mod attempt;
mod cluster;
mod connection;
mod deadlines;
pub mod decisions;
mod drain;
mod exchange;
mod fault;
mod filters;
mod http1;
mod http2;
mod input;
mod listen;
mod log;
mod metadata;
mod mirror;
mod overload;
mod pool;
mod reply;
mod request;
mod response;
mod sending;
mod slots;
mod socket;
mod stats;
mod tcp;
mod timer;

pub use fault::tell_faults_briefly;

use crate::control::mailbox::{ToWorker, WorkerHandle};
use connection::Connection;
use exchange::Exchange;
use listen::{Accepting, Listening};
use mio::{Events, Poll, Registry, Token, Waker};
use ripstop_core::rng::Rng;
use ripstop_core::snapshot::Snapshot;
use ripstop_core::time::Time;
use slots::{Key, Slots};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use timer::{Timed, Wheel};

/// The largest read.
pub(crate) const INPUT_SIZE: usize = 256 * 1024;
const LISTENER: usize = 1 << 63;
/// A rate limit that nothing asked for so long may begin anew.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);
const WAKER: Token = Token(usize::MAX);
const EVENTS_PER_TURN: usize = 512;

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// What a worker is told at its start.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// Counts from 0.
    pub index: usize,
    /// How many workers there are.
    pub workers: usize,
    /// Downstream connections at a time, of this worker.
    pub max_connections: usize,
    /// Zero of `Time` for the whole process.
    pub epoch: Instant,
    /// What chance is drawn from.
    pub seed: u64,
    /// The bound of the process's memory.
    pub memory: Arc<crate::memory::Memory>,
}

pub(crate) struct Worker {
    settings: WorkerSettings,
    registry: Registry,
    now: Time,
    wall_offset: Duration,
    rng: Rng,
    connections: Slots<Box<Connection>>,
    exchanges: Slots<Box<Exchange>>,
    #[allow(clippy::vec_box)] // they move in and out of slots as they are
    spare: Vec<Box<Exchange>>,
    listeners: Map<Arc<str>, Rc<Listening>>,
    acceptors: Vec<Option<Accepting>>,
    accept_again: Vec<usize>,
    clusters: Slots<Box<cluster::ThreadCluster>>,
    cluster_names: Map<Arc<str>, Key>,
    snapshot: Arc<Snapshot>,
    wheel: Wheel,
    due: Vec<(Timed, Time)>,
    dirty: Vec<Key>,
    resume: Vec<Key>,
    /// An empty list with room, for `settle`.
    keys: Vec<Key>,
    input: Vec<u8>,
    plaintext: Vec<u8>,
    scratch: Vec<u8>,
    stats: stats::Stats,
    logs: log::Logs,
    tls_cache: crate::tls::ConfigCache,
    buckets: Arc<ripstop_core::policies::rate_limit::Buckets>,
    /// Copies whose request is still coming: the original's stream id, the copy.
    mirrors: Vec<(u64, Key)>,
    response_limits: ripstop_core::http1::Limits,
    no_connection: ripstop_core::record::ConnectionInfo,
    known_buckets: Vec<filters::KnownBucket>,
    connection_ids: u64,
    stream_ids: u64,
    downstream_connections: usize,
    drain: drain::Draining,
    overload: overload::Overload,
    mailbox: mpsc::Receiver<ToWorker>,
    is_stopped: bool,
}

/// Start a data thread.
///
/// # Errors
/// The thread or its epoll instance cannot be made.
pub fn spawn(
    settings: WorkerSettings,
    stats: Arc<crate::control::stats::WorkerStats>,
    buckets: Arc<ripstop_core::policies::rate_limit::Buckets>,
) -> std::io::Result<WorkerHandle> {
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
    let (sender, mailbox) = mpsc::channel();
    let registry = poll.registry().try_clone()?;
    let shared = stats.clone();
    let index = settings.index;
    let body = move || Worker::new(settings, registry, mailbox, shared, buckets).run(poll);
    let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(body)?;
    Ok(WorkerHandle { sender, waker, stats, thread: Some(thread) })
}

impl Worker {
    fn new(
        settings: WorkerSettings,
        registry: Registry,
        mailbox: mpsc::Receiver<ToWorker>,
        stats: Arc<crate::control::stats::WorkerStats>,
        buckets: Arc<ripstop_core::policies::rate_limit::Buckets>,
    ) -> Worker {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall_offset = since_epoch.saturating_sub(settings.epoch.elapsed());
        Worker {
            rng: Rng::new(settings.seed),
            settings,
            registry,
            now: Time(0),
            wall_offset,
            connections: Slots::new(),
            exchanges: Slots::new(),
            spare: Vec::new(),
            listeners: Map::default(),
            acceptors: Vec::new(),
            accept_again: Vec::new(),
            clusters: Slots::new(),
            cluster_names: Map::default(),
            snapshot: Arc::default(),
            wheel: Wheel::new(),
            due: Vec::new(),
            dirty: Vec::new(),
            resume: Vec::new(),
            keys: Vec::new(),
            input: Vec::new(),
            plaintext: Vec::new(),
            scratch: Vec::new(),
            stats: stats::Stats::new(stats),
            logs: log::Logs::new(),
            tls_cache: crate::tls::ConfigCache::default(),
            buckets,
            mirrors: Vec::new(),
            // What Envoy takes from an upstream (`max_response_headers_kb`).
            response_limits: ripstop_core::http1::Limits {
                max_head_bytes: 80 * 1024,
                ..ripstop_core::http1::Limits::default()
            },
            no_connection: ripstop_core::record::ConnectionInfo::default(),
            known_buckets: Vec::new(),
            connection_ids: 0,
            stream_ids: 0,
            downstream_connections: 0,
            drain: drain::Draining::default(),
            overload: overload::Overload::default(),
            mailbox,
            is_stopped: false,
        }
    }

    fn run(mut self, mut poll: Poll) {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        while !self.is_stopped {
            let timeout = self.turn_timeout();
            if let Err(error) = poll.poll(&mut events, timeout)
                && error.kind() != std::io::ErrorKind::Interrupted
            {
                eprintln!("ripstop-proxy: epoll: {error}");
                return;
            }
            self.turn(&events);
        }
        self.logs.flush_all();
    }

    fn turn_timeout(&mut self) -> Option<Duration> {
        if self.drain.stop_at.is_some() {
            return Some(Duration::from_millis(20));
        }
        let accepts_now = !self.accept_again.is_empty() && self.overload.accept_at <= self.now;
        if !self.resume.is_empty() || accepts_now {
            return Some(Duration::ZERO);
        }
        let timers = self.wheel.wait(self.now);
        let logs = self.logs.wait(self.now);
        [timers, logs, self.overload_wait()].into_iter().flatten().min()
    }

    fn turn(&mut self, events: &Events) {
        self.now = Time(u64::try_from(self.settings.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX));
        // First: a request that was made after a change was acknowledged is decided by it, though both are found at once.
        self.guarded(Key::NONE, Worker::read_mailbox);
        for event in events {
            match event.token() {
                WAKER => {}
                Token(token) if token & LISTENER != 0 => {
                    self.guarded(Key::NONE, |worker| worker.accept(token & !LISTENER));
                }
                Token(token) => {
                    let key = unpack(token);
                    self.guarded(key, |worker| worker.socket_event(key, event));
                }
            }
        }
        if self.overload.accept_at <= self.now {
            for index in std::mem::take(&mut self.accept_again) {
                self.guarded(Key::NONE, |worker| worker.accept(index));
            }
        }
        self.fire_timers();
        self.watch_memory();
        self.settle();
        self.stop_if_done();
        self.logs.flush_if_due(self.now);
    }

    /// Write what is to be written, and go on reading where there is room again, until nothing more happens.
    fn settle(&mut self) {
        const ROUNDS: usize = 16;
        let mut keys = std::mem::take(&mut self.keys);
        for _ in 0..ROUNDS {
            std::mem::swap(&mut keys, &mut self.resume);
            for key in keys.drain(..) {
                self.guarded(key, |worker| worker.read(key));
            }
            std::mem::swap(&mut keys, &mut self.dirty);
            for key in keys.drain(..) {
                self.guarded(key, |worker| worker.flush(key));
            }
            if self.resume.is_empty() && self.dirty.is_empty() {
                break;
            }
        }
        self.keys = keys;
    }

    fn socket_event(&mut self, key: Key, event: &mio::event::Event) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        connection.writable |= event.is_writable();
        connection.ending |= event.is_read_closed() || event.is_error();
        if connection.upstream.as_ref().is_some_and(|link| !link.is_connected) {
            return self.connect_progress(key);
        }
        if connection.writable && connection.unsent() > 0 {
            self.mark_dirty(key);
        }
        let is_idle_and_closed = event.is_read_closed();
        if self.connections.get(key).is_some_and(|c| c.readable && (!c.paused || is_idle_and_closed)) {
            self.read(key);
        }
    }

    fn fire_timers(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        self.wheel.advance(self.now, &mut due);
        for (what, at) in due.drain(..) {
            let armed = match what {
                Timed::Connection(index) => self.connections.armed(index),
                Timed::Exchange(index) => self.exchanges.armed(index),
            };
            match armed {
                Some(armed) if armed.0 == at => armed.0 = Time::NEVER,
                _ => continue, // an earlier entry did its work
            }
            match what {
                Timed::Connection(index) => {
                    if let Some(key) = self.connections.tenant(index) {
                        self.guarded(key, |worker| worker.connection_timer(key));
                    }
                }
                Timed::Exchange(index) => {
                    if let Some(key) = self.exchanges.tenant(index) {
                        self.guarded(Key::NONE, |worker| worker.exchange_timer(key));
                    }
                }
            }
        }
        self.due = due;
    }

    fn read_mailbox(&mut self) {
        while let Ok(message) = self.mailbox.try_recv() {
            match message {
                ToWorker::Snapshot(snapshot) => self.take_snapshot(snapshot),
                ToWorker::Endpoints { cluster, set, state } => self.take_endpoints(&cluster, set, state),
                ToWorker::ClusterGone(cluster) => self.drop_cluster(&cluster),
                ToWorker::Listener { config, sockets, .. } => self.listen(config, sockets),
                ToWorker::ListenerGone { name, drain } => self.listener_gone(&name, drain),
                ToWorker::Drain { inbound_only, patience } => self.start_drain(inbound_only, patience),
                ToWorker::Stop { deadline, idle } => self.stop(deadline, idle),
            }
        }
    }

    /// Take new configuration. Buckets of limits that changed are forgotten once they would be full again anyhow.
    fn take_snapshot(&mut self, snapshot: Arc<Snapshot>) {
        let secrets_changed = !same_secrets(&self.snapshot, &snapshot);
        self.snapshot = snapshot;
        let now = self.now;
        self.known_buckets.retain(|known| now.since(known.used) < FORGOTTEN_AFTER);
        self.update_clusters(secrets_changed);
        if secrets_changed {
            self.refresh_listeners();
        }
    }

    // --- connections ---

    fn is_full(&self) -> bool {
        self.downstream_connections >= self.settings.max_connections
    }

    fn add_connection(&mut self, connection: Connection) -> Key {
        if connection.upstream.is_none() {
            self.downstream_connections += 1;
        }
        self.took(overload::cost_of(&connection));
        let deadline = connection.deadline;
        let key = self.connections.insert(Box::new(connection));
        if let Some(connection) = self.connections.get_mut(key)
            && connection.socket.register(&self.registry, pack(key)).is_err()
        {
            self.close(key);
            return Key::NONE;
        }
        self.arm_connection(key, deadline);
        key
    }

    fn mark_dirty(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key)
            && !connection.is_dirty
        {
            connection.is_dirty = true;
            self.dirty.push(key);
        }
    }

    fn set_deadline(&mut self, key: Key, deadline: Time) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.deadline = deadline;
            self.arm_connection(key, deadline);
        }
    }

    fn arm_connection(&mut self, key: Key, deadline: Time) {
        if deadline != Time::NEVER
            && let Some(armed) = self.connections.armed(key.index)
        {
            self.wheel.arm(Timed::Connection(key.index), deadline, armed);
        }
    }

    // --- exchanges ---

    fn new_exchange(&mut self, down: Key, stream: u32, kind: exchange::Kind) -> Key {
        let mut exchange = self.spare.pop().unwrap_or_else(|| Box::new(Exchange::new()));
        exchange.kind = kind;
        exchange.down = exchange::Side { connection: down, stream };
        if let Some(connection) = self.connections.get(down) {
            exchange.info = Some(connection.info.clone());
            exchange.chain.clone_from(&connection.chain);
        }
        self.begin(exchange)
    }

    fn begin(&mut self, mut exchange: Box<Exchange>) -> Key {
        self.stream_ids += 1;
        exchange.stream_id = self.stream_ids;
        exchange.start = self.now;
        exchange.last_active = self.now;
        exchange.start_wall = self.wall_offset + self.now.since(Time(0));
        exchange.random = self.rng.next_u64();
        self.took(overload::EXCHANGE_BYTES);
        self.exchanges.insert(exchange)
    }

    /// Do something with an exchange that may need everything else too. Afterwards it is kept, or over.
    fn with_exchange(&mut self, key: Key, act: impl FnOnce(&mut Worker, Key, &mut Exchange)) {
        let Some(mut exchange) = self.exchanges.take(key) else { return };
        let acting = std::panic::AssertUnwindSafe(|| act(self, key, &mut exchange));
        if std::panic::catch_unwind(acting).is_err() {
            self.end_faulty_exchange(key, &mut exchange);
        }
        if exchange.phase == exchange::Phase::Done {
            self.exchanges.vacate(key);
            self.recycle(exchange);
            return;
        }
        let deadline = exchange.deadline();
        self.exchanges.put_back(key, exchange);
        if deadline != Time::NEVER
            && let Some(armed) = self.exchanges.armed(key.index)
        {
            self.wheel.arm(Timed::Exchange(key.index), deadline, armed);
        }
    }

    fn recycle(&mut self, mut exchange: Box<Exchange>) {
        const SPARE: usize = 256;
        /// Heads that were large are not kept for the next request.
        const KEEP: usize = 32 * 1024;
        let held = exchange.request.headers.held() + exchange.response.headers.held();
        if self.spare.len() < SPARE && held <= KEEP {
            exchange.reset();
            self.spare.push(exchange);
        }
    }
}

fn same_secrets(a: &Snapshot, b: &Snapshot) -> bool {
    a.secrets.len() == b.secrets.len()
        && a.secrets
            .iter()
            .all(|(name, secret)| b.secrets.get(name).is_some_and(|other| Arc::ptr_eq(secret, other)))
}

fn pack(key: Key) -> Token {
    Token((key.generation as usize) << 32 | key.index as usize)
}

fn unpack(token: usize) -> Key {
    Key { index: token as u32, generation: (token >> 32) as u32 }
}

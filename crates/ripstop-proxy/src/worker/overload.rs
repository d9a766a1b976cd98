//! Too much for the memory that there is: what is refused, and who is ended so that the others go on.
//!
//! Data threads look at what is in use in step with what they take in ([`Worker::took`]); stages are those of
//! [`Pressure`]. Nothing is ended in the middle of something: that is done once a turn ([`Worker::watch_memory`]).
use super::Worker;
use super::connection::{Close, Connection, HIGH_WATER, Machine};
use super::exchange::{Exchange, Kind};
use super::slots::Key;
use crate::control::stats::ManagerStat;
use crate::memory::Pressure;
use ripstop_core::http::HeaderId;
use ripstop_core::http2::Code;
use ripstop_core::outcome::Flags;
use ripstop_core::time::Time;
use std::time::Duration;

/// What an exchange takes, without its heads and bodies.
pub(crate) const EXCHANGE_BYTES: usize = 2 * 1024;
/// What a connection takes, without its buffers; about, with its places in tables.
const CONNECTION_BYTES: usize = 2 * 1024;
/// What TLS keeps for a connection.
pub(crate) const TLS_BYTES: usize = 32 * 1024;
/// What HTTP/2 keeps for a connection: compression tables, streams.
const HTTP2_BYTES: usize = 12 * 1024;
/// Under pressure, no more is read at a time, and whoever feeds a connection that has more unsent is paused.
pub(crate) const SMALL: usize = 16 * 1024;
/// Pressure that does not go away by itself in so long ends connections, from the first stage on.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often, under pressure, memory is looked at and connections are ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// After the last file descriptor nothing is accepted for so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a worker knows of the process's memory.
pub(crate) struct Overload {
    pub pressure: Pressure,
    /// Bytes taken in since somebody looked.
    taken: usize,
    /// With so many, one looks again.
    step: usize,
    look_at: Time,
    /// When the pressure began.
    since: Time,
    /// Something was left with the kernel because memory was full.
    pub left_unread: bool,
    /// Nothing is accepted before.
    pub accept_at: Time,
}

impl Default for Overload {
    fn default() -> Overload {
        Overload {
            pressure: Pressure::None,
            taken: 0,
            step: 0,
            look_at: Time(0),
            since: Time(0),
            left_unread: false,
            accept_at: Time(0),
        }
    }
}

impl Overload {
    /// Above this much unsent, whoever feeds a connection is paused.
    pub fn high_water(&self) -> usize {
        if self.pressure == Pressure::None { HIGH_WATER } else { SMALL }
    }

    /// Whether new requests are refused, and connections end with their answer.
    pub fn is_shedding(&self) -> bool {
        self.pressure >= Pressure::Shedding
    }
}

/// About what a connection takes.
pub(crate) fn cost_of(connection: &Connection) -> usize {
    let tls = if connection.tls.is_some() { TLS_BYTES } else { 0 };
    let http2 = match &connection.machine {
        Machine::H2Server(h2) => HTTP2_BYTES + h2.machine.held(),
        Machine::H2Client(h2) => HTTP2_BYTES + h2.machine.held(),
        _ => 0,
    };
    let buffers = [&connection.kept, &connection.kept_cipher, &connection.plain, &connection.cipher];
    CONNECTION_BYTES + tls + http2 + buffers.iter().map(|buffer| buffer.capacity()).sum::<usize>()
}

impl Worker {
    /// So many bytes came that may be kept.
    #[inline(always)]
    pub(crate) fn took(&mut self, bytes: usize) {
        self.overload.taken = self.overload.taken.saturating_add(bytes);
        if self.overload.taken >= self.overload.step {
            self.look_at_memory();
        }
    }

    #[cold]
    fn look_at_memory(&mut self) {
        let memory = &self.settings.memory;
        let pressure = memory.measure();
        if self.overload.pressure == Pressure::None {
            self.overload.since = self.now;
        }
        self.overload.pressure = pressure;
        (self.overload.taken, self.overload.step) = (0, memory.step(self.settings.workers));
    }

    /// Once a turn: hear of pressure, and of its end; end whom it has to be.
    pub(crate) fn watch_memory(&mut self) {
        if self.overload.left_unread && self.overload.pressure < Pressure::Full {
            self.read_again();
        }
        if self.overload.pressure == Pressure::None && self.settings.memory.pressure() == Pressure::None {
            return;
        }
        if self.now < self.overload.look_at {
            return;
        }
        self.overload.look_at = self.now.after(LOOK_EVERY);
        self.trim();
        self.look_at_memory();
        let lasts = self.now >= self.overload.since.after(PATIENCE);
        if self.overload.pressure >= Pressure::Closing || (lasts && self.overload.is_shedding()) {
            self.guarded(Key::NONE, Worker::shed);
        }
    }

    /// Give back what is only kept to be used again.
    fn trim(&mut self) {
        self.spare = Vec::new();
        for key in self.connections.keys() {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            connection.release_buffers();
            match &mut connection.machine {
                Machine::H2Server(h2) => h2.machine.trim(),
                Machine::H2Client(h2) => h2.machine.trim(),
                _ => {}
            }
        }
    }

    /// How long until memory is to be looked at, or sockets may be accepted from again.
    pub(crate) fn overload_wait(&self) -> Option<Duration> {
        let looks = (self.overload.pressure != Pressure::None).then_some(self.overload.look_at);
        let accepts = (!self.accept_again.is_empty()).then_some(self.overload.accept_at);
        looks.into_iter().chain(accepts).min().map(|at| at.since(self.now))
    }

    /// No file descriptor is left: connections wait in the kernel for a while, instead of being tried in vain all the time.
    pub(crate) fn pause_accepting(&mut self) {
        self.overload.accept_at = self.now.after(ACCEPT_PAUSE);
    }

    /// There is room again: read what was left with the kernel.
    fn read_again(&mut self) {
        self.overload.left_unread = false;
        for key in self.connections.keys() {
            if self.connections.get(key).is_some_and(|c| c.readable && !c.paused) {
                self.resume.push(key);
            }
        }
    }

    /// A request that came while there is no room for it (Envoy: `envoy.overload_actions.stop_accepting_requests`).
    pub(crate) fn refuse_overloaded(&mut self, key: Key, ex: &mut Exchange) {
        ex.flags.set(Flags::OVERLOAD_MANAGER);
        self.count_manager(ex, ManagerStat::RqOverloadClose);
        self.local_reply_with(key, ex, 503, "overloaded", "overload", |head| {
            head.headers.set(HeaderId::RetryAfter, b"1");
        });
    }

    fn count_manager(&self, ex: &Exchange, stat: ManagerStat) {
        if let Some(chain) = &ex.chain {
            self.stats.count_manager(chain.stats, stat);
        }
    }

    /// End what is idle, then those that hold most, until as much is free as lets everything be served again.
    fn shed(&mut self) {
        let goal = self.settings.memory.excess() as usize / self.settings.workers.max(1);
        let mut freed = 0;
        let (mut idle, mut busy) = (Vec::new(), Vec::new());
        for key in self.connections.keys() {
            let Some(connection) = self.connections.get(key) else { continue };
            if is_idle(connection) {
                idle.push((connection.last_active, cost_of(connection), key));
            } else if connection.upstream.is_none() {
                busy.push((self.held_for(key), key));
            }
        }
        idle.sort_unstable_by_key(|(last_active, ..)| *last_active);
        busy.sort_unstable_by_key(|(held, _)| std::cmp::Reverse(*held));
        let idle = idle.into_iter().map(|(_, held, key)| (held, key));
        for (held, key) in idle.chain(busy) {
            if freed >= goal {
                break;
            }
            freed += held;
            self.end_for_room(key);
        }
    }

    /// A downstream connection with all that is kept for its exchanges.
    fn held_for(&mut self, key: Key) -> usize {
        let Some(connection) = self.connections.get(key) else { return 0 };
        let mut held = cost_of(connection);
        let mut add = |exchange: Key| {
            let Some(ex) = self.exchanges.get(exchange) else { return };
            held +=
                EXCHANGE_BYTES + ex.body.capacity() + ex.request.headers.held() + ex.response.headers.held();
            if let Some(up) = self.connections.get(ex.up.connection) {
                held += match &up.machine {
                    Machine::H2Client(h2) => h2.machine.pending(ex.up.stream),
                    _ => cost_of(up),
                };
            }
        };
        match &connection.machine {
            Machine::H1Server(h1) => add(h1.exchange),
            Machine::Raw(raw) => add(raw.exchange),
            Machine::H2Server(h2) => h2.streams.keys().for_each(add),
            _ => {}
        }
        held
    }

    /// End a connection: its requests are answered 503 where that can still be.
    fn end_for_room(&mut self, key: Key) {
        let Some(connection) = self.connections.get(key) else { return };
        if connection.upstream.is_some() {
            self.leave_pool(key);
            return self.close(key);
        }
        if let Some(chain) = connection.chain.as_ref().filter(|chain| chain.manager.is_some()) {
            self.stats.count_manager(chain.stats, ManagerStat::CxOverloadClose);
        }
        match &connection.machine {
            Machine::H1Server(h1) if h1.exchange == Key::NONE && h1.head_since.is_some() => {
                self.answer_partial_head(key, |worker, key, ex| {
                    ex.counted = true;
                    if let Some(chain) = &ex.chain {
                        worker.stats.request_began(chain.stats);
                    }
                    worker.refuse_overloaded(key, ex);
                });
            }
            Machine::H1Server(_) | Machine::Raw(_) | Machine::H2Server(_) => self.end_exchanges(key),
            _ => return self.close(key),
        }
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.kept = Vec::new();
        if let Machine::H2Server(h2) = &mut connection.machine {
            h2.machine.go_away(Code::ENHANCE_YOUR_CALM, false);
        }
        // The answer gets one try; who does not read keeps nothing of ours.
        connection.close_after_write = Close::Both;
        if connection.flush().is_err() || connection.unsent() > 0 {
            return self.downstream_broken(key);
        }
        self.mark_dirty(key);
    }

    fn end_exchanges(&mut self, key: Key) {
        for exchange in self.exchanges_on(key) {
            self.with_exchange(exchange, |worker, key, ex| {
                if !ex.response_started && ex.kind != Kind::Tcp {
                    return worker.refuse_overloaded(key, ex);
                }
                ex.flags.set(Flags::OVERLOAD_MANAGER);
                worker.count_manager(ex, ManagerStat::RqOverloadClose);
                ex.details = "overload";
                worker.abort_response(key, ex);
            });
        }
    }

    fn exchanges_on(&self, key: Key) -> Vec<Key> {
        match self.connections.get(key).map(|connection| &connection.machine) {
            Some(Machine::H1Server(h1)) if h1.exchange != Key::NONE => vec![h1.exchange],
            Some(Machine::Raw(raw)) => vec![raw.exchange],
            Some(Machine::H2Server(h2)) => h2.streams.keys().collect(),
            _ => Vec::new(),
        }
    }
}

/// Whether a connection carries nothing: it waits for a request, for its first byte, or for its peer to close.
fn is_idle(connection: &Connection) -> bool {
    match &connection.machine {
        Machine::Opening(_) | Machine::Lingering => true,
        Machine::H1Server(h1) => h1.exchange == Key::NONE && h1.head_since.is_none() && h1.body.is_none(),
        Machine::H2Server(h2) => h2.streams.is_empty(),
        Machine::H1Client(h1) => h1.exchange == Key::NONE,
        Machine::H2Client(h2) => h2.streams.is_empty(),
        Machine::Connecting | Machine::Raw(_) => false,
    }
}

//! Faults of our own: a panic ends the exchange that it came from, the others go on.
use super::Worker;
use super::exchange::{Exchange, Kind, Phase};
use super::slots::Key;
use crate::control::stats::ManagerStat;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// From now on a panic is told in one line. A backtrace, which `RUST_BACKTRACE` asks for, would hold its thread up for as
/// long as it takes to read what the linker knows of the program, and take as much memory.
pub fn tell_faults_briefly() {
    std::panic::set_hook(Box::new(|panic| eprintln!("ripstop-proxy: {panic}")));
}

impl Worker {
    /// Do something for a connection. A panic that comes of it, and of no exchange, ends the connection.
    #[inline(always)]
    pub(crate) fn guarded(&mut self, key: Key, act: impl FnOnce(&mut Worker)) {
        if catch_unwind(AssertUnwindSafe(|| act(self))).is_err() {
            self.end_faulty_connection(key);
        }
    }

    #[cold]
    fn end_faulty_connection(&mut self, key: Key) {
        eprintln!("ripstop-proxy: a fault of our own ended a connection; the others go on");
        let ending = AssertUnwindSafe(|| match self.connections.get(key) {
            Some(connection) if connection.upstream.is_some() => self.upstream_broken(key, "internal fault"),
            Some(_) => self.downstream_broken(key),
            None => {}
        });
        if catch_unwind(ending).is_err() {
            drop(self.connections.remove(key));
        }
    }

    /// A panic came of what was done for an exchange: it ends, answered with 500 where that can still be.
    #[cold]
    pub(crate) fn end_faulty_exchange(&mut self, key: Key, ex: &mut Exchange) {
        eprintln!("ripstop-proxy: a fault of our own ended a request; the others go on");
        if let Some(chain) = &ex.chain {
            self.stats.count_manager(chain.stats, ManagerStat::RqInternalFault);
        }
        let (down, up) = (ex.down, ex.up);
        let ending = AssertUnwindSafe(|| self.answer_faulty(key, ex));
        if catch_unwind(ending).is_err() {
            // Not even that: nothing of it may be used again.
            ex.phase = Phase::Done;
            self.end_faulty_connection(down.connection);
            self.end_faulty_connection(up.connection);
        }
    }

    fn answer_faulty(&mut self, key: Key, ex: &mut Exchange) {
        if ex.phase == Phase::Done {
            return;
        }
        let is_told = ex.response_started || matches!(ex.kind, Kind::Tcp | Kind::Mirror);
        if is_told {
            ex.details = "internal_fault";
            return self.abort_response(key, ex);
        }
        self.local_reply(key, ex, 500, "internal fault", "internal_fault");
    }
}

/// In debug builds a request can ask for such a fault, so that tests can look at what comes of it; never in releases.
#[cfg(debug_assertions)]
#[allow(clippy::panic)]
pub(crate) fn injected(ex: &Exchange, at: &str) {
    let asked = ex.request.headers.get_name(b"x-ripstop-debug-panic");
    assert!(asked != Some(at.as_bytes()), "a test asked for this panic");
}

#[cfg(not(debug_assertions))]
#[inline(always)]
pub(crate) fn injected(_: &Exchange, _: &str) {}

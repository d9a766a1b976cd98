//! Draining: no new connections, the old ones finish what they carry and are told to go elsewhere.
use super::Worker;
use super::connection::{Close, Machine};
use super::slots::Key;
use ripstop_core::http2::Code;
use ripstop_core::time::Time;
use std::time::Duration;

/// What drains.
#[derive(Default)]
pub(crate) struct Draining {
    /// Everything, or what came by inbound listeners.
    pub all: bool,
    pub inbound: bool,
    /// Listeners that are gone or replaced.
    pub listeners: Vec<std::sync::Arc<str>>,
    pub stop_at: Option<Time>,
}

impl Worker {
    /// Whether a connection's next answer is its last.
    pub(crate) fn is_draining_connection(&self, key: Key) -> bool {
        let draining = &self.drain;
        if draining.all {
            return true;
        }
        if !draining.inbound && draining.listeners.is_empty() {
            return false;
        }
        let Some(chain) = self.connections.get(key).and_then(|c| c.chain.as_ref()) else { return false };
        (draining.inbound && chain.is_inbound) || draining.listeners.contains(&chain.listener)
    }

    /// Drain: idle connections end now, busy ones with their last answer; HTTP/2 peers hear GOAWAY.
    pub(crate) fn start_drain(&mut self, inbound_only: bool) {
        if inbound_only {
            self.drain.inbound = true;
        } else {
            self.drain.all = true;
        }
        let names: Vec<_> = self
            .listeners
            .values()
            .filter(|l| !inbound_only || l.config.direction == ripstop_core::snapshot::Direction::Inbound)
            .map(|l| l.name.clone())
            .collect();
        for name in names {
            self.close_acceptors(&name);
        }
        self.drain_connections();
    }

    /// A listener was removed: its connections drain for at most `drain`.
    pub(crate) fn listener_gone(&mut self, name: &str, drain: Duration) {
        self.close_acceptors(name);
        if let Some(listening) = self.listeners.remove(name) {
            self.drain.listeners.push(listening.name.clone());
        }
        let deadline = self.now.after(drain);
        for key in self.draining_keys() {
            self.drain_connection(key);
            // Whatever is left then is closed.
            self.set_deadline(key, deadline);
        }
    }

    fn draining_keys(&self) -> Vec<Key> {
        let is_down = |key: &Key| self.connections.get(*key).is_some_and(|c| c.upstream.is_none());
        self.connections
            .keys()
            .into_iter()
            .filter(|k| is_down(k) && self.is_draining_connection(*k))
            .collect()
    }

    fn drain_connections(&mut self) {
        for key in self.draining_keys() {
            self.drain_connection(key);
        }
    }

    fn drain_connection(&mut self, key: Key) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(key) else { return };
        match &mut connection.machine {
            Machine::H1Server(h1)
                if h1.exchange == Key::NONE && h1.head_since.is_none() && h1.body.is_none() =>
            {
                // A request may be on its way: our side ends, and what still comes is read and thrown away.
                connection.close_after_write = Close::Both;
                self.mark_dirty(key);
            }
            Machine::H2Server(h2) if h2.draining.is_none() => {
                h2.draining = Some(now);
                h2.machine.go_away(Code::NO_ERROR, false);
                if h2.streams.is_empty() {
                    connection.close_after_write = Close::Both;
                }
                self.mark_dirty(key);
            }
            Machine::Opening(_) => self.close(key),
            _ => {}
        }
    }

    /// End by `deadline`: drain now, close what is left then.
    pub(crate) fn stop(&mut self, deadline: Time) {
        self.start_drain(false);
        self.drain.stop_at = Some(deadline);
        self.stop_if_done();
    }

    /// Whether the worker may end now.
    pub(crate) fn stop_if_done(&mut self) {
        let Some(at) = self.drain.stop_at else { return };
        if self.now >= at || self.downstream_connections == 0 {
            self.is_stopped = true;
        }
    }
}

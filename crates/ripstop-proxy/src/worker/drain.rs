//! Draining: connections finish what they carry and are told to go elsewhere, by `Connection: close` and GOAWAY.
//!
//! A connection that seems idle may have a request on its way to us. Where that matters (the process hands over, or goes
//! on accepting) idle HTTP/1 connections are left alone for a while, so that whoever uses them hears it with an answer,
//! and HTTP/2 peers are warned first, refused later (RFC 9113, section 6.8).
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
    /// Until then HTTP/2 peers may still open streams.
    pub refuse_at: Time,
    pub stop_at: Option<Time>,
}

/// What happens to connections that carry nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Idle {
    /// They end once nothing came for so long.
    EndAfter(Duration),
    /// They stay; HTTP/2 peers are refused after so long.
    Stay(Duration),
}

impl Worker {
    /// Whether a connection's next answer is its last.
    pub(crate) fn is_draining_connection(&self, key: Key) -> bool {
        if self.drain.all {
            return true;
        }
        let Some(connection) = self.connections.get(key) else { return false };
        let is_inbound = || connection.chain.as_ref().is_some_and(|chain| chain.is_inbound);
        connection.end_by != Time::NEVER || (self.drain.inbound && is_inbound())
    }

    /// Ask clients to go, and go on accepting; HTTP/2 peers have `patience` to stop opening streams.
    pub(crate) fn start_drain(&mut self, inbound_only: bool, patience: Duration) {
        self.mark_draining(inbound_only, patience);
        self.drain_connections(Idle::Stay(patience));
    }

    fn mark_draining(&mut self, inbound_only: bool, patience: Duration) {
        if inbound_only {
            self.drain.inbound = true;
        } else {
            self.drain.all = true;
        }
        self.drain.refuse_at = self.now.after(patience);
    }

    /// A listener was removed: its connections drain for at most `drain`.
    pub(crate) fn listener_gone(&mut self, name: &str, drain: Duration) {
        self.close_acceptors(name);
        self.listeners.remove(name);
        let end_by = self.now.after(drain);
        for key in self.downstream_keys(|worker, key| worker.is_of_listener(key, name)) {
            if let Some(connection) = self.connections.get_mut(key) {
                connection.end_by = connection.end_by.min(end_by);
            }
            self.drain_connection(key, Idle::EndAfter(Duration::ZERO));
            self.set_deadline(key, end_by);
        }
    }

    fn is_of_listener(&self, key: Key, name: &str) -> bool {
        let Some(connection) = self.connections.get(key) else { return false };
        match (&connection.chain, &connection.machine) {
            (Some(chain), _) => *chain.listener == *name,
            (None, Machine::Opening(opening)) => *opening.listener.name == *name,
            _ => false,
        }
    }

    fn downstream_keys(&self, is_meant: impl Fn(&Worker, Key) -> bool) -> Vec<Key> {
        let is_down = |key: Key| self.connections.get(key).is_some_and(|c| c.upstream.is_none());
        self.connections.keys().into_iter().filter(|key| is_down(*key) && is_meant(self, *key)).collect()
    }

    fn drain_connections(&mut self, idle: Idle) {
        for key in self.downstream_keys(Worker::is_draining_connection) {
            self.drain_connection(key, idle);
        }
    }

    fn drain_connection(&mut self, key: Key, idle: Idle) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(key) else { return };
        match (&mut connection.machine, idle) {
            (Machine::H1Server(h1), Idle::EndAfter(wait))
                if h1.exchange == Key::NONE && h1.head_since.is_none() && h1.body.is_none() =>
            {
                if wait.is_zero() {
                    // A request may be on its way: our side ends, and what still comes is read and thrown away.
                    connection.close_after_write = Close::Both;
                    self.mark_dirty(key);
                } else {
                    let deadline = connection.deadline.min(now.after(wait));
                    self.set_deadline(key, deadline);
                }
            }
            (Machine::H2Server(_), Idle::EndAfter(wait) | Idle::Stay(wait)) => {
                self.h2_server_leave(key, now.after(wait));
            }
            (Machine::Opening(_), Idle::EndAfter(wait)) if wait.is_zero() => self.close(key),
            (Machine::Opening(_), Idle::EndAfter(wait)) => {
                let deadline = connection.deadline.min(now.after(wait));
                self.set_deadline(key, deadline);
            }
            _ => {}
        }
    }

    /// End by `deadline`: accept nothing, drain, close what is left then. Connections that carry nothing end once nothing
    /// came for `idle`.
    pub(crate) fn stop(&mut self, deadline: Time, idle: Duration) {
        let names: Vec<_> = self.listeners.keys().cloned().collect();
        for name in names {
            self.close_acceptors(&name);
        }
        self.mark_draining(false, idle);
        self.drain_connections(Idle::EndAfter(idle));
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

    /// Tell an HTTP/2 peer to go: its streams are refused from `refuse_at` on, and the connection ends with the last.
    pub(crate) fn h2_server_leave(&mut self, key: Key, refuse_at: Time) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Machine::H2Server(h2) = &mut connection.machine else { return };
        if h2.draining.is_some_and(|at| at <= refuse_at) {
            return; // it was told already
        }
        h2.draining = Some(refuse_at);
        let is_last_word = refuse_at <= now;
        h2.machine.go_away(Code::NO_ERROR, !is_last_word);
        if is_last_word && h2.streams.is_empty() {
            connection.close_after_write = Close::Both;
        }
        self.mark_dirty(key);
        if !is_last_word {
            self.set_deadline(key, refuse_at);
        }
    }
}

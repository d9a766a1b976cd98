//! Bytes in and bytes out: reading a connection, TLS around it, flushing, closing, deadlines.
use super::connection::{Close, Connection, Filled, LOW_WATER, Machine, Stage};
use super::exchange::Side;
use super::overload::SMALL;
use super::slots::Key;
use super::{INPUT_SIZE, Worker};
use crate::memory::Pressure;
use ripstop_core::outcome::Flags;
use ripstop_core::time::Time;
use std::time::Duration;

/// Reads of one connection in a turn, so that a fast sender does not starve the others.
const READS_PER_TURN: usize = 4;
/// Octets of answers that an HTTP/2 client may leave unread; beyond, no more of what it asks is read. Windows bound
/// bodies only, heads would pile up.
const UNREAD_ANSWERS: usize = 1024 * 1024;
/// How long a closing peer may take after our last answer (Envoy `delayed_close_timeout` is the manager's own).
const LINGER: Duration = Duration::from_secs(1);

impl Worker {
    /// Read what came and let the connection's machine use it.
    pub(crate) fn read(&mut self, key: Key) {
        let mut input = std::mem::take(&mut self.input);
        let mut plaintext = std::mem::take(&mut self.plaintext);
        for round in 0..=READS_PER_TURN {
            if self.may_not_read(key) {
                break;
            }
            if round == READS_PER_TURN {
                self.resume.push(key); // the rest next turn
                break;
            }
            if !self.read_once(key, &mut input, &mut plaintext) {
                break;
            }
        }
        self.input = input;
        self.plaintext = plaintext;
    }

    /// Whether what comes has to wait in the kernel: memory is full, or an HTTP/2 client asks on without reading answers.
    fn may_not_read(&mut self, key: Key) -> bool {
        if self.overload.pressure == Pressure::Full {
            self.overload.left_unread = true;
            return true; // `watch_memory` goes on with it
        }
        let Some(connection) = self.connections.get_mut(key) else { return true };
        if matches!(connection.machine, Machine::H2Server(_)) {
            connection.is_choked = connection.unsent() > UNREAD_ANSWERS;
            return connection.is_choked; // `flush` goes on with it
        }
        false
    }

    /// Whether there may be more.
    fn read_once(&mut self, key: Key, input: &mut Vec<u8>, plaintext: &mut Vec<u8>) -> bool {
        let Some(connection) = self.connections.get_mut(key) else { return false };
        let was_plain = connection.tls.is_none();
        if self.overload.pressure != Pressure::None {
            connection.read_size = SMALL;
        }
        let filled =
            if was_plain { fill_plain(connection, input) } else { self.fill_tls(key, input, plaintext) };
        let Some((len, filled)) = filled else { return false };
        let data: &[u8] = if was_plain { &input[..len] } else { &plaintext[..len] };
        if let Filled::Bytes(n) = filled {
            self.took(n);
        }
        let mut used = 0;
        if !data.is_empty() {
            used = self.input(key, data);
        }
        let Some(connection) = self.connections.get_mut(key) else { return false };
        if used < len {
            let began_tls = was_plain && connection.tls.is_some();
            let kept = if began_tls { &mut connection.kept_cipher } else { &mut connection.kept };
            kept.clear();
            kept.extend_from_slice(&data[used..]);
            if began_tls {
                return true;
            }
        }
        match filled {
            Filled::End | Filled::Broken => {
                self.read_ended(key, filled == Filled::Broken);
                false
            }
            Filled::Bytes(_) => connection.readable && !connection.paused,
            Filled::Nothing => false,
        }
    }

    /// Read ciphertext, decrypt it behind what is kept; the length of plaintext there is now.
    fn fill_tls(
        &mut self,
        key: Key,
        input: &mut Vec<u8>,
        plaintext: &mut Vec<u8>,
    ) -> Option<(usize, Filled)> {
        let connection = self.connections.get_mut(key)?;
        plaintext.clear();
        plaintext.append(&mut connection.kept);
        let kept = plaintext.len();
        let early = connection.kept_cipher.len();
        ensure(input, early + connection.read_size);
        input[..early].copy_from_slice(&connection.kept_cipher);
        connection.kept_cipher.clear();
        let mut filled = Filled::Nothing;
        if connection.readable && !connection.paused {
            let end = early + connection.read_size;
            filled = connection.fill(&mut input[early..end]);
        }
        let len = early + if let Filled::Bytes(n) = filled { n } else { 0 };
        if len == 0 && filled == Filled::Nothing && kept == 0 {
            return None;
        }
        let Connection { tls, cipher, .. } = &mut **connection;
        let session = tls.as_mut()?;
        let had_cipher = cipher.len();
        let received = if len > 0 {
            session.receive(&mut input[..len], plaintext, cipher)
        } else {
            Ok(Default::default())
        };
        let grew = cipher.len() > had_cipher;
        if grew {
            self.mark_dirty(key);
        }
        match received {
            Ok(received) => {
                if received.handshake_done_now {
                    self.tls_ready(key);
                }
                let ended = received.peer_closed && filled != Filled::Broken;
                Some((plaintext.len(), if ended { Filled::End } else { filled_of(filled, len) }))
            }
            Err(why) => {
                self.tls_failed(key, why.reason);
                None
            }
        }
    }

    fn tls_ready(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        match &connection.machine {
            Machine::Opening(_) => {
                if let Some(chain) = &connection.chain {
                    self.stats.handshake(chain.listener_stats);
                }
                self.handshake_done(key);
            }
            _ => self.upstream_handshake_done(key),
        }
        self.mark_dirty(key);
    }

    fn tls_failed(&mut self, key: Key, reason: &'static str) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        // The alert is worth a try; nothing is waited for.
        let _ = connection.flush();
        if connection.upstream.is_some() {
            return self.upstream_broken(key, reason);
        }
        if let Some(chain) = &connection.chain {
            self.stats.handshake_failed(chain.listener_stats);
        }
        self.downstream_broken(key);
    }

    /// Hand bytes to the machine; how many it used.
    fn input(&mut self, key: Key, data: &[u8]) -> usize {
        let Some(connection) = self.connections.get_mut(key) else { return data.len() };
        connection.last_active = self.now;
        match &connection.machine {
            Machine::Opening(opening) if opening.stage == Stage::Handshake && connection.tls.is_some() => 0,
            Machine::Opening(_) => self.opening_input(key, data),
            Machine::H1Server(_) => self.h1_server_input(key, data),
            Machine::H2Server(_) => self.h2_input(key, data),
            Machine::H1Client(_) => self.h1_client_input(key, data),
            Machine::H2Client(_) => self.h2_input(key, data),
            Machine::Raw(_) => self.raw_input(key, data),
            Machine::Connecting => 0,
            Machine::Lingering => data.len(),
        }
    }

    /// The peer has ended its side.
    fn read_ended(&mut self, key: Key, is_broken: bool) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        match &connection.machine {
            Machine::Raw(raw) => {
                let (exchange, is_downstream) = (raw.exchange, raw.is_downstream);
                self.raw_ended(key, exchange, is_downstream, is_broken);
            }
            Machine::H1Client(_) => self.h1_client_ended(key, is_broken),
            Machine::H2Client(_) | Machine::Connecting => self.upstream_broken(key, "connection termination"),
            _ if connection.upstream.is_some() => self.upstream_broken(key, "connection termination"),
            _ => self.downstream_broken(key),
        }
    }

    /// A downstream connection is gone: its exchanges end with DC.
    pub(crate) fn downstream_broken(&mut self, key: Key) {
        for exchange in self.exchanges_of(key) {
            self.with_exchange(exchange, |worker, key, ex| {
                worker.downstream_gone(key, ex, Flags::DOWNSTREAM_CONNECTION_TERMINATION)
            });
        }
        self.close(key);
    }

    /// The exchanges that a connection carries.
    pub(crate) fn exchanges_of(&mut self, key: Key) -> Vec<Key> {
        let Some(connection) = self.connections.get_mut(key) else { return Vec::new() };
        let one = match &mut connection.machine {
            Machine::H1Server(h1) => std::mem::replace(&mut h1.exchange, Key::NONE),
            Machine::H1Client(h1) => std::mem::replace(&mut h1.exchange, Key::NONE),
            Machine::Raw(raw) => raw.exchange,
            Machine::H2Server(h2) => return h2.streams.drain().into_iter().map(|(_, key)| key).collect(),
            Machine::H2Client(h2) => return h2.streams.drain().into_iter().map(|(_, key)| key).collect(),
            _ => Key::NONE,
        };
        if one == Key::NONE { Vec::new() } else { vec![one] }
    }

    /// Write what is to be written; wake whoever waited for room; close where that was to follow.
    pub(crate) fn flush(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.is_dirty = false;
        if matches!(connection.machine, Machine::Connecting) && connection.tls.is_none() {
            return; // written once it is connected
        }
        if connection.flush().is_err() {
            let is_upstream = connection.upstream.is_some();
            if matches!(&connection.machine, Machine::H1Client(h1) if h1.exchange != Key::NONE) {
                // It may have answered before it ended (RFC 9112, section 9.5); reading finds out which.
                connection.plain.clear();
                connection.cipher.clear();
                (connection.written, connection.writable) = (0, false);
                (connection.readable, connection.ending, connection.paused) = (true, true, false);
                return self.read(key);
            }
            return if is_upstream {
                self.upstream_broken(key, "connection termination")
            } else {
                self.downstream_broken(key)
            };
        }
        let unsent = connection.unsent();
        if connection.is_choked && unsent <= LOW_WATER {
            connection.is_choked = false;
            self.resume.push(key);
        }
        if unsent <= LOW_WATER && !connection.blocked.is_empty() {
            let blocked = std::mem::take(&mut connection.blocked);
            for exchange in blocked {
                self.with_exchange(exchange, |worker, key, ex| worker.make_room(key, ex));
            }
        }
        let Some(connection) = self.connections.get_mut(key) else { return };
        if unsent == 0 {
            connection.release_buffers();
            match connection.close_after_write {
                Close::No => {}
                Close::Write => connection.socket.shutdown_write(),
                Close::Both => self.finish_close(key),
                Close::Now if connection.tls.is_none() => self.close(key),
                Close::Now => self.finish_close(key),
            }
        }
    }

    /// Everything is written and the connection is to end: our side first, so that the peer reads our answer to its end
    /// (closing with unread input would send a reset).
    fn finish_close(&mut self, key: Key) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(key) else { return };
        if let Some(session) = &mut connection.tls {
            session.close(&mut connection.cipher);
            let _ = connection.flush();
        }
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.read_closed {
            return self.close(key);
        }
        connection.close_after_write = Close::No;
        connection.socket.shutdown_write();
        connection.machine = Machine::Lingering;
        connection.paused = false;
        connection.kept.clear();
        self.set_deadline(key, now.after(LINGER));
        self.read(key);
    }

    /// A connection's side that exchanges `bytes` with `side`: pause its source when too much is unsent.
    pub(crate) fn is_full_side(&self, side: Side) -> bool {
        let Some(connection) = self.connections.get(side.connection) else { return false };
        let held = match &connection.machine {
            Machine::H2Server(h2) => h2.machine.pending(side.stream),
            Machine::H2Client(h2) => h2.machine.pending(side.stream),
            _ => 0,
        };
        connection.unsent() + held > self.overload.high_water()
    }

    /// End a connection now. Its exchanges have been told already.
    pub(crate) fn close(&mut self, key: Key) {
        let Some(mut connection) = self.connections.remove(key) else { return };
        match &connection.upstream {
            Some(_) => self.upstream_closed(key, &connection),
            None => {
                self.downstream_connections = self.downstream_connections.saturating_sub(1);
                let lived = self.now.since(connection.opened);
                let listener = connection.listener_stats;
                self.stats.connection_closed(&connection, listener, lived);
            }
        }
        // Dropping the socket takes it out of epoll.
        connection.kept.clear();
        drop(connection);
    }

    /// A connection's deadline may have come.
    pub(crate) fn connection_timer(&mut self, key: Key) {
        let Some(connection) = self.connections.get(key) else { return };
        let deadline = connection.deadline.min(connection.end_by);
        if self.now >= connection.end_by {
            return self.downstream_broken(key);
        }
        if self.now < deadline {
            return self.arm_connection(key, deadline);
        }
        match &connection.machine {
            Machine::Opening(opening)
                if opening.stage == Stage::Inspect && opening.listener.config.continues_on_timeout =>
            {
                self.choose_chain(key, false, &[]);
            }
            Machine::Opening(_) => self.downstream_broken(key),
            Machine::Lingering | Machine::Raw(_) => self.close(key),
            Machine::Connecting => self.upstream_broken(key, "connection timeout"),
            Machine::H1Server(_) => self.h1_server_timer(key),
            Machine::H2Server(_) => self.h2_server_timer(key),
            Machine::H1Client(_) | Machine::H2Client(_) => self.upstream_timer(key),
        }
    }

    /// Let a downstream connection without requests end after its idle time.
    pub(crate) fn set_idle_deadline(&mut self, key: Key) {
        let Some(connection) = self.connections.get(key) else { return };
        let Some(manager) = connection.chain.as_ref().and_then(|chain| chain.manager.as_ref()) else {
            return;
        };
        let idle =
            if manager.idle_timeout.is_zero() { Time::NEVER } else { self.now.after(manager.idle_timeout) };
        let age = match manager.max_connection_duration {
            none if none.is_zero() => Time::NEVER,
            limit => connection.opened.after(limit),
        };
        self.set_deadline(key, idle.min(age));
    }
}

/// What a TLS read is worth: data that was there before counts too.
fn filled_of(filled: Filled, len: usize) -> Filled {
    if filled == Filled::Nothing && len > 0 { Filled::Bytes(len) } else { filled }
}

/// Read plaintext behind what is kept; the length of all, or None when there is nothing at all to look at.
fn fill_plain(connection: &mut Connection, input: &mut Vec<u8>) -> Option<(usize, Filled)> {
    let kept = connection.kept.len();
    ensure(input, kept + connection.read_size);
    input[..kept].copy_from_slice(&connection.kept);
    connection.kept.clear();
    let mut filled = Filled::Nothing;
    if connection.readable && !connection.paused {
        let end = kept + connection.read_size;
        filled = connection.fill(&mut input[kept..end]);
    }
    let len = kept + if let Filled::Bytes(n) = filled { n } else { 0 };
    if len == 0 && filled == Filled::Nothing { None } else { Some((len, filled)) }
}

fn ensure(buffer: &mut Vec<u8>, len: usize) {
    debug_assert!(len < 64 * INPUT_SIZE, "a connection keeps too much");
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
}

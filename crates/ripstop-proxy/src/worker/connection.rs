//! One connection: its socket, TLS, what is yet to be written, and the machine for what is spoken on it.
use super::listen::Chain;
use super::slots::Key;
use super::socket::Socket;
use crate::tls;
use ripstop_core::http1::BodyDecoder;
use ripstop_core::http2;
use ripstop_core::record::ConnectionInfo;
use ripstop_core::time::Time;
use std::io;
use std::rc::Rc;

/// Above this much unsent, whoever feeds a connection is paused.
pub(crate) const HIGH_WATER: usize = 256 * 1024;
/// Below this much unsent, it goes on.
pub(crate) const LOW_WATER: usize = 64 * 1024;
/// A record of TLS holds no more.
const DIRECT_WRITE: usize = 8 * 1024;

/// A connection of a worker.
pub(crate) struct Connection {
    pub socket: Socket,
    pub tls: Option<Box<tls::Session>>,
    pub machine: Machine,
    /// Bytes that came and could not be used yet: part of a head, a pipelined request, what a paused reader left.
    pub kept: Vec<u8>,
    /// Ciphertext that came before TLS was expected: what was peeked at.
    pub kept_cipher: Vec<u8>,
    /// To be written, before TLS. HTTP/2 keeps its own.
    pub plain: Vec<u8>,
    /// To be written to the socket as it is, when TLS is spoken.
    pub cipher: Vec<u8>,
    /// How much of what is to be written first has been.
    pub written: usize,
    pub readable: bool,
    pub writable: bool,
    /// The end of the peer's side was announced and is yet to be read.
    pub ending: bool,
    /// The peer has ended its side.
    pub read_closed: bool,
    /// Ours ends once all is written.
    pub close_after_write: Close,
    pub is_dirty: bool,
    /// Its answers are to be written before more is read.
    pub is_choked: bool,
    /// Nothing is read while this is above 0: somebody downstream of the bytes is full.
    pub paused: bool,
    /// Exchanges that wait until this connection has written most of what it holds.
    pub blocked: Vec<Key>,
    pub deadline: Time,
    /// Its listener is gone: it ends by then, whatever it carries.
    pub end_by: Time,
    pub opened: Time,
    pub last_active: Time,
    /// How much to read at a time; grows with what comes.
    pub read_size: usize,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub info: Rc<ConnectionInfo>,
    pub chain: Option<Rc<Chain>>,
    pub upstream: Option<Box<super::pool::Link>>,
    pub listener_stats: Option<super::stats::ListenerId>,
}

/// What happens once everything is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    No,
    /// End our side, go on reading.
    Write,
    /// End all: our side first, theirs once they have ended it.
    Both,
    /// End all at once: the peer has said that nothing more comes, and nothing did.
    Now,
}

/// What is spoken on a connection.
pub(crate) enum Machine {
    /// A new downstream connection: it is not known yet what will be spoken.
    Opening(Box<Opening>),
    /// An upstream connection that is being made.
    Connecting,
    H1Server(H1Server),
    H2Server(Box<H2Server>),
    H1Client(H1Client),
    H2Client(Box<H2Client>),
    /// Bytes as they are: TCP proxy, CONNECT, upgraded connections.
    Raw(Raw),
    /// Waits for the peer to close after our last answer; what comes is thrown away.
    Lingering,
}

/// What happens before the first byte of the application's protocol.
pub(crate) struct Opening {
    pub listener: Rc<super::listen::Listening>,
    pub stage: Stage,
}

/// The stages of opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    ProxyHeader,
    Inspect,
    Handshake,
    /// HTTP/1 or HTTP/2 by the first bytes.
    Detect,
}

/// A downstream HTTP/1 connection.
pub(crate) struct H1Server {
    pub exchange: Key,
    pub scanned: usize,
    /// Of the request whose body is coming.
    pub body: Option<BodyDecoder>,
    pub keep_alive: bool,
    /// The client said that this request is its last.
    pub client_ends: bool,
    /// When the first byte of a head came that is not complete.
    pub head_since: Option<Time>,
    pub requests: u64,
    /// No further request is taken.
    pub is_last: bool,
    pub body_sent_chunked: bool,
}

/// A downstream HTTP/2 connection.
pub(crate) struct H2Server {
    pub machine: http2::Connection,
    /// Stream to exchange; few, so a list.
    pub streams: Streams,
    pub requests: u64,
    /// The peer was told to go; from then on its new streams are refused.
    pub draining: Option<Time>,
    /// Requests that still come though they were answered in full, and how much of each was thrown away.
    pub leftover: Vec<(u32, usize)>,
}

/// An upstream HTTP/1 connection.
pub(crate) struct H1Client {
    pub exchange: Key,
    pub scanned: usize,
    pub head_done: bool,
    pub body: Option<BodyDecoder>,
    pub keep_alive: bool,
    pub requests: u32,
    pub sends_chunked: bool,
    pub idle_since: Time,
    /// A byte of an answer came on this connection for this request.
    pub answered: bool,
}

/// An upstream HTTP/2 connection.
pub(crate) struct H2Client {
    pub machine: http2::Connection,
    pub streams: Streams,
    pub requests: u32,
    /// No new streams (GOAWAY, age).
    pub is_closing: bool,
    pub idle_since: Time,
    pub next_ping: Time,
    pub ping_sent: Option<Time>,
}

/// Bytes as they are.
pub(crate) struct Raw {
    pub exchange: Key,
    pub is_downstream: bool,
}

/// Stream ids to exchanges. Streams are opened in order, so the list is sorted.
#[derive(Default)]
pub(crate) struct Streams(Vec<(u32, Key)>);

impl Streams {
    pub fn insert(&mut self, stream: u32, exchange: Key) {
        self.0.push((stream, exchange));
    }

    pub fn get(&self, stream: u32) -> Option<Key> {
        let at = self.0.binary_search_by_key(&stream, |entry| entry.0).ok()?;
        Some(self.0[at].1)
    }

    pub fn remove(&mut self, stream: u32) -> Option<Key> {
        let at = self.0.binary_search_by_key(&stream, |entry| entry.0).ok()?;
        Some(self.0.remove(at).1)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.0.iter().map(|(_, key)| *key)
    }

    pub fn drain(&mut self) -> Vec<(u32, Key)> {
        std::mem::take(&mut self.0)
    }
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    /// So many bytes.
    Bytes(usize),
    /// None now.
    Nothing,
    /// The peer has ended its side.
    End,
    /// The connection broke.
    Broken,
}

impl Connection {
    pub fn new(socket: Socket, machine: Machine, info: Rc<ConnectionInfo>, now: Time) -> Connection {
        Connection {
            socket,
            tls: None,
            machine,
            kept: Vec::new(),
            kept_cipher: Vec::new(),
            plain: Vec::new(),
            cipher: Vec::new(),
            written: 0,
            readable: false,
            writable: false,
            ending: false,
            read_closed: false,
            close_after_write: Close::No,
            is_dirty: false,
            is_choked: false,
            paused: false,
            blocked: Vec::new(),
            deadline: Time::NEVER,
            end_by: Time::NEVER,
            opened: now,
            last_active: now,
            read_size: 16 * 1024,
            bytes_in: 0,
            bytes_out: 0,
            info,
            chain: None,
            upstream: None,
            listener_stats: None,
        }
    }

    /// Bytes that are to be written and have not been.
    pub fn unsent(&self) -> usize {
        let own = match &self.machine {
            Machine::H2Server(h2) => h2.machine.unsent(),
            Machine::H2Client(h2) => h2.machine.unsent(),
            _ => self.plain.len(),
        };
        (own + self.cipher.len()).saturating_sub(self.written)
    }

    /// Read once into `buffer`. A short read means that no further one need be tried (epoll is edge-triggered).
    pub fn fill(&mut self, buffer: &mut [u8]) -> Filled {
        match self.socket.read(buffer) {
            Ok(0) => {
                self.readable = false;
                self.read_closed = true;
                Filled::End
            }
            Ok(n) => {
                if n < buffer.len() {
                    self.readable = self.ending; // the end came with the data: no further event tells of it
                } else {
                    self.read_size = (self.read_size * 4).min(super::INPUT_SIZE);
                }
                self.bytes_in += n as u64;
                Filled::Bytes(n)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                Filled::Nothing
            }
            Err(_) => {
                self.readable = false;
                self.read_closed = true;
                Filled::Broken
            }
        }
    }

    /// Write body bytes of a plaintext connection without copying them first, as far as they go; the rest is kept.
    pub fn write_body(&mut self, data: &[u8]) {
        let is_plain = self.tls.is_none() && self.writable && matches!(self.close_after_write, Close::No);
        if !is_plain || data.len() < DIRECT_WRITE {
            self.plain.extend_from_slice(data);
            return;
        }
        let head = &self.plain[self.written..];
        let (head_len, total) = (head.len(), head.len() + data.len());
        let result =
            if head.is_empty() { self.socket.write(data) } else { self.socket.write_two(head, data) };
        let sent = match result {
            Ok(n) => n,
            Err(error) => {
                // A broken connection is found out by the flush that follows.
                self.writable = error.kind() != io::ErrorKind::WouldBlock;
                0
            }
        };
        self.bytes_out += sent as u64;
        if sent >= head_len {
            self.plain.clear();
            self.written = 0;
            self.plain.extend_from_slice(&data[sent - head_len..]);
        } else {
            self.written += sent;
            self.plain.extend_from_slice(data);
        }
        if sent < total {
            self.writable = self.writable && sent == 0;
        }
    }

    /// Write all that can be written. `Err` when the connection is broken.
    pub fn flush(&mut self) -> io::Result<()> {
        let Connection { machine, tls, plain, cipher, .. } = self;
        let source: &mut Vec<u8> = match machine {
            Machine::H2Server(h2) => h2.machine.out(),
            Machine::H2Client(h2) => h2.machine.out(),
            _ => plain,
        };
        let pending: &mut Vec<u8> = match tls {
            Some(session) => {
                if !source.is_empty() && !session.is_handshaking() {
                    session.send(source, cipher).map_err(|why| io::Error::other(why.reason))?;
                    source.clear();
                }
                cipher
            }
            None => source,
        };
        while self.writable && self.written < pending.len() {
            match self.socket.write(&pending[self.written..]) {
                Ok(n) => {
                    self.bytes_out += n as u64;
                    self.written += n;
                    // A short write means that the socket's buffer is full.
                    self.writable = self.written == pending.len();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) => return Err(error),
            }
        }
        if self.written == pending.len() {
            pending.clear();
            self.written = 0;
        } else if self.written > HIGH_WATER {
            pending.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }

    /// Give back buffers that an idle connection need not hold.
    pub fn release_buffers(&mut self) {
        const KEEP: usize = 1024;
        for buffer in [&mut self.kept, &mut self.plain, &mut self.cipher] {
            if buffer.is_empty() && buffer.capacity() > KEEP {
                *buffer = Vec::new();
            }
        }
    }
}

//! The state of a connection, and what of its interface neither reads nor writes messages.
use std::collections::VecDeque;

use super::floods::Floods;
use super::frame::{self, MAX_31};
use super::hpack::{Decoder, Encoder};
use super::pending::Pool;
use super::receive::{Block, DataFrame};
use super::streams::{Receiving, Streams};
use super::{Code, ConnectionError, Event, PREFACE, Settings, StreamId};
use crate::http::{Headers, RequestHead, ResponseHead};
use crate::time::Time;

/// Streams to open before the peer has told its limit.
const STREAMS_BEFORE_SETTINGS: u32 = 100;
/// The window of a connection, and of a stream until SETTINGS change it (RFC 9113, section 6.9.2).
pub(super) const FIRST_WINDOW: i64 = 65_535;

/// What the peer has announced.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) max_streams: u32,
    pub(super) stream_window: i64,
    pub(super) max_frame: usize,
    pub(super) allows_connect: bool,
    pub(super) has_spoken: bool,
}

/// How far we are with taking no more streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    No,
    /// The peer knows that it should go elsewhere; what it sends is still taken.
    Warned,
    /// Streams above this one are ignored.
    Above(StreamId),
}

/// One end of an HTTP/2 connection.
#[derive(Debug)]
pub struct Connection {
    pub(super) is_client: bool,
    pub(super) limits: Settings,
    pub(super) out: Vec<u8>,
    /// Octets of the preface that have yet to come.
    pub(super) preface_left: usize,
    /// A frame that has come in part.
    pub(super) partial: Vec<u8>,
    /// The DATA frame that is being read.
    pub(super) data: Option<DataFrame>,
    /// The header block that goes on in CONTINUATION frames.
    pub(super) block: Option<Block>,
    pub(super) block_text: Vec<u8>,
    pub(super) decoder: Decoder,
    pub(super) encoder: Encoder,
    pub(super) request: RequestHead,
    pub(super) response: ResponseHead,
    pub(super) trailer_fields: Headers,
    pub(super) cookie: Vec<u8>,
    pub(super) streams: Streams,
    pub(super) pool: Pool,
    /// Streams that wait for the connection's window, in the order in which they get it.
    pub(super) waiting: VecDeque<StreamId>,
    /// Events beside the one that was told.
    pub(super) queued: VecDeque<Event>,
    pub(super) send_window: i64,
    pub(super) receive_window: i64,
    pub(super) owed: u32,
    /// The window that new streams get; what we announced, once the peer has confirmed it.
    pub(super) new_window: i64,
    pub(super) is_confirmed: bool,
    pub(super) peer: Peer,
    /// Client: the id of the next stream.
    pub(super) next_id: StreamId,
    /// Server: the highest stream that the peer has opened.
    pub(super) last_id: StreamId,
    pub(super) floods: Floods,
    pub(super) leaving: Leaving,
    pub(super) peer_left: Option<(StreamId, Code)>,
    pub(super) error: Option<ConnectionError>,
    pub(super) malformed_requests: u64,
}

impl Connection {
    /// Of a stream, in octets: [`Event::Writable`] is told when less than this is kept back.
    pub const LOW_WATER: usize = 16 << 10;

    /// The server's end; its SETTINGS are in the output.
    pub fn server(settings: Settings) -> Connection {
        let mut connection = Connection::new(settings, false);
        connection.preface_left = PREFACE.len();
        connection.announce();
        connection
    }

    /// The client's end; its preface and SETTINGS are in the output.
    pub fn client(settings: Settings) -> Connection {
        let mut connection = Connection::new(settings, true);
        connection.out.extend_from_slice(PREFACE);
        connection.announce();
        connection
    }

    fn new(mut limits: Settings, is_client: bool) -> Connection {
        limits.max_frame_size = limits.max_frame_size.clamp(16_384, (1 << 24) - 1);
        limits.initial_stream_window = limits.initial_stream_window.min(MAX_31);
        limits.initial_connection_window =
            limits.initial_connection_window.clamp(FIRST_WINDOW as u32, MAX_31);
        let table = limits.header_table_size as usize;
        Connection {
            is_client,
            out: Vec::new(),
            preface_left: 0,
            partial: Vec::new(),
            data: None,
            block: None,
            block_text: Vec::new(),
            decoder: Decoder::new(table.max(4096)),
            encoder: Encoder::new(table, limits.huffman),
            request: RequestHead::default(),
            response: ResponseHead::default(),
            trailer_fields: Headers::new(),
            cookie: Vec::new(),
            streams: Streams::default(),
            pool: Pool::default(),
            waiting: VecDeque::new(),
            queued: VecDeque::new(),
            send_window: FIRST_WINDOW,
            receive_window: i64::from(limits.initial_connection_window),
            owed: 0,
            new_window: FIRST_WINDOW.max(i64::from(limits.initial_stream_window)),
            is_confirmed: false,
            peer: Peer {
                max_streams: STREAMS_BEFORE_SETTINGS,
                stream_window: FIRST_WINDOW,
                max_frame: 16_384,
                allows_connect: false,
                has_spoken: false,
            },
            next_id: 1,
            last_id: 0,
            floods: Floods::default(),
            leaving: Leaving::No,
            peer_left: None,
            error: None,
            malformed_requests: 0,
            limits,
        }
    }

    fn announce(&mut self) {
        frame::settings(&mut self.out, &self.limits, self.is_client);
        let more = self.limits.initial_connection_window - FIRST_WINDOW as u32;
        if more > 0 {
            frame::window_update(&mut self.out, 0, more);
        }
    }

    /// The head of the last [`Event::Request`]; to be swapped with one of the caller's.
    pub fn request_head(&mut self) -> &mut RequestHead {
        &mut self.request
    }

    /// The head of the last [`Event::Response`]; to be swapped with one of the caller's.
    pub fn response_head(&mut self) -> &mut ResponseHead {
        &mut self.response
    }

    /// The fields of the last [`Event::Trailers`]; to be swapped with some of the caller's.
    pub fn trailers(&mut self) -> &mut Headers {
        &mut self.trailer_fields
    }

    /// What is to be written. The caller takes octets from its front.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Streams that are open at either end.
    pub fn active_streams(&self) -> usize {
        self.streams.len()
    }

    /// Whether [`Connection::send_request`] would open a stream now.
    pub fn can_open(&self) -> bool {
        self.why_not_open().is_none()
    }

    /// How many streams the peer lets us have open; 100 until it has told.
    pub fn peer_max_streams(&self) -> u32 {
        self.peer.max_streams
    }

    /// Whether the peer takes extended CONNECT (RFC 8441).
    pub fn peer_allows_connect(&self) -> bool {
        self.peer.allows_connect
    }

    /// Whether the peer's SETTINGS have come: it does speak HTTP/2.
    pub fn is_established(&self) -> bool {
        self.peer.has_spoken
    }

    /// Whether this end takes or opens no more streams: a GOAWAY that is final was sent, or the connection has failed.
    pub fn is_closing(&self) -> bool {
        self.error.is_some() || matches!(self.leaving, Leaving::Above(_))
    }

    /// The peer's GOAWAY: the last stream that it looks at, and why.
    pub fn has_gone_away(&self) -> Option<(StreamId, Code)> {
        self.peer_left
    }

    /// Requests that were malformed and of which nothing was told, since the beginning.
    pub fn malformed_requests(&self) -> u64 {
        self.malformed_requests
    }

    /// Give back the memory that a busy time has left, when no stream is open; to be called when a connection falls idle.
    pub fn trim(&mut self) {
        if self.streams.len() > 0 {
            return;
        }
        if self.out.is_empty() {
            self.out = Vec::new();
        }
        if self.block.is_none() {
            self.block_text = Vec::new();
        }
        if self.partial.is_empty() {
            self.partial = Vec::new();
        }
        self.pool = Pool::default();
        self.cookie = Vec::new();
        (self.request, self.response) = (RequestHead::default(), ResponseHead::default());
        self.trailer_fields = Headers::new();
    }

    /// Octets of memory that its buffers hold, used or not; without its compression tables.
    pub fn held(&self) -> usize {
        let buffers = [&self.out, &self.partial, &self.block_text, &self.cookie];
        let heads = self.request.headers.held() + self.response.headers.held() + self.trailer_fields.held();
        buffers.iter().map(|buffer| buffer.capacity()).sum::<usize>() + self.pool.held() + heads
    }

    /// Octets of the stream that flow control keeps back.
    pub fn pending(&self, stream: StreamId) -> usize {
        let buffer = self.streams.find(stream).map(|slot| self.streams.at(slot).buffer);
        buffer.and_then(|b| self.pool.at(b)).map_or(0, |p| p.len())
    }

    /// Tell the machine the time, about once a second: the budgets for streams that the peer resets and for frames that it
    /// makes us answer are filled again.
    pub fn tick(&mut self, now: Time) {
        self.floods.refill(now, &self.limits);
    }

    /// Octets in the output that the caller has not taken.
    pub fn unsent(&self) -> usize {
        self.out.len()
    }

    /// Ask whether the peer is alive; the answer is [`Event::Pong`] with the same octets.
    pub fn ping(&mut self, opaque: [u8; 8]) {
        frame::ping(&mut self.out, 0, &opaque);
    }

    /// Take no more streams. The first graceful call of a server only warns the peer; a later call, a round trip
    /// after, is final (RFC 9113, section 6.8). Streams that are open go on.
    pub fn go_away(&mut self, code: Code, graceful: bool) {
        if self.is_closing() {
            return;
        }
        if graceful && !self.is_client && self.leaving == Leaving::No {
            self.leaving = Leaving::Warned;
            return frame::go_away(&mut self.out, MAX_31, code, "");
        }
        self.leaving = Leaving::Above(self.last_id);
        frame::go_away(&mut self.out, self.last_id, code, "");
    }

    /// Received DATA of `bytes` octets was passed on: the peer may send as many again. The stream may be gone.
    pub fn release(&mut self, stream: StreamId, bytes: usize) {
        self.release_connection(bytes);
        let (half, is_dead) = (self.limits.initial_stream_window / 2, self.error.is_some());
        let Some(stream) = self.streams.find_mut(stream) else { return };
        if stream.receiving == Receiving::Ended || is_dead {
            return;
        }
        stream.owed = stream.owed.saturating_add(bytes as u32);
        if stream.owed > 0 && stream.owed >= half {
            let more = std::mem::take(&mut stream.owed);
            stream.receive_window += i64::from(more);
            frame::window_update(&mut self.out, stream.id, more);
        }
    }

    /// The connection's part of [`Connection::release`].
    pub(super) fn release_connection(&mut self, bytes: usize) {
        self.owed = self.owed.saturating_add(bytes as u32);
        if self.owed >= self.limits.initial_connection_window / 2 && self.error.is_none() {
            let more = std::mem::take(&mut self.owed);
            self.receive_window += i64::from(more);
            frame::window_update(&mut self.out, 0, more);
        }
    }

    /// The stream is over for both: forget it.
    pub(super) fn forget(&mut self, stream: StreamId) {
        if self.streams.find_mut(stream).is_some_and(|s| s.is_waiting) {
            self.waiting.retain(|id| *id != stream);
        }
        let buffer = self.streams.remove(stream);
        self.pool.give_back(buffer);
    }

    /// The connection cannot go on: tell the peer why.
    pub(super) fn fail(&mut self, error: ConnectionError) -> ConnectionError {
        if self.error.is_none() {
            let last = match self.leaving {
                Leaving::Above(last) => last,
                _ => self.last_id,
            };
            frame::go_away(&mut self.out, last, error.code, error.reason);
            self.error = Some(error.clone());
        }
        error
    }
}

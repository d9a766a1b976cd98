//! Heads, DATA and trailers to frames, as far as the peer's windows let them go.
use super::connection::{Connection, Leaving};
use super::floods::PIECE;
use super::frame::{self, HEAD, MAX_31};
use super::hpack::{Encoder, Kind};
use super::streams::{NO_BUFFER, Receiving, Stream};
use super::{Code, ConnectionError, Event, SendError, StreamId};
use crate::http::{HeaderId, Headers, Method, RequestHead, ResponseHead};

/// The longest DATA frame, whatever more the peer takes: so that streams take turns.
const LONGEST_FRAME: usize = 64 << 10;
/// What a stream that has waited for the connection's window sends before the next one's turn.
const TURN: usize = 16 << 10;

impl Connection {
    pub(super) fn why_not_open(&self) -> Option<SendError> {
        if !self.is_client {
            Some(SendError::NotClient)
        } else if self.error.is_some() || self.peer_left.is_some() || self.leaving != Leaving::No {
            Some(SendError::GoingAway)
        } else if self.next_id > MAX_31 {
            Some(SendError::IdsUsedUp)
        } else if self.streams.len() >= self.peer.max_streams as usize {
            Some(SendError::TooManyStreams)
        } else {
            None
        }
    }

    /// Open a stream with a request; `end`: there is no body. Fields that HTTP/2 forbids are left out (RFC 9113,
    /// section 8.2.2).
    pub fn send_request(&mut self, head: &RequestHead, end: bool) -> Result<StreamId, SendError> {
        if let Some(why) = self.why_not_open() {
            return Err(why);
        }
        let id = self.next_id;
        self.next_id += 2;
        self.floods.opened += 1;
        self.streams.insert(Stream {
            has_ended: end,
            is_head: head.method() == Method::Head,
            is_connect: head.method() == Method::Connect,
            ..self.new_stream(id, Receiving::Head)
        });
        let start = self.begin_block();
        let (encoder, out) = (&mut self.encoder, &mut self.out);
        let mut pseudo = |kind: Kind, value: &[u8]| {
            encoder.field(kind, kind.name().as_bytes(), value, false, out);
        };
        pseudo(Kind::Method, head.method_text());
        let is_plain_connect = head.method() == Method::Connect && head.protocol().is_empty();
        if !is_plain_connect {
            pseudo(Kind::Scheme, if head.scheme().is_empty() { b"http" } else { head.scheme() });
            pseudo(Kind::Path, if head.path().is_empty() { b"/" } else { head.path() });
        }
        if !head.authority().is_empty() {
            pseudo(Kind::Authority, head.authority());
        }
        if !head.protocol().is_empty() {
            pseudo(Kind::Protocol, head.protocol());
        }
        fields(encoder, &head.headers, out);
        self.end_block(start, id, end);
        Ok(id)
    }

    /// Answer a request; `end`: there is no body. Interim responses (1xx) go the same way before it.
    pub fn send_response(&mut self, stream: StreamId, head: &ResponseHead, end: bool) {
        if !self.may_send(stream) {
            return;
        }
        let start = self.begin_block();
        let status = head.status.clamp(100, 999);
        let digits = [status / 100, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8);
        self.encoder.field(Kind::Status, b":status", &digits, false, &mut self.out);
        fields(&mut self.encoder, &head.headers, &mut self.out);
        self.end_block(start, stream, end);
        if end {
            self.end_sending(stream);
        }
    }

    /// Send a part of a body. What the windows do not let go is kept, and goes when they open; see [`Connection::pending`].
    pub fn send_data(&mut self, stream: StreamId, data: &[u8], end: bool) {
        let Some(slot) = self.streams.find(stream) else { return };
        if self.streams.at(slot).has_ended || self.error.is_some() {
            return;
        }
        let mut sent = 0;
        if self.streams.at(slot).buffer == NO_BUFFER {
            sent = self.write_data(slot, data, end, usize::MAX);
            if sent == data.len() {
                if end {
                    self.end_sending(stream);
                }
                return;
            }
            self.streams.at_mut(slot).buffer = self.pool.take();
            self.wait_for_connection(slot);
        }
        self.streams.at_mut(slot).has_ended = end;
        if let Some(pending) = self.pool.at_mut(self.streams.at(slot).buffer) {
            pending.append(&data[sent..]);
            pending.end = end;
        }
    }

    /// End a message with trailers; after what is kept back.
    pub fn send_trailers(&mut self, stream: StreamId, trailers: &Headers) {
        if !self.may_send(stream) {
            return;
        }
        let Some(slot) = self.streams.find(stream) else { return };
        if let Some(pending) = self.pool.at_mut(self.streams.at(slot).buffer) {
            pending.has_trailers = true;
            pending.trailers.clone_from(trailers);
            self.streams.at_mut(slot).has_ended = true;
            return;
        }
        self.write_trailers(stream, trailers);
        self.end_sending(stream);
    }

    /// Give a stream up. It is forgotten at once.
    pub fn reset(&mut self, stream: StreamId, code: Code) {
        if self.streams.find(stream).is_none() || self.error.is_some() {
            return;
        }
        frame::rst_stream(&mut self.out, stream, code);
        self.forget(stream);
        self.streams.note_reset(stream);
    }

    fn may_send(&self, stream: StreamId) -> bool {
        let slot = self.streams.find(stream);
        self.error.is_none() && slot.is_some_and(|slot| !self.streams.at(slot).has_ended)
    }

    /// A request's head was more than we take: say so (RFC 6585, section 5), and stop the rest of it.
    pub(super) fn answer_too_large(&mut self, id: StreamId, end: bool) -> Result<(), ConnectionError> {
        self.answer_control()?;
        self.floods.reset(&self.limits)?;
        let start = self.begin_block();
        self.encoder.field(Kind::Status, b":status", b"431", false, &mut self.out);
        let length = Kind::Field(HeaderId::ContentLength);
        self.encoder.field(length, b"content-length", b"0", false, &mut self.out);
        self.end_block(start, id, true);
        if !end {
            frame::rst_stream(&mut self.out, id, Code::NO_ERROR);
            self.streams.note_reset(id);
        }
        Ok(())
    }

    /// Leave room for a frame header; returns where it is.
    fn begin_block(&mut self) -> usize {
        let start = self.out.len();
        frame::head(&mut self.out, 0, frame::HEADERS, 0, 0);
        self.encoder.begin(&mut self.out);
        start
    }

    /// Fill in the frame header of the block that began at `start`.
    fn end_block(&mut self, start: usize, stream: StreamId, end: bool) {
        let len = self.out.len() - start - HEAD;
        let flags = if end { frame::END_STREAM } else { 0 };
        if len > self.peer.max_frame {
            return self.split_block(start, stream, flags);
        }
        let head = frame::head_octets(len, frame::HEADERS, flags | frame::END_HEADERS, stream);
        self.out[start..start + HEAD].copy_from_slice(&head);
    }

    /// A block too long for one frame goes on in CONTINUATION frames.
    fn split_block(&mut self, start: usize, stream: StreamId, flags: u8) {
        let block = self.out.split_off(start + HEAD);
        self.out.truncate(start);
        let mut parts = block.chunks(self.peer.max_frame).peekable();
        let (mut kind, mut flags) = (frame::HEADERS, flags);
        while let Some(part) = parts.next() {
            let last = if parts.peek().is_none() { frame::END_HEADERS } else { 0 };
            frame::head(&mut self.out, part.len(), kind, flags | last, stream);
            self.out.extend_from_slice(part);
            (kind, flags) = (frame::CONTINUATION, 0);
        }
    }

    fn write_trailers(&mut self, stream: StreamId, trailers: &Headers) {
        let start = self.begin_block();
        fields(&mut self.encoder, trailers, &mut self.out);
        self.end_block(start, stream, true);
    }

    /// Write as much of `data` as the windows and `most` let go; how much that was. `end` goes with the last octet.
    fn write_data(&mut self, slot: usize, data: &[u8], end: bool, most: usize) -> usize {
        let stream = self.streams.at_mut(slot);
        let window = stream.send_window.min(self.send_window).max(0) as usize;
        let n = data.len().min(window).min(most);
        if n == 0 && !(data.is_empty() && end) {
            return 0;
        }
        stream.send_window -= n as i64;
        self.send_window -= n as i64;
        self.floods.data_sent += 1 + (n / PIECE) as u64;
        let longest = self.peer.max_frame.min(LONGEST_FRAME);
        let mut at = 0;
        loop {
            let next = n.min(at + longest);
            let is_last = end && next == data.len();
            frame::head(
                &mut self.out,
                next - at,
                frame::DATA,
                u8::from(is_last) * frame::END_STREAM,
                stream.id,
            );
            self.out.extend_from_slice(&data[at..next]);
            at = next;
            if at == n {
                return n;
            }
        }
    }

    /// Our side of a stream has ended, and all of it is in the output.
    fn end_sending(&mut self, id: StreamId) {
        let Some(stream) = self.streams.find_mut(id) else { return };
        stream.has_ended = true;
        if stream.receiving == Receiving::Ended {
            self.forget(id);
            self.floods.completed();
        }
    }

    /// Stand in the queue when it is the connection's window that is used up.
    fn wait_for_connection(&mut self, slot: usize) {
        let stream = self.streams.at_mut(slot);
        if stream.send_window > 0 && !stream.is_waiting {
            stream.is_waiting = true;
            self.waiting.push_back(stream.id);
        }
    }

    /// Send what is kept back of a stream, `most` octets of it.
    pub(super) fn flush(&mut self, id: StreamId, most: usize) {
        let Some(slot) = self.streams.find(id) else { return };
        let buffer = self.streams.at(slot).buffer;
        let Some(pending) = self.pool.at_mut(buffer) else { return };
        let mut pending = std::mem::take(pending);
        let before = pending.len();
        let sent = self.write_data(slot, pending.data(), pending.end, most);
        pending.advance(sent);
        let is_done = pending.len() == 0;
        if is_done {
            self.streams.at_mut(slot).buffer = NO_BUFFER;
            if pending.has_trailers {
                self.write_trailers(id, &pending.trailers);
            }
        }
        let was_above = before >= Connection::LOW_WATER && pending.len() < Connection::LOW_WATER;
        let has_ended = pending.end || pending.has_trailers;
        if let Some(place) = self.pool.at_mut(buffer) {
            *place = pending;
        }
        if is_done {
            self.pool.give_back(buffer);
        } else {
            self.wait_for_connection(slot);
        }
        if is_done || was_above {
            self.queued.push_back(Event::Writable { stream: id });
        }
        if is_done && has_ended {
            self.end_sending(id);
        }
    }

    /// The connection's window has opened: streams that wait take turns.
    pub(super) fn flush_waiting(&mut self) {
        while self.send_window > 0 {
            let Some(id) = self.waiting.pop_front() else { return };
            if let Some(stream) = self.streams.find_mut(id) {
                stream.is_waiting = false;
                self.flush(id, TURN);
            }
        }
    }

    /// The windows of all streams have opened.
    pub(super) fn flush_all(&mut self) {
        let held: Vec<StreamId> =
            self.streams.iter_mut().filter(|s| s.buffer != NO_BUFFER).map(|s| s.id).collect();
        held.into_iter().for_each(|id| self.flush(id, usize::MAX));
    }
}

/// Write fields, without those that belong to one HTTP/1.1 connection.
fn fields(encoder: &mut Encoder, headers: &Headers, out: &mut Vec<u8>) {
    for (field, is_sensitive) in headers.iter_sensitive() {
        match field.id {
            HeaderId::Connection
            | HeaderId::KeepAlive
            | HeaderId::ProxyConnection
            | HeaderId::TransferEncoding
            | HeaderId::Upgrade
            | HeaderId::Host
            | HeaderId::Http2Settings => {}
            HeaderId::Te if field.value != b"trailers" => {}
            id => encoder.field(Kind::Field(id), field.name, field.value, is_sensitive, out),
        }
    }
}

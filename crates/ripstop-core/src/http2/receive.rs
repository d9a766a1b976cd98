//! Octets to frames, and DATA, which is told as it arrives.
use super::connection::Connection;
use super::frame::{self, HEAD, Head};
use super::streams::Receiving;
use super::{Code, ConnectionError, Event, PREFACE, StreamId, fault};

/// The DATA frame that is being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct DataFrame {
    stream: StreamId,
    /// Octets of content still to come.
    left: usize,
    /// Octets of padding still to come; `None` while their number is.
    padding: Option<usize>,
    end: bool,
    is_empty: bool,
}

/// The header block that goes on in CONTINUATION frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) stream: StreamId,
    pub(super) end: bool,
    pub(super) depends_on_itself: bool,
    pub(super) continuations: u32,
}

impl Connection {
    /// Look at `input`: how many octets of it are done with, and what was found. To be called again with the rest until
    /// it says [`Event::NeedMore`]. After an error the output has the GOAWAY, and nothing more is read.
    pub fn receive(&mut self, input: &[u8]) -> Result<(usize, Event), ConnectionError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        let mut at = 0;
        loop {
            if let Some(event) = self.queued.pop_front() {
                return Ok((at, event));
            }
            let (used, event) = self.step(&input[at..]).map_err(|error| self.fail(error))?;
            let start = at;
            at += used;
            match event {
                Event::Handled => {}
                Event::Data { stream, data, end, flow } => {
                    let data = start + data.start..start + data.end;
                    return Ok((at, Event::Data { stream, data, end, flow }));
                }
                event => return Ok((at, event)),
            }
        }
    }

    fn step(&mut self, input: &[u8]) -> Result<(usize, Event), ConnectionError> {
        if self.data.is_some() {
            return self.data_part(input);
        }
        if self.preface_left > 0 {
            return self.preface(input);
        }
        if !self.partial.is_empty() {
            return self.resume(input);
        }
        let Some(head) = input.first_chunk::<HEAD>() else { return Ok((self.hold(input), Event::NeedMore)) };
        let head = Head::read(head);
        self.check(&head)?;
        if head.kind == frame::DATA {
            self.begin_data(&head)?;
            return Ok((HEAD, Event::Handled));
        }
        let end = HEAD + head.len as usize;
        match input.get(HEAD..end) {
            Some(payload) => Ok((end, self.frame(&head, payload)?)),
            None => Ok((self.hold(input), Event::NeedMore)),
        }
    }

    /// Keep a part of a frame.
    fn hold(&mut self, input: &[u8]) -> usize {
        self.partial.extend_from_slice(input);
        input.len()
    }

    /// Go on with a frame of which a part came before.
    fn resume(&mut self, input: &[u8]) -> Result<(usize, Event), ConnectionError> {
        let mut used = 0;
        if self.partial.len() < HEAD {
            used = input.len().min(HEAD - self.partial.len());
            self.hold(&input[..used]);
        }
        let Some(head) = self.partial.first_chunk::<HEAD>() else { return Ok((used, Event::NeedMore)) };
        let head = Head::read(head);
        self.check(&head)?;
        if head.kind == frame::DATA {
            self.partial.clear();
            self.begin_data(&head)?;
            return Ok((used, Event::Handled));
        }
        let missing = (HEAD + head.len as usize).saturating_sub(self.partial.len());
        let more = missing.min(input.len() - used);
        self.hold(&input[used..used + more]);
        used += more;
        if more < missing {
            return Ok((used, Event::NeedMore));
        }
        let mut whole = std::mem::take(&mut self.partial);
        let event = self.frame(&head, &whole[HEAD..]);
        whole.clear();
        self.partial = whole;
        Ok((used, event?))
    }

    /// The client's first octets (RFC 9113, section 3.4).
    fn preface(&mut self, input: &[u8]) -> Result<(usize, Event), ConnectionError> {
        let due = &PREFACE[PREFACE.len() - self.preface_left..];
        let n = due.len().min(input.len());
        if due[..n] != input[..n] {
            return Err(fault(Code::PROTOCOL_ERROR, "bad preface"));
        }
        self.preface_left -= n;
        Ok((n, if self.preface_left > 0 { Event::NeedMore } else { Event::Handled }))
    }

    /// What can be wrong with a frame before its payload is there.
    #[inline]
    fn check(&self, head: &Head) -> Result<(), ConnectionError> {
        if head.len > self.limits.max_frame_size {
            let detail = format!("{} octets of frame type {}", head.len, head.kind);
            return Err(ConnectionError { detail, ..fault(Code::FRAME_SIZE_ERROR, "frame too long") });
        }
        if !self.peer.has_spoken && (head.kind != frame::SETTINGS || head.has(frame::ACK)) {
            return Err(fault(Code::PROTOCOL_ERROR, "the first frame is not SETTINGS"));
        }
        match &self.block {
            Some(block) if head.kind != frame::CONTINUATION || head.stream != block.stream => {
                Err(fault(Code::PROTOCOL_ERROR, "a frame inside a header block"))
            }
            None if head.kind == frame::CONTINUATION => {
                Err(fault(Code::PROTOCOL_ERROR, "CONTINUATION without HEADERS"))
            }
            _ => Ok(()),
        }
    }

    fn frame(&mut self, head: &Head, payload: &[u8]) -> Result<Event, ConnectionError> {
        match head.kind {
            frame::HEADERS => self.headers(head, payload),
            frame::CONTINUATION => self.continuation(head, payload),
            frame::WINDOW_UPDATE => self.window_update(head, payload),
            frame::RST_STREAM => self.rst_stream(head, payload),
            frame::SETTINGS => self.settings(head, payload),
            frame::PING => self.pinged(head, payload),
            frame::GOAWAY => self.peer_goes_away(head, payload),
            frame::PRIORITY => self.priority(head, payload),
            frame::PUSH_PROMISE => Err(fault(Code::PROTOCOL_ERROR, "PUSH_PROMISE")),
            // Frames of unknown types are ignored (RFC 9113, section 4.1).
            _ => Ok(Event::Handled),
        }
    }

    /// The head of a DATA frame: the windows pay for all of it at once (RFC 9113, section 6.9.1).
    fn begin_data(&mut self, head: &Head) -> Result<(), ConnectionError> {
        let len = i64::from(head.len);
        if head.stream == 0 {
            return Err(fault(Code::PROTOCOL_ERROR, "DATA on stream 0"));
        }
        if head.has(frame::PADDED) && head.len == 0 {
            return Err(fault(Code::FRAME_SIZE_ERROR, "padding longer than its frame"));
        }
        if len > self.receive_window {
            return Err(fault(Code::FLOW_CONTROL_ERROR, "more DATA than the connection's window"));
        }
        self.receive_window -= len;
        self.data = Some(DataFrame {
            stream: head.stream,
            left: head.len as usize,
            padding: if head.has(frame::PADDED) { None } else { Some(0) },
            end: head.has(frame::END_STREAM),
            is_empty: true,
        });
        let Some(stream) = self.streams.find_mut(head.stream) else {
            return self.frame_on_closed(head.stream, "DATA on an idle stream");
        };
        let refusal = match stream.receiving {
            Receiving::Ended => Some((Code::STREAM_CLOSED, "DATA after the end of the message")),
            Receiving::Head => Some((Code::PROTOCOL_ERROR, "DATA before the head")),
            Receiving::Body if len > stream.receive_window => {
                Some((Code::FLOW_CONTROL_ERROR, "more DATA than the stream's window"))
            }
            Receiving::Body => None,
        };
        stream.receive_window -= len;
        match refusal {
            Some((code, why)) => self.refuse(head.stream, code, why),
            None => Ok(()),
        }
    }

    /// As much of a DATA frame as is there.
    fn data_part(&mut self, input: &[u8]) -> Result<(usize, Event), ConnectionError> {
        let Some(mut frame) = self.data.take() else { return Ok((0, Event::Handled)) };
        let Some(padding) = frame.padding else {
            let Some(&padding) = input.first() else {
                self.data = Some(frame);
                return Ok((0, Event::NeedMore));
            };
            let Some(left) = (frame.left - 1).checked_sub(usize::from(padding)) else {
                return Err(fault(Code::PROTOCOL_ERROR, "padding longer than its frame"));
            };
            (frame.left, frame.padding) = (left, Some(usize::from(padding)));
            self.data = Some(frame);
            self.release(frame.stream, usize::from(padding) + 1);
            return Ok((1, Event::Handled));
        };
        let n = frame.left.min(input.len());
        let skipped = if n == frame.left { padding.min(input.len() - n) } else { 0 };
        frame.left -= n;
        frame.padding = Some(padding - skipped);
        frame.is_empty &= n == 0;
        let is_whole = frame.left == 0 && padding == skipped;
        if !is_whole {
            self.data = Some(frame);
            if n == 0 {
                return Ok((skipped, Event::NeedMore));
            }
        } else {
            self.floods.data(frame.is_empty && !frame.end, &self.limits)?;
        }
        let end = is_whole && frame.end;
        if n == 0 && !end {
            return Ok((skipped, Event::Handled));
        }
        Ok((n + skipped, self.content(frame.stream, n, end)?))
    }

    /// Content of `n` octets at the front of the input.
    fn content(&mut self, id: StreamId, n: usize, end: bool) -> Result<Event, ConnectionError> {
        let Some(stream) = self.streams.find_mut(id) else {
            self.release_connection(n);
            return Ok(Event::Handled);
        };
        if stream.left != super::streams::NO_LENGTH {
            match stream.left.checked_sub(n as u64) {
                Some(left) if left == 0 || !end => stream.left = left,
                _ => {
                    self.release_connection(n);
                    self.refuse(id, Code::PROTOCOL_ERROR, "content-length differs from the content")?;
                    return Ok(Event::Handled);
                }
            }
        }
        if end {
            self.end_receiving(id);
        }
        Ok(Event::Data { stream: id, data: 0..n, end, flow: n })
    }

    /// The peer has ended its side of a stream.
    pub(super) fn end_receiving(&mut self, id: StreamId) {
        let Some(stream) = self.streams.find_mut(id) else { return };
        stream.receiving = Receiving::Ended;
        if stream.has_ended && stream.buffer == super::streams::NO_BUFFER {
            self.forget(id);
            self.floods.completed();
        } else if self.is_client && !stream.is_connect {
            // The answer is complete: the rest of the request is of no use, and the peer may never read it.
            self.reset(id, Code::CANCEL);
        }
    }

    /// A frame came for a stream that is not open: an error of the connection when it never was; late frames of a
    /// stream that we have reset are nothing; else the peer is told that the stream is closed (RFC 9113, section 5.1).
    pub(super) fn frame_on_closed(
        &mut self,
        id: StreamId,
        idle: &'static str,
    ) -> Result<(), ConnectionError> {
        if self.is_idle(id) {
            return Err(fault(Code::PROTOCOL_ERROR, idle));
        }
        if self.is_ignored(id) || self.streams.was_reset(id) {
            return Ok(());
        }
        self.answer_control()?;
        self.floods.reset(&self.limits)?;
        frame::rst_stream(&mut self.out, id, Code::STREAM_CLOSED);
        Ok(())
    }

    /// An answer to a frame is about to go into the output.
    pub(super) fn answer_control(&mut self) -> Result<(), ConnectionError> {
        self.floods.control(self.out.len(), &self.limits)
    }

    /// Whether no one has opened that stream yet.
    pub(super) fn is_idle(&self, id: StreamId) -> bool {
        id.is_multiple_of(2) || if self.is_client { id >= self.next_id } else { id > self.last_id }
    }

    /// Whether the stream came after our GOAWAY.
    pub(super) fn is_ignored(&self, id: StreamId) -> bool {
        matches!(self.leaving, super::connection::Leaving::Above(last) if !self.is_client && id > last)
    }

    /// Reset a stream because of what the peer did, and tell the caller.
    pub(super) fn refuse(
        &mut self,
        id: StreamId,
        code: Code,
        why: &'static str,
    ) -> Result<(), ConnectionError> {
        self.refuse_silently(id, code)?;
        self.queued.push_back(Event::Malformed { stream: id, why });
        Ok(())
    }

    /// Reset a stream that the caller does not know of.
    pub(super) fn refuse_silently(&mut self, id: StreamId, code: Code) -> Result<(), ConnectionError> {
        self.answer_control()?;
        if !self.is_client {
            self.floods.reset(&self.limits)?;
        }
        frame::rst_stream(&mut self.out, id, code);
        self.forget(id);
        self.streams.note_reset(id);
        Ok(())
    }
}

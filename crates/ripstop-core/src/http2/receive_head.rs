//! Header blocks to requests, responses and trailers.
use super::connection::Connection;
use super::frame::{self, Head};
use super::hpack::HpackError;
use super::message::{Refusal, RequestReader, ResponseReader, TrailerReader};
use super::receive::Block;
use super::streams::{NO_BUFFER, NO_LENGTH, Receiving, Stream};
use super::{Code, ConnectionError, Event, StreamId, fault};

/// What a header block is to be.
enum Purpose {
    Request,
    Response,
    Trailers,
    /// It is read for the sake of the compression table alone.
    Nothing,
}

fn compression(error: HpackError) -> ConnectionError {
    fault(Code::COMPRESSION_ERROR, error.0)
}

impl Connection {
    pub(super) fn headers(&mut self, head: &Head, payload: &[u8]) -> Result<Event, ConnectionError> {
        if head.stream.is_multiple_of(2) {
            return Err(fault(Code::PROTOCOL_ERROR, "HEADERS on a stream that is no client's"));
        }
        let mut text = unpadded(head, payload)?;
        let mut depends_on_itself = false;
        if head.has(frame::HAS_PRIORITY) {
            let Some((dependency, rest)) = text.split_first_chunk::<4>() else {
                return Err(fault(Code::FRAME_SIZE_ERROR, "HEADERS too short for its priority"));
            };
            depends_on_itself = u32::from_be_bytes(*dependency) & frame::MAX_31 == head.stream;
            text =
                rest.get(1..).ok_or(fault(Code::FRAME_SIZE_ERROR, "HEADERS too short for its priority"))?;
        }
        let end = head.has(frame::END_STREAM);
        let block = Block { stream: head.stream, end, depends_on_itself, continuations: 0 };
        if head.has(frame::END_HEADERS) {
            return self.block(block, text);
        }
        self.block_text.clear();
        self.block_text.extend_from_slice(text);
        self.block = Some(block);
        Ok(Event::Handled)
    }

    pub(super) fn continuation(&mut self, head: &Head, payload: &[u8]) -> Result<Event, ConnectionError> {
        let Some(mut block) = self.block.take() else { return Ok(Event::Handled) };
        block.continuations += 1;
        // Even with the worst code no octet of a list that we take needs more than one of the block, Huffman's four aside.
        let largest = self.limits.max_header_list_size as usize + self.limits.max_frame_size as usize;
        if block.continuations > self.limits.max_continuation_frames
            || self.block_text.len() + payload.len() > largest
        {
            return Err(fault(Code::ENHANCE_YOUR_CALM, "header block too long"));
        }
        self.block_text.extend_from_slice(payload);
        if !head.has(frame::END_HEADERS) {
            self.block = Some(block);
            return Ok(Event::Handled);
        }
        let text = std::mem::take(&mut self.block_text);
        let event = self.block(block, &text);
        self.block_text = text;
        event
    }

    /// A whole header block.
    fn block(&mut self, block: Block, text: &[u8]) -> Result<Event, ConnectionError> {
        let id = block.stream;
        let purpose = match self.streams.find(id).map(|slot| self.streams.at(slot).receiving) {
            Some(Receiving::Head) => Purpose::Response,
            Some(Receiving::Body) => Purpose::Trailers,
            Some(Receiving::Ended) => Purpose::Nothing,
            None if !self.is_client && self.is_idle(id) => Purpose::Request,
            None => Purpose::Nothing,
        };
        if block.depends_on_itself {
            return self.refuse_block(id, &purpose, text);
        }
        match purpose {
            Purpose::Request => self.request(id, block.end, text),
            Purpose::Response => self.response(id, block.end, text),
            Purpose::Trailers => self.trailer_section(id, block.end, text),
            Purpose::Nothing => {
                self.skip(text)?;
                self.head_on_closed(id)?;
                Ok(Event::Handled)
            }
        }
    }

    /// HEADERS whose stream depends on itself.
    fn refuse_block(
        &mut self,
        id: StreamId,
        purpose: &Purpose,
        text: &[u8],
    ) -> Result<Event, ConnectionError> {
        self.skip(text)?;
        match purpose {
            Purpose::Request => {
                self.last_id = id;
                self.malformed_requests += 1;
                self.refuse_silently(id, Code::PROTOCOL_ERROR)?;
            }
            Purpose::Nothing => self.head_on_closed(id)?,
            _ => self.refuse(id, Code::PROTOCOL_ERROR, "a stream that depends on itself")?,
        }
        Ok(Event::Handled)
    }

    /// Read a block only to keep the compression table right.
    fn skip(&mut self, text: &[u8]) -> Result<(), ConnectionError> {
        self.decoder.decode(text, |_| {}).map_err(compression)
    }

    fn head_on_closed(&mut self, id: StreamId) -> Result<(), ConnectionError> {
        if self.streams.find(id).is_some() {
            return self.refuse(id, Code::STREAM_CLOSED, "HEADERS after the end of the message");
        }
        if self.is_client || self.is_ignored(id) || self.streams.was_reset(id) {
            return self.frame_on_closed(id, "HEADERS on an idle stream");
        }
        // RFC 9113, sections 5.1 and 5.1.1.
        if self.streams.has_ended_lately(id) {
            return Err(fault(Code::STREAM_CLOSED, "HEADERS on a closed stream"));
        }
        Err(fault(Code::PROTOCOL_ERROR, "stream ids do not increase"))
    }

    fn request(&mut self, id: StreamId, end: bool, text: &[u8]) -> Result<Event, ConnectionError> {
        self.last_id = id;
        if self.is_ignored(id) {
            self.skip(text)?;
            return Ok(Event::Handled);
        }
        if self.streams.len() >= self.limits.max_concurrent_streams as usize {
            self.skip(text)?;
            self.refuse_silently(id, Code::REFUSED_STREAM)?;
            if !self.is_confirmed {
                // It could not know the limit yet.
                self.floods.completed();
            }
            return Ok(Event::Handled);
        }
        let room = self.limits.max_header_list_size as usize;
        let mut reader = RequestReader::new(&mut self.request, &mut self.cookie, room);
        self.decoder.decode(text, |field| reader.field(field)).map_err(compression)?;
        let left = match reader.finish(end, self.limits.allow_connect) {
            Ok(left) => left,
            Err(Refusal::TooLarge) => {
                self.answer_too_large(id, end)?;
                return Ok(Event::Handled);
            }
            Err(Refusal::Malformed(_)) => {
                self.malformed_requests += 1;
                self.refuse_silently(id, Code::PROTOCOL_ERROR)?;
                return Ok(Event::Handled);
            }
        };
        self.floods.opened += 1;
        let receiving = if end { Receiving::Ended } else { Receiving::Body };
        self.streams.insert(Stream { left, ..self.new_stream(id, receiving) });
        Ok(Event::Request { stream: id, end })
    }

    pub(super) fn new_stream(&self, id: StreamId, receiving: Receiving) -> Stream {
        Stream {
            id,
            receiving,
            has_ended: false,
            is_head: false,
            is_connect: false,
            is_waiting: false,
            send_window: self.peer.stream_window,
            receive_window: self.new_window,
            owed: 0,
            left: NO_LENGTH,
            buffer: NO_BUFFER,
        }
    }

    fn response(&mut self, id: StreamId, end: bool, text: &[u8]) -> Result<Event, ConnectionError> {
        let room = self.limits.max_header_list_size as usize;
        let mut reader = ResponseReader::new(&mut self.response, room);
        self.decoder.decode(text, |field| reader.field(field)).map_err(compression)?;
        let Some(stream) = self.streams.find_mut(id) else { return Ok(Event::Handled) };
        let left = match reader.finish(end, stream.is_head) {
            Ok(left) => left,
            Err(refusal) => return self.refuse_section(id, refusal),
        };
        if self.response.status >= 200 {
            stream.receiving = Receiving::Body;
            stream.left = if stream.is_connect { NO_LENGTH } else { left };
        }
        if end {
            self.end_receiving(id);
        }
        Ok(Event::Response { stream: id, end })
    }

    fn trailer_section(&mut self, id: StreamId, end: bool, text: &[u8]) -> Result<Event, ConnectionError> {
        let room = self.limits.max_header_list_size as usize;
        let mut reader = TrailerReader::new(&mut self.trailer_fields, room);
        self.decoder.decode(text, |field| reader.field(field)).map_err(compression)?;
        let outcome = reader.finish(end);
        let left = self.streams.find_mut(id).map_or(0, |stream| stream.left);
        match outcome {
            Ok(_) if left != 0 && left != NO_LENGTH => {
                self.refuse(id, Code::PROTOCOL_ERROR, "content-length differs from the content")?;
                Ok(Event::Handled)
            }
            Ok(_) => {
                self.end_receiving(id);
                Ok(Event::Trailers { stream: id })
            }
            Err(refusal) => self.refuse_section(id, refusal),
        }
    }

    fn refuse_section(&mut self, id: StreamId, refusal: Refusal) -> Result<Event, ConnectionError> {
        let why = match refusal {
            Refusal::Malformed(why) => why,
            Refusal::TooLarge => "header list too large",
        };
        self.refuse(id, Code::PROTOCOL_ERROR, why)?;
        Ok(Event::Handled)
    }
}

/// The payload without its padding (RFC 9113, section 6.2).
fn unpadded<'a>(head: &Head, payload: &'a [u8]) -> Result<&'a [u8], ConnectionError> {
    if !head.has(frame::PADDED) {
        return Ok(payload);
    }
    let Some((&padding, rest)) = payload.split_first() else {
        return Err(fault(Code::FRAME_SIZE_ERROR, "padding longer than its frame"));
    };
    let len = rest.len().checked_sub(usize::from(padding));
    len.map(|len| &rest[..len]).ok_or(fault(Code::PROTOCOL_ERROR, "padding longer than its frame"))
}

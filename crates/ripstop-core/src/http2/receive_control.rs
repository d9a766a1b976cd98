//! Frames that steer: SETTINGS, PING, GOAWAY, WINDOW_UPDATE, RST_STREAM, PRIORITY.
use super::connection::Connection;
use super::frame::{self, Head, MAX_31};
use super::{Code, ConnectionError, Event, StreamId, fault};

/// The two ways to be wrong that all of these frames share.
fn form(head: &Head, len: u32, is_connection: bool) -> Result<(), ConnectionError> {
    if head.len != len {
        return Err(fault(Code::FRAME_SIZE_ERROR, "frame of the wrong length"));
    }
    if (head.stream == 0) != is_connection {
        return Err(fault(Code::PROTOCOL_ERROR, "frame on the wrong stream"));
    }
    Ok(())
}

/// Four octets at `at`, of a payload whose length was checked.
fn word(payload: &[u8], at: usize) -> u32 {
    payload.get(at..).and_then(|rest| rest.first_chunk::<4>()).map_or(0, |octets| u32::from_be_bytes(*octets))
}

impl Connection {
    /// RFC 9113, section 6.5.
    pub(super) fn settings(&mut self, head: &Head, payload: &[u8]) -> Result<Event, ConnectionError> {
        let is_ack = head.has(frame::ACK);
        form(head, if is_ack { 0 } else { head.len - head.len % 6 }, true)?;
        if is_ack {
            self.settings_confirmed();
            return Ok(Event::Handled);
        }
        let window = self.peer.stream_window;
        for setting in payload.chunks_exact(6) {
            let id = u16::from_be_bytes([setting[0], setting[1]]);
            self.setting(id, word(setting, 2))?;
        }
        self.peer.has_spoken = true;
        self.answer_control()?;
        frame::head(&mut self.out, 0, frame::SETTINGS, frame::ACK, 0);
        // Not before the acknowledgement: to the peer it shows which windows hold.
        if self.peer.stream_window > window {
            self.flush_all();
        }
        Ok(Event::Settings)
    }

    fn setting(&mut self, id: u16, value: u32) -> Result<(), ConnectionError> {
        match id {
            frame::HEADER_TABLE_SIZE => self.encoder.set_peer_limit(value as usize),
            frame::ENABLE_PUSH if value > 1 || (self.is_client && value == 1) => {
                return Err(fault(Code::PROTOCOL_ERROR, "bad SETTINGS_ENABLE_PUSH"));
            }
            frame::MAX_CONCURRENT_STREAMS => self.peer.max_streams = value,
            frame::INITIAL_WINDOW_SIZE => self.change_windows(value)?,
            frame::MAX_FRAME_SIZE if !(16_384..=16_777_215).contains(&value) => {
                return Err(fault(Code::PROTOCOL_ERROR, "bad SETTINGS_MAX_FRAME_SIZE"));
            }
            frame::MAX_FRAME_SIZE => self.peer.max_frame = value as usize,
            frame::ENABLE_CONNECT_PROTOCOL if value > 1 => {
                return Err(fault(Code::PROTOCOL_ERROR, "bad SETTINGS_ENABLE_CONNECT_PROTOCOL"));
            }
            frame::ENABLE_CONNECT_PROTOCOL => self.peer.allows_connect = value == 1,
            _ => {}
        }
        Ok(())
    }

    /// The peer's first window for streams applies to those that are open too (RFC 9113, section 6.9.2).
    fn change_windows(&mut self, value: u32) -> Result<(), ConnectionError> {
        if value > MAX_31 {
            return Err(fault(Code::FLOW_CONTROL_ERROR, "bad SETTINGS_INITIAL_WINDOW_SIZE"));
        }
        let more = i64::from(value) - self.peer.stream_window;
        self.peer.stream_window = i64::from(value);
        for stream in self.streams.iter_mut() {
            stream.send_window += more;
            if stream.send_window > i64::from(MAX_31) {
                return Err(fault(Code::FLOW_CONTROL_ERROR, "window above 2^31-1"));
            }
        }
        Ok(())
    }

    /// Our SETTINGS hold from now on.
    fn settings_confirmed(&mut self) {
        if std::mem::replace(&mut self.is_confirmed, true) {
            return;
        }
        self.decoder.set_limit(self.limits.header_table_size as usize);
        let window = i64::from(self.limits.initial_stream_window);
        let less = self.new_window - window;
        self.new_window = window;
        if less > 0 {
            self.streams.iter_mut().for_each(|stream| stream.receive_window -= less);
        }
    }

    /// RFC 9113, section 6.7.
    pub(super) fn pinged(&mut self, head: &Head, payload: &[u8]) -> Result<Event, ConnectionError> {
        form(head, 8, true)?;
        if head.has(frame::ACK) {
            return Ok(payload.first_chunk::<8>().map_or(Event::Handled, |opaque| Event::Pong(*opaque)));
        }
        self.answer_control()?;
        frame::ping(&mut self.out, frame::ACK, payload);
        Ok(Event::Handled)
    }

    /// RFC 9113, section 6.8.
    pub(super) fn peer_goes_away(&mut self, head: &Head, payload: &[u8]) -> Result<Event, ConnectionError> {
        if head.len < 8 {
            return Err(fault(Code::FRAME_SIZE_ERROR, "frame of the wrong length"));
        }
        if head.stream != 0 {
            return Err(fault(Code::PROTOCOL_ERROR, "frame on the wrong stream"));
        }
        let (last, code) = (word(payload, 0) & MAX_31, Code(word(payload, 4)));
        let last = self.peer_left.map_or(last, |(before, _)| before.min(last));
        self.peer_left = Some((last, code));
        if self.is_client {
            self.give_up_above(last);
        }
        Ok(Event::GoAway { last, code })
    }

    /// The peer has not looked at our streams above `last`, and will not.
    fn give_up_above(&mut self, last: StreamId) {
        let mut above: Vec<StreamId> = self.streams.ids().filter(|id| *id > last).collect();
        above.sort_unstable();
        for stream in above {
            self.forget(stream);
            self.queued.push_back(Event::Reset { stream, code: Code::REFUSED_STREAM });
        }
    }

    /// RFC 9113, section 6.9.
    pub(super) fn window_update(&mut self, head: &Head, payload: &[u8]) -> Result<Event, ConnectionError> {
        form(head, 4, head.stream == 0)?;
        self.floods.window_update(&self.limits)?;
        let more = i64::from(word(payload, 0) & MAX_31);
        if head.stream == 0 {
            if more == 0 {
                return Err(fault(Code::PROTOCOL_ERROR, "WINDOW_UPDATE of zero"));
            }
            self.send_window += more;
            if self.send_window > i64::from(MAX_31) {
                return Err(fault(Code::FLOW_CONTROL_ERROR, "window above 2^31-1"));
            }
            self.flush_waiting();
            return Ok(Event::Handled);
        }
        let Some(stream) = self.streams.find_mut(head.stream) else {
            return match self.is_idle(head.stream) {
                true => Err(fault(Code::PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream")),
                false => Ok(Event::Handled),
            };
        };
        stream.send_window += more;
        if more == 0 {
            self.refuse(head.stream, Code::PROTOCOL_ERROR, "WINDOW_UPDATE of zero")?;
        } else if stream.send_window > i64::from(MAX_31) {
            self.refuse(head.stream, Code::FLOW_CONTROL_ERROR, "window above 2^31-1")?;
        } else {
            self.flush(head.stream, usize::MAX);
        }
        Ok(Event::Handled)
    }

    /// RFC 9113, section 6.4.
    pub(super) fn rst_stream(&mut self, head: &Head, payload: &[u8]) -> Result<Event, ConnectionError> {
        form(head, 4, false)?;
        let (stream, code) = (head.stream, Code(word(payload, 0)));
        if self.is_idle(stream) {
            return Err(fault(Code::PROTOCOL_ERROR, "RST_STREAM on an idle stream"));
        }
        if self.streams.find(stream).is_none() {
            return Ok(Event::Handled);
        }
        if !self.is_client {
            self.floods.reset(&self.limits)?;
        }
        self.forget(stream);
        Ok(Event::Reset { stream, code })
    }

    /// PRIORITY is counted and ignored (RFC 9113, section 5.3.2).
    pub(super) fn priority(&mut self, head: &Head, payload: &[u8]) -> Result<Event, ConnectionError> {
        if head.stream == 0 {
            return Err(fault(Code::PROTOCOL_ERROR, "frame on the wrong stream"));
        }
        self.floods.priority(&self.limits)?;
        let code = match head.len {
            5 if word(payload, 0) & MAX_31 != head.stream => return Ok(Event::Handled),
            5 => Code::PROTOCOL_ERROR,
            _ => Code::FRAME_SIZE_ERROR,
        };
        if self.streams.find(head.stream).is_some() {
            self.refuse(head.stream, code, "bad PRIORITY")?;
        } else {
            self.answer_control()?;
            frame::rst_stream(&mut self.out, head.stream, code);
        }
        Ok(Event::Handled)
    }
}

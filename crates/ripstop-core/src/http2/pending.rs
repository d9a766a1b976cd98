//! Octets that flow control does not let go yet, in buffers that are used again.
use crate::http::Headers;

/// A buffer that has grown beyond this is not kept for the next stream.
const KEPT: usize = 64 << 10;

/// What a stream still has to send.
#[derive(Debug, Default)]
pub(super) struct Pending {
    data: Vec<u8>,
    start: usize,
    /// The stream ends after it.
    pub(super) end: bool,
    pub(super) trailers: Headers,
    pub(super) has_trailers: bool,
}

impl Pending {
    pub(super) fn data(&self) -> &[u8] {
        &self.data[self.start..]
    }

    pub(super) fn len(&self) -> usize {
        self.data.len() - self.start
    }

    pub(super) fn append(&mut self, data: &[u8]) {
        if self.start > self.data.len() / 2 {
            self.data.drain(..self.start);
            self.start = 0;
        }
        self.data.extend_from_slice(data);
    }

    /// The first `n` octets are sent.
    pub(super) fn advance(&mut self, n: usize) {
        self.start += n;
    }
}

/// The buffers of a connection.
#[derive(Debug, Default)]
pub(super) struct Pool {
    buffers: Vec<Pending>,
    free: Vec<u32>,
}

impl Pool {
    pub(super) fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.buffers.push(Pending::default());
            self.buffers.len() as u32 - 1
        })
    }

    pub(super) fn at(&self, buffer: u32) -> Option<&Pending> {
        self.buffers.get(buffer as usize)
    }

    pub(super) fn at_mut(&mut self, buffer: u32) -> Option<&mut Pending> {
        self.buffers.get_mut(buffer as usize)
    }

    /// Octets of memory.
    pub(super) fn held(&self) -> usize {
        self.buffers.iter().map(|pending| pending.data.capacity() + pending.trailers.held()).sum()
    }

    pub(super) fn give_back(&mut self, buffer: u32) {
        let Some(pending) = self.buffers.get_mut(buffer as usize) else { return };
        pending.data.clear();
        pending.trailers.clear();
        (pending.start, pending.end, pending.has_trailers) = (0, false, false);
        if pending.data.capacity() > KEPT {
            pending.data = Vec::new();
        }
        self.free.push(buffer);
    }
}

//! The streams of a connection: a slab, and a small table from id to place. In steady state nothing is allocated.
use std::collections::VecDeque;

use super::StreamId;

/// No Content-Length came.
pub(super) const NO_LENGTH: u64 = u64::MAX;
/// No buffer of octets kept back.
pub(super) const NO_BUFFER: u32 = u32::MAX;
/// Streams of which it is remembered that we have reset them: their late frames are no fault of the peer.
const RESETS_REMEMBERED: usize = 256;
const ENDS_REMEMBERED: usize = 16;

/// What the peer may still send on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiving {
    /// A response head, as far as a final one.
    Head,
    /// Data and trailers.
    Body,
    /// Nothing: it has ended its side.
    Ended,
}

#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) receiving: Receiving,
    /// We have ended our side, or will when what is kept back is sent.
    pub(super) has_ended: bool,
    /// The request was HEAD.
    pub(super) is_head: bool,
    /// The request was CONNECT.
    pub(super) is_connect: bool,
    /// It waits for the connection's window.
    pub(super) is_waiting: bool,
    /// What the peer lets us send; below zero after it made its windows smaller.
    pub(super) send_window: i64,
    /// What we let the peer send.
    pub(super) receive_window: i64,
    /// Octets that the caller has released and the peer does not know of yet.
    pub(super) owed: u32,
    /// Octets that Content-Length promises and that have not come.
    pub(super) left: u64,
    /// What flow control keeps back.
    pub(super) buffer: u32,
}

#[derive(Debug, Default)]
pub(super) struct Streams {
    slots: Vec<Stream>,
    free: Vec<u32>,
    /// Open addressing by id; an id of zero is an empty place. The length is a power of two, or zero.
    map: Vec<(StreamId, u32)>,
    reset: VecDeque<StreamId>,
    /// Whether `reset` has lost some.
    has_forgotten: bool,
    ended: [StreamId; ENDS_REMEMBERED],
    next_ended: usize,
}

impl Streams {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    #[inline]
    pub(super) fn find(&self, id: StreamId) -> Option<usize> {
        self.place(id).map(|at| self.map[at].1 as usize)
    }

    #[inline]
    pub(super) fn find_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.find(id).map(|slot| &mut self.slots[slot])
    }

    pub(super) fn at(&self, slot: usize) -> &Stream {
        &self.slots[slot]
    }

    pub(super) fn at_mut(&mut self, slot: usize) -> &mut Stream {
        &mut self.slots[slot]
    }

    #[inline]
    fn place(&self, id: StreamId) -> Option<usize> {
        if self.map.is_empty() || id == 0 {
            return None;
        }
        let mask = self.map.len() - 1;
        let mut at = home(id, mask);
        loop {
            match self.map[at].0 {
                found if found == id => return Some(at),
                0 => return None,
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// Add a stream; its id must be new.
    pub(super) fn insert(&mut self, stream: Stream) {
        if (self.len() + 1) * 2 > self.map.len() {
            self.grow();
        }
        let id = stream.id;
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = stream;
                slot
            }
            None => {
                self.slots.push(stream);
                self.slots.len() as u32 - 1
            }
        };
        self.put(id, slot);
    }

    fn put(&mut self, id: StreamId, slot: u32) {
        let mask = self.map.len() - 1;
        let mut at = home(id, mask);
        while self.map[at].0 != 0 {
            at = (at + 1) & mask;
        }
        self.map[at] = (id, slot);
    }

    fn grow(&mut self) {
        let old = std::mem::take(&mut self.map);
        self.map = vec![(0, 0); (old.len() * 2).max(16)];
        for (id, slot) in old.into_iter().filter(|(id, _)| *id != 0) {
            self.put(id, slot);
        }
    }

    /// Forget a stream; returns the buffer that it had.
    pub(super) fn remove(&mut self, id: StreamId) -> u32 {
        let Some(mut hole) = self.place(id) else { return NO_BUFFER };
        let slot = self.map[hole].1;
        let mask = self.map.len() - 1;
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            if self.map[at].0 == 0 {
                break;
            }
            // What may not stand before its home stays; all else moves up into the hole.
            let distance = at.wrapping_sub(home(self.map[at].0, mask)) & mask;
            if distance >= (at.wrapping_sub(hole) & mask) {
                self.map[hole] = self.map[at];
                hole = at;
            }
        }
        self.map[hole] = (0, 0);
        self.free.push(slot);
        self.ended[self.next_ended] = id;
        self.next_ended = (self.next_ended + 1) % ENDS_REMEMBERED;
        let stream = &mut self.slots[slot as usize];
        stream.id = 0;
        std::mem::replace(&mut stream.buffer, NO_BUFFER)
    }

    /// Remember that we have reset a stream.
    pub(super) fn note_reset(&mut self, id: StreamId) {
        if self.reset.len() == RESETS_REMEMBERED {
            self.reset.pop_front();
            self.has_forgotten = true;
        }
        self.reset.push_back(id);
    }

    /// Whether we may have reset that stream. When some are forgotten the peer gets the benefit of the doubt.
    pub(super) fn was_reset(&self, id: StreamId) -> bool {
        self.reset.contains(&id) || self.has_forgotten
    }

    /// Whether that stream was open and ended lately.
    pub(super) fn has_ended_lately(&self, id: StreamId) -> bool {
        self.ended.contains(&id)
    }

    /// The streams that are open, in no order.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.slots.iter_mut().filter(|s| s.id != 0)
    }

    /// The ids of the streams that are open, in no order.
    pub(super) fn ids(&self) -> impl Iterator<Item = StreamId> {
        self.slots.iter().filter(|s| s.id != 0).map(|s| s.id)
    }
}

/// Ids are odd and count up: the next bits spread them without loss.
fn home(id: StreamId, mask: usize) -> usize {
    (id >> 1) as usize & mask
}

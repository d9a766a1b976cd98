//! The dynamic table (RFC 7541, section 2.3.2): text in one buffer, entries in a ring. In steady state it allocates nothing.
use std::collections::VecDeque;

use super::Kind;

/// What an entry costs beside its text (RFC 7541, section 4.1).
pub(super) const OVERHEAD: usize = 32;

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Counted from the first octet ever stored.
    start: usize,
    name_len: u32,
    value_len: u32,
    /// Of name and value; used by the encoder only.
    pub(super) hash: u32,
    pub(super) kind: Kind,
    /// What is wrong with the field; used by the decoder only.
    pub(super) fault: Option<&'static str>,
}

impl Entry {
    /// A name that the kind tells is not stored.
    fn stored_name(&self) -> usize {
        if self.kind.name().is_empty() { self.name_len as usize } else { 0 }
    }

    fn stored(&self) -> usize {
        self.stored_name() + self.value_len as usize
    }

    fn size(&self) -> usize {
        self.name_len as usize + self.value_len as usize + OVERHEAD
    }
}

#[derive(Debug)]
pub(super) struct Table {
    text: Vec<u8>,
    /// How many octets have been dropped from the front of `text`.
    base: usize,
    /// The oldest first.
    entries: VecDeque<Entry>,
    size: usize,
    max: usize,
    /// How many entries were ever inserted.
    inserted: u32,
}

impl Table {
    pub(super) fn new(max: usize) -> Table {
        Table { text: Vec::new(), base: 0, entries: VecDeque::new(), size: 0, max, inserted: 0 }
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    pub(super) fn inserted(&self) -> u32 {
        self.inserted
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn set_max(&mut self, max: usize) {
        self.max = max;
        self.evict_until(max);
    }

    /// The entry at `index`; zero is the newest.
    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<&Entry> {
        self.entries.get(self.entries.len().checked_sub(index + 1)?)
    }

    #[inline]
    pub(super) fn name(&self, entry: &Entry) -> &[u8] {
        let start = entry.start - self.base;
        match entry.kind.name() {
            "" => &self.text[start..start + entry.name_len as usize],
            name => name.as_bytes(),
        }
    }

    #[inline]
    pub(super) fn value(&self, entry: &Entry) -> &[u8] {
        let start = entry.start - self.base + entry.stored_name();
        &self.text[start..start + entry.value_len as usize]
    }

    /// Add an entry; one that is larger than the table empties it (RFC 7541, section 4.4). Whether it was added.
    pub(super) fn insert(
        &mut self,
        kind: Kind,
        name: &[u8],
        value: &[u8],
        hash: u32,
        fault: Option<&'static str>,
    ) -> bool {
        let (name_len, value_len) = (name.len() as u32, value.len() as u32);
        let entry = Entry { start: 0, name_len, value_len, hash, kind, fault };
        let Some(room) = self.max.checked_sub(entry.size()) else {
            self.evict_until(0);
            return false;
        };
        self.evict_until(room);
        self.compact(entry.stored());
        let start = self.base + self.text.len();
        if entry.stored_name() > 0 {
            self.text.extend_from_slice(name);
        }
        self.text.extend_from_slice(value);
        self.size += entry.size();
        self.inserted = self.inserted.wrapping_add(1);
        self.entries.push_back(Entry { start, ..entry });
        true
    }

    fn evict_until(&mut self, size: usize) {
        while self.size > size {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.size -= oldest.size();
        }
    }

    /// Move the live text to the front once the dead text is as long as the table may be.
    fn compact(&mut self, more: usize) {
        if self.text.len() + more <= 2 * self.max {
            return;
        }
        let end = self.base + self.text.len();
        let live = self.entries.front().map_or(end, |oldest| oldest.start);
        self.text.drain(..live - self.base);
        self.base = live;
    }
}

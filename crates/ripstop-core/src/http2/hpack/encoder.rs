//! Writing header blocks (RFC 7541, section 6). What repeats is put into the dynamic table when it is seen the second
//! time; what is new each time (ids, traces) never displaces it.
use super::table::{OVERHEAD, Table};
use super::{Kind, huffman, integer, statics};
use crate::http::HeaderId;

const EXACT_SLOTS: usize = 128;
const SEEN_SLOTS: usize = 128;
const NAME_SLOTS: usize = 32;
/// Shorter values of credentials could be guessed through the size of what is sent (RFC 7541, section 7.1.3).
const GUESSABLE_CREDENTIALS: usize = 64;
const GUESSABLE_COOKIE: usize = 20;

/// Where entries are, by hash: hints that are checked against the table.
#[derive(Debug)]
struct Index {
    /// By hash of name and value: the number of the entry.
    exact: [u32; EXACT_SLOTS],
    /// By known name: the number of the newest entry.
    known: [u32; HeaderId::COUNT],
    /// By hash of another name.
    other: [u32; NAME_SLOTS],
    /// By hash: fields that were sent without being put into the table.
    seen: [u16; SEEN_SLOTS],
}

/// The writing half of a connection's header compression.
#[derive(Debug)]
pub struct Encoder {
    table: Table,
    index: Box<Index>,
    /// The smallest size since the last block, when the size changed.
    smallest: Option<usize>,
    /// Never use more than this, whatever the peer allows.
    limit: usize,
    huffman: bool,
}

impl Encoder {
    /// An encoder that uses at most `limit` octets of table; with `huffman`, strings are compressed where that makes them shorter.
    pub fn new(limit: usize, huffman: bool) -> Encoder {
        let index = Index {
            exact: [0; EXACT_SLOTS],
            known: [0; HeaderId::COUNT],
            other: [0; NAME_SLOTS],
            seen: [0; SEEN_SLOTS],
        };
        // 4096 is what the peer's table has until it says otherwise (RFC 9113, section 6.5.2).
        let smallest = (limit < 4096).then_some(limit);
        Encoder { table: Table::new(limit.min(4096)), index: Box::new(index), smallest, limit, huffman }
    }

    /// The peer's SETTINGS_HEADER_TABLE_SIZE.
    pub fn set_peer_limit(&mut self, size: usize) {
        let size = size.min(self.limit);
        if size != self.table.max() {
            self.smallest = Some(self.smallest.map_or(size, |old| old.min(size)));
            self.table.set_max(size);
        }
    }

    #[cfg(test)]
    pub(super) fn table_size(&self) -> usize {
        self.table.size()
    }

    /// Begin a block.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if let Some(smallest) = self.smallest.take() {
            integer::write(smallest, 5, 0x20, out);
            if smallest != self.table.max() {
                integer::write(self.table.max(), 5, 0x20, out);
            }
        }
    }

    /// Write one field. `name` is in lower case.
    pub fn field(&mut self, kind: Kind, name: &[u8], value: &[u8], sensitive: bool, out: &mut Vec<u8>) {
        let exact = statics::exact_index(kind, value);
        if exact != 0 {
            return integer::write(exact, 7, 0x80, out);
        }
        if sensitive || is_guessable(kind, value) {
            let index = self.name_index(kind, name);
            return self.literal(index, 4, 0x10, (name, value), out);
        }
        let hash = hash_of(kind, name, value);
        if let Some(at) = self.find(kind, name, value, hash) {
            return integer::write(at + statics::COUNT + 1, 7, 0x80, out);
        }
        let index = self.name_index(kind, name);
        if self.is_worth_keeping(kind, name, value, hash, index) {
            self.literal(index, 6, 0x40, (name, value), out);
            self.insert(kind, name, value, hash);
        } else {
            self.literal(index, 4, 0, (name, value), out);
        }
    }

    /// The place in the dynamic table of exactly this field.
    #[inline]
    fn find(&self, kind: Kind, name: &[u8], value: &[u8], hash: u32) -> Option<usize> {
        self.slots(hash).into_iter().find_map(|slot| {
            let at = self.age(self.index.exact[slot])?;
            let entry = self.table.get(at)?;
            let is_it = entry.hash == hash
                && entry.kind == kind
                && self.table.value(entry) == value
                && (!kind.name().is_empty() || self.table.name(entry) == name);
            is_it.then_some(at)
        })
    }

    fn slots(&self, hash: u32) -> [usize; 2] {
        [hash as usize % EXACT_SLOTS, (hash >> 16) as usize % EXACT_SLOTS]
    }

    /// How many entries are newer than the one with that number; `None` when it is gone.
    #[inline]
    fn age(&self, number: u32) -> Option<usize> {
        let age = self.table.inserted().wrapping_sub(number) as usize;
        (number != 0 && age < self.table.len()).then_some(age)
    }

    /// The index of the name in both tables; zero when it is in none.
    fn name_index(&self, kind: Kind, name: &[u8]) -> usize {
        let fixed = statics::name_index(kind);
        if fixed != 0 {
            return fixed;
        }
        let number = match kind {
            Kind::Field(HeaderId::Other) => self.index.other[name_hash(name) as usize % NAME_SLOTS],
            Kind::Field(id) => self.index.known[id as usize],
            _ => return 0,
        };
        let found = self.age(number).filter(|at| {
            self.table
                .get(*at)
                .is_some_and(|e| e.kind == kind && (!kind.name().is_empty() || self.table.name(e) == name))
        });
        found.map_or(0, |at| at + statics::COUNT + 1)
    }

    /// Whether to put a field into the table.
    fn is_worth_keeping(&mut self, kind: Kind, name: &[u8], value: &[u8], hash: u32, index: usize) -> bool {
        if name.len() + value.len() + OVERHEAD > self.table.max() / 2 {
            return false;
        }
        // A name that is in no table costs every peer that reads it; one entry with it makes the next ones cheap.
        if index == 0 || is_stable(kind) {
            return true;
        }
        let slot = &mut self.index.seen[(hash >> 8) as usize % SEEN_SLOTS];
        let mark = (hash >> 16) as u16 | 1;
        std::mem::replace(slot, mark) == mark
    }

    fn insert(&mut self, kind: Kind, name: &[u8], value: &[u8], hash: u32) {
        if !self.table.insert(kind, name, value, hash, None) {
            return;
        }
        let number = self.table.inserted();
        let [first, second] = self.slots(hash);
        let slot = if self.age(self.index.exact[first]).is_none() { first } else { second };
        self.index.exact[slot] = number;
        match kind {
            Kind::Field(HeaderId::Other) => self.index.other[name_hash(name) as usize % NAME_SLOTS] = number,
            Kind::Field(id) => self.index.known[id as usize] = number,
            _ => {}
        }
    }

    fn literal(
        &self,
        index: usize,
        prefix: u32,
        first: u8,
        (name, value): (&[u8], &[u8]),
        out: &mut Vec<u8>,
    ) {
        integer::write(index, prefix, first, out);
        if index == 0 {
            self.string(name, out);
        }
        self.string(value, out);
    }

    fn string(&self, text: &[u8], out: &mut Vec<u8>) {
        if self.huffman {
            let len = huffman::encoded_len(text);
            if len < text.len() {
                integer::write(len, 7, 0x80, out);
                return huffman::encode(text, out);
            }
        }
        integer::write(text.len(), 7, 0, out);
        out.extend_from_slice(text);
    }
}

/// Secrets short enough to be guessed.
fn is_guessable(kind: Kind, value: &[u8]) -> bool {
    match kind {
        Kind::Field(HeaderId::Authorization | HeaderId::ProxyAuthorization) => {
            value.len() < GUESSABLE_CREDENTIALS
        }
        Kind::Field(HeaderId::Cookie | HeaderId::SetCookie) => value.len() < GUESSABLE_COOKIE,
        _ => false,
    }
}

/// Fields that repeat from message to message nearly always.
fn is_stable(kind: Kind) -> bool {
    use HeaderId as Id;
    let Kind::Field(id) = kind else {
        return matches!(kind, Kind::Authority | Kind::Status | Kind::Method | Kind::Scheme | Kind::Protocol);
    };
    matches!(
        id,
        Id::UserAgent
            | Id::Accept
            | Id::AcceptEncoding
            | Id::AcceptLanguage
            | Id::ContentType
            | Id::Te
            | Id::Server
            | Id::GrpcStatus
            | Id::XForwardedProto
            | Id::GrpcEncoding
            | Id::GrpcAcceptEncoding
    )
}

const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// A hash that is quick for texts of a few dozen octets. A collision costs an octet more on the wire, no error.
#[inline]
fn mix(state: u64, text: &[u8]) -> u64 {
    let step = |state: u64, word: u64| (state ^ word).wrapping_mul(MIX).rotate_left(23);
    let mut state = state ^ text.len() as u64;
    if let Some(last) = text.last_chunk::<8>() {
        for chunk in text.as_chunks::<8>().0 {
            state = step(state, u64::from_le_bytes(*chunk));
        }
        state = step(state, u64::from_le_bytes(*last));
    } else if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        let word = u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last));
        state = step(state, word);
    } else {
        state = text.iter().fold(state, |state, &byte| step(state, u64::from(byte)));
    }
    state.wrapping_mul(MIX)
}

fn name_hash(name: &[u8]) -> u32 {
    (mix(0, name) >> 32) as u32
}

#[inline]
fn hash_of(kind: Kind, name: &[u8], value: &[u8]) -> u32 {
    let start = match kind {
        Kind::Field(HeaderId::Other) | Kind::Pseudo => mix(0, name),
        Kind::Field(id) => id as u64 + 16,
        Kind::Path => 1,
        Kind::Authority => 2,
        Kind::Method => 3,
        Kind::Scheme => 4,
        Kind::Protocol => 5,
        Kind::Status => 6,
    };
    (mix(start.wrapping_mul(MIX), value) >> 32) as u32
}

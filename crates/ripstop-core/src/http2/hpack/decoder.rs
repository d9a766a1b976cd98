//! Reading header blocks (RFC 7541, sections 3 and 6).
use super::table::Table;
use super::{Kind, huffman, integer, statics};
use crate::http::HeaderId;
use crate::http2::fields;

/// One field as it was read.
#[derive(Clone, Copy, Debug)]
pub struct Decoded<'a> {
    /// What the name means.
    pub kind: Kind,
    /// The name as it came.
    pub name: &'a [u8],
    /// The value as it came.
    pub value: &'a [u8],
    /// Whether it came as a literal that may never be indexed (RFC 7541, section 6.2.3).
    pub sensitive: bool,
    /// What is wrong with it by itself (RFC 9113, section 8.2.1).
    pub fault: Option<&'static str>,
}

/// A block that cannot be read; the connection cannot go on (RFC 9113, section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HpackError(pub &'static str);

/// The reading half of a connection's header compression.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    /// The largest table size the peer may choose.
    limit: usize,
    name: Vec<u8>,
    value: Vec<u8>,
}

/// Where a string is: in the block, or decoded in a buffer.
enum Text {
    Plain(usize, usize),
    Decoded,
}

impl Decoder {
    /// A decoder whose table has 4096 octets (RFC 9113, section 6.5.2) until the peer chooses another size, up to `limit`.
    pub fn new(limit: usize) -> Decoder {
        Decoder { table: Table::new(4096), limit, name: Vec::new(), value: Vec::new() }
    }

    /// What the peer may choose from now on; the table keeps its size until the peer says so.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    #[cfg(test)]
    pub(super) fn table_size(&self) -> usize {
        self.table.size()
    }

    /// Read a whole block and give each field to `sink`.
    pub fn decode(&mut self, block: &[u8], mut sink: impl FnMut(Decoded<'_>)) -> Result<(), HpackError> {
        let mut at = 0;
        let mut is_start = true;
        while let Some(&first) = block.get(at) {
            let rest = &block[at..];
            at += match first {
                0x80.. => {
                    let (index, used) = number(rest, 7)?;
                    sink(self.indexed(index)?);
                    used
                }
                0x40.. => self.literal(rest, 6, &mut sink)?,
                0x20.. => self.size_update(rest, is_start)?,
                _ => self.literal(rest, 4, &mut sink)?,
            };
            is_start &= first & 0xe0 == 0x20;
        }
        Ok(())
    }

    #[inline]
    fn indexed(&self, index: usize) -> Result<Decoded<'_>, HpackError> {
        if let Some((kind, name, value)) = index.checked_sub(1).and_then(|at| statics::TABLE.get(at)) {
            let (name, value) = (name.as_bytes(), value.as_bytes());
            return Ok(Decoded { kind: *kind, name, value, sensitive: false, fault: None });
        }
        let entry = index
            .checked_sub(statics::COUNT + 1)
            .and_then(|at| self.table.get(at))
            .ok_or(HpackError("index outside the table"))?;
        let (name, value) = (self.table.name(entry), self.table.value(entry));
        Ok(Decoded { kind: entry.kind, name, value, sensitive: false, fault: entry.fault })
    }

    fn literal(
        &mut self,
        input: &[u8],
        prefix: u32,
        sink: &mut impl FnMut(Decoded<'_>),
    ) -> Result<usize, HpackError> {
        let (index, mut used) = number(input, prefix)?;
        let mut plain_name = None;
        let kind = match index {
            0 => {
                let (text, more) = string(&input[used..], &mut self.name)?;
                if let Text::Plain(start, end) = text {
                    plain_name = Some(&input[used + start..used + end]);
                }
                used += more;
                Kind::of(plain_name.unwrap_or(&self.name))
            }
            _ => self.indexed_name(index)?,
        };
        let (text, more) = string(&input[used..], &mut self.value)?;
        let value = match text {
            Text::Plain(start, end) => &input[used + start..used + end],
            Text::Decoded => &self.value[..],
        };
        let name = match kind.name() {
            "" => plain_name.unwrap_or(&self.name),
            name => name.as_bytes(),
        };
        let fault = fields::fault_of(kind, name, value);
        sink(Decoded { kind, name, value, sensitive: input[0] & 0xf0 == 0x10, fault });
        if prefix == 6 {
            self.table.insert(kind, name, value, 0, fault);
        }
        Ok(used + more)
    }

    /// The kind of an indexed name; its text is in `self.name` when the kind does not tell it.
    fn indexed_name(&mut self, index: usize) -> Result<Kind, HpackError> {
        if let Some((kind, name, _)) = index.checked_sub(1).and_then(|at| statics::TABLE.get(at)) {
            if *kind == Kind::Field(HeaderId::Other) {
                self.name.clear();
                self.name.extend_from_slice(name.as_bytes());
            }
            return Ok(*kind);
        }
        let entry = index
            .checked_sub(statics::COUNT + 1)
            .and_then(|at| self.table.get(at))
            .ok_or(HpackError("name index outside the table"))?;
        if entry.kind.name().is_empty() {
            self.name.clear();
            self.name.extend_from_slice(self.table.name(entry));
        }
        Ok(entry.kind)
    }

    fn size_update(&mut self, input: &[u8], is_start: bool) -> Result<usize, HpackError> {
        let (size, used) = number(input, 5)?;
        if !is_start {
            return Err(HpackError("table size update inside a block"));
        }
        if size > self.limit {
            return Err(HpackError("table size above the limit"));
        }
        self.table.set_max(size);
        Ok(used)
    }
}

fn number(input: &[u8], prefix: u32) -> Result<(usize, usize), HpackError> {
    integer::read(input, prefix).ok_or(HpackError("bad integer"))
}

/// Read a string (RFC 7541, section 5.2): where it is, and how many octets it took.
#[inline]
fn string(input: &[u8], decoded: &mut Vec<u8>) -> Result<(Text, usize), HpackError> {
    let (len, used) = number(input, 7)?;
    let end = used + len;
    let text = input.get(used..end).ok_or(HpackError("string is cut off"))?;
    if input[0] & 0x80 == 0 {
        return Ok((Text::Plain(used, end), end));
    }
    decoded.clear();
    huffman::decode(text, decoded).ok_or(HpackError("bad Huffman code"))?;
    Ok((Text::Decoded, end))
}

//! Fields of a message in the order they came: text in one buffer, fields as ranges in it. Reused, it allocates nothing.
use super::HeaderId;
use super::known::lower_name;
use std::ops::Range;

/// A range of the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

impl Span {
    /// The octets from `start` to `end`; a head is far smaller than 4 GiB (`max_head_bytes`).
    pub(crate) const fn between(start: usize, end: usize) -> Span {
        Span { start: start as u32, len: (end - start) as u32 }
    }

    /// Its octets in `text`.
    pub(crate) fn of(self, text: &[u8]) -> &[u8] {
        &text[self.range()]
    }

    const fn range(self) -> Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    id: HeaderId,
    removed: bool,
    /// Came as a literal that no one may put into a compression table (RFC 7541, section 6.2.3).
    sensitive: bool,
    name: Span,
    value: Span,
}

/// One field as it is read: its id, its name in lower case, its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name as a number.
    pub id: HeaderId,
    /// In lower case.
    pub name: &'a [u8],
    /// Without white space around it.
    pub value: &'a [u8],
}

/// The fields of one head or one trailer section. Names are in lower case, whatever came.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    text: Vec<u8>,
    entries: Vec<Entry>,
    /// A bit for each id that was ever added since the last `clear`: most questions are about what is not there.
    seen: u128,
}

const _: () = assert!(HeaderId::COUNT <= 128);

impl Headers {
    /// No fields.
    pub const fn new() -> Headers {
        Headers { text: Vec::new(), entries: Vec::new(), seen: 0 }
    }

    /// Forget all; capacity is kept.
    pub fn clear(&mut self) {
        self.text.clear();
        self.entries.clear();
        self.seen = 0;
    }

    /// Add a field at the end. `name` may be in any case; it is kept in lower case.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let span = self.store(name);
        self.text[span.start as usize..].make_ascii_lowercase();
        let id = HeaderId::of(self.at(span));
        let value = self.store(value);
        self.add(Entry { id, removed: false, sensitive: false, name: span, value });
    }

    /// Add a field whose name is known, at the end.
    pub fn push_known(&mut self, id: HeaderId, value: &[u8]) {
        debug_assert!(id != HeaderId::Other);
        let value = self.store(value);
        self.add(Entry { id, removed: false, sensitive: false, name: Span::default(), value });
    }

    /// Add a field that HTTP/2 decoded: `name` is in lower case and `id` is its id already.
    pub(crate) fn push_decoded(&mut self, id: HeaderId, name: &[u8], value: &[u8], sensitive: bool) {
        let name = if id == HeaderId::Other { self.store(name) } else { Span::default() };
        let value = self.store(value);
        self.add(Entry { id, removed: false, sensitive, name, value });
    }

    /// Add a field whose text will be that of `adopt`.
    pub(crate) fn push_spans(&mut self, id: HeaderId, name: Span, value: Span) {
        self.add(Entry { id, removed: false, sensitive: false, name, value });
    }

    /// Take the text that the spans of all fields so far point into. Spans in upper case are to be lowered.
    pub(crate) fn adopt(&mut self, text: &[u8]) {
        self.text.clear();
        self.text.extend_from_slice(text);
    }

    /// Turn the names of all fields into lower case, where they are.
    pub(crate) fn lower_names(&mut self) {
        for entry in &self.entries {
            let range = entry.name.range();
            lower_name(&mut self.text[range]);
        }
    }

    fn add(&mut self, entry: Entry) {
        self.seen |= 1 << entry.id as u32;
        self.entries.push(entry);
    }

    /// Whether a field with this id may be there.
    fn may_have(&self, id: HeaderId) -> bool {
        self.seen & 1 << id as u32 != 0
    }

    /// The fields in order, each with whether it must never be put into a compression table.
    pub(crate) fn iter_sensitive(&self) -> impl Iterator<Item = (Field<'_>, bool)> {
        self.entries.iter().filter(|e| !e.removed).map(|e| (self.field(e), e.sensitive))
    }

    /// The fields in order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.entries.iter().filter(|e| !e.removed).map(|e| self.field(e))
    }

    /// The number of fields.
    pub fn len(&self) -> usize {
        self.entries.iter().filter(|e| !e.removed).count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The size that HTTP/2 counts (RFC 9113, section 6.5.2): names, values and 32 octets a field.
    pub fn size(&self) -> usize {
        self.iter().map(|f| f.name.len() + f.value.len() + 32).sum()
    }

    /// Octets of memory that are held for them, used or not.
    pub fn held(&self) -> usize {
        self.text.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// The first value of a known name.
    pub fn get(&self, id: HeaderId) -> Option<&[u8]> {
        if !self.may_have(id) {
            return None;
        }
        self.entries.iter().find(|e| e.id == id && !e.removed).map(|e| self.at(e.value))
    }

    /// All values of a known name, in order.
    pub fn get_all(&self, id: HeaderId) -> impl Iterator<Item = &[u8]> {
        let entries = if self.may_have(id) { &self.entries[..] } else { &[] };
        entries.iter().filter(move |e| e.id == id && !e.removed).map(|e| self.at(e.value))
    }

    /// The first value of a name in lower case.
    pub fn get_name(&self, name: &[u8]) -> Option<&[u8]> {
        let id = HeaderId::of(name);
        if !self.may_have(id) {
            return None;
        }
        let is_it =
            |e: &&Entry| !e.removed && e.id == id && (id != HeaderId::Other || self.at(e.name) == name);
        self.entries.iter().find(is_it).map(|e| self.at(e.value))
    }

    /// All values of a name in lower case, in order.
    pub fn get_all_name<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let id = HeaderId::of(name);
        self.entries
            .iter()
            .filter(move |e| !e.removed && e.id == id && (id != HeaderId::Other || self.at(e.name) == name))
            .map(|e| self.at(e.value))
    }

    /// Whether there is a field of a known name.
    pub fn has(&self, id: HeaderId) -> bool {
        self.may_have(id) && self.entries.iter().any(|e| e.id == id && !e.removed)
    }

    /// Take away all fields of a known name; whether there were any.
    pub fn remove(&mut self, id: HeaderId) -> bool {
        if !self.may_have(id) {
            return false;
        }
        let mut found = false;
        for entry in self.entries.iter_mut().filter(|e| e.id == id && !e.removed) {
            entry.removed = true;
            found = true;
        }
        found
    }

    /// Take away all fields of a name in lower case; whether there were any.
    pub fn remove_name(&mut self, name: &[u8]) -> bool {
        let id = HeaderId::of(name);
        if id != HeaderId::Other {
            return self.remove(id);
        }
        self.retain(|field| field.id != HeaderId::Other || field.name != name)
    }

    /// Keep the fields for which `keep` holds; whether any was taken away.
    pub fn retain(&mut self, mut keep: impl FnMut(Field<'_>) -> bool) -> bool {
        let mut found = false;
        for index in 0..self.entries.len() {
            let entry = self.entries[index];
            if !entry.removed && !keep(self.field(&entry)) {
                self.entries[index].removed = true;
                found = true;
            }
        }
        found
    }

    /// Replace all fields of a known name by one; it takes the place of the first, or the end.
    pub fn set(&mut self, id: HeaderId, value: &[u8]) {
        let span = self.store(value);
        let mut is_first = true;
        for entry in self.entries.iter_mut().filter(|e| e.id == id && !e.removed) {
            if is_first {
                entry.value = span;
                is_first = false;
            } else {
                entry.removed = true;
            }
        }
        if is_first {
            self.add(Entry { id, removed: false, sensitive: false, name: Span::default(), value: span });
        }
    }

    /// Replace all fields of a name (lower case) by one.
    pub fn set_name(&mut self, name: &[u8], value: &[u8]) {
        let id = HeaderId::of(name);
        if id == HeaderId::Other {
            self.remove_name(name);
            self.push(name, value);
        } else {
            self.set(id, value);
        }
    }

    /// Put `text` into the buffer without a field: pseudo headers live there too.
    pub(crate) fn store(&mut self, text: &[u8]) -> Span {
        let start = self.text.len() as u32;
        self.text.extend_from_slice(text);
        Span { start, len: text.len() as u32 }
    }

    /// The text of a span that this buffer stored.
    pub(crate) fn at(&self, span: Span) -> &[u8] {
        &self.text[span.range()]
    }

    /// Write the fields but those of `left_out` as lines of HTTP/1. Lines that are in the text as they are to be
    /// written, one after the other, are copied at once: that is the usual case.
    pub(crate) fn write_lines(&self, left_out: u128, out: &mut Vec<u8>) {
        let mut run = 0..0;
        for entry in self.entries.iter().filter(|e| !e.removed && left_out & 1 << e.id as u32 == 0) {
            let line = self.line(entry).unwrap_or(0..0);
            if line.start == run.end && !line.is_empty() {
                run.end = line.end;
                continue;
            }
            out.extend_from_slice(&self.text[std::mem::replace(&mut run, line.clone())]);
            if line.is_empty() {
                let field = self.field(entry);
                for part in [field.name, b": ", field.value, b"\r\n"] {
                    out.extend_from_slice(part);
                }
            }
        }
        out.extend_from_slice(&self.text[run]);
    }

    /// Where the whole line of a field is, when it came so.
    fn line(&self, entry: &Entry) -> Option<Range<usize>> {
        let (name, value) = (entry.name.range(), entry.value.range());
        let is_line = !name.is_empty()
            && value.start == name.end + 2
            && self.text[name.end..].starts_with(b": ")
            && self.text[value.end..].starts_with(b"\r\n");
        is_line.then_some(name.start..value.end + 2)
    }

    fn field(&self, entry: &Entry) -> Field<'_> {
        let name = match entry.id {
            HeaderId::Other => self.at(entry.name),
            id => id.name().as_bytes(),
        };
        Field { id: entry.id, name, value: self.at(entry.value) }
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Headers) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<'a> Extend<(&'a [u8], &'a [u8])> for Headers {
    fn extend<T: IntoIterator<Item = (&'a [u8], &'a [u8])>>(&mut self, fields: T) {
        for (name, value) in fields {
            self.push(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_order_is_kept() {
        let mut headers = Headers::new();
        headers.push(b"Content-Type", b"text/plain");
        headers.push(b"X-Own", b"1");
        headers.push(b"x-own", b"2");
        assert_eq!(headers.get(HeaderId::ContentType), Some(&b"text/plain"[..]));
        assert_eq!(headers.get_all_name(b"x-own").collect::<Vec<_>>(), [b"1", b"2"]);
        assert!(headers.remove_name(b"x-own"));
        assert_eq!(headers.iter().map(|f| f.name.to_vec()).collect::<Vec<_>>(), [b"content-type".to_vec()]);
    }

    #[test]
    fn set_leaves_one_in_the_place_of_the_first() {
        let mut headers = Headers::new();
        for (name, value) in [("date", "a"), ("server", "b"), ("date", "c")] {
            headers.push(name.as_bytes(), value.as_bytes());
        }
        headers.set(HeaderId::Date, b"new");
        let shown: Vec<_> = headers.iter().map(|f| (f.id, f.value.to_vec())).collect();
        assert_eq!(shown, [(HeaderId::Date, b"new".to_vec()), (HeaderId::Server, b"b".to_vec())]);
    }
}

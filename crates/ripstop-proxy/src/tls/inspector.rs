//! Looks into the beginning of a connection without taking anything from it (`envoy.filters.listener.tls_inspector`): is it
//! TLS, which server is asked for (RFC 6066 section 3), which protocols are offered (RFC 7301 section 3.1).
use std::borrow::Cow;

/// The most bytes of a ClientHello, over all of its records (Envoy's default for `initial_read_buffer_size` is the same).
pub const MAX_HELLO: usize = 64 * 1024;

const RECORD_HEADER: usize = 5;
const MAX_RECORD: usize = 16 * 1024;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peek {
    /// Not the beginning of a well-formed ClientHello.
    NotTls,
    /// A ClientHello so far; it is not complete.
    NeedMore,
    /// A whole ClientHello.
    Hello {
        /// SNI in lower case.
        server_name: Option<String>,
        /// The protocols offered, in the client's order.
        alpn: Vec<Vec<u8>>,
    },
}

/// Judge `buf`, all bytes since the connection began.
pub fn peek(buf: &[u8]) -> Peek {
    match hello_message(buf) {
        Ok(Some(message)) => hello(&message).unwrap_or(Peek::NotTls),
        Ok(None) => Peek::NeedMore,
        Err(NotTls) => Peek::NotTls,
    }
}

struct NotTls;

/// The body of the ClientHello, put together from its records; `None` while bytes are missing.
fn hello_message(buf: &[u8]) -> Result<Option<Cow<'_, [u8]>>, NotTls> {
    let mut message: Cow<'_, [u8]> = Cow::Borrowed(&[]);
    let mut rest = buf;
    loop {
        let (content, after) = match record(rest)? {
            Record::Part(content) => (content, None),
            Record::Whole(content, after) => (content, Some(after)),
        };
        match &mut message {
            Cow::Borrowed([]) => message = Cow::Borrowed(content),
            joined => joined.to_mut().extend_from_slice(content),
        }
        if let Some(length) = hello_length(&message)? {
            let end = 4 + length;
            if message.len() >= end {
                return Ok(Some(match message {
                    Cow::Borrowed(all) => Cow::Borrowed(&all[4..end]),
                    Cow::Owned(all) => Cow::Owned(all[4..end].to_vec()),
                }));
            }
        }
        match after {
            Some(after) => rest = after,
            None => return Ok(None),
        }
    }
}

enum Record<'a> {
    /// What there is of an incomplete record's content.
    Part(&'a [u8]),
    /// A record's content and what follows it.
    Whole(&'a [u8], &'a [u8]),
}

/// The record at the beginning of `bytes` (RFC 8446 section 5.1). An empty handshake record is not allowed.
fn record(bytes: &[u8]) -> Result<Record<'_>, NotTls> {
    let is_plausible = bytes.first().is_none_or(|kind| *kind == HANDSHAKE)
        && bytes.get(1).is_none_or(|major| *major == 3)
        && bytes.get(2).is_none_or(|minor| *minor <= 4);
    if !is_plausible {
        return Err(NotTls);
    }
    let Some((header, rest)) = bytes.split_at_checked(RECORD_HEADER) else { return Ok(Record::Part(&[])) };
    let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
    if length == 0 || length > MAX_RECORD {
        return Err(NotTls);
    }
    Ok(match rest.split_at_checked(length) {
        Some((content, after)) => Record::Whole(content, after),
        None => Record::Part(rest),
    })
}

/// The length that the handshake header tells; `None` while it is incomplete.
fn hello_length(message: &[u8]) -> Result<Option<usize>, NotTls> {
    if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Err(NotTls);
    }
    let Some(&[_, a, b, c]) = message.get(..4) else { return Ok(None) };
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    if length > MAX_HELLO { Err(NotTls) } else { Ok(Some(length)) }
}

/// What a ClientHello says (RFC 8446 section 4.1.2); `None` when it is malformed.
fn hello(body: &[u8]) -> Option<Peek> {
    let mut reader = Reader(body);
    let version = reader.u16()?;
    if version >> 8 != 3 {
        return None;
    }
    reader.take(32)?;
    let session_id = reader.short()?;
    let suites = reader.long()?;
    let compression = reader.short()?;
    if session_id.len() > 32 || suites.len() < 2 || suites.len() % 2 != 0 || compression.is_empty() {
        return None;
    }
    let (mut server_name, mut alpn) = (None, None);
    if !reader.0.is_empty() {
        let mut extensions = Reader(reader.long()?);
        while !extensions.0.is_empty() {
            let kind = extensions.u16()?;
            let content = extensions.long()?;
            match kind {
                SERVER_NAME if server_name.is_some() => return None,
                ALPN if alpn.is_some() => return None,
                SERVER_NAME => server_name = Some(host_name(content)?),
                ALPN => alpn = Some(protocols(content)?),
                _ => {}
            }
        }
    }
    if !reader.0.is_empty() {
        return None;
    }
    Some(Peek::Hello { server_name, alpn: alpn.unwrap_or_default() })
}

/// The one host name of a server name list.
fn host_name(content: &[u8]) -> Option<String> {
    let mut reader = Reader(content);
    let mut list = Reader(reader.long()?);
    let kind = list.u8()?;
    let name = list.long()?;
    let is_sound = kind == 0 && list.0.is_empty() && reader.0.is_empty();
    let is_text = !name.is_empty() && name.len() <= 255 && name.iter().all(u8::is_ascii_graphic);
    if !is_sound || !is_text {
        return None;
    }
    std::str::from_utf8(name).ok().map(str::to_ascii_lowercase)
}

fn protocols(content: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut reader = Reader(content);
    let mut list = Reader(reader.long()?);
    let mut protocols = Vec::new();
    while !list.0.is_empty() {
        let name = list.short()?;
        if name.is_empty() {
            return None;
        }
        protocols.push(name.to_vec());
    }
    (reader.0.is_empty() && !protocols.is_empty()).then_some(protocols)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Bytes whose number is told by one byte before them.
    fn short(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    /// Bytes whose number is told by two bytes before them.
    fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}

#[cfg(test)]
#[path = "inspector_tests.rs"]
mod tests;

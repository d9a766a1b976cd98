//! Frame headers and the frames of fixed form (RFC 9113, sections 4.1 and 6).
use super::{Code, Settings, StreamId};

/// What a client sends first (RFC 9113, section 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Octets of a frame header.
pub(super) const HEAD: usize = 9;
/// The largest stream id and the largest window.
pub(super) const MAX_31: u32 = 0x7fff_ffff;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;
pub(super) const HAS_PRIORITY: u8 = 0x20;

pub(super) const HEADER_TABLE_SIZE: u16 = 1;
pub(super) const ENABLE_PUSH: u16 = 2;
pub(super) const MAX_CONCURRENT_STREAMS: u16 = 3;
pub(super) const INITIAL_WINDOW_SIZE: u16 = 4;
pub(super) const MAX_FRAME_SIZE: u16 = 5;
pub(super) const MAX_HEADER_LIST_SIZE: u16 = 6;
pub(super) const ENABLE_CONNECT_PROTOCOL: u16 = 8;

/// A frame header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) len: u32,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: StreamId,
}

impl Head {
    /// Read one from nine octets.
    #[inline]
    pub(super) fn read(bytes: &[u8; HEAD]) -> Head {
        let [a, b, c, kind, flags, s0, s1, s2, s3] = *bytes;
        let len = u32::from_be_bytes([0, a, b, c]);
        Head { len, kind, flags, stream: u32::from_be_bytes([s0, s1, s2, s3]) & MAX_31 }
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// A frame header as octets.
#[inline]
pub(super) fn head_octets(len: usize, kind: u8, flags: u8, stream: StreamId) -> [u8; HEAD] {
    let [_, a, b, c] = (len as u32).to_be_bytes();
    let [s0, s1, s2, s3] = stream.to_be_bytes();
    [a, b, c, kind, flags, s0, s1, s2, s3]
}

/// Write a frame header.
#[inline]
pub(super) fn head(out: &mut Vec<u8>, len: usize, kind: u8, flags: u8, stream: StreamId) {
    out.extend_from_slice(&head_octets(len, kind, flags, stream));
}

pub(super) fn rst_stream(out: &mut Vec<u8>, stream: StreamId, code: Code) {
    head(out, 4, RST_STREAM, 0, stream);
    out.extend_from_slice(&code.0.to_be_bytes());
}

pub(super) fn window_update(out: &mut Vec<u8>, stream: StreamId, more: u32) {
    head(out, 4, WINDOW_UPDATE, 0, stream);
    out.extend_from_slice(&more.to_be_bytes());
}

pub(super) fn ping(out: &mut Vec<u8>, flags: u8, opaque: &[u8]) {
    head(out, 8, PING, flags, 0);
    out.extend_from_slice(opaque);
}

pub(super) fn go_away(out: &mut Vec<u8>, last: StreamId, code: Code, words: &str) {
    head(out, 8 + words.len(), GOAWAY, 0, 0);
    out.extend_from_slice(&last.to_be_bytes());
    out.extend_from_slice(&code.0.to_be_bytes());
    out.extend_from_slice(words.as_bytes());
}

/// Our SETTINGS; what equals the protocol's default is left out.
pub(super) fn settings(out: &mut Vec<u8>, ours: &Settings, is_client: bool) {
    let all = [
        (HEADER_TABLE_SIZE, ours.header_table_size, ours.header_table_size != 4096),
        (ENABLE_PUSH, 0, is_client),
        (MAX_CONCURRENT_STREAMS, ours.max_concurrent_streams, !is_client),
        (INITIAL_WINDOW_SIZE, ours.initial_stream_window, ours.initial_stream_window != 65_535),
        (MAX_FRAME_SIZE, ours.max_frame_size, ours.max_frame_size != 16_384),
        (MAX_HEADER_LIST_SIZE, ours.max_header_list_size, true),
        (ENABLE_CONNECT_PROTOCOL, 1, !is_client && ours.allow_connect),
    ];
    head(out, 6 * all.iter().filter(|(.., is_sent)| *is_sent).count(), SETTINGS, 0, 0);
    for (id, value, _) in all.into_iter().filter(|(.., is_sent)| *is_sent) {
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

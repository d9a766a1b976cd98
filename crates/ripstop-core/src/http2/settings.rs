//! What this end announces and enforces.
use crate::snapshot::Http2Options;

/// Limits of a connection, all of this end's choice.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// SETTINGS_MAX_CONCURRENT_STREAMS: streams that the peer may have open.
    pub max_concurrent_streams: u32,
    /// SETTINGS_INITIAL_WINDOW_SIZE: octets that a stream may have on the way to us.
    pub initial_stream_window: u32,
    /// Octets that all streams together may have on the way to us.
    pub initial_connection_window: u32,
    /// SETTINGS_MAX_HEADER_LIST_SIZE: octets of names and values and 32 for each field.
    pub max_header_list_size: u32,
    /// SETTINGS_MAX_FRAME_SIZE: the longest payload that we take, 16 KiB to 16 MiB.
    pub max_frame_size: u32,
    /// SETTINGS_HEADER_TABLE_SIZE, and the most of the peer's that we use.
    pub header_table_size: u32,
    /// Take extended CONNECT (RFC 8441).
    pub allow_connect: bool,
    /// Compress strings with the Huffman code. Fewer octets, more CPU: off between machines that are near.
    pub huffman: bool,
    /// Answers to SETTINGS and PING, resets and window updates that may wait to be written.
    pub max_outbound_control_frames: u32,
    /// DATA frames in a row that carry nothing and end nothing.
    pub max_consecutive_empty_frames: u32,
    /// PRIORITY frames for each stream opened.
    pub max_priority_frames_per_stream: u32,
    /// WINDOW_UPDATE frames for each DATA frame sent, or 4 KiB of it.
    pub max_window_update_per_data: u32,
    /// CONTINUATION frames of one header block.
    pub max_continuation_frames: u32,
    /// Streams that the peer may reset, or have reset by its faults, beyond those that it lets end well;
    /// [`Connection::tick`](super::Connection::tick) gives a tenth back each second.
    pub max_resets: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings::from(&Http2Options::default())
    }
}

impl From<&Http2Options> for Settings {
    fn from(options: &Http2Options) -> Settings {
        Settings {
            max_concurrent_streams: options.max_concurrent_streams,
            initial_stream_window: options.initial_stream_window.min(i32::MAX as u32),
            initial_connection_window: options.initial_connection_window.clamp(65_535, i32::MAX as u32),
            max_header_list_size: 60 << 10,
            max_frame_size: 16 << 10,
            header_table_size: options.hpack_table_size.min(64 << 10),
            allow_connect: options.allow_connect,
            huffman: false,
            max_outbound_control_frames: options.max_outbound_control_frames,
            max_consecutive_empty_frames: options.max_consecutive_empty_frames,
            max_priority_frames_per_stream: options.max_priority_frames_per_stream,
            max_window_update_per_data: options.max_window_update_per_data,
            max_continuation_frames: 32,
            max_resets: 500,
        }
    }
}

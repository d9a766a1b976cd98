//! HTTP/2 (RFC 9113) as a machine: it is handed octets and gives events, and what is to be written stands in its output.
//! It plays both roles, opens no sockets and reads no clock. In steady state it allocates nothing, neither for a frame
//! nor for a stream.
//!
//! The caller feeds [`Connection::receive`] until it says [`Event::NeedMore`], releases DATA that it has passed on, and writes
//! [`Connection::out`]. Messages that are malformed never reach it. Priorities are ignored, server push is refused.
mod code;
mod connection;
mod fields;
mod floods;
mod frame;
pub mod hpack;
mod message;
mod pending;
mod receive;
mod receive_control;
mod receive_head;
mod send;
mod settings;
mod streams;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub use code::{Code, ConnectionError, SendError};
pub use connection::Connection;
pub use frame::PREFACE;
pub use settings::Settings;

/// The number of a stream; odd, as only clients open streams.
pub type StreamId = u32;

/// What [`Connection::receive`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing more can be told from what is there.
    NeedMore,
    /// A request has begun; its head is in [`Connection::request_head`].
    Request {
        /// Its stream.
        stream: StreamId,
        /// There is no body.
        end: bool,
    },
    /// A response head, in [`Connection::response_head`]; interim ones (1xx) come this way too.
    Response {
        /// Its stream.
        stream: StreamId,
        /// There is no body.
        end: bool,
    },
    /// Trailers, in [`Connection::trailers`]; they end the message.
    Trailers {
        /// Their stream.
        stream: StreamId,
    },
    /// A part of a body.
    Data {
        /// Its stream.
        stream: StreamId,
        /// Where it is in the input of this call.
        data: Range<usize>,
        /// The message ends with it.
        end: bool,
        /// Octets to [`Connection::release`] when it has been passed on; padding is not among them.
        flow: usize,
    },
    /// The peer gave the stream up. After a GOAWAY also: it never looked at the stream (REFUSED_STREAM).
    Reset {
        /// The stream; it is gone.
        stream: StreamId,
        /// Why.
        code: Code,
    },
    /// The peer broke a rule of a message that the caller knows of; the stream was reset.
    Malformed {
        /// The stream; it is gone.
        stream: StreamId,
        /// What was wrong.
        why: &'static str,
    },
    /// What flow control kept back of the stream has gone, or fell below [`Connection::LOW_WATER`].
    Writable {
        /// The stream.
        stream: StreamId,
    },
    /// The peer takes no more streams. A [`Event::Reset`] follows for each of ours above `last`.
    GoAway {
        /// The last stream that it looks at.
        last: StreamId,
        /// Why.
        code: Code,
    },
    /// The answer to a [`Connection::ping`].
    Pong([u8; 8]),
    /// The peer's settings came.
    Settings,
    /// Something that is nothing to the caller.
    Handled,
}

/// A connection error without detail.
fn fault(code: Code, reason: &'static str) -> ConnectionError {
    ConnectionError { code, reason, detail: String::new() }
}

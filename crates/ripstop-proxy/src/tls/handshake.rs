//! rustls by its unbuffered interface: handshakes, and all of TLS 1.2. Records are decrypted where the worker read them, what is to
//! be sent is appended to what the connection has to write.
use super::failure::{self, TlsFailure};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};

/// The most plaintext in a record (RFC 5246 section 6.2.1).
const MAX_PLAINTEXT: usize = 16 * 1024;
/// More than any record adds to its plaintext: header, explicit nonce, content type, tag.
const RECORD_OVERHEAD: usize = 5 + 8 + 1 + 16;
/// Room for a key update or an alert that goes ahead of what is sent.
const CONTROL_ROOM: usize = 128;

/// Client or server.
pub(super) trait Steps {
    type Data;
    fn step<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
    /// Whether the next step gives something to send.
    fn has_output(&self) -> bool;
}

impl Steps for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    fn step<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, ServerConnectionData> {
        self.process_tls_records(input)
    }

    fn has_output(&self) -> bool {
        self.wants_write()
    }
}

impl Steps for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    fn step<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, ClientConnectionData> {
        self.process_tls_records(input)
    }

    fn has_output(&self) -> bool {
        self.wants_write()
    }
}

/// Process records until more input is wanted; how many bytes were used.
pub(super) fn drive<S: Steps>(
    connection: &mut S,
    input: &mut [u8],
    plain: &mut Vec<u8>,
    out: &mut Vec<u8>,
    is_peer_closed: &mut bool,
) -> Result<usize, TlsFailure> {
    let (mut used, end) = (0, input.len());
    loop {
        let UnbufferedStatus { mut discard, state } = connection.step(&mut input[used..]);
        let goes_on = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard += record.discard;
                    plain.extend_from_slice(record.payload);
                }
                true
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                append(out, |room| data.encode(room));
                true
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                true
            }
            Ok(ConnectionState::PeerClosed) => {
                *is_peer_closed = true;
                true
            }
            Ok(_) => false,
            Err(error) => {
                append_alert(connection, &mut input[(used + discard).min(end)..], out);
                return Err(error.into());
            }
        };
        used += discard;
        if !goes_on {
            return Ok(used);
        }
    }
}

/// After an error: append the alert that tells the peer. `rest` is the input that was not used: rustls remembers where in it
/// unfinished messages are.
fn append_alert<S: Steps>(connection: &mut S, rest: &mut [u8], out: &mut Vec<u8>) {
    // Without output, a step would look at the faulty input once more.
    while connection.has_output() {
        let UnbufferedStatus { state: Ok(ConnectionState::EncodeTlsData(mut data)), .. } =
            connection.step(rest)
        else {
            return;
        };
        append(out, |room| data.encode(room));
    }
}

/// Append what `write` writes; it tells how much room it wants when there is not enough.
fn append(out: &mut Vec<u8>, mut write: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) {
    let Err(EncodeError::InsufficientSize(wants)) = write(&mut []) else { return };
    let start = out.len();
    out.resize(start + wants.required_size, 0);
    let written = write(&mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
}

pub(super) fn encrypt<S: Steps>(
    connection: &mut S,
    kept: &mut [u8],
    plain: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), TlsFailure> {
    if plain.is_empty() {
        return Ok(());
    }
    loop {
        // What is kept holds no whole record that could still be processed, but rustls wants to see it each time.
        match connection.step(kept).state {
            Ok(ConnectionState::EncodeTlsData(mut data)) => append(out, |room| data.encode(room)),
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                let records = plain.len().div_ceil(MAX_PLAINTEXT);
                let mut room = plain.len() + records * RECORD_OVERHEAD + CONTROL_ROOM;
                let start = out.len();
                loop {
                    out.resize(start + room, 0);
                    match traffic.encrypt(plain, &mut out[start..]) {
                        Ok(written) => {
                            out.truncate(start + written);
                            return Ok(());
                        }
                        Err(EncryptError::InsufficientSize(wants)) if wants.required_size > room => {
                            room = wants.required_size;
                        }
                        Err(_) => {
                            out.truncate(start);
                            return Err(TlsFailure::plain(failure::EXHAUSTED));
                        }
                    }
                }
            }
            Ok(_) => return Err(TlsFailure::plain(failure::UNINITIALIZED)),
            Err(error) => return Err(error.into()),
        }
    }
}

pub(super) fn close_notify<S: Steps>(connection: &mut S, kept: &mut [u8], out: &mut Vec<u8>) {
    loop {
        match connection.step(kept).state {
            Ok(ConnectionState::EncodeTlsData(mut data)) => append(out, |room| data.encode(room)),
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                let start = out.len();
                out.resize(start + CONTROL_ROOM, 0);
                let written = traffic.queue_close_notify(&mut out[start..]).unwrap_or(0);
                out.truncate(start + written);
                return;
            }
            _ => return,
        }
    }
}

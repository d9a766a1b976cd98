//! A TLS 1.3 connection after its handshake. rustls did that and goes on keeping the key schedule and tickets; records, alerts
//! and key updates are handled here, since rustls would allocate and copy for each record.
use super::failure::TlsFailure;
use super::records::{
    ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, HEADER, Keys, MAX_CONTENT, OVERHEAD, whole_record,
};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::kernel::KernelConnection;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::{AlertDescription, ContentType, Error, ExtractedSecrets, InvalidMessage, PeerMisbehaved};

/// The longest handshake message that is put together.
const MAX_MESSAGE: usize = 64 * 1024;
/// How many records without data, key updates and harmless alerts may follow each other.
const MAX_IDLE_RECORDS: u8 = 32;

const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;
const WARNING: u8 = 1;
const FATAL: u8 = 2;
const UPDATE_NOT_REQUESTED: [u8; 5] = [KEY_UPDATE, 0, 0, 1, 0];

/// The data phase of a connection.
pub(super) struct Established {
    schedule: Schedule,
    send: Keys,
    receive: Keys,
    /// A handshake message of which more must come.
    message: Vec<u8>,
    idle_records: u8,
    /// The peer asked for new keys.
    owes_key_update: bool,
    is_closing: bool,
}

/// What rustls keeps.
enum Schedule {
    Server(KernelConnection<ServerConnectionData>),
    Client(KernelConnection<ClientConnectionData>),
}

impl Established {
    /// Take over from a server whose handshake is done, with nothing left to send.
    pub fn server(connection: UnbufferedServerConnection) -> Result<Established, Error> {
        let (secrets, schedule) = connection.dangerous_into_kernel_connection()?;
        Established::new(secrets, Schedule::Server(schedule))
    }

    /// Take over from a client.
    pub fn client(connection: UnbufferedClientConnection) -> Result<Established, Error> {
        let (secrets, schedule) = connection.dangerous_into_kernel_connection()?;
        Established::new(secrets, Schedule::Client(schedule))
    }

    fn new(secrets: ExtractedSecrets, schedule: Schedule) -> Result<Established, Error> {
        Ok(Established {
            schedule,
            send: Keys::new(secrets.tx)?,
            receive: Keys::new(secrets.rx)?,
            message: Vec::new(),
            idle_records: 0,
            owes_key_update: false,
            is_closing: false,
        })
    }

    /// Open all whole records; how many bytes they take. An error's alert is in `out`.
    pub fn receive(
        &mut self,
        input: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
        is_peer_closed: &mut bool,
    ) -> Result<usize, TlsFailure> {
        let result = self.open_all(input, plain, is_peer_closed);
        let result = result.and_then(|used| self.answer_key_update(out).map(|()| used));
        result.map_err(|error| {
            if let Some(alert) = alert_for(&error) {
                // The connection is lost anyway.
                let _ = self.seal(ALERT, &[FATAL, alert.into()], out);
            }
            error.into()
        })
    }

    fn open_all(
        &mut self,
        input: &mut [u8],
        plain: &mut Vec<u8>,
        is_peer_closed: &mut bool,
    ) -> Result<usize, Error> {
        let mut used = 0;
        while !*is_peer_closed {
            let Some((header, length)) = whole_record(&input[used..])? else { break };
            let start = used + HEADER;
            used = start + length;
            if header[0] != APPLICATION_DATA {
                return Err(unexpected(header[0]));
            }
            let (kind, content) = self.receive.open(header, &mut input[start..used])?;
            if kind == APPLICATION_DATA && !content.is_empty() && self.message.is_empty() {
                self.idle_records = 0;
                plain.extend_from_slice(content);
            } else {
                self.control(kind, content, is_peer_closed)?;
            }
        }
        Ok(used)
    }

    /// A record that brings no data.
    fn control(&mut self, kind: u8, content: &[u8], is_peer_closed: &mut bool) -> Result<(), Error> {
        self.idle_records += 1;
        if self.idle_records > MAX_IDLE_RECORDS {
            return Err(PeerMisbehaved::TooManyEmptyFragments.into());
        }
        match kind {
            HANDSHAKE => self.handshake(content),
            // Records of other types must not come between parts of a message (RFC 8446 section 5.1).
            _ if !self.message.is_empty() => Err(unexpected(kind)),
            APPLICATION_DATA => Ok(()),
            ALERT => alert(content, is_peer_closed),
            _ => Err(unexpected(kind)),
        }
    }

    fn handshake(&mut self, content: &[u8]) -> Result<(), Error> {
        if content.is_empty() {
            return Err(InvalidMessage::InvalidEmptyPayload.into());
        }
        self.message.extend_from_slice(content);
        let joined = std::mem::take(&mut self.message);
        let mut rest = &joined[..];
        while let Some(&[kind, a, b, c]) = rest.first_chunk::<4>() {
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            if length > MAX_MESSAGE {
                return Err(InvalidMessage::HandshakePayloadTooLarge.into());
            }
            let Some((body, after)) = rest[4..].split_at_checked(length) else { break };
            self.handshake_message(kind, body, after.is_empty())?;
            rest = after;
        }
        self.message = rest.to_vec();
        Ok(())
    }

    fn handshake_message(&mut self, kind: u8, body: &[u8], ends_record: bool) -> Result<(), Error> {
        match (kind, &mut self.schedule) {
            (NEW_SESSION_TICKET, Schedule::Client(schedule)) => schedule.handle_new_session_ticket(body),
            (KEY_UPDATE, schedule) => {
                let &[request @ 0..=1] = body else { return Err(InvalidMessage::InvalidKeyUpdate.into()) };
                if !ends_record {
                    return Err(PeerMisbehaved::KeyEpochWithPendingFragment.into());
                }
                self.receive = Keys::new(match schedule {
                    Schedule::Server(schedule) => schedule.update_rx_secret()?,
                    Schedule::Client(schedule) => schedule.update_rx_secret()?,
                })?;
                self.owes_key_update |= request == 1;
                Ok(())
            }
            _ => Err(unexpected(HANDSHAKE)),
        }
    }

    /// One answer for however many requests came (RFC 8446 section 4.6.3).
    fn answer_key_update(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        match std::mem::take(&mut self.owes_key_update) && !self.is_closing {
            true => self.update_send_keys(out),
            false => Ok(()),
        }
    }

    fn update_send_keys(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.send.seal(HANDSHAKE, &UPDATE_NOT_REQUESTED, out)?;
        self.send = Keys::new(match &mut self.schedule {
            Schedule::Server(schedule) => schedule.update_tx_secret()?,
            Schedule::Client(schedule) => schedule.update_tx_secret()?,
        })?;
        Ok(())
    }

    /// Append `plain` in records as long as may be.
    pub fn send(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        if self.is_closing {
            return Err(Error::EncryptError);
        }
        let records = plain.len().div_ceil(MAX_CONTENT);
        out.reserve(plain.len() + records * OVERHEAD);
        plain.chunks(MAX_CONTENT).try_for_each(|content| self.seal(APPLICATION_DATA, content, out))
    }

    /// Append close_notify, once.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        if !self.is_closing {
            let alert = [WARNING, AlertDescription::CloseNotify.into()];
            // What cannot be sealed is not told: the connection ends without it.
            let _ = self.seal(ALERT, &alert, out);
            self.is_closing = true;
        }
    }

    fn seal(&mut self, kind: u8, content: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        if self.send.are_used_up() {
            self.update_send_keys(out)?;
        }
        self.send.seal(kind, content, out)
    }

    #[cfg(test)]
    pub fn limit_send_keys(&mut self, records: u64) {
        self.send.set_limit(records);
    }
}

/// RFC 8446 section 6: all alerts but two are fatal, whatever level they claim.
fn alert(content: &[u8], is_peer_closed: &mut bool) -> Result<(), Error> {
    let &[_, description] = content else {
        return Err(InvalidMessage::TrailingData("Alert").into());
    };
    match AlertDescription::from(description) {
        AlertDescription::CloseNotify => *is_peer_closed = true,
        AlertDescription::UserCanceled => {}
        other => return Err(Error::AlertReceived(other)),
    }
    Ok(())
}

fn unexpected(kind: u8) -> Error {
    let mut expect_types = vec![ContentType::ApplicationData];
    if kind != CHANGE_CIPHER_SPEC {
        expect_types.push(ContentType::Handshake);
    }
    Error::InappropriateMessage { expect_types, got_type: ContentType::from(kind) }
}

/// What the peer is told of an error; nothing in answer to an alert.
fn alert_for(error: &Error) -> Option<AlertDescription> {
    Some(match error {
        Error::AlertReceived(_) => return None,
        Error::DecryptError => AlertDescription::BadRecordMac,
        Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
        Error::InappropriateMessage { .. } | Error::PeerMisbehaved(_) => AlertDescription::UnexpectedMessage,
        Error::InvalidMessage(InvalidMessage::InvalidKeyUpdate) => AlertDescription::IllegalParameter,
        Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::InvalidEmptyPayload) => {
            AlertDescription::UnexpectedMessage
        }
        Error::InvalidMessage(_) => AlertDescription::DecodeError,
        _ => AlertDescription::InternalError,
    })
}

#[cfg(test)]
#[path = "established_tests.rs"]
mod tests;

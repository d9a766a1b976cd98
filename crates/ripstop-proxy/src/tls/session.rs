//! One TLS connection: bytes in and bytes out. Nothing here touches a socket.
//!
//! rustls is driven by its unbuffered interface: records are decrypted where the worker read them, and encrypted records are
//! appended to what the connection has to write.
use super::config::{ClientTls, ServerTls};
use super::failure::{self, TlsFailure};
use super::inspector::{self, Peek, peek};
use super::names::Names;
use ripstop_core::record::TlsInfo;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{CommonState, ProtocolVersion, SupportedCipherSuite};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// The most plaintext in a record (RFC 8446 section 5.1).
const MAX_PLAINTEXT: usize = 16 * 1024;
/// More than any record adds to its plaintext: header, explicit nonce, content type, tag.
const RECORD_OVERHEAD: usize = 5 + 8 + 1 + 16;
/// Room for a key update or an alert that goes ahead of what is sent.
const CONTROL_ROOM: usize = 128;
/// The most that is kept of what cannot be used yet: a ClientHello in small records.
const MAX_KEPT: usize = inspector::MAX_HELLO + 32 * 1024;

/// What came of some input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// The handshake ended with this input: [`Session::info`] and [`Session::alpn`] are known from now on.
    pub handshake_done_now: bool,
    /// The peer sent close_notify: nothing more comes. Sending is still possible.
    pub peer_closed: bool,
}

/// A TLS connection of a server or a client.
pub struct Session {
    engine: Engine,
    /// Input that cannot be used yet: an incomplete record, or records with an incomplete handshake message.
    kept: Vec<u8>,
    server_name: Option<String>,
    is_done: bool,
    is_peer_closed: bool,
    failure: Option<TlsFailure>,
}

enum Engine {
    /// A server that has no ClientHello yet: whether ALPN is answered depends on it.
    Waiting(Arc<ServerTls>),
    Server(Box<UnbufferedServerConnection>, Arc<ServerTls>),
    Client(Box<UnbufferedClientConnection>, Arc<ClientTls>),
}

impl Session {
    /// A connection that a client will speak on first.
    pub fn server(config: &Arc<ServerTls>) -> Result<Session, TlsFailure> {
        Ok(Session::new(Engine::Waiting(config.clone()), None))
    }

    /// A connection to a server. An empty `sni` is not sent, nor is an IP address (RFC 6066 section 3). The ClientHello
    /// comes with the first [`Session::receive`], which may be given no input, or by [`Session::start`].
    pub fn client(config: &Arc<ClientTls>, sni: &str) -> Result<Session, TlsFailure> {
        let name = match sni {
            // rustls sends no SNI for an address; what is verified against it is up to our own verifier.
            "" => ServerName::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            name => ServerName::try_from(name.to_owned())
                .map_err(|_| TlsFailure::plain(failure::BAD_SERVER_NAME))?,
        };
        let connection = UnbufferedClientConnection::new(config.config.clone(), name)?;
        let sni = (!sni.is_empty()).then(|| sni.to_ascii_lowercase());
        Ok(Session::new(Engine::Client(Box::new(connection), config.clone()), sni))
    }

    fn new(engine: Engine, server_name: Option<String>) -> Session {
        Session {
            engine,
            kept: Vec::new(),
            server_name,
            is_done: false,
            is_peer_closed: false,
            failure: None,
        }
    }

    /// Append what has to be sent first: a client's ClientHello. Does nothing for servers.
    pub fn start(&mut self, out: &mut Vec<u8>) -> Result<(), TlsFailure> {
        self.receive(&mut [], &mut Vec::new(), out).map(|_| ())
    }

    /// Take in all of `input`: bytes that came, in order; they are overwritten. What cannot be used yet is kept here. Appends
    /// plaintext to `plain`, and to `out` what has to be sent: handshake, key updates, an alert in case of an error.
    pub fn receive(
        &mut self,
        input: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Received, TlsFailure> {
        self.check()?;
        let was_done = self.is_done;
        let result = match self.engine {
            Engine::Waiting(_) => self.receive_hello(input, plain, out),
            _ if self.is_peer_closed => Ok(()),
            _ => self.receive_records(input, plain, out),
        };
        if let Err(why) = result {
            self.failure = Some(why.clone());
            return Err(why);
        }
        self.is_done = self.state().is_some_and(|state| !state.is_handshaking());
        if self.kept.is_empty() {
            // An idle connection owns no buffer.
            self.kept = Vec::new();
        }
        Ok(Received { handshake_done_now: self.is_done && !was_done, peer_closed: self.is_peer_closed })
    }

    /// A session that failed once stays so.
    fn check(&self) -> Result<(), TlsFailure> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    /// Gather a ClientHello, then choose the configuration.
    fn receive_hello(
        &mut self,
        input: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), TlsFailure> {
        let found = if self.kept.is_empty() {
            peek(input)
        } else {
            self.kept.extend_from_slice(input);
            peek(&self.kept)
        };
        let is_kept = !self.kept.is_empty();
        if found == Peek::NeedMore {
            if !is_kept {
                self.kept.extend_from_slice(input);
            }
            return match self.kept.len() > MAX_KEPT {
                true => Err(TlsFailure::plain(failure::EXCESSIVE_MESSAGE)),
                false => Ok(()),
            };
        }
        let Engine::Waiting(config) = &self.engine else { return Ok(()) };
        let config = config.clone();
        let mut has_common_protocol = true;
        if let Peek::Hello { server_name, alpn } = found {
            self.server_name = server_name;
            let ours = &config.config.alpn_protocols;
            has_common_protocol = alpn.iter().any(|offered| ours.contains(offered));
        }
        let chosen = if has_common_protocol { &config.config } else { &config.config_without_alpn };
        let connection = UnbufferedServerConnection::new(chosen.clone())?;
        self.engine = Engine::Server(Box::new(connection), config);
        if is_kept {
            let mut kept = std::mem::take(&mut self.kept);
            self.receive_records(&mut kept, plain, out)
        } else {
            self.receive_records(input, plain, out)
        }
    }

    fn receive_records(
        &mut self,
        input: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), TlsFailure> {
        let mut rest = input;
        // Make what was kept whole with as little as possible, so that all else is decrypted where it is.
        while !self.kept.is_empty() && !rest.is_empty() {
            let n = missing(&self.kept).min(rest.len());
            let (head, tail) = rest.split_at_mut(n);
            self.kept.extend_from_slice(head);
            rest = tail;
            let mut kept = std::mem::take(&mut self.kept);
            let used = self.process(&mut kept, plain, out)?;
            kept.drain(..used);
            self.kept = kept;
        }
        if self.is_peer_closed {
            self.kept.clear();
            return Ok(());
        }
        if self.kept.is_empty() {
            let used = self.process(rest, plain, out)?;
            if !self.is_peer_closed {
                self.kept.extend_from_slice(&rest[used..]);
            }
        }
        match self.kept.len() > MAX_KEPT {
            true => Err(TlsFailure::plain(failure::EXCESSIVE_MESSAGE)),
            false => Ok(()),
        }
    }

    /// Give rustls records; how many bytes were used.
    fn process(
        &mut self,
        bytes: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<usize, TlsFailure> {
        let closed = &mut self.is_peer_closed;
        match &mut self.engine {
            Engine::Waiting(_) => Ok(0),
            Engine::Server(connection, _) => drive(&mut **connection, bytes, plain, out, closed),
            Engine::Client(connection, _) => drive(&mut **connection, bytes, plain, out, closed),
        }
    }

    /// Encrypt all of `plain` and append it to `out`, in records as long as may be. Refused before the handshake is done:
    /// whoever sends keeps it until then.
    pub fn send(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), TlsFailure> {
        self.check()?;
        if !self.is_done {
            return Err(TlsFailure::plain(failure::UNINITIALIZED));
        }
        let kept = &mut self.kept;
        match &mut self.engine {
            Engine::Waiting(_) => Ok(()),
            Engine::Server(connection, _) => encrypt(&mut **connection, kept, plain, out),
            Engine::Client(connection, _) => encrypt(&mut **connection, kept, plain, out),
        }
    }

    /// Append close_notify: nothing more is sent after it. Does nothing before the handshake is done.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        if !self.is_done || self.failure.is_some() {
            return;
        }
        let kept = &mut self.kept;
        match &mut self.engine {
            Engine::Waiting(_) => {}
            Engine::Server(connection, _) => close_notify(&mut **connection, kept, out),
            Engine::Client(connection, _) => close_notify(&mut **connection, kept, out),
        }
    }

    /// Whether the handshake goes on still.
    pub fn is_handshaking(&self) -> bool {
        !self.is_done
    }

    /// The protocol agreed on.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.state().and_then(|state| state.alpn_protocol())
    }

    /// SNI in lower case: what a client asked for, or what we ask for.
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// What the handshake told. Reads the peer's certificate each time: call it once.
    pub fn info(&self) -> Arc<TlsInfo> {
        let Some(state) = self.state() else { return Arc::default() };
        let chain = state.peer_certificates().unwrap_or_default();
        let (local_uri, is_identity) = match &self.engine {
            Engine::Server(_, config) => {
                let judge = config.judge.as_ref();
                let own = config.own.choose(self.server_name(), |_| true);
                (
                    own.map(|own| own.uri.clone()),
                    judge.is_some_and(|judge| judge.identifies_client(chain, UnixTime::now())),
                )
            }
            Engine::Client(_, config) => (Some(config.local_uri.clone()), true),
            Engine::Waiting(_) => (None, false),
        };
        let leaf = chain.first().filter(|_| is_identity);
        let alpn = state.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        Arc::new(TlsInfo {
            version: version_name(state.protocol_version()),
            cipher: state.negotiated_cipher_suite().map(cipher_name).unwrap_or_default(),
            alpn: alpn.unwrap_or_default(),
            peer: leaf.and_then(|leaf: &CertificateDer<'_>| Some(Names::of(leaf)?.into_peer(leaf))),
            local_uri: local_uri.unwrap_or_else(|| Arc::from("")),
        })
    }

    fn state(&self) -> Option<&CommonState> {
        match &self.engine {
            Engine::Waiting(_) => None,
            Engine::Server(connection, _) => Some(connection),
            Engine::Client(connection, _) => Some(connection),
        }
    }
}

/// How many bytes the last record in `kept` lacks; of the next one's header when all are whole.
fn missing(kept: &[u8]) -> usize {
    let mut rest = kept;
    loop {
        let Some(&[_, _, _, high, low]) = rest.get(..5) else { return 5 - rest.len() };
        let length = 5 + usize::from(u16::from_be_bytes([high, low]));
        match rest.get(length..) {
            Some(after) => rest = after,
            None => return length - rest.len(),
        }
    }
}

/// Client or server.
trait Steps {
    type Data;
    fn step<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Steps for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    fn step<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, ServerConnectionData> {
        self.process_tls_records(input)
    }
}

impl Steps for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    fn step<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, ClientConnectionData> {
        self.process_tls_records(input)
    }
}

/// Process records until more input is wanted; how many bytes were used.
fn drive<S: Steps>(
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
    while let UnbufferedStatus { state: Ok(ConnectionState::EncodeTlsData(mut data)), discard: 0 } =
        connection.step(rest)
    {
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

fn encrypt<S: Steps>(
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

fn close_notify<S: Steps>(connection: &mut S, kept: &mut [u8], out: &mut Vec<u8>) {
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

fn version_name(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "",
    }
}

/// The name that OpenSSL gives a cipher suite: `TLS_AES_256_GCM_SHA384`, `ECDHE-RSA-AES256-GCM-SHA384`.
fn cipher_name(suite: SupportedCipherSuite) -> String {
    use rustls::CipherSuite as C;
    match suite.suite() {
        C::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        C::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        C::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        C::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        C::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        C::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-ECDSA-CHACHA20-POLY1305",
        C::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        C::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        C::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        other => return format!("{other:?}"),
    }
    .to_owned()
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;

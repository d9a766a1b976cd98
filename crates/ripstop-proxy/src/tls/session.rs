//! One TLS connection: bytes in and bytes out. Nothing here touches a socket.
//!
//! rustls does the handshake ([`super::handshake`]); with TLS 1.3 its keys are taken over then, and [`super::established`] seals and
//! opens records without allocating.
use super::config::{ClientTls, ServerTls};
use super::established::Established;
use super::failure::{self, TlsFailure};
use super::handshake::{close_notify, drive, encrypt};
use super::inspector::{self, Peek, peek};
use super::names::Names;
use ripstop_core::record::TlsInfo;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::UnbufferedServerConnection;
use rustls::{CommonState, ProtocolVersion, SupportedCipherSuite};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

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
    /// What the handshake told, once it is done.
    told: Option<Told>,
    is_peer_closed: bool,
    failure: Option<TlsFailure>,
}

struct Told {
    info: Arc<TlsInfo>,
    alpn: Option<Box<[u8]>>,
}

enum Engine {
    /// A server that has no ClientHello yet: whether ALPN is answered depends on it.
    Waiting(Arc<ServerTls>),
    Server(Box<UnbufferedServerConnection>, Arc<ServerTls>),
    Client(Box<UnbufferedClientConnection>, Arc<ClientTls>),
    /// TLS 1.3 after the handshake.
    Established(Box<Established>),
    /// Only while one becomes another, or after a failure.
    Gone,
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
        Session { engine, kept: Vec::new(), server_name, told: None, is_peer_closed: false, failure: None }
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
        let was_done = self.told.is_some();
        let result = match self.engine {
            Engine::Waiting(_) => self.receive_hello(input, plain, out),
            _ if self.is_peer_closed => Ok(()),
            _ => self.receive_records(input, plain, out),
        };
        if let Err(why) = result.and_then(|()| self.settle()) {
            self.failure = Some(why.clone());
            self.engine = Engine::Gone;
            return Err(why);
        }
        if self.kept.is_empty() {
            // An idle connection owns no buffer.
            self.kept = Vec::new();
        }
        Ok(Received {
            handshake_done_now: self.told.is_some() && !was_done,
            peer_closed: self.is_peer_closed,
        })
    }

    /// When the handshake is done: remember what it told, and take over the keys of TLS 1.3.
    fn settle(&mut self) -> Result<(), TlsFailure> {
        let Some(state) = self.state().filter(|state| !state.is_handshaking()) else { return Ok(()) };
        let is_tls13 = state.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        if self.told.is_none() {
            let alpn = state.alpn_protocol().map(Box::from);
            self.told = Some(Told { info: Arc::new(self.describe(state)), alpn });
        }
        // While anything is kept, rustls may be in the middle of a handshake message and has to go on.
        if is_tls13 && self.kept.is_empty() {
            self.engine = match std::mem::replace(&mut self.engine, Engine::Gone) {
                Engine::Server(connection, _) => {
                    Engine::Established(Box::new(Established::server(*connection)?))
                }
                Engine::Client(connection, _) => {
                    Engine::Established(Box::new(Established::client(*connection)?))
                }
                other => other,
            };
        }
        Ok(())
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
        if let Some(reason) = plain_http(if is_kept { &self.kept } else { input }) {
            return Err(TlsFailure::plain(reason));
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
            Engine::Waiting(_) | Engine::Gone => Ok(0),
            Engine::Established(connection) => connection.receive(bytes, plain, out, closed),
            Engine::Server(connection, _) => drive(&mut **connection, bytes, plain, out, closed),
            Engine::Client(connection, _) => drive(&mut **connection, bytes, plain, out, closed),
        }
    }

    /// Encrypt all of `plain` and append it to `out`, in records as long as may be. Refused before the handshake is done:
    /// whoever sends keeps it until then.
    pub fn send(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), TlsFailure> {
        self.check()?;
        if self.told.is_none() {
            return Err(TlsFailure::plain(failure::UNINITIALIZED));
        }
        let kept = &mut self.kept;
        match &mut self.engine {
            Engine::Waiting(_) | Engine::Gone => Ok(()),
            Engine::Established(connection) => Ok(connection.send(plain, out)?),
            Engine::Server(connection, _) => encrypt(&mut **connection, kept, plain, out),
            Engine::Client(connection, _) => encrypt(&mut **connection, kept, plain, out),
        }
    }

    /// Append close_notify: nothing more is sent after it. Does nothing before the handshake is done.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        if self.told.is_none() {
            return;
        }
        let kept = &mut self.kept;
        match &mut self.engine {
            Engine::Waiting(_) | Engine::Gone => {}
            Engine::Established(connection) => connection.close(out),
            Engine::Server(connection, _) => close_notify(&mut **connection, kept, out),
            Engine::Client(connection, _) => close_notify(&mut **connection, kept, out),
        }
    }

    /// Whether the handshake goes on still.
    pub fn is_handshaking(&self) -> bool {
        self.told.is_none()
    }

    /// The protocol agreed on.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.told.as_ref()?.alpn.as_deref()
    }

    /// SNI in lower case: what a client asked for, or what we ask for.
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// What the handshake told; empty before it is done.
    pub fn info(&self) -> Arc<TlsInfo> {
        self.told.as_ref().map(|told| told.info.clone()).unwrap_or_default()
    }

    fn describe(&self, state: &CommonState) -> TlsInfo {
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
            _ => (None, false),
        };
        let leaf = chain.first().filter(|_| is_identity);
        let alpn = state.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        TlsInfo {
            version: version_name(state.protocol_version()),
            cipher: state.negotiated_cipher_suite().map(cipher_name).unwrap_or_default(),
            alpn: alpn.unwrap_or_default(),
            peer: leaf.and_then(|leaf: &CertificateDer<'_>| Some(Names::of(leaf)?.into_peer(leaf))),
            local_uri: local_uri.unwrap_or_else(|| Arc::from("")),
        }
    }

    #[cfg(test)]
    pub(super) fn established(&mut self) -> &mut Established {
        match &mut self.engine {
            Engine::Established(connection) => connection,
            _ => panic!("no TLS 1.3 connection after its handshake"),
        }
    }

    /// rustls' view, during the handshake and with TLS 1.2.
    fn state(&self) -> Option<&CommonState> {
        match &self.engine {
            Engine::Server(connection, _) => Some(connection),
            Engine::Client(connection, _) => Some(connection),
            _ => None,
        }
    }
}

/// Somebody speaks HTTP without TLS: BoringSSL has reasons of its own for that, and sends no alert either.
fn plain_http(bytes: &[u8]) -> Option<&'static str> {
    if [b"GET ".as_slice(), b"POST ", b"HEAD ", b"PUT "].iter().any(|start| bytes.starts_with(start)) {
        Some(failure::HTTP_REQUEST)
    } else {
        bytes.starts_with(b"CONNE").then_some(failure::HTTPS_PROXY_REQUEST)
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

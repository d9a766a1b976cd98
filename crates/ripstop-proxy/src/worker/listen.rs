//! Listening sockets of a worker, and the beginning of connections: PROXY header, SNI, filter chain, handshake, protocol.
use super::connection::{Connection, H1Server, H2Server, Machine, Opening, Raw, Stage, Streams};
use super::exchange::Kind;
use super::slots::Key;
use super::socket::{NOWHERE, Socket};
use super::{LISTENER, Worker};
use crate::control::mailbox::ListenSocket;
use crate::memory::Pressure;
use crate::tls;
use mio::{Interest, Token};
use ripstop_core::http2;
use ripstop_core::outcome::Flags;
use ripstop_core::record::ConnectionInfo;
use ripstop_core::route::{ChainInput, choose_chain};
use ripstop_core::snapshot::{Codec, FilterChain, HttpManager, Listener, Terminal};
use ripstop_core::time::Time;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Connections accepted in one turn; the others wait so that requests are not starved by a storm of handshakes.
const ACCEPTS_PER_TURN: usize = 64;
/// Until it is known what is spoken, a connection may send this much.
const OPENING_LIMIT: usize = 16 * 1024;
/// How long a peer that connects while we drain may open streams.
const LAST_STREAMS: Duration = Duration::from_secs(1);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A listener as a worker runs it.
pub(crate) struct Listening {
    pub name: Arc<str>,
    pub config: Arc<Listener>,
    pub chains: Vec<Rc<Chain>>,
    pub stats: super::stats::ListenerId,
}

/// A filter chain with what was prepared for it.
pub(crate) struct Chain {
    pub config: Arc<FilterChain>,
    pub manager: Option<Arc<HttpManager>>,
    pub tls: Option<Arc<tls::ServerTls>>,
    pub is_inbound: bool,
    pub direction: ripstop_core::snapshot::Direction,
    pub stats: super::stats::ManagerId,
    pub listener_stats: super::stats::ListenerId,
    pub limits: ripstop_core::http1::Limits,
    /// Logs or replies look at dynamic metadata.
    pub reads_metadata: bool,
    pub listener: Arc<str>,
}

/// A socket that is accepted from.
pub(crate) enum Acceptor {
    Tcp(mio::net::TcpListener),
    Unix(mio::net::UnixListener),
}

/// An acceptor's place in the table.
pub(crate) struct Accepting {
    pub name: Arc<str>,
    pub socket: Acceptor,
    /// What its connections are addressed to, where that is one address.
    pub local: Option<SocketAddr>,
}

/// No file descriptor is left, or no memory of the kernel's (accept(2)).
fn is_exhausted(error: &io::Error) -> bool {
    let codes = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

impl Worker {
    /// Take a listener, new or changed, or its new sockets.
    pub(crate) fn listen(&mut self, config: Arc<Listener>, sockets: Vec<ListenSocket>) {
        let name = config.name.clone();
        let listening = self.prepare_listener(config);
        self.listeners.insert(name.clone(), Rc::new(listening));
        if sockets.is_empty() {
            return; // a change of content: the sockets stay
        }
        self.close_acceptors(&name);
        for socket in sockets {
            let mut socket = match socket {
                ListenSocket::Tcp(listener) => Acceptor::Tcp(mio::net::TcpListener::from_std(listener)),
                ListenSocket::Unix(listener) => Acceptor::Unix(mio::net::UnixListener::from_std(listener)),
            };
            let token = Token(LISTENER | self.acceptors.len());
            let registered = match &mut socket {
                Acceptor::Tcp(listener) => self.registry.register(listener, token, Interest::READABLE),
                Acceptor::Unix(listener) => self.registry.register(listener, token, Interest::READABLE),
            };
            if let Err(error) = registered {
                eprintln!("ripstop-proxy: listener {name} cannot be polled: {error}");
                continue;
            }
            let local = local_address(&socket);
            self.acceptors.push(Some(Accepting { name: name.clone(), socket, local }));
        }
    }

    fn prepare_listener(&mut self, config: Arc<Listener>) -> Listening {
        let stats = self.stats.listener(&config.stat_prefix);
        let all = config.filter_chains.iter().chain(config.default_chain.iter());
        let chains = all.map(|chain| Rc::new(self.prepare_chain(&config, chain, stats))).collect();
        Listening { name: config.name.clone(), config, chains, stats }
    }

    fn prepare_chain(
        &mut self,
        listener: &Listener,
        config: &Arc<FilterChain>,
        listener_stats: super::stats::ListenerId,
    ) -> Chain {
        let manager = match &config.terminal {
            Terminal::Http(manager) => Some(manager.clone()),
            Terminal::Tcp(_) => None,
        };
        let prefix = match &config.terminal {
            Terminal::Http(manager) => manager.stat_prefix.clone(),
            Terminal::Tcp(proxy) => proxy.stat_prefix.clone(),
        };
        let tls = config.tls.as_ref().and_then(|tls| {
            let made = self.tls_cache.server(tls, &self.snapshot.secrets);
            made.map_err(|why| eprintln!("ripstop-proxy: listener {}: {why}", listener.name)).ok()
        });
        let mut limits = ripstop_core::http1::Limits::default();
        if let Some(manager) = &manager {
            limits.max_head_bytes = manager.max_request_headers_kb as usize * 1024;
            limits.max_headers = manager.max_headers_count as usize;
        }
        Chain {
            config: config.clone(),
            tls,
            reads_metadata: manager.as_ref().is_some_and(|manager| super::metadata::is_read(manager)),
            direction: listener.direction,
            is_inbound: listener.direction == ripstop_core::snapshot::Direction::Inbound,
            stats: self.stats.manager(&prefix),
            listener_stats,
            limits,
            manager,
            listener: listener.name.clone(),
        }
    }

    /// Secrets changed: new handshakes use them.
    pub(crate) fn refresh_listeners(&mut self) {
        let configs: Vec<Arc<Listener>> = self.listeners.values().map(|l| l.config.clone()).collect();
        for config in configs {
            let listening = self.prepare_listener(config);
            self.listeners.insert(listening.name.clone(), Rc::new(listening));
        }
    }

    /// Accept no more on a listener's sockets.
    pub(crate) fn close_acceptors(&mut self, name: &str) {
        for place in &mut self.acceptors {
            let Some(accepting) = place.as_mut().filter(|accepting| &*accepting.name == name) else {
                continue;
            };
            // Epoll would go on telling of it: others hold the same socket, here and in the process that comes after us.
            let _ = match &mut accepting.socket {
                Acceptor::Tcp(listener) => self.registry.deregister(listener),
                Acceptor::Unix(listener) => self.registry.deregister(listener),
            };
            *place = None;
        }
    }

    /// A listener's socket is readable.
    pub(crate) fn accept(&mut self, index: usize) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(Some(accepting)) = self.acceptors.get(index) else { return };
            let accepted = match &accepting.socket {
                Acceptor::Tcp(listener) => {
                    listener.accept().map(|(stream, peer)| (Socket::Tcp(stream), peer))
                }
                Acceptor::Unix(listener) => {
                    listener.accept().map(|(stream, _)| (Socket::Unix(stream), NOWHERE))
                }
            };
            let (name, local) = (accepting.name.clone(), accepting.local);
            match accepted {
                Ok((socket, peer)) => self.accepted(&name, socket, peer, local),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_exhausted(&error) => {
                    self.pause_accepting();
                    break;
                }
                Err(_) => break, // of one connection: try again
            }
        }
        self.accept_again.push(index);
    }

    fn accepted(&mut self, name: &str, socket: Socket, peer: SocketAddr, local: Option<SocketAddr>) {
        let Some(listening) = self.listeners.get(name).cloned() else { return };
        if self.is_full() {
            self.stats.listener_overflow(listening.stats);
            return; // dropped: the peer sees a close at once instead of waiting
        }
        if self.overload.pressure >= Pressure::Closing {
            return self.stats.overload_rejected(listening.stats);
        }
        self.connection_ids += 1;
        let info = ConnectionInfo {
            id: self.connection_ids,
            remote: peer,
            direct_remote: peer,
            local: local.unwrap_or_else(|| socket.local()),
            ..ConnectionInfo::default()
        };
        self.stats.connection_opened(listening.stats);
        let stage = match &listening.config {
            config if config.proxy_protocol => Stage::ProxyHeader,
            config if config.inspects_tls => Stage::Inspect,
            _ => Stage::Handshake,
        };
        let timeout = listening.config.listener_filters_timeout;
        let deadline = if timeout.is_zero() { Time::NEVER } else { self.now.after(timeout) };
        let stats = listening.stats;
        let opening = Opening { listener: listening, stage };
        let mut connection =
            Connection::new(socket, Machine::Opening(Box::new(opening)), Rc::new(info), self.now);
        connection.writable = true;
        connection.listener_stats = Some(stats);
        connection.deadline = deadline;
        let key = self.add_connection(connection);
        if stage == Stage::Handshake {
            self.choose_chain(key, false, &[]);
        }
    }

    /// Bytes on a connection that is opening; how many were used.
    pub(crate) fn opening_input(&mut self, key: Key, data: &[u8]) -> usize {
        let Some(connection) = self.connections.get(key) else { return data.len() };
        let Machine::Opening(opening) = &connection.machine else { return 0 };
        match opening.stage {
            Stage::ProxyHeader => self.proxy_header(key, data),
            Stage::Inspect => self.inspect(key, data),
            // TLS input never arrives here: `Handshake` without TLS has gone on already.
            Stage::Handshake => 0,
            Stage::Detect => self.detect(key, data),
        }
    }

    fn proxy_header(&mut self, key: Key, data: &[u8]) -> usize {
        use tls::proxy_protocol::{ProxyHeader, parse};
        let (header, consumed) = match parse(data) {
            (ProxyHeader::NeedMore, _) if data.len() < OPENING_LIMIT => return 0,
            (ProxyHeader::NeedMore | ProxyHeader::Invalid, _) => {
                self.close(key);
                return data.len();
            }
            found => found,
        };
        let Some(connection) = self.connections.get_mut(key) else { return consumed };
        if let ProxyHeader::Addresses { source, destination } = header {
            let mut info = (*connection.info).clone();
            (info.remote, info.local) = (source, destination);
            connection.info = Rc::new(info);
        }
        let Machine::Opening(opening) = &mut connection.machine else { return consumed };
        if opening.listener.config.inspects_tls {
            opening.stage = Stage::Inspect;
        } else {
            self.choose_chain(key, false, &[]);
        }
        self.resume.push(key); // what followed the header may be there already
        consumed
    }

    fn inspect(&mut self, key: Key, data: &[u8]) -> usize {
        use tls::inspector::{Peek, peek};
        match peek(data) {
            Peek::NeedMore if data.len() < 64 * 1024 => {}
            Peek::NeedMore | Peek::NotTls => self.choose_chain(key, false, &[]),
            Peek::Hello { server_name, alpn } => {
                if let Some(connection) = self.connections.get_mut(key) {
                    let mut info = (*connection.info).clone();
                    info.server_name = Arc::from(server_name.unwrap_or_default());
                    connection.info = Rc::new(info);
                }
                self.choose_chain(key, true, &alpn);
            }
        }
        if self.connections.get(key).is_some_and(|c| c.chain.is_some()) {
            self.resume.push(key); // what was looked at is for whoever comes next
        }
        0
    }

    /// Find the filter chain; close without a byte when none matches (Envoy: `no_filter_chain_match`).
    pub(crate) fn choose_chain(&mut self, key: Key, is_tls: bool, alpn: &[Vec<u8>]) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Machine::Opening(opening) = &connection.machine else { return };
        let listening = opening.listener.clone();
        let alpn: Vec<&[u8]> = alpn.iter().map(Vec::as_slice).collect();
        let info = &connection.info;
        let input = ChainInput {
            local: info.local,
            remote: info.remote,
            direct_remote: info.direct_remote,
            server_name: &info.server_name,
            is_tls,
            alpn: &alpn,
        };
        let chosen = choose_chain(&listening.config, &input)
            .and_then(|chosen| listening.chains.iter().find(|chain| Arc::ptr_eq(&chain.config, chosen)));
        let Some(chain) = chosen.cloned() else {
            self.stats.no_filter_chain(listening.stats);
            return self.close(key);
        };
        if !chain.config.name.is_empty() {
            let mut info = (**info).clone();
            info.filter_chain = chain.config.name.clone();
            connection.info = Rc::new(info);
        }
        connection.chain = Some(chain.clone());
        connection.deadline = Time::NEVER;
        if chain.config.tls.is_none() {
            return self.protocol_known(key, None);
        }
        let session = chain.tls.as_ref().and_then(|tls| tls::Session::server(tls).ok());
        let Some(session) = session else { return self.close(key) };
        connection.tls = Some(Box::new(session));
        if let Machine::Opening(opening) = &mut connection.machine {
            opening.stage = Stage::Handshake;
        }
        self.took(super::overload::TLS_BYTES);
        let timeout = chain.config.handshake_timeout;
        let limit = if timeout.is_zero() { std::time::Duration::from_secs(15) } else { timeout };
        self.set_deadline(key, self.now.after(limit));
        self.resume.push(key);
    }

    /// The handshake is done: remember what it told, go on with what was agreed on.
    pub(crate) fn handshake_done(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some(session) = &connection.tls else { return };
        let tls = session.info();
        let alpn = session.alpn().map(<[u8]>::to_vec);
        let mut info = (*connection.info).clone();
        if let Some(name) = session.server_name().filter(|_| info.server_name.is_empty()) {
            info.server_name = Arc::from(name);
        }
        info.tls = Some(tls);
        connection.info = Rc::new(info);
        self.protocol_known(key, alpn);
    }

    /// Plaintext begins.
    fn protocol_known(&mut self, key: Key, alpn: Option<Vec<u8>>) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some(chain) = connection.chain.clone() else { return };
        connection.deadline = Time::NEVER;
        if !self.network_filters(key, &chain) {
            return;
        }
        let Some(manager) = &chain.manager else { return self.start_tcp(key, &chain) };
        match (manager.codec, alpn.as_deref()) {
            (Codec::Http2, _) | (Codec::Auto, Some(b"h2")) => self.become_h2(key),
            (Codec::Http1, _) | (Codec::Auto, Some(_)) => self.become_h1(key),
            (Codec::Auto, None) => {
                let timeout = manager.request_headers_timeout;
                let Some(connection) = self.connections.get_mut(key) else { return };
                if let Machine::Opening(opening) = &mut connection.machine {
                    opening.stage = Stage::Detect;
                }
                let idle = manager.idle_timeout;
                let limit = if timeout.is_zero() { idle } else { timeout };
                if !limit.is_zero() {
                    self.set_deadline(key, self.now.after(limit));
                }
            }
        }
    }

    /// Network RBAC; false: the connection was closed.
    fn network_filters(&mut self, key: Key, chain: &Rc<Chain>) -> bool {
        for rbac in &chain.config.rbac {
            let Some(connection) = self.connections.get_mut(key) else { return false };
            let verdict = ripstop_core::authorization::check_network(rbac, &connection.info);
            self.stats.rbac(rbac, &verdict);
            if verdict.allowed() {
                continue;
            }
            let mut info = (*connection.info).clone();
            info.termination_details = verdict.details();
            connection.info = Rc::new(info);
            self.log_refused_connection(key, chain, Flags::NONE);
            self.close(key);
            return false;
        }
        true
    }

    fn detect(&mut self, key: Key, data: &[u8]) -> usize {
        let shared = data.len().min(PREFACE.len());
        if data[..shared] != PREFACE[..shared] {
            self.become_h1(key);
        } else if shared == PREFACE.len() {
            self.become_h2(key);
        }
        0
    }

    fn become_h1(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.machine = Machine::H1Server(H1Server {
            exchange: Key::NONE,
            scanned: 0,
            body: None,
            keep_alive: true,
            client_ends: false,
            head_since: None,
            requests: 0,
            is_last: false,
            body_sent_chunked: false,
        });
        self.http_opened(key, false);
    }

    fn become_h2(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some(manager) = connection.chain.as_ref().and_then(|chain| chain.manager.clone()) else { return };
        let mut settings = http2::Settings::from(&manager.http2);
        settings.max_header_list_size = manager.max_request_headers_kb * 1024;
        connection.machine = Machine::H2Server(Box::new(H2Server {
            machine: http2::Connection::server(settings),
            streams: Streams::default(),
            requests: 0,
            draining: None,
            leftover: Vec::new(),
        }));
        self.mark_dirty(key);
        self.http_opened(key, true);
    }

    fn http_opened(&mut self, key: Key, is_h2: bool) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.deadline = Time::NEVER;
        let Some(chain) = connection.chain.clone() else { return };
        self.stats.http_connection_opened(chain.stats, is_h2);
        self.set_idle_deadline(key);
        if is_h2 && self.is_draining_connection(key) {
            self.h2_server_leave(key, self.drain.refuse_at.max(self.now.after(LAST_STREAMS)));
        }
        self.resume.push(key);
    }

    fn start_tcp(&mut self, key: Key, chain: &Rc<Chain>) {
        let Terminal::Tcp(proxy) = &chain.config.terminal else { return self.close(key) };
        if self.overload.is_shedding() {
            self.stats.overload_rejected(chain.listener_stats);
            self.log_refused_connection(key, chain, Flags::OVERLOAD_MANAGER);
            return self.close(key);
        }
        let proxy = proxy.clone();
        let exchange = self.new_exchange(key, 0, Kind::Tcp);
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.machine = Machine::Raw(Raw { exchange, is_downstream: true });
        self.resume.push(key);
        self.start_tcp_exchange(exchange, proxy);
    }
}

/// The address that every connection of a socket is made to; none where it listens on all.
fn local_address(socket: &Acceptor) -> Option<SocketAddr> {
    match socket {
        Acceptor::Tcp(listener) => listener.local_addr().ok().filter(|bound| !bound.ip().is_unspecified()),
        Acceptor::Unix(_) => Some(NOWHERE),
    }
}

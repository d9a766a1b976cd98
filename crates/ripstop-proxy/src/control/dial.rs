//! Connections that the control thread makes itself: to control planes, to SDS, for health checks.
use super::endpoints::ClusterRun;
use crate::tls::{ConfigFault, client_config};
use ripstop_core::balance::{Availability, Host};
use ripstop_core::snapshot::{Address, Cluster, Named, Secret, UpstreamProtocol};
use rustls::pki_types::ServerName;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// Whom to connect to, and how.
#[derive(Clone, Debug)]
pub struct Peer {
    /// A socket address or a pipe.
    pub address: Address,
    /// TLS and the name to ask for.
    pub tls: Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>,
    /// What requests say as `:authority`.
    pub authority: String,
    /// For the connection with its TLS and HTTP/2 handshakes.
    pub connect_timeout: Duration,
    /// PINGs: interval and how long an answer may take.
    pub keepalive: Option<(Duration, Duration)>,
}

/// Bytes both ways.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Connect, and shake hands where TLS is wanted.
///
/// # Errors
/// Why there is no connection.
pub async fn dial(peer: &Peer) -> Result<Box<dyn Io>, String> {
    let at = |error: std::io::Error| format!("{}: {error}", peer.address);
    let plain: Box<dyn Io> = match &peer.address {
        Address::Socket(address) => {
            let stream = TcpStream::connect(address).await.map_err(at)?;
            let _ = stream.set_nodelay(true);
            Box::new(stream)
        }
        Address::Pipe(path) => Box::new(UnixStream::connect(socket_path(path)).await.map_err(at)?),
        Address::Name(name, _) => return Err(format!("{name} has not been looked up")),
    };
    let Some((config, name)) = &peer.tls else { return Ok(plain) };
    let connector = tokio_rustls::TlsConnector::from(config.clone());
    let stream = connector.connect(name.clone(), plain).await;
    Ok(Box::new(stream.map_err(|error| format!("{}: TLS: {error}", peer.address))?))
}

/// The path as the system wants it: `@` begins an abstract name, which begins with a zero byte.
pub fn socket_path(path: &str) -> std::ffi::OsString {
    match path.strip_prefix('@') {
        Some(name) => format!("\0{name}").into(),
        None => path.into(),
    }
}

/// A host of a cluster as a peer. `port` is another port than the host's own; 0 is its own.
///
/// # Errors
/// Secrets are missing or broken.
pub fn peer(cluster: &Cluster, host: &Host, port: u16, secrets: &Named<Secret>) -> Result<Peer, ConfigFault> {
    let tls = match &cluster.tls {
        Some(tls) => {
            let name = match &*tls.sni {
                "" => ServerName::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), // no SNI is sent for an address
                sni => ServerName::try_from(sni.to_owned())
                    .map_err(|_| ConfigFault::Invalid(format!("{sni} is no name for SNI")))?,
            };
            Some((client_config(tls, secrets)?.rustls(), name))
        }
        None => None,
    };
    let mut address = host.address.clone();
    if let (Address::Socket(socket), true) = (&mut address, port != 0) {
        socket.set_port(port);
    }
    let authority = if host.hostname.is_empty() { &cluster.name } else { &host.hostname };
    Ok(Peer {
        address,
        tls,
        authority: authority_text(authority),
        connect_timeout: cluster.connect_timeout,
        keepalive: keepalive(&cluster.protocol),
    })
}

/// Names of clusters may hold what no authority may.
fn authority_text(name: &str) -> String {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    if name.is_empty() || !name.chars().all(is_fine) { "localhost".to_owned() } else { name.to_owned() }
}

fn keepalive(protocol: &UpstreamProtocol) -> Option<(Duration, Duration)> {
    let options = match protocol {
        UpstreamProtocol::Http2(options)
        | UpstreamProtocol::Auto(_, options)
        | UpstreamProtocol::AsDownstream(_, options) => options,
        UpstreamProtocol::Http1(_) => return None,
    };
    let Duration::ZERO = options.keepalive_interval else {
        return Some((options.keepalive_interval, options.keepalive_timeout.max(Duration::from_millis(1))));
    };
    None
}

/// One of a cluster's endpoints, another at each attempt, healthy ones first.
pub fn choose(run: &ClusterRun, attempt: usize) -> Option<Arc<Host>> {
    let entries = run.set.hosts();
    let healthy: Vec<_> = entries.iter().filter(|e| e.availability() == Availability::Healthy).collect();
    match healthy.len() {
        0 => entries.get(attempt.checked_rem(entries.len())?).map(|entry| entry.host.clone()),
        n => healthy.get(attempt % n).map(|entry| entry.host.clone()),
    }
}

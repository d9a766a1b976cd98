//! Which filter chain of a listener a connection takes (`FilterChainMatch`).
use crate::snapshot::{ChainMatch, FilterChain, Listener, SourceType};
use ipnet::IpNet;
use smallvec::SmallVec;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// What is known of a connection when its chain is chosen.
#[derive(Clone, Copy, Debug)]
pub struct ChainInput<'a> {
    /// Our end, after PROXY protocol and original destination.
    pub local: SocketAddr,
    /// The peer's, after PROXY protocol.
    pub remote: SocketAddr,
    /// The socket's peer.
    pub direct_remote: SocketAddr,
    /// SNI, lower case; empty without.
    pub server_name: &'a str,
    /// The first bytes are a ClientHello.
    pub is_tls: bool,
    /// What the client offers, its favourite first.
    pub alpn: &'a [&'a [u8]],
}

type Candidates<'a> = SmallVec<[&'a Arc<FilterChain>; 16]>;

/// The chain whose match is the most specific, else the default one.
///
/// Criteria are looked at one after the other: destination port, destination address, server name, transport protocol,
/// application protocol, direct source address, kind of source, source address, source port. At each only the most
/// specific chains stay; nobody comes back later when these fail (Envoy, `FilterChainMatch`).
pub fn choose_chain<'a>(listener: &'a Listener, input: &ChainInput<'_>) -> Option<&'a Arc<FilterChain>> {
    let mut left: Candidates<'a> = listener.filter_chains.iter().collect();
    for criterion in CRITERIA {
        keep_best(&mut left, |wanted| criterion(wanted, input));
    }
    left.first().copied().or(listener.default_chain.as_ref())
}

/// How well a chain fits: None not at all, 0 because it does not care, more the more specific it is.
type Criterion = fn(&ChainMatch, &ChainInput<'_>) -> Option<usize>;

const CRITERIA: [Criterion; 9] = [
    |wanted, input| one(wanted.destination_port, input.local.port()),
    |wanted, input| prefix(&wanted.destination_prefixes, input.local.ip()),
    |wanted, input| server_name(&wanted.server_names, input.server_name),
    |wanted, input| transport(&wanted.transport_protocol, input.is_tls),
    |wanted, input| application(&wanted.application_protocols, input.alpn),
    |wanted, input| prefix(&wanted.direct_source_prefixes, input.direct_remote.ip()),
    |wanted, input| source_type(wanted.source_type, input),
    |wanted, input| prefix(&wanted.source_prefixes, input.remote.ip()),
    |wanted, input| source_port(&wanted.source_ports, input.remote.port()),
];

fn keep_best(left: &mut Candidates<'_>, fit: impl Fn(&ChainMatch) -> Option<usize>) {
    let best = left.iter().filter_map(|chain| fit(&chain.matches)).max();
    left.retain(|chain| best.is_some() && fit(&chain.matches) == best);
}

fn one(wanted: Option<u16>, port: u16) -> Option<usize> {
    match wanted {
        None => Some(0),
        Some(wanted) => (wanted == port).then_some(1),
    }
}

fn prefix(wanted: &[IpNet], address: IpAddr) -> Option<usize> {
    if wanted.is_empty() {
        return Some(0);
    }
    let address = address.to_canonical();
    let fitting = wanted.iter().filter(|net| net.contains(&address));
    fitting.map(|net| usize::from(net.prefix_len()) + 1).max()
}

/// An exact name is better than any wildcard, a longer wildcard than a shorter one.
fn server_name(wanted: &[String], name: &str) -> Option<usize> {
    if wanted.is_empty() {
        return Some(0);
    }
    let fit = |wanted: &String| match wanted.strip_prefix('*') {
        None => (wanted == name).then_some(usize::MAX),
        Some(end) => (name.len() > end.len() && name.ends_with(end)).then_some(end.len()),
    };
    wanted.iter().filter_map(fit).max()
}

fn transport(wanted: &str, is_tls: bool) -> Option<usize> {
    let spoken = if is_tls { "tls" } else { "raw_buffer" };
    match wanted {
        "" => Some(0),
        wanted => (wanted == spoken).then_some(1),
    }
}

/// The client's order decides.
fn application(wanted: &[String], offered: &[&[u8]]) -> Option<usize> {
    if wanted.is_empty() {
        return Some(0);
    }
    let is_wanted = |protocol: &&[u8]| wanted.iter().any(|wanted| wanted.as_bytes() == *protocol);
    offered.iter().position(is_wanted).map(|place| offered.len() - place)
}

fn source_type(wanted: SourceType, input: &ChainInput<'_>) -> Option<usize> {
    let (local, remote) = (input.local.ip().to_canonical(), input.remote.ip().to_canonical());
    let is_near = || remote.is_loopback() || remote == local;
    match wanted {
        SourceType::Any => Some(0),
        SourceType::SameIpOrLoopback => is_near().then_some(1),
        SourceType::External => (!is_near()).then_some(1),
    }
}

fn source_port(wanted: &[u16], port: u16) -> Option<usize> {
    match wanted {
        [] => Some(0),
        wanted => wanted.contains(&port).then_some(1),
    }
}

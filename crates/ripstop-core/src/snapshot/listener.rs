//! Listeners, filter chains, TCP proxies (`config.listener.v3`, `tcp_proxy.v3`).
use super::*;
use ipnet::IpNet;
use std::time::Duration;

/// A socket that is listened on, and what becomes of its connections.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The resource's name.
    pub name: Arc<str>,
    /// Where.
    pub address: Address,
    /// In the order given; `select` finds the most specific.
    pub filter_chains: Vec<Arc<FilterChain>>,
    /// For connections that no chain matches.
    pub default_chain: Option<Arc<FilterChain>>,
    /// `tls_inspector`: SNI, ALPN and whether it is TLS are read before a chain is chosen.
    pub inspects_tls: bool,
    /// `proxy_protocol`: a PROXY header (v1 or v2) is read first.
    pub proxy_protocol: bool,
    /// `listener_filters_timeout`; zero means none.
    pub listener_filters_timeout: Duration,
    /// `continue_on_listener_filters_timeout`.
    pub continues_on_timeout: bool,
    /// `traffic_direction`.
    pub direction: Direction,
    /// `stat_prefix`, else the address.
    pub stat_prefix: Arc<str>,
    /// `per_connection_buffer_limit_bytes`.
    pub buffer_limit: u32,
    /// `tcp_backlog_size`.
    pub backlog: u32,
    /// Content of the resource: a listener with the same value is not touched by an update.
    pub version: u64,
}

/// `traffic_direction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Direction {
    #[default]
    Unspecified,
    Inbound,
    Outbound,
}

/// Which connections, how they are secured, what becomes of them.
#[derive(Clone, Debug)]
pub struct FilterChain {
    /// Its name; may be empty.
    pub name: Arc<str>,
    /// `filter_chain_match`.
    pub matches: ChainMatch,
    /// TLS, or None for plaintext.
    pub tls: Option<Arc<DownstreamTls>>,
    /// `transport_socket_connect_timeout`: how long a handshake may take; zero means none.
    pub handshake_timeout: Duration,
    /// Network RBAC filters in order.
    pub rbac: Vec<NetworkRbac>,
    /// The filter at the end.
    pub terminal: Terminal,
}

/// `FilterChainMatch`. Empty parts match everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ChainMatch {
    pub destination_port: Option<u16>,
    pub destination_prefixes: Vec<IpNet>,
    /// Lower case; `*.example.com` matches one or more labels.
    pub server_names: Vec<String>,
    /// `tls`, `raw_buffer`, or empty.
    pub transport_protocol: String,
    pub application_protocols: Vec<String>,
    pub source_type: SourceType,
    pub source_prefixes: Vec<IpNet>,
    pub source_ports: Vec<u16>,
    pub direct_source_prefixes: Vec<IpNet>,
}

/// `ConnectionSourceType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum SourceType {
    #[default]
    Any,
    SameIpOrLoopback,
    External,
}

/// The last network filter.
#[derive(Clone, Debug)]
pub enum Terminal {
    /// `http_connection_manager`
    Http(Arc<HttpManager>),
    /// `tcp_proxy`
    Tcp(Arc<TcpProxy>),
}

/// `envoy.filters.network.rbac`
#[derive(Clone, Debug)]
pub struct NetworkRbac {
    /// What is enforced.
    pub rules: Option<Arc<Rbac>>,
    /// What is only told.
    pub shadow_rules: Option<Arc<Rbac>>,
    /// `shadow_rules_stat_prefix`
    pub shadow_prefix: String,
    /// `stat_prefix`
    pub stat_prefix: String,
}

/// `envoy.filters.network.tcp_proxy`
#[derive(Clone, Debug)]
pub struct TcpProxy {
    /// `stat_prefix`
    pub stat_prefix: Arc<str>,
    /// Clusters with their weights; one with any weight is the simple case.
    pub clusters: Vec<(Arc<str>, u32)>,
    /// Sum of weights.
    pub total_weight: u64,
    /// `sni_cluster` came before: the SNI is the cluster's name.
    pub by_sni: bool,
    /// `idle_timeout`; zero means none. Envoy's default is 1 h.
    pub idle_timeout: Duration,
    /// `max_downstream_connection_duration`; zero means none.
    pub max_duration: Duration,
    /// `max_connect_attempts`
    pub max_connect_attempts: u32,
    /// `hash_policy` by source address.
    pub hash_source_ip: bool,
    /// Logs.
    pub access_logs: Vec<Arc<AccessLog>>,
}

//! Messages that the generated ones lack: small, whole, from Envoy's API.
use ripstop_xds::envoy::config::core::v3 as core;

/// `access_loggers.stream.v3.StdoutAccessLog` and `StderrAccessLog`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StreamAccessLog {
    #[prost(message, optional, tag = "1")]
    pub(super) log_format: Option<core::SubstitutionFormatString>,
}

/// `transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ProxyProtocolUpstreamTransport {
    #[prost(message, optional, tag = "1")]
    pub(super) config: Option<core::ProxyProtocolConfig>,
    #[prost(message, optional, tag = "2")]
    pub(super) transport_socket: Option<core::TransportSocket>,
    #[prost(bool, tag = "3")]
    pub(super) allow_unspecified_address: bool,
    #[prost(bool, tag = "4")]
    pub(super) tlv_as_pool_key: bool,
}

/// `resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct DownstreamConnectionsConfig {
    #[prost(int64, tag = "1")]
    pub(super) max_active_downstream_connections: i64,
}

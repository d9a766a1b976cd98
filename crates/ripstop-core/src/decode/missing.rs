//! Messages that the generated ones lack: small, whole, from Envoy's API.
use ripstop_xds::envoy::config::core::v3 as core;

/// `access_loggers.stream.v3.StdoutAccessLog` and `StderrAccessLog`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StreamAccessLog {
    #[prost(message, optional, tag = "1")]
    pub(super) log_format: Option<core::SubstitutionFormatString>,
}

/// `resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct DownstreamConnectionsConfig {
    #[prost(int64, tag = "1")]
    pub(super) max_active_downstream_connections: i64,
}

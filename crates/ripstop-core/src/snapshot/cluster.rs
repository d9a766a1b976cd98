//! Clusters and their endpoints as they are configured (`config.cluster.v3`, `config.endpoint.v3`). What happens to them
//! while they run is in `balance` and `resilience`.
use super::*;
use std::time::Duration;

/// A `Cluster`.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Cluster {
    pub name: Arc<str>,
    /// `alt_stat_name`, else the name.
    pub stat_name: Arc<str>,
    pub discovery: Discovery,
    pub connect_timeout: Duration,
    pub balancer: Balancer,
    /// `healthy_panic_threshold` in percent.
    pub panic_threshold: f64,
    /// `locality_weighted_lb_config`
    pub locality_weighted: bool,
    /// `breakers[0]` for DEFAULT, `[1]` for HIGH priority.
    pub breakers: [Breaker; 2],
    pub outlier: Option<Outlier>,
    pub health_checks: Vec<HealthCheck>,
    pub tls: Option<Arc<UpstreamTls>>,
    pub protocol: UpstreamProtocol,
    /// `common_http_protocol_options.idle_timeout`; zero means none. Envoy's default is 1 h.
    pub idle_timeout: Duration,
    pub max_connection_duration: Duration,
    /// zero means any number
    pub max_requests_per_connection: u32,
    pub ignores_health_on_removal: bool,
    pub buffer_limit: u32,
    pub tcp_keepalive: Option<Duration>,
    /// `lb_subset_config`: sets of keys that subsets are made by.
    pub subset_keys: Vec<Vec<String>>,
    pub metadata: Metadata,
    pub extras: ClusterExtras,
    /// Content of the resource.
    pub version: u64,
}

/// Ripstop's own, on a cluster; from `metadata.filter_metadata["ripstop.native"]`.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct ClusterExtras {
    /// `balancer: peak_ewma` overrides the load balancing policy.
    pub peak_ewma: bool,
    /// `halfOpen: true`: an ejected endpoint comes back by one real request and a ramp.
    pub half_open: bool,
    /// The ramp back to full weight after a successful probe.
    pub ramp: Duration,
}

/// Where endpoints come from.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Discovery {
    Static(Arc<LoadAssignment>),
    /// Names that are looked up again and again; LOGICAL_DNS takes one answer.
    Dns {
        assignment: Arc<LoadAssignment>,
        refresh: Duration,
        logical: bool,
        respects_ttl: bool,
        family: DnsFamily,
    },
    /// EDS over ADS by this name.
    Eds(Arc<str>),
    /// `clusters.aggregate`
    Aggregate(Vec<Arc<str>>),
    OriginalDst,
}

/// `dns_lookup_family`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DnsFamily {
    /// IPv6 if there is any, else IPv4.
    #[default]
    Auto,
    V4Only,
    V6Only,
    /// IPv4 if there is any, else IPv6.
    V4Preferred,
    All,
}

/// A `ClusterLoadAssignment`.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct LoadAssignment {
    pub name: Arc<str>,
    pub localities: Vec<LocalityEndpoints>,
    /// In percent; Envoy's default is 140.
    pub overprovisioning: u32,
    /// `drop_overloads` in millionths, in order.
    pub drops: Vec<(String, Millionths)>,
    pub weighted_priority_health: bool,
    pub version: u64,
}

/// `LocalityLbEndpoints`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct LocalityEndpoints {
    pub locality: Locality,
    pub weight: Option<u32>,
    pub priority: u32,
    pub endpoints: Vec<EndpointConfig>,
}

/// `core.v3.Locality`
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub struct Locality {
    pub region: Arc<str>,
    pub zone: Arc<str>,
    pub sub_zone: Arc<str>,
}

/// `LbEndpoint`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct EndpointConfig {
    pub address: Address,
    /// What active checks send as Host, and `auto_host_rewrite` uses.
    pub hostname: Arc<str>,
    pub weight: u32,
    pub health: ConfiguredHealth,
    pub metadata: Arc<Metadata>,
    /// `health_check_config.port_value`; 0 for the endpoint's own.
    pub health_port: u16,
}

/// `HealthStatus` as EDS gives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ConfiguredHealth {
    #[default]
    Healthy,
    Unhealthy,
    Draining,
    Timeout,
    Degraded,
}

/// How an endpoint is chosen.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Balancer {
    RoundRobin {
        slow_start: Option<SlowStart>,
    },
    LeastRequest {
        choices: u32,
        slow_start: Option<SlowStart>,
        active_bias: f64,
        full_scan: bool,
    },
    Random,
    RingHash {
        min_size: u64,
        max_size: u64,
        use_hostname: bool,
    },
    Maglev {
        table_size: u64,
        use_hostname: bool,
    },
    PeakEwma,
    /// Of aggregate and original-destination clusters.
    ClusterProvided,
}

/// `SlowStartConfig`
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct SlowStart {
    pub window: Duration,
    pub aggression: f64,
    pub min_weight_percent: f64,
}

/// `CircuitBreakers.Thresholds` with Envoy's defaults filled in.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Breaker {
    pub max_connections: u32,
    pub max_pending: u32,
    pub max_requests: u32,
    pub max_retries: u32,
    /// Percent of active requests, and the least number of retries at a time; replaces `max_retries`.
    pub retry_budget: Option<(f64, u32)>,
    pub max_connection_pools: u32,
    pub track_remaining: bool,
}

impl Default for Breaker {
    /// The defaults of Envoy.
    fn default() -> Breaker {
        Breaker {
            max_connections: 1024,
            max_pending: 1024,
            max_requests: 1024,
            max_retries: 3,
            retry_budget: None,
            max_connection_pools: u32::MAX,
            track_remaining: false,
        }
    }
}

/// `OutlierDetection` with Envoy's defaults filled in; percentages that enforce are chances in percent.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Outlier {
    pub consecutive_5xx: u32,
    pub enforcing_consecutive_5xx: u32,
    pub consecutive_gateway_failure: u32,
    pub enforcing_consecutive_gateway_failure: u32,
    pub consecutive_local_origin_failure: u32,
    pub enforcing_consecutive_local_origin_failure: u32,
    pub split_external_local_origin: bool,
    pub interval: Duration,
    pub base_ejection: Duration,
    pub max_ejection: Duration,
    pub max_ejection_jitter: Duration,
    pub max_ejection_percent: u32,
    pub always_eject_one: bool,
    pub success_rate_min_hosts: u32,
    pub success_rate_volume: u32,
    pub success_rate_stdev_factor: u32,
    pub enforcing_success_rate: u32,
    pub enforcing_local_origin_success_rate: u32,
    pub failure_percentage_threshold: u32,
    pub failure_percentage_min_hosts: u32,
    pub failure_percentage_volume: u32,
    pub enforcing_failure_percentage: u32,
    pub enforcing_failure_percentage_local_origin: u32,
    pub successful_health_check_uneject: bool,
}

impl Default for Outlier {
    /// The defaults of Envoy (`OutlierDetection`).
    fn default() -> Outlier {
        Outlier {
            consecutive_5xx: 5,
            enforcing_consecutive_5xx: 100,
            consecutive_gateway_failure: 5,
            enforcing_consecutive_gateway_failure: 0,
            consecutive_local_origin_failure: 5,
            enforcing_consecutive_local_origin_failure: 100,
            split_external_local_origin: false,
            interval: Duration::from_secs(10),
            base_ejection: Duration::from_secs(30),
            max_ejection: Duration::from_secs(300),
            max_ejection_jitter: Duration::ZERO,
            max_ejection_percent: 10,
            always_eject_one: false,
            success_rate_min_hosts: 5,
            success_rate_volume: 100,
            success_rate_stdev_factor: 1900,
            enforcing_success_rate: 100,
            enforcing_local_origin_success_rate: 100,
            failure_percentage_threshold: 85,
            failure_percentage_min_hosts: 5,
            failure_percentage_volume: 50,
            enforcing_failure_percentage: 0,
            enforcing_failure_percentage_local_origin: 0,
            successful_health_check_uneject: true,
        }
    }
}

/// `HealthCheck`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct HealthCheck {
    pub name: String,
    pub interval: Duration,
    pub interval_jitter: Duration,
    pub timeout: Duration,
    pub unhealthy_threshold: u32,
    pub healthy_threshold: u32,
    pub no_traffic_interval: Duration,
    pub unhealthy_interval: Duration,
    pub reuses_connection: bool,
    pub kind: HealthCheckKind,
}

/// `HealthCheck.health_checker`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum HealthCheckKind {
    Http {
        path: String,
        /// Empty: the endpoint's hostname, else the cluster's name.
        host: String,
        method: String,
        /// Half-open ranges; empty means 200.
        expected: Vec<(u16, u16)>,
        is_http2: bool,
        request_headers: Vec<(String, String)>,
    },
    Tcp {
        send: Vec<u8>,
        receive: Vec<Vec<u8>>,
    },
    Grpc {
        service: String,
        authority: String,
    },
}

/// Which HTTP is spoken to the upstream.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum UpstreamProtocol {
    Http1(Http1Options),
    Http2(Box<Http2Options>),
    /// By ALPN.
    Auto(Http1Options, Box<Http2Options>),
    /// What the downstream spoke.
    AsDownstream(Http1Options, Box<Http2Options>),
}

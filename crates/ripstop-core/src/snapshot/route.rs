//! RouteConfigurations (`config.route.v3`), prepared for matching.
use super::*;
use regex::bytes::Regex;
use std::time::Duration;

/// A RouteConfiguration.
#[derive(Clone, Debug, Default)]
pub struct RouteConfig {
    /// The resource's name.
    pub name: Arc<str>,
    /// In the order given.
    pub virtual_hosts: Vec<Arc<VirtualHost>>,
    /// Prepared: which virtual host a host name leads to.
    pub domains: Domains,
    /// `ignore_port_in_host_matching`
    pub ignores_port: bool,
    /// Applied after the route's and the virtual host's, unless `most_specific_wins`.
    pub request_headers: HeaderChanges,
    /// The same for responses.
    pub response_headers: HeaderChanges,
    /// `most_specific_header_mutations_wins`
    pub most_specific_wins: bool,
    /// `typed_per_filter_config` by filter name.
    pub per_filter: Vec<(Arc<str>, PerFilter)>,
}

/// Host names to indices of virtual hosts: exact first, then the longest suffix wildcard, the longest prefix wildcard, `*`.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Domains {
    pub exact: HashMap<Box<[u8]>, u32, foldhash::fast::RandomState>,
    /// `*.example.com`, without the star, longest first.
    pub suffixes: Vec<(Box<[u8]>, u32)>,
    /// `www.*`, without the star, longest first.
    pub prefixes: Vec<(Box<[u8]>, u32)>,
    pub any: Option<u32>,
}

/// A `VirtualHost`.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct VirtualHost {
    pub name: Arc<str>,
    pub routes: Vec<Arc<Route>>,
    pub request_headers: HeaderChanges,
    pub response_headers: HeaderChanges,
    pub per_filter: Vec<(Arc<str>, PerFilter)>,
    /// `require_tls`: Some(true) for all, Some(false) for external requests only.
    pub require_tls: Option<bool>,
    /// Used by routes without their own.
    pub retry: Option<Arc<RetryPolicy>>,
    /// `include_request_attempt_count`
    pub tells_attempts: bool,
    /// `include_attempt_count_in_response`
    pub answers_attempts: bool,
}

/// A `Route`.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Route {
    pub name: Arc<str>,
    pub matches: RouteMatch,
    pub action: RouteAction,
    pub request_headers: HeaderChanges,
    pub response_headers: HeaderChanges,
    pub per_filter: Vec<(Arc<str>, PerFilter)>,
    pub metadata: Metadata,
}

/// A `RouteMatch`.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct RouteMatch {
    pub path: PathMatch,
    pub case_sensitive: bool,
    pub headers: Vec<HeaderMatcher>,
    pub query: Vec<QueryMatcher>,
    /// `runtime_fraction`
    pub fraction: Option<Millionths>,
    /// `grpc`
    pub only_grpc: bool,
}

/// `RouteMatch.path_specifier`; values in lower case where case does not count.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum PathMatch {
    Prefix(Box<[u8]>),
    Exact(Box<[u8]>),
    /// `path_separated_prefix`: by whole elements.
    Separated(Box<[u8]>),
    /// Anchored already; looks at the path without its query.
    Regex(Regex),
    /// CONNECT requests (and, over HTTP/2, extended ones).
    Connect,
}

/// What becomes of a request.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum RouteAction {
    Forward(Box<Forward>),
    Redirect(Box<Redirect>),
    Direct(DirectResponse),
}

/// `config.route.v3.RouteAction`.
#[derive(Clone, Debug)]
pub struct Forward {
    /// Where to.
    pub destination: Destination,
    /// `cluster_not_found_response_code`: 503, 404 or 500.
    pub not_found_status: u16,
    /// `prefix_rewrite`: replaces what the match's prefix or path matched.
    pub prefix_rewrite: Option<Box<[u8]>>,
    /// `regex_rewrite`: pattern and substitution (`\1` for groups), on the path without its query.
    pub regex_rewrite: Option<(Regex, Box<[u8]>)>,
    /// `host_rewrite_literal`
    pub host_rewrite: Option<Box<[u8]>>,
    /// `auto_host_rewrite`: the endpoint's host name.
    pub auto_host_rewrite: bool,
    /// `host_rewrite_header`
    pub host_rewrite_header: Option<Box<[u8]>>,
    /// `append_x_forwarded_host`
    pub append_forwarded_host: bool,
    /// For the whole request, all attempts; zero means none. Envoy's default is 15 s.
    pub timeout: Duration,
    /// `idle_timeout` of the stream: Some(zero) means none, None means the manager's.
    pub idle_timeout: Option<Duration>,
    /// `max_stream_duration.max_stream_duration`; zero means none. None means the manager's.
    pub max_stream_duration: Option<Duration>,
    /// `max_stream_duration.grpc_timeout_header_max`: Some(zero) means any.
    pub grpc_timeout_max: Option<Duration>,
    /// `max_stream_duration.grpc_timeout_header_offset`
    pub grpc_timeout_offset: Duration,
    /// `retry_policy`
    pub retry: Option<Arc<RetryPolicy>>,
    /// `hash_policy`
    pub hash: Vec<HashPolicy>,
    /// `request_mirror_policies`
    pub mirrors: Vec<Mirror>,
    /// `upgrade_configs`: lower-case type and whether it is enabled; overrides the manager's.
    pub upgrades: Vec<(Box<str>, bool)>,
    /// `upgrade_configs[CONNECT].connect_config` is there: CONNECT ends here and its bytes go to the upstream.
    pub terminates_connect: bool,
    /// `priority: HIGH`
    pub is_high_priority: bool,
    /// `metadata_match` (subset), key to text, of `envoy.lb`.
    pub subset: Vec<(String, String)>,
    /// What only the native data plane does; from `metadata.filter_metadata["ripstop.native"]`.
    pub extras: RouteExtras,
}

/// Ripstop's own, on a route; a real Envoy does not look at it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteExtras {
    /// The cluster of the service asked for, where the route names an aggregate for data planes that know no fallbacks.
    pub primary: Option<Arc<str>>,
    /// Other services to ask when this one does not answer well, in order.
    pub fallbacks: Vec<FallbackHop>,
    /// Retry requests that are not idempotent but carry an `Idempotency-Key`.
    pub retry_with_key: bool,
}

/// One hop of a fallback chain.
#[derive(Clone, Debug, PartialEq)]
pub struct FallbackHop {
    /// The cluster.
    pub cluster: Arc<str>,
    /// The service's name as documents say it; told in `Mesh-Degraded`.
    pub service: Arc<str>,
    /// The Host it is asked with; empty keeps the request's.
    pub authority: Arc<str>,
    /// When the hop before it gives way.
    pub on: FallbackTriggers,
}

/// When a fallback is taken.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct FallbackTriggers {
    pub no_healthy: bool,
    pub breaker_open: bool,
    pub overflow: bool,
    pub timeout: bool,
    /// Ranges of status codes, both ends included.
    pub status: Vec<(u16, u16)>,
}

/// Where a request goes.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Destination {
    Cluster(Arc<str>),
    /// `cluster_header`
    Header(Box<[u8]>),
    Weighted(Vec<WeightedCluster>, u64),
}

/// `WeightedCluster.ClusterWeight`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct WeightedCluster {
    pub name: Arc<str>,
    pub weight: u32,
    pub request_headers: HeaderChanges,
    pub response_headers: HeaderChanges,
    pub host_rewrite: Option<Box<[u8]>>,
    pub per_filter: Vec<(Arc<str>, PerFilter)>,
}

/// `RedirectAction`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Redirect {
    pub status: u16,
    pub scheme: Option<Box<[u8]>>,
    /// `https_redirect`
    pub https: bool,
    pub host: Option<Box<[u8]>>,
    pub port: u16,
    pub path: PathRedirect,
    pub strips_query: bool,
}

/// `RedirectAction.path_rewrite_specifier`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum PathRedirect {
    Keep,
    Full(Box<[u8]>),
    Prefix(Box<[u8]>),
    Regex(Regex, Box<[u8]>),
}

/// `DirectResponseAction`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct DirectResponse {
    pub status: u16,
    pub body: Arc<[u8]>,
}

/// `HeaderValueOption`s and names to remove. Removal comes first, then additions in order (Envoy: remove after add for
/// requests is not configurable; `decode` keeps Envoy's order).
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct HeaderChanges {
    pub remove: Vec<Box<[u8]>>,
    pub add: Vec<HeaderAdd>,
}

/// One `HeaderValueOption`.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct HeaderAdd {
    pub name: Box<[u8]>,
    pub value: Template,
    pub action: AppendAction,
    pub keep_empty: bool,
}

/// `HeaderAppendAction`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum AppendAction {
    AppendIfExistsOrAdd,
    AddIfAbsent,
    OverwriteIfExistsOrAdd,
    OverwriteIfExists,
}

/// `RetryPolicy`, compiled.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct RetryPolicy {
    pub on: RetryOn,
    pub num_retries: u32,
    /// zero means none
    pub per_try_timeout: Duration,
    /// zero means none
    pub per_try_idle_timeout: Duration,
    pub statuses: Vec<u16>,
    pub retriable_headers: Vec<HeaderMatcher>,
    pub retriable_request_headers: Vec<HeaderMatcher>,
    pub base_interval: Duration,
    pub max_interval: Duration,
    /// `previous_hosts` is among the host predicates.
    pub avoids_previous_hosts: bool,
    /// `omit_canary_hosts`, `omit_host_metadata` are not supported (NACK).
    pub host_picks_max: u32,
    /// `rate_limited_retry_back_off`: header name, is it seconds (else unix timestamp), and the longest wait.
    pub reset_headers: Vec<(Box<[u8]>, bool)>,
    pub reset_max: Duration,
}

/// The words of `retry_on`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct RetryOn {
    pub server_error: bool,
    pub gateway_error: bool,
    pub reset: bool,
    pub reset_before_request: bool,
    pub connect_failure: bool,
    pub retriable_4xx: bool,
    pub refused_stream: bool,
    pub retriable_status_codes: bool,
    pub retriable_headers: bool,
    pub envoy_ratelimited: bool,
    pub http3_post_connect_failure: bool,
    pub grpc_cancelled: bool,
    pub grpc_deadline_exceeded: bool,
    pub grpc_internal: bool,
    pub grpc_resource_exhausted: bool,
    pub grpc_unavailable: bool,
}

/// `RouteAction.HashPolicy`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct HashPolicy {
    pub kind: HashKey,
    pub terminal: bool,
}

/// What is hashed.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum HashKey {
    Header(Box<[u8]>),
    /// A lifetime means that one is set when it is missing; None only reads it.
    Cookie {
        name: Box<[u8]>,
        path: Box<[u8]>,
        ttl: Option<Duration>,
    },
    SourceIp,
    Query(Box<[u8]>),
}

/// `RequestMirrorPolicy`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Mirror {
    pub cluster: Arc<str>,
    pub fraction: Millionths,
    /// `disable_shadow_host_suffix_append`: else the authority gets `-shadow`.
    pub keeps_host: bool,
}

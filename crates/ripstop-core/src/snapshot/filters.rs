//! HTTP filters and what routes give them (`typed_per_filter_config`).
use super::*;
use ipnet::IpNet;
use std::time::Duration;

/// An HTTP filter of a connection manager, by the name that `typed_per_filter_config` uses.
#[derive(Clone, Debug)]
pub struct HttpFilter {
    /// Its name in the chain.
    pub name: Arc<str>,
    /// `disabled`: only routes turn it on.
    pub disabled: bool,
    /// What it does where no route says otherwise.
    pub kind: FilterKind,
}

/// The filters that exist here. The router is always last and not among them.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum FilterKind {
    Cors,
    Fault(Option<Arc<Fault>>),
    Rbac(Arc<HttpRbac>),
    LocalRateLimit(Arc<LocalRateLimit>),
    StatefulSession(Option<Arc<StatefulSession>>),
    HeaderMutation(Arc<HeaderMutation>),
    /// Counts only; nothing to do here.
    GrpcStats,
}

/// What a route, virtual host or weighted cluster says about a filter.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum PerFilter {
    Disabled,
    Cors(Arc<Cors>),
    Fault(Arc<Fault>),
    /// None: the filter does nothing here (`RBACPerRoute` without rules).
    Rbac(Option<Arc<HttpRbac>>),
    LocalRateLimit(Arc<LocalRateLimit>),
    StatefulSession(Option<Arc<StatefulSession>>),
    HeaderMutation(Arc<HeaderMutation>),
}

/// `CorsPolicy`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Cors {
    pub allow_origins: Vec<StringMatcher>,
    pub allow_methods: String,
    pub allow_headers: String,
    pub expose_headers: String,
    pub max_age: String,
    pub allow_credentials: bool,
    pub enabled: Millionths,
    pub shadow_enabled: Millionths,
    pub forwards_not_matching_preflights: bool,
}

/// `HTTPFault`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Fault {
    pub delay: Option<(Duration, Millionths)>,
    pub abort: Option<(FaultAbort, Millionths)>,
    pub headers: Vec<HeaderMatcher>,
    pub upstream_cluster: String,
    pub downstream_nodes: Vec<String>,
}

/// How a fault aborts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum FaultAbort {
    Http(u16),
    Grpc(u32),
}

/// `filters.http.rbac.v3.RBAC`
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct HttpRbac {
    pub rules: Option<Arc<Rbac>>,
    pub rules_prefix: String,
    pub shadow_rules: Option<Arc<Rbac>>,
    pub shadow_prefix: String,
}

/// `config.rbac.v3.RBAC`: policies sorted by name, as Envoy evaluates its map.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Rbac {
    pub action: RbacAction,
    pub policies: Vec<(Arc<str>, RbacPolicy)>,
}

/// `RBAC.Action`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum RbacAction {
    Allow,
    Deny,
    Log,
}

/// A `Policy`: any permission and any principal.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct RbacPolicy {
    pub permissions: Vec<Permission>,
    pub principals: Vec<Principal>,
}

/// `Permission`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Permission {
    And(Vec<Permission>),
    Or(Vec<Permission>),
    Not(Box<Permission>),
    Any,
    Header(HeaderMatcher),
    UrlPath(StringMatcher),
    DestinationIp(IpNet),
    DestinationPort(u16),
    DestinationPortRange(u16, u16),
    RequestedServerName(StringMatcher),
}

/// `Principal`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Principal {
    And(Vec<Principal>),
    Or(Vec<Principal>),
    Not(Box<Principal>),
    Any,
    /// The peer's URI SAN, else DNS SAN, else subject; None: any peer with a certificate.
    Authenticated(Option<StringMatcher>),
    SourceIp(IpNet),
    DirectRemoteIp(IpNet),
    RemoteIp(IpNet),
    Header(HeaderMatcher),
    UrlPath(StringMatcher),
}

/// `LocalRateLimit`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct LocalRateLimit {
    pub status: u16,
    /// None: everything passes.
    pub bucket: Option<TokenBucket>,
    pub enabled: Millionths,
    pub enforced: Millionths,
    /// `rate_limited_as_resource_exhausted`: gRPC 8 instead of 14.
    pub as_resource_exhausted: bool,
    pub response_headers: HeaderChanges,
    pub stat_prefix: String,
    /// Buckets are kept by this key across updates of the same content.
    pub key: u64,
}

/// `TokenBucket`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct TokenBucket {
    pub max_tokens: u32,
    pub tokens_per_fill: u32,
    pub fill_interval: Duration,
}

/// `StatefulSession`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct StatefulSession {
    pub state: SessionState,
}

/// Where a session's endpoint is remembered.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum SessionState {
    Cookie { name: Box<[u8]>, path: Box<[u8]>, ttl: Duration, attributes: Vec<(String, String)> },
    Header(Box<[u8]>),
}

/// `HeaderMutation`
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct HeaderMutation {
    pub request: HeaderChanges,
    pub response: HeaderChanges,
}

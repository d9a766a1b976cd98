//! Access logs and the templates of what they write (Envoy: "Access logging", command operators).
use super::*;

/// An `AccessLog`.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct AccessLog {
    pub filter: Option<LogFilter>,
    pub sink: LogSink,
}

/// Where a record goes.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum LogSink {
    /// `access_loggers.file`; `/dev/stdout` among others.
    File { path: Arc<str>, format: LogFormat },
    /// `access_loggers.stats`
    Stats(Arc<StatsLog>),
}

/// `StatsAccessLog`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct StatsLog {
    pub prefix: String,
    /// Counters: name, tags, and by how much (None: a fixed value is in `fixed`).
    pub counters: Vec<StatsCounter>,
    pub histograms: Vec<StatsHistogram>,
}

/// A counter of a `StatsAccessLog`.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct StatsCounter {
    pub name: String,
    pub tags: Vec<(String, Template)>,
    pub value: StatsValue,
}

/// How much a record adds.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum StatsValue {
    Fixed(u64),
    Format(Template),
}

/// A histogram of a `StatsAccessLog`.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct StatsHistogram {
    pub name: String,
    pub tags: Vec<(String, Template)>,
    pub value: Template,
}

/// A line.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum LogFormat {
    Text(Template),
    /// Keys in sorted order, as Envoy writes them. `omit_empty_values` leaves out what is not there.
    Json {
        fields: Vec<(String, JsonFormat)>,
        omit_empty: bool,
        sort: bool,
    },
}

/// A value of a JSON format. A template that is one operator keeps its type (numbers stay numbers).
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum JsonFormat {
    Template(Template),
    Number(f64),
    Bool(bool),
    Null,
    Struct(Vec<(String, JsonFormat)>),
    List(Vec<JsonFormat>),
}

/// Text with operators in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Template(pub Vec<Part>);

/// A part of a template.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Part {
    Literal(Box<str>),
    /// The operator and the longest text it may give (`:N`).
    Operator(Operator, Option<u32>),
}

/// Envoy's command operators that are known here; any other is refused when it is decoded.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Operator {
    StartTime(Option<String>),
    /// A header, and another that is looked at when it is missing.
    Req(Box<[u8]>, Option<Box<[u8]>>),
    Resp(Box<[u8]>, Option<Box<[u8]>>),
    Trailer(Box<[u8]>, Option<Box<[u8]>>),
    Protocol,
    ResponseCode,
    ResponseCodeDetails,
    ConnectionTerminationDetails,
    ResponseFlags,
    ResponseFlagsLong,
    /// `%GRPC_STATUS%` by name, `%GRPC_STATUS_NUMBER%`
    GrpcStatus,
    GrpcStatusNumber,
    UpstreamTransportFailureReason,
    DownstreamTransportFailureReason,
    Duration,
    RequestDuration,
    ResponseDuration,
    ResponseTxDuration,
    UpstreamRequestAttemptCount,
    UpstreamHost,
    UpstreamCluster,
    UpstreamClusterRaw,
    UpstreamLocalAddress,
    UpstreamProtocol,
    RouteName,
    /// `%METADATA(ROUTE:filter:key…)%`
    RouteMetadata(String, Vec<String>),
    /// `%METADATA(CLUSTER:filter:key…)%`
    ClusterMetadata(String, Vec<String>),
    /// `%METADATA(UPSTREAM_HOST:filter:key…)%`
    HostMetadata(String, Vec<String>),
    DynamicMetadata(String, Vec<String>),
    BytesReceived,
    BytesSent,
    DownstreamPeerUriSan,
    DownstreamLocalUriSan,
    DownstreamPeerSubject,
    UpstreamPeerUriSan,
    UpstreamLocalUriSan,
    DownstreamRemoteAddress,
    DownstreamRemoteAddressWithoutPort,
    DownstreamDirectRemoteAddress,
    DownstreamDirectRemoteAddressWithoutPort,
    DownstreamLocalAddress,
    DownstreamLocalPort,
    DownstreamTlsVersion,
    DownstreamTlsCipher,
    RequestedServerName,
    VirtualHostName,
    FilterChainName,
    ConnectionId,
    StreamId,
    Hostname,
    LocalReplyBody,
}

/// `AccessLogFilter`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum LogFilter {
    StatusCode(Comparison, u32),
    Duration(Comparison, u32),
    NotHealthCheck,
    Fraction(Millionths),
    And(Vec<LogFilter>),
    Or(Vec<LogFilter>),
    Header(HeaderMatcher),
    /// Short names of response flags; empty: any flag.
    ResponseFlag(Vec<String>),
    /// gRPC statuses; `exclude` turns it round.
    GrpcStatus(Vec<u32>, bool),
    /// Dynamic metadata: filter, path, wanted text, and whether it matches when the key is missing.
    Metadata {
        filter: String,
        path: Vec<String>,
        value: MetadataMatch,
        if_missing: bool,
    },
}

/// `ValueMatcher`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum MetadataMatch {
    Text(StringMatcher),
    Bool(bool),
    Present,
    Null,
}

/// `ComparisonFilter.Op`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Comparison {
    Eq,
    Ge,
    Le,
    Ne,
}

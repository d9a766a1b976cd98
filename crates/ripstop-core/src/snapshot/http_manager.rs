//! `HttpConnectionManager`.
use super::*;
use std::time::Duration;

/// How errors are told (RFC 9209).
#[derive(Clone, Debug)]
pub struct ProxyStatus {
    /// Who tells.
    pub name: Box<str>,
    /// `details` are told.
    pub tells_details: bool,
    /// Response flags are among them.
    pub tells_flags: bool,
}

/// How HTTP on a connection is read, routed, filtered, logged.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct HttpManager {
    pub codec: Codec,
    pub stat_prefix: Arc<str>,
    pub routes: RouteSource,
    pub filters: Vec<HttpFilter>,
    pub access_logs: Vec<Arc<AccessLog>>,
    pub local_replies: LocalReplies,
    pub upgrades: Vec<Box<str>>,
    pub http1: Http1Options,
    pub http2: Http2Options,
    /// `common_http_protocol_options.idle_timeout`; zero means none. Envoy's default is 1 h.
    pub idle_timeout: Duration,
    /// `common_http_protocol_options.max_connection_duration`; zero means none.
    pub max_connection_duration: Duration,
    pub max_stream_duration: Duration,
    pub max_requests_per_connection: u32,
    /// zero means none. Envoy's default is 5 min.
    pub stream_idle_timeout: Duration,
    pub request_timeout: Duration,
    pub request_headers_timeout: Duration,
    pub drain_timeout: Duration,
    pub delayed_close_timeout: Duration,
    pub max_request_headers_kb: u32,
    pub max_headers_count: u32,
    pub use_remote_address: bool,
    pub skip_xff_append: bool,
    pub via: String,
    /// `proxy_status_config`
    pub proxy_status: Option<ProxyStatus>,
    /// `server_name`; Envoy's default is `envoy`.
    pub server_name: String,
    pub server_header: ServerHeader,
    pub normalize_path: bool,
    pub merge_slashes: bool,
    pub escaped_slashes: EscapedSlashes,
    pub generate_request_id: bool,
    pub preserve_external_request_id: bool,
    pub always_set_request_id_in_response: bool,
    pub forward_client_cert: ForwardClientCert,
    pub client_cert_details: ClientCertDetails,
    pub stream_error_on_invalid: bool,
    pub proxy_100_continue: bool,
    pub suppress_envoy_headers: bool,
    /// `internal_address_config` absent: RFC 1918 peers are not internal in 1.40 unless told so.
    pub internal_cidrs: Vec<ipnet::IpNet>,
}

/// `codec_type`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Codec {
    /// By ALPN, else by the first bytes.
    #[default]
    Auto,
    Http1,
    Http2,
}

/// Where a manager's routes come from.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum RouteSource {
    Inline(Arc<RouteConfig>),
    /// By RDS over ADS: the name of a RouteConfiguration.
    Rds(Arc<str>),
    /// By SRDS over ADS. The key is `:authority` up to its first `element_separator` as configured.
    Scoped {
        header: Box<[u8]>,
        separator: Box<[u8]>,
        index: u32,
    },
}

/// `server_header_transformation`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ServerHeader {
    #[default]
    Overwrite,
    AppendIfAbsent,
    PassThrough,
}

/// `path_with_escaped_slashes_action`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum EscapedSlashes {
    #[default]
    Keep,
    Reject,
    UnescapeAndRedirect,
    UnescapeAndForward,
}

/// `forward_client_cert_details`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ForwardClientCert {
    #[default]
    Sanitize,
    ForwardOnly,
    AppendForward,
    SanitizeSet,
    AlwaysForwardOnly,
}

/// `set_current_client_cert_details`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ClientCertDetails {
    pub subject: bool,
    pub cert: bool,
    pub chain: bool,
    pub dns: bool,
    pub uri: bool,
}

/// `Http1ProtocolOptions`
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Http1Options {
    pub accept_http_10: bool,
    pub default_host_for_http_10: String,
}

/// `Http2ProtocolOptions` with Envoy's defaults filled in.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Http2Options {
    pub hpack_table_size: u32,
    pub max_concurrent_streams: u32,
    pub initial_stream_window: u32,
    pub initial_connection_window: u32,
    pub allow_connect: bool,
    pub max_outbound_frames: u32,
    pub max_outbound_control_frames: u32,
    pub max_consecutive_empty_frames: u32,
    pub max_priority_frames_per_stream: u32,
    pub max_window_update_per_data: u32,
    pub stream_error_on_invalid: bool,
    /// PING: interval, timeout; zero interval means none.
    pub keepalive_interval: Duration,
    pub keepalive_timeout: Duration,
}

impl Default for Http2Options {
    /// The defaults of Envoy 1.40 (`core.v3.Http2ProtocolOptions`).
    fn default() -> Http2Options {
        Http2Options {
            hpack_table_size: 4096,
            max_concurrent_streams: 1024,
            initial_stream_window: 16 << 20,
            initial_connection_window: 24 << 20,
            allow_connect: false,
            max_outbound_frames: 10_000,
            max_outbound_control_frames: 1000,
            max_consecutive_empty_frames: 1,
            max_priority_frames_per_stream: 100,
            max_window_update_per_data: 10,
            stream_error_on_invalid: false,
            keepalive_interval: Duration::ZERO,
            keepalive_timeout: Duration::ZERO,
        }
    }
}

/// `LocalReplyConfig`
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct LocalReplies {
    pub mappers: Vec<ReplyMapper>,
    /// `body_format`
    pub body: Option<ReplyBody>,
}

/// `ResponseMapper`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct ReplyMapper {
    pub filter: LogFilter,
    pub status: Option<u16>,
    pub body: Option<Template>,
    pub body_format: Option<ReplyBody>,
    pub headers: Vec<HeaderAdd>,
}

/// A body made by a format (`SubstitutionFormatString`).
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct ReplyBody {
    pub format: LogFormat,
    pub content_type: String,
}

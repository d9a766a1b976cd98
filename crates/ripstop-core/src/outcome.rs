//! How an exchange ended: response flags and details, exactly Envoy's words (access logging, `%RESPONSE_FLAGS%`).

macro_rules! flags {
    ($($id:ident = $bit:literal, $short:literal, $long:literal;)*) => {
        /// A set of response flags.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub struct Flags(pub u32);

        #[allow(missing_docs)]
        impl Flags {
            $(#[doc = $long] pub const $id: Flags = Flags(1 << $bit);)*
        }

        const TABLE: &[(Flags, &str, &str)] = &[$((Flags::$id, $short, $long)),*];
    };
}

flags! {
    FAILED_LOCAL_HEALTH_CHECK = 0, "LH", "FailedLocalHealthCheck";
    NO_HEALTHY_UPSTREAM = 1, "UH", "NoHealthyUpstream";
    UPSTREAM_REQUEST_TIMEOUT = 2, "UT", "UpstreamRequestTimeout";
    LOCAL_RESET = 3, "LR", "LocalReset";
    UPSTREAM_REMOTE_RESET = 4, "UR", "UpstreamRemoteReset";
    UPSTREAM_CONNECTION_FAILURE = 5, "UF", "UpstreamConnectionFailure";
    UPSTREAM_CONNECTION_TERMINATION = 6, "UC", "UpstreamConnectionTermination";
    UPSTREAM_OVERFLOW = 7, "UO", "UpstreamOverflow";
    NO_ROUTE_FOUND = 8, "NR", "NoRouteFound";
    DELAY_INJECTED = 9, "DI", "DelayInjected";
    FAULT_INJECTED = 10, "FI", "FaultInjected";
    RATE_LIMITED = 11, "RL", "RateLimited";
    UNAUTHORIZED_EXTERNAL_SERVICE = 12, "UAEX", "UnauthorizedExternalService";
    DOWNSTREAM_CONNECTION_TERMINATION = 14, "DC", "DownstreamConnectionTermination";
    UPSTREAM_RETRY_LIMIT_EXCEEDED = 15, "URX", "UpstreamRetryLimitExceeded";
    STREAM_IDLE_TIMEOUT = 16, "SI", "StreamIdleTimeout";
    DOWNSTREAM_PROTOCOL_ERROR = 18, "DPE", "DownstreamProtocolError";
    UPSTREAM_MAX_STREAM_DURATION = 19, "UMSDR", "UpstreamMaxStreamDurationReached";
    NO_FILTER_CONFIG = 21, "NFCF", "NoFilterConfigFound";
    DURATION_TIMEOUT = 22, "DT", "DurationTimeout";
    UPSTREAM_PROTOCOL_ERROR = 23, "UPE", "UpstreamProtocolError";
    NO_CLUSTER_FOUND = 24, "NC", "NoClusterFound";
    OVERLOAD_MANAGER = 25, "OM", "OverloadManagerTerminated";
    DOWNSTREAM_REMOTE_RESET = 27, "DR", "DownstreamRemoteReset";
}

/// Response flags and what Envoy calls them in `Proxy-Status`, in the order in which it looks.
const ERRORS: &[(Flags, &str)] = &[
    (Flags::FAILED_LOCAL_HEALTH_CHECK, "destination_unavailable"),
    (Flags::NO_HEALTHY_UPSTREAM, "destination_unavailable"),
    (Flags::UPSTREAM_REQUEST_TIMEOUT, "http_response_timeout"),
    (Flags::DURATION_TIMEOUT, "connection_timeout"),
    (Flags::LOCAL_RESET, "connection_timeout"),
    (Flags::UPSTREAM_REMOTE_RESET, "connection_terminated"),
    (Flags::UPSTREAM_CONNECTION_FAILURE, "connection_refused"),
    (Flags::UPSTREAM_CONNECTION_TERMINATION, "connection_terminated"),
    (Flags::UPSTREAM_OVERFLOW, "connection_limit_reached"),
    (Flags::NO_ROUTE_FOUND, "destination_not_found"),
    (Flags::RATE_LIMITED, "connection_limit_reached"),
    (Flags::UPSTREAM_RETRY_LIMIT_EXCEEDED, "destination_unavailable"),
    (Flags::STREAM_IDLE_TIMEOUT, "http_response_timeout"),
    (Flags::DOWNSTREAM_PROTOCOL_ERROR, "http_request_error"),
    (Flags::UPSTREAM_MAX_STREAM_DURATION, "http_response_timeout"),
    (Flags::NO_FILTER_CONFIG, "proxy_configuration_error"),
    (Flags::UPSTREAM_PROTOCOL_ERROR, "http_protocol_error"),
    (Flags::NO_CLUSTER_FOUND, "destination_unavailable"),
];

impl Flags {
    /// No flag.
    pub const NONE: Flags = Flags(0);

    /// Whether any of `other`'s are set.
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 != 0
    }

    /// Set `other`'s too.
    pub fn set(&mut self, other: Flags) {
        self.0 |= other.0;
    }

    /// Whether none is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The short names, in Envoy's order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        TABLE.iter().filter(move |(flag, ..)| self.has(*flag)).map(|(_, short, _)| *short)
    }

    /// The long names.
    pub fn long_names(self) -> impl Iterator<Item = &'static str> {
        TABLE.iter().filter(move |(flag, ..)| self.has(*flag)).map(|(.., long)| *long)
    }

    /// The error type of RFC 9209, section 2.3, as Envoy picks it: by the first flag that has one.
    pub fn proxy_error(self) -> Option<&'static str> {
        ERRORS.iter().find(|(flag, _)| self.has(*flag)).map(|(_, error)| *error)
    }

    /// The flag of a short name.
    pub fn of(short: &str) -> Option<Flags> {
        TABLE.iter().find(|(_, name, _)| *name == short).map(|(flag, ..)| *flag)
    }
}

impl std::fmt::Display for Flags {
    /// `UF,URX`, or `-` for none.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        for (index, name) in self.names().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

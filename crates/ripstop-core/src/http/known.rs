//! Header names that decisions look at, as small numbers: they are compared and found without looking at text.

macro_rules! known {
    ($($id:ident = $name:literal),* $(,)?) => {
        /// A header name: one of those known here, or `Other`, whose text is with the field.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum HeaderId {
            /// Any other name.
            Other = 0,
            $(#[doc = $name] $id,)*
        }

        const NAMES: &[&str] = &["", $($name),*];

        impl HeaderId {
            /// The number of ids, `Other` among them.
            pub const COUNT: usize = NAMES.len();

            /// The id of a name in lower case.
            pub fn of(name: &[u8]) -> HeaderId {
                $(const $id: &[u8] = $name.as_bytes();)*
                #[allow(non_upper_case_globals)]
                match name {
                    $(n if n.len() == $id.len() && n == $id => HeaderId::$id,)*
                    _ => HeaderId::Other,
                }
            }
        }
    };
}

#[allow(non_upper_case_globals)]
mod table {
    known! {
        Host = "host", Connection = "connection", ContentLength = "content-length",
        TransferEncoding = "transfer-encoding", Te = "te", Trailer = "trailer", Upgrade = "upgrade",
        KeepAlive = "keep-alive", ProxyConnection = "proxy-connection",
        ProxyAuthenticate = "proxy-authenticate", ProxyAuthorization = "proxy-authorization",
        Expect = "expect", ContentType = "content-type", ContentEncoding = "content-encoding",
        Accept = "accept", AcceptEncoding = "accept-encoding", AcceptLanguage = "accept-language",
        UserAgent = "user-agent", Authorization = "authorization", Cookie = "cookie", SetCookie = "set-cookie",
        Date = "date", Server = "server", Location = "location", Origin = "origin", Vary = "vary",
        Via = "via", Etag = "etag", CacheControl = "cache-control", LastModified = "last-modified",
        Referer = "referer", Forwarded = "forwarded", RetryAfter = "retry-after",
        AcceptRanges = "accept-ranges", Http2Settings = "http2-settings",
        XForwardedFor = "x-forwarded-for", XForwardedProto = "x-forwarded-proto",
        XForwardedHost = "x-forwarded-host", XForwardedPort = "x-forwarded-port",
        XForwardedClientCert = "x-forwarded-client-cert", XRequestId = "x-request-id",
        XEnvoyOriginalPath = "x-envoy-original-path",
        XEnvoyUpstreamServiceTime = "x-envoy-upstream-service-time",
        XEnvoyAttemptCount = "x-envoy-attempt-count",
        XEnvoyExpectedRqTimeoutMs = "x-envoy-expected-rq-timeout-ms",
        XEnvoyExternalAddress = "x-envoy-external-address", XEnvoyInternal = "x-envoy-internal",
        XRipstopNotSent = "x-ripstop-not-sent", MeshDegraded = "mesh-degraded", ProxyStatus = "proxy-status",
        Traceparent = "traceparent", Tracestate = "tracestate", B3 = "b3", XB3TraceId = "x-b3-traceid",
        GrpcStatus = "grpc-status", GrpcMessage = "grpc-message", GrpcTimeout = "grpc-timeout",
        GrpcEncoding = "grpc-encoding", GrpcAcceptEncoding = "grpc-accept-encoding",
        IdempotencyKey = "idempotency-key",
        AccessControlRequestMethod = "access-control-request-method",
        AccessControlRequestHeaders = "access-control-request-headers",
        AccessControlAllowOrigin = "access-control-allow-origin",
        AccessControlAllowMethods = "access-control-allow-methods",
        AccessControlAllowHeaders = "access-control-allow-headers",
        AccessControlAllowCredentials = "access-control-allow-credentials",
        AccessControlExposeHeaders = "access-control-expose-headers",
        AccessControlMaxAge = "access-control-max-age",
    }

    impl HeaderId {
        /// The name in lower case; empty for `Other`.
        pub const fn name(self) -> &'static str {
            NAMES[self as usize]
        }
    }
}

pub use table::HeaderId;

//! Builders for the tests of routing. What the tables expect was seen at Envoy 1.40 with the same configuration.
mod changing;
mod choosing;
mod misses;
mod paths;

use crate::http::RequestHead;
use crate::snapshot::*;
use std::sync::Arc;
use std::time::Duration;

fn bytes(text: &str) -> Box<[u8]> {
    text.as_bytes().into()
}

fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn request(authority: &str, path: &str, fields: &[(&str, &str)]) -> RequestHead {
    let mut head = RequestHead::default();
    head.set_method(b"GET");
    head.set_scheme(b"http");
    head.set_authority(authority.as_bytes());
    head.set_path(path.as_bytes());
    for (name, value) in fields {
        head.headers.push(name.as_bytes(), value.as_bytes());
    }
    head
}

fn route_match(path: PathMatch) -> RouteMatch {
    RouteMatch {
        path,
        case_sensitive: true,
        headers: Vec::new(),
        query: Vec::new(),
        fraction: None,
        only_grpc: false,
    }
}

fn route(name: &str, matches: RouteMatch, action: RouteAction) -> Route {
    Route {
        name: name.into(),
        matches,
        action,
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
        per_filter: Vec::new(),
        metadata: Metadata::default(),
    }
}

fn direct() -> RouteAction {
    RouteAction::Direct(DirectResponse { status: 200, body: Arc::from(&b""[..]) })
}

fn virtual_host(name: &str, routes: Vec<Route>) -> VirtualHost {
    VirtualHost {
        name: name.into(),
        routes: routes.into_iter().map(Arc::new).collect(),
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
        per_filter: Vec::new(),
        require_tls: None,
        retry: None,
        tells_attempts: false,
        answers_attempts: false,
    }
}

/// A RouteConfiguration with one virtual host for any domain.
fn config(host: VirtualHost) -> RouteConfig {
    let domains = Domains { any: Some(0), ..Domains::default() };
    RouteConfig { virtual_hosts: vec![Arc::new(host)], domains, ..RouteConfig::default() }
}

fn forward(destination: Destination) -> Forward {
    Forward {
        destination,
        not_found_status: 503,
        prefix_rewrite: None,
        regex_rewrite: None,
        host_rewrite: None,
        auto_host_rewrite: false,
        host_rewrite_header: None,
        append_forwarded_host: false,
        timeout: Duration::ZERO,
        idle_timeout: None,
        max_stream_duration: None,
        grpc_timeout_max: None,
        grpc_timeout_offset: Duration::ZERO,
        retry: None,
        hash: Vec::new(),
        mirrors: Vec::new(),
        upgrades: Vec::new(),
        terminates_connect: false,
        is_high_priority: false,
        subset: Vec::new(),
        extras: RouteExtras::default(),
    }
}

fn to_cluster(name: &str) -> Forward {
    forward(Destination::Cluster(name.into()))
}

fn weighted(name: &str, weight: u32) -> WeightedCluster {
    WeightedCluster {
        name: name.into(),
        weight,
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
        host_rewrite: None,
        per_filter: Vec::new(),
    }
}

fn manager() -> HttpManager {
    HttpManager {
        codec: Codec::Auto,
        stat_prefix: "test".into(),
        routes: RouteSource::Rds("test".into()),
        filters: Vec::new(),
        access_logs: Vec::new(),
        local_replies: LocalReplies::default(),
        upgrades: Vec::new(),
        http1: Http1Options::default(),
        http2: Http2Options::default(),
        idle_timeout: Duration::ZERO,
        max_connection_duration: Duration::ZERO,
        max_stream_duration: Duration::ZERO,
        max_requests_per_connection: 0,
        stream_idle_timeout: Duration::ZERO,
        request_timeout: Duration::ZERO,
        request_headers_timeout: Duration::ZERO,
        drain_timeout: Duration::ZERO,
        delayed_close_timeout: Duration::ZERO,
        max_request_headers_kb: 60,
        max_headers_count: 100,
        use_remote_address: false,
        skip_xff_append: false,
        via: String::new(),
        proxy_status: None,
        server_name: "envoy".into(),
        server_header: ServerHeader::Overwrite,
        normalize_path: true,
        merge_slashes: false,
        escaped_slashes: EscapedSlashes::Keep,
        generate_request_id: false,
        preserve_external_request_id: false,
        always_set_request_id_in_response: false,
        forward_client_cert: ForwardClientCert::Sanitize,
        client_cert_details: ClientCertDetails::default(),
        stream_error_on_invalid: false,
        proxy_100_continue: false,
        suppress_envoy_headers: true,
        internal_cidrs: Vec::new(),
    }
}

//! What the HTTP filters other than RBAC are told: CORS, faults, rate limits, sessions, header mutations.
use super::basic;
use super::matching;
use super::mutation;
use super::reader::{Reader, type_name};
use super::version_of;
use crate::snapshot::{
    Cors, Fault, FaultAbort, HeaderChanges, HeaderMutation, LocalRateLimit, Millionths, SessionState,
    StatefulSession, TokenBucket,
};
use prost::Message;
use ripstop_xds::envoy::config::core::v3 as core;
use ripstop_xds::envoy::extensions::filters::common::fault::v3 as fault_common;
use ripstop_xds::envoy::extensions::filters::http::cors::v3 as cors;
use ripstop_xds::envoy::extensions::filters::http::fault::v3 as fault;
use ripstop_xds::envoy::extensions::filters::http::header_mutation::v3 as header_mutation;
use ripstop_xds::envoy::extensions::filters::http::local_ratelimit::v3 as local_ratelimit;
use ripstop_xds::envoy::extensions::filters::http::stateful_session::v3 as stateful_session;
use ripstop_xds::envoy::extensions::http::stateful_session::cookie::v3 as cookie;
use ripstop_xds::envoy::extensions::http::stateful_session::header::v3 as header;
use ripstop_xds::envoy::r#type::http::v3 as http;
use ripstop_xds::envoy::r#type::v3 as kinds;
use std::sync::Arc;
use std::time::Duration;

/// Envoy fills buckets no more often.
const SHORTEST_FILL: Duration = Duration::from_millis(50);

/// `CorsPolicy`
pub(super) fn cors_policy(reader: &mut Reader, policy: cors::CorsPolicy) -> Cors {
    let cors::CorsPolicy {
        allow_origin_string_match,
        allow_methods,
        allow_headers,
        expose_headers,
        max_age,
        allow_credentials,
        filter_enabled,
        shadow_enabled,
        allow_private_network_access,
        forward_not_matching_preflights,
    } = policy;
    refuse_true!(reader, allow_private_network_access);
    for (field, text) in [
        ("allow_methods", &allow_methods),
        ("allow_headers", &allow_headers),
        ("expose_headers", &expose_headers),
        ("max_age", &max_age),
    ] {
        if text.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            reader.fault_at(field, "must not hold line breaks");
        }
    }
    Cors {
        allow_origins: reader.each("allow_origin_string_match", allow_origin_string_match, matching::string),
        allow_methods,
        allow_headers,
        expose_headers,
        max_age,
        allow_credentials: allow_credentials.unwrap_or(false),
        enabled: basic::runtime_fraction_or(reader, "filter_enabled", filter_enabled, Millionths::ALL),
        shadow_enabled: basic::runtime_fraction_or(reader, "shadow_enabled", shadow_enabled, Millionths(0)),
        forwards_not_matching_preflights: forward_not_matching_preflights.unwrap_or(true),
    }
}

/// `HTTPFault`
pub(super) fn http_fault(reader: &mut Reader, config: fault::HttpFault) -> Fault {
    let fault::HttpFault {
        delay: wanted_delay,
        abort: wanted_abort,
        upstream_cluster,
        headers,
        downstream_nodes,
        max_active_faults,
        response_rate_limit,
        delay_percent_runtime,
        abort_percent_runtime,
        delay_duration_runtime,
        abort_http_status_runtime,
        max_active_faults_runtime,
        response_rate_limit_percent_runtime,
        abort_grpc_status_runtime,
        disable_downstream_cluster_stats,
        filter_metadata,
    } = config;
    refuse!(reader, response_rate_limit, filter_metadata, max_active_faults);
    ignore!("there is no runtime", delay_percent_runtime, abort_percent_runtime, delay_duration_runtime);
    ignore!("there is no runtime", abort_http_status_runtime, max_active_faults_runtime);
    ignore!("there is no runtime", response_rate_limit_percent_runtime, abort_grpc_status_runtime);
    ignore!("statistics", disable_downstream_cluster_stats);
    Fault {
        delay: reader.optional("delay", wanted_delay, delay),
        abort: reader.optional("abort", wanted_abort, abort),
        headers: reader.each("headers", headers, matching::header),
        upstream_cluster,
        downstream_nodes,
    }
}

fn delay(reader: &mut Reader, delay: fault_common::FaultDelay) -> Option<(Duration, Millionths)> {
    use fault_common::fault_delay::FaultDelaySecifier;
    let fault_common::FaultDelay { percentage, fault_delay_secifier } = delay;
    let share = basic::fraction_or(reader, "percentage", percentage, Millionths(0));
    match fault_delay_secifier {
        Some(FaultDelaySecifier::FixedDelay(span)) => {
            Some((reader.positive_span_or("fixed_delay", Some(span), Duration::ZERO), share))
        }
        Some(FaultDelaySecifier::HeaderDelay(_)) => {
            reader.fault_at("header_delay", "is not supported");
            None
        }
        None => {
            reader.fault_at("fixed_delay", "is required");
            None
        }
    }
}

fn abort(reader: &mut Reader, abort: fault::FaultAbort) -> Option<(FaultAbort, Millionths)> {
    use fault::fault_abort::ErrorType;
    let fault::FaultAbort { percentage, error_type } = abort;
    let share = basic::fraction_or(reader, "percentage", percentage, Millionths(0));
    let how = match error_type {
        Some(ErrorType::HttpStatus(status)) => {
            FaultAbort::Http(reader.within("http_status", status, 200, 599) as u16)
        }
        Some(ErrorType::GrpcStatus(status)) => FaultAbort::Grpc(status),
        Some(ErrorType::HeaderAbort(_)) => {
            reader.fault_at("header_abort", "is not supported");
            return None;
        }
        None => {
            reader.fault("says neither http_status nor grpc_status");
            return None;
        }
    };
    Some((how, share))
}

/// `LocalRateLimit`. Without `filter_enabled` and `filter_enforced` Envoy limits nothing.
pub(super) fn local_rate_limit(
    reader: &mut Reader,
    config: local_ratelimit::LocalRateLimit,
) -> LocalRateLimit {
    // Each place has a bucket of its own, which lasts while its content does.
    let key = version_of(&[reader.place().into_bytes(), config.encode_to_vec()].concat());
    let local_ratelimit::LocalRateLimit {
        stat_prefix,
        status,
        token_bucket,
        filter_enabled,
        filter_enforced,
        request_headers_to_add_when_not_enforced,
        response_headers_to_add,
        descriptors,
        stage,
        local_rate_limit_per_downstream_connection,
        local_cluster_rate_limit,
        enable_x_ratelimit_headers,
        vh_rate_limits,
        always_consume_default_token_bucket,
        rate_limited_as_resource_exhausted,
        rate_limits,
        max_dynamic_descriptors,
    } = config;
    refuse!(
        reader,
        request_headers_to_add_when_not_enforced,
        descriptors,
        local_cluster_rate_limit,
        rate_limits,
        local_rate_limit_per_downstream_connection,
        enable_x_ratelimit_headers
    );
    ignore!("of descriptors, which are refused", stage, vh_rate_limits, max_dynamic_descriptors);
    ignore!("of descriptors, which are refused", always_consume_default_token_bucket);
    reader.text("stat_prefix", &stat_prefix);
    LocalRateLimit {
        status: status.map_or(429, |status| limited_status(reader, status)),
        bucket: reader.optional("token_bucket", token_bucket, bucket),
        enabled: basic::runtime_fraction_or(reader, "filter_enabled", filter_enabled, Millionths(0)),
        enforced: basic::runtime_fraction_or(reader, "filter_enforced", filter_enforced, Millionths(0)),
        as_resource_exhausted: rate_limited_as_resource_exhausted,
        response_headers: HeaderChanges {
            add: reader.each("response_headers_to_add", response_headers_to_add, mutation::header_add),
            remove: Vec::new(),
        },
        stat_prefix,
        key,
    }
}

/// Envoy answers 429 when it is told a status that is no error.
fn limited_status(reader: &mut Reader, status: kinds::HttpStatus) -> u16 {
    let kinds::HttpStatus { code } = status;
    reader.at("status", |reader| reader.choice::<kinds::StatusCode>("code", code));
    u16::try_from(code).ok().filter(|code| *code >= 400).unwrap_or(429)
}

fn bucket(reader: &mut Reader, bucket: kinds::TokenBucket) -> Option<TokenBucket> {
    let kinds::TokenBucket { max_tokens, tokens_per_fill, fill_interval } = bucket;
    let interval = reader.required("fill_interval", fill_interval, |_, span| Some(span));
    let fill_interval = reader.span_or("fill_interval", interval, SHORTEST_FILL);
    if fill_interval < SHORTEST_FILL {
        reader.fault_at("fill_interval", "must be 50 ms or more");
    }
    Some(TokenBucket {
        max_tokens: reader.within("max_tokens", max_tokens, 1, u32::MAX),
        tokens_per_fill: reader.within("tokens_per_fill", tokens_per_fill.unwrap_or(1), 1, u32::MAX),
        fill_interval,
    })
}

/// `StatefulSession`; None when it says nothing, for routes to say.
pub(super) fn session(
    reader: &mut Reader,
    config: stateful_session::StatefulSession,
) -> Option<Arc<StatefulSession>> {
    let stateful_session::StatefulSession { session_state, strict, stat_prefix } = config;
    ignore!("statistics", stat_prefix);
    refuse!(reader, strict);
    let state = reader.optional("session_state", session_state, session_state_of)?;
    Some(Arc::new(StatefulSession { state }))
}

/// `StatefulSessionPerRoute`; None turns it off.
pub(super) fn session_per_route(
    reader: &mut Reader,
    config: stateful_session::StatefulSessionPerRoute,
) -> Option<Arc<StatefulSession>> {
    use stateful_session::stateful_session_per_route::Override;
    match config.r#override {
        Some(Override::Disabled(true)) => None,
        Some(Override::StatefulSession(config)) => {
            reader.at("stateful_session", |reader| session(reader, config))
        }
        Some(Override::Disabled(false)) => {
            reader.fault_at("disabled", "must be true");
            None
        }
        None => {
            reader.fault("is empty");
            None
        }
    }
}

fn session_state_of(reader: &mut Reader, extension: core::TypedExtensionConfig) -> Option<SessionState> {
    let core::TypedExtensionConfig { name, typed_config } = extension;
    ignore!("the type says what it is", name);
    reader.required("typed_config", typed_config, |reader, any| match type_name(&any) {
        "envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState" => {
            let cookie::CookieBasedSessionState { cookie } = reader.unpack(&any)?;
            reader.required("cookie", cookie, |reader, cookie| Some(session_cookie(reader, cookie)))
        }
        "envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState" => {
            let header::HeaderBasedSessionState { name } = reader.unpack(&any)?;
            Some(SessionState::Header(matching::header_name(reader, "name", &name)))
        }
        _ => {
            reader.unknown(&any);
            None
        }
    })
}

fn session_cookie(reader: &mut Reader, cookie: http::Cookie) -> SessionState {
    let http::Cookie { name, ttl, path, attributes } = cookie;
    cookie_name(reader, &name);
    SessionState::Cookie {
        name: name.into_bytes().into(),
        path: path.into_bytes().into(),
        ttl: reader.span_or("ttl", ttl, Duration::ZERO),
        attributes: attributes
            .into_iter()
            .map(|http::CookieAttribute { name, value }| (name, value))
            .collect(),
    }
}

/// A cookie's name is a token (RFC 6265, section 4.1.1).
pub(super) fn cookie_name(reader: &mut Reader, name: &str) {
    if name.is_empty() || !name.bytes().all(matching::is_token) {
        reader.fault_at("name", format!("'{name}' is not a cookie's name"));
    }
}

/// The filter's own `HeaderMutation`.
pub(super) fn header_mutation(
    reader: &mut Reader,
    config: header_mutation::HeaderMutation,
) -> Arc<HeaderMutation> {
    let header_mutation::HeaderMutation { mutations, most_specific_header_mutations_wins } = config;
    refuse!(reader, most_specific_header_mutations_wins);
    Arc::new(all_mutations(reader, mutations))
}

/// `HeaderMutationPerRoute`
pub(super) fn header_mutation_per_route(
    reader: &mut Reader,
    config: header_mutation::HeaderMutationPerRoute,
) -> Arc<HeaderMutation> {
    let header_mutation::HeaderMutationPerRoute { mutations } = config;
    Arc::new(all_mutations(reader, mutations))
}

fn all_mutations(reader: &mut Reader, mutations: Option<header_mutation::Mutations>) -> HeaderMutation {
    let Some(mutations) = mutations else { return HeaderMutation::default() };
    let header_mutation::Mutations {
        request_mutations,
        query_parameter_mutations,
        response_mutations,
        response_trailers_mutations,
        request_trailers_mutations,
    } = mutations;
    reader.at("mutations", |reader| {
        refuse!(reader, query_parameter_mutations, response_trailers_mutations, request_trailers_mutations);
        HeaderMutation {
            request: mutation::mutations(reader, "request_mutations", request_mutations),
            response: mutation::mutations(reader, "response_mutations", response_mutations),
        }
    })
}

//! HTTP filters of a connection manager, and `typed_per_filter_config`.
use super::policies;
use super::rbac;
use super::reader::{IsSet, Reader, type_name};
use crate::snapshot::{FilterKind, HttpFilter, PerFilter};
use prost_types::Any;
use ripstop_xds::envoy::config::route::v3 as route;
use ripstop_xds::envoy::extensions::filters::http::cors::v3 as cors;
use ripstop_xds::envoy::extensions::filters::http::fault::v3 as fault;
use ripstop_xds::envoy::extensions::filters::http::grpc_stats::v3 as grpc_stats;
use ripstop_xds::envoy::extensions::filters::http::router::v3 as router;
use ripstop_xds::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the router at the end of the filters says about the whole manager.
#[derive(Default)]
pub(super) struct Router {
    pub(super) suppress_envoy_headers: bool,
}

/// `http_filters`: those before the router, and the router.
pub(super) fn http_filters(reader: &mut Reader, filters: Vec<hcm::HttpFilter>) -> (Vec<HttpFilter>, Router) {
    let last = filters.len();
    let mut found = None;
    let mut index = 0;
    let made = reader.each("http_filters", filters, |reader, filter| {
        index += 1;
        match one(reader, filter)? {
            One::Filter(filter) => Some(filter),
            One::Router(router) => {
                if index != last {
                    reader.fault("the router must be the last filter");
                }
                found = Some(router);
                None
            }
        }
    });
    if found.is_none() {
        reader.fault_at("http_filters", "the last one must be envoy.filters.http.router");
    }
    (made, found.unwrap_or_default())
}

enum One {
    Filter(HttpFilter),
    Router(Router),
}

fn one(reader: &mut Reader, filter: hcm::HttpFilter) -> Option<One> {
    use hcm::http_filter::ConfigType;
    let hcm::HttpFilter { name, is_optional, disabled, config_type } = filter;
    reader.text("name", &name);
    let any = match config_type {
        Some(ConfigType::TypedConfig(any)) => any,
        Some(ConfigType::ConfigDiscovery(_)) => {
            reader.fault_at("config_discovery", "is not supported");
            return None;
        }
        None => {
            reader.fault_at("typed_config", "is required");
            return None;
        }
    };
    reader.at("typed_config", |reader| {
        if type_name(&any) == "envoy.extensions.filters.http.router.v3.Router" {
            let config = reader.unpack(&any)?;
            return Some(One::Router(router_of(reader, config)));
        }
        match kind(reader, &any) {
            Known::Yes(kind) => Some(One::Filter(HttpFilter { name: name.into(), disabled, kind: kind? })),
            Known::No if is_optional => None,
            Known::No => {
                reader.unknown(&any);
                None
            }
        }
    })
}

/// An extension's configuration, or that there is no such extension here.
enum Known<T> {
    Yes(Option<T>),
    No,
}

fn kind(reader: &mut Reader, any: &Any) -> Known<FilterKind> {
    Known::Yes(match type_name(any) {
        "envoy.extensions.filters.http.cors.v3.Cors" => {
            reader.unpack(any).map(|cors::Cors {}| FilterKind::Cors)
        }
        "envoy.extensions.filters.http.fault.v3.HTTPFault" => reader.unpack(any).map(|config| {
            let says_something = config != fault::HttpFault::default();
            let made = policies::http_fault(reader, config);
            FilterKind::Fault(says_something.then(|| Arc::new(made)))
        }),
        "envoy.extensions.filters.http.rbac.v3.RBAC" => {
            reader.unpack(any).map(|config| FilterKind::Rbac(Arc::new(rbac::http_rbac(reader, config))))
        }
        "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit" => reader
            .unpack(any)
            .map(|config| FilterKind::LocalRateLimit(Arc::new(policies::local_rate_limit(reader, config)))),
        "envoy.extensions.filters.http.stateful_session.v3.StatefulSession" => {
            reader.unpack(any).map(|config| FilterKind::StatefulSession(policies::session(reader, config)))
        }
        "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation" => reader
            .unpack(any)
            .map(|config| FilterKind::HeaderMutation(policies::header_mutation(reader, config))),
        "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig" => {
            reader.unpack(any).map(|config| grpc_stats_of(reader, config))
        }
        _ => return Known::No,
    })
}

fn grpc_stats_of(reader: &mut Reader, config: grpc_stats::FilterConfig) -> FilterKind {
    let grpc_stats::FilterConfig {
        emit_filter_state,
        enable_upstream_stats,
        replace_dots_in_grpc_service_name,
        per_method_stat_specifier,
    } = config;
    refuse!(reader, emit_filter_state);
    ignore!(
        "statistics",
        enable_upstream_stats,
        replace_dots_in_grpc_service_name,
        per_method_stat_specifier
    );
    FilterKind::GrpcStats
}

fn router_of(reader: &mut Reader, config: router::Router) -> Router {
    let router::Router {
        dynamic_stats,
        start_child_span,
        upstream_log,
        upstream_log_options,
        suppress_envoy_headers,
        strict_check_headers,
        respect_expected_rq_timeout,
        suppress_grpc_request_failure_code_stats,
        upstream_http_filters,
    } = config;
    refuse!(reader, upstream_log, strict_check_headers, respect_expected_rq_timeout, upstream_http_filters);
    ignore!("tracing, which is refused", start_child_span);
    ignore!("statistics", dynamic_stats, suppress_grpc_request_failure_code_stats);
    ignore!("of upstream logs, which are refused", upstream_log_options);
    Router { suppress_envoy_headers }
}

/// `typed_per_filter_config`, by filter name.
pub(super) fn per_filter(reader: &mut Reader, configs: BTreeMap<String, Any>) -> Vec<(Arc<str>, PerFilter)> {
    let made = reader.entries("typed_per_filter_config", configs, |reader, _, any| wrapped(reader, &any));
    made.into_iter().map(|(name, config)| (name.into(), config)).collect()
}

/// A configuration, perhaps in a `FilterConfig`.
fn wrapped(reader: &mut Reader, any: &Any) -> Option<PerFilter> {
    if type_name(any) != "envoy.config.route.v3.FilterConfig" {
        return match for_route(reader, any) {
            Known::Yes(config) => config,
            Known::No => {
                reader.unknown(any);
                None
            }
        };
    }
    let route::FilterConfig { config, is_optional, disabled } = reader.unpack(any)?;
    if disabled {
        if config.is_set() {
            reader.fault("is disabled and configured at once");
        }
        return Some(PerFilter::Disabled);
    }
    reader.required("config", config, |reader, any| match for_route(reader, &any) {
        Known::Yes(config) => config,
        Known::No if is_optional => None,
        Known::No => {
            reader.unknown(&any);
            None
        }
    })
}

fn for_route(reader: &mut Reader, any: &Any) -> Known<PerFilter> {
    Known::Yes(match type_name(any) {
        "envoy.extensions.filters.http.cors.v3.CorsPolicy" => {
            reader.unpack(any).map(|config| PerFilter::Cors(Arc::new(policies::cors_policy(reader, config))))
        }
        "envoy.extensions.filters.http.fault.v3.HTTPFault" => {
            reader.unpack(any).map(|config| PerFilter::Fault(Arc::new(policies::http_fault(reader, config))))
        }
        "envoy.extensions.filters.http.rbac.v3.RBACPerRoute" => {
            reader.unpack(any).map(|config| PerFilter::Rbac(rbac::per_route(reader, config)))
        }
        "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit" => reader
            .unpack(any)
            .map(|config| PerFilter::LocalRateLimit(Arc::new(policies::local_rate_limit(reader, config)))),
        "envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute" => reader
            .unpack(any)
            .map(|config| PerFilter::StatefulSession(policies::session_per_route(reader, config))),
        "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute" => reader
            .unpack(any)
            .map(|config| PerFilter::HeaderMutation(policies::header_mutation_per_route(reader, config))),
        _ => return Known::No,
    })
}

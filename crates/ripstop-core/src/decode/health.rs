//! Active health checks, outlier detection, circuit breakers.
use super::access_log::template_at;
use super::basic;
use super::matching::header_name;
use super::reader::Reader;
use super::template::only_text;
use crate::snapshot::{Breaker, HealthCheck, HealthCheckKind, Outlier};
use ripstop_xds::envoy::config::cluster::v3 as cluster;
use ripstop_xds::envoy::config::core::v3 as core;
use ripstop_xds::envoy::r#type::v3 as kinds;
use std::time::Duration;

const NO_TRAFFIC_INTERVAL: Duration = Duration::from_secs(60);
const RETRY_BUDGET_PERCENT: f64 = 20.0;
const RETRY_BUDGET_LEAST: u32 = 3;

// --- active checks ---

/// A `HealthCheck`.
pub(super) fn health_check(reader: &mut Reader, check: core::HealthCheck) -> Option<HealthCheck> {
    let core::HealthCheck {
        timeout,
        interval,
        initial_jitter,
        interval_jitter,
        interval_jitter_percent,
        unhealthy_threshold,
        healthy_threshold,
        alt_port,
        reuse_connection,
        no_traffic_interval,
        no_traffic_healthy_interval,
        unhealthy_interval,
        unhealthy_edge_interval,
        healthy_edge_interval,
        event_log_path,
        event_logger,
        event_service,
        always_log_health_check_failures,
        always_log_health_check_success,
        tls_options,
        transport_socket_match_criteria,
        name,
        health_checker,
    } = check;
    refuse!(reader, interval_jitter_percent, alt_port, no_traffic_healthy_interval, unhealthy_edge_interval);
    refuse!(reader, healthy_edge_interval, event_log_path, event_logger, event_service, tls_options);
    refuse!(reader, transport_socket_match_criteria);
    ignore!("the first checks of a thread's clusters are spread anyway", initial_jitter);
    ignore!(
        "of event logs, which are refused",
        always_log_health_check_failures,
        always_log_health_check_success
    );
    let second = Duration::from_secs(1);
    let timeout = reader.required("timeout", timeout, |_, span| Some(span));
    let interval = reader.required("interval", interval, |_, span| Some(span));
    let interval = reader.positive_span_or("interval", interval, second);
    let kind = kind(reader, health_checker);
    let threshold = |reader: &mut Reader, field: &str, value: Option<u32>| {
        reader.required(field, value, |_, count| Some(count)).unwrap_or(1).max(1)
    };
    Some(HealthCheck {
        name,
        timeout: reader.positive_span_or("timeout", timeout, second),
        interval_jitter: reader.span_or("interval_jitter", interval_jitter, Duration::ZERO),
        unhealthy_threshold: threshold(reader, "unhealthy_threshold", unhealthy_threshold),
        healthy_threshold: threshold(reader, "healthy_threshold", healthy_threshold),
        no_traffic_interval: reader.positive_span_or(
            "no_traffic_interval",
            no_traffic_interval,
            NO_TRAFFIC_INTERVAL,
        ),
        unhealthy_interval: reader.positive_span_or("unhealthy_interval", unhealthy_interval, interval),
        reuses_connection: reuse_connection.unwrap_or(true),
        interval,
        kind: kind?,
    })
}

fn kind(reader: &mut Reader, checker: Option<core::health_check::HealthChecker>) -> Option<HealthCheckKind> {
    use core::health_check::HealthChecker;
    match checker {
        Some(HealthChecker::HttpHealthCheck(check)) => {
            Some(reader.at("http_health_check", |reader| http_check(reader, check)))
        }
        Some(HealthChecker::TcpHealthCheck(check)) => {
            reader.at("tcp_health_check", |reader| tcp_check(reader, check))
        }
        Some(HealthChecker::GrpcHealthCheck(check)) => reader.at("grpc_health_check", |reader| {
            let core::health_check::GrpcHealthCheck { service_name, authority, initial_metadata } = check;
            refuse!(reader, initial_metadata);
            Some(HealthCheckKind::Grpc { service: service_name, authority })
        }),
        Some(HealthChecker::CustomHealthCheck(_)) => {
            reader.fault_at("custom_health_check", "is not supported");
            None
        }
        None => {
            reader.fault("says neither http, tcp nor grpc");
            None
        }
    }
}

fn http_check(reader: &mut Reader, check: core::health_check::HttpHealthCheck) -> HealthCheckKind {
    let core::health_check::HttpHealthCheck {
        host,
        path,
        send,
        receive,
        response_buffer_size,
        request_headers_to_add,
        request_headers_to_remove,
        expected_statuses,
        retriable_statuses,
        codec_client_type,
        service_name_matcher,
        method,
    } = check;
    refuse!(reader, send, receive, request_headers_to_remove, retriable_statuses, service_name_matcher);
    ignore!("of receive, which is refused", response_buffer_size);
    reader.text("path", &path);
    if path.bytes().chain(host.bytes()).any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        reader.fault("neither path nor host may hold line breaks");
    }
    let is_http2 = match reader.choice("codec_client_type", codec_client_type) {
        kinds::CodecClientType::Http1 => false,
        kinds::CodecClientType::Http2 => true,
        kinds::CodecClientType::Http3 => {
            reader.fault_at("codec_client_type", "HTTP3 is not supported");
            false
        }
    };
    HealthCheckKind::Http {
        path,
        host,
        method: check_method(reader, method),
        expected: reader.each("expected_statuses", expected_statuses, status_range),
        is_http2,
        request_headers: reader.each("request_headers_to_add", request_headers_to_add, plain_header),
    }
}

fn check_method(reader: &mut Reader, method: i32) -> String {
    match reader.choice("method", method) {
        core::RequestMethod::MethodUnspecified => "GET".to_owned(),
        core::RequestMethod::Connect => {
            reader.fault_at("method", "CONNECT is not possible");
            "GET".to_owned()
        }
        method => method.as_str_name().to_owned(),
    }
}

fn status_range(reader: &mut Reader, range: kinds::Int64Range) -> Option<(u16, u16)> {
    let kinds::Int64Range { start, end } = range;
    let start = reader.within("start", start, 100, 599);
    let end = reader.within("end", end, 101, 600);
    if start >= end {
        reader.fault("is empty");
    }
    Some((start as u16, end as u16))
}

/// A header whose value has no operators: there is no request that they could look at.
fn plain_header(reader: &mut Reader, option: core::HeaderValueOption) -> Option<(String, String)> {
    let core::HeaderValueOption { header, append, append_action, keep_empty_value } = option;
    ignore!("nothing is there that one could be appended to", append, append_action, keep_empty_value);
    reader.required("header", header, |reader, header| {
        let core::HeaderValue { key, value, raw_value } = header;
        refuse!(reader, raw_value);
        header_name(reader, "key", &key);
        if value.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            reader.fault_at("value", "must not hold line breaks");
        }
        let text = only_text(template_at(reader, "value", &value)?);
        if text.is_none() {
            reader.fault_at("value", "operators are not supported here");
        }
        Some((key.to_ascii_lowercase(), text?))
    })
}

fn tcp_check(reader: &mut Reader, check: core::health_check::TcpHealthCheck) -> Option<HealthCheckKind> {
    let core::health_check::TcpHealthCheck { send, receive, proxy_protocol_config } = check;
    refuse!(reader, proxy_protocol_config);
    let has_send = send.is_some();
    let send = reader.optional("send", send, payload);
    let receive = reader.each("receive", receive, payload);
    (has_send == send.is_some()).then(|| HealthCheckKind::Tcp { send: send.unwrap_or_default(), receive })
}

/// A `Payload`; its text is in hex.
fn payload(reader: &mut Reader, payload: core::health_check::Payload) -> Option<Vec<u8>> {
    use core::health_check::payload::Payload;
    match payload.payload {
        Some(Payload::Binary(bytes)) => Some(bytes),
        Some(Payload::Text(text)) => {
            let made = hex(&text).filter(|bytes| !bytes.is_empty());
            if made.is_none() {
                reader.fault_at("text", "is not hex");
            }
            made
        }
        None => {
            reader.fault("is empty");
            None
        }
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    pairs.remainder().is_empty().then(|| pairs.map(|pair| pair[0] << 4 | pair[1]).collect())
}

// --- passive checks ---

/// `OutlierDetection`
pub(super) fn outlier(reader: &mut Reader, detection: cluster::OutlierDetection) -> Option<Outlier> {
    let cluster::OutlierDetection {
        consecutive_5xx,
        interval,
        base_ejection_time,
        max_ejection_percent,
        enforcing_consecutive_5xx,
        enforcing_success_rate,
        success_rate_minimum_hosts,
        success_rate_request_volume,
        success_rate_stdev_factor,
        consecutive_gateway_failure,
        enforcing_consecutive_gateway_failure,
        split_external_local_origin_errors,
        consecutive_local_origin_failure,
        enforcing_consecutive_local_origin_failure,
        enforcing_local_origin_success_rate,
        failure_percentage_threshold,
        enforcing_failure_percentage,
        enforcing_failure_percentage_local_origin,
        failure_percentage_minimum_hosts,
        failure_percentage_request_volume,
        max_ejection_time,
        max_ejection_time_jitter,
        successful_active_health_check_uneject_host,
        monitors,
        always_eject_one_host,
    } = detection;
    refuse!(reader, monitors);
    let default = Outlier::default();
    let mut percent = |field: &str, value: Option<u32>, default: u32| {
        reader.within(field, value.unwrap_or(default), 0, 100)
    };
    let mut made = Outlier {
        enforcing_consecutive_5xx: percent(
            "enforcing_consecutive_5xx",
            enforcing_consecutive_5xx,
            default.enforcing_consecutive_5xx,
        ),
        enforcing_success_rate: percent(
            "enforcing_success_rate",
            enforcing_success_rate,
            default.enforcing_success_rate,
        ),
        enforcing_consecutive_gateway_failure: percent(
            "enforcing_consecutive_gateway_failure",
            enforcing_consecutive_gateway_failure,
            default.enforcing_consecutive_gateway_failure,
        ),
        enforcing_consecutive_local_origin_failure: percent(
            "enforcing_consecutive_local_origin_failure",
            enforcing_consecutive_local_origin_failure,
            default.enforcing_consecutive_local_origin_failure,
        ),
        enforcing_local_origin_success_rate: percent(
            "enforcing_local_origin_success_rate",
            enforcing_local_origin_success_rate,
            default.enforcing_local_origin_success_rate,
        ),
        failure_percentage_threshold: percent(
            "failure_percentage_threshold",
            failure_percentage_threshold,
            default.failure_percentage_threshold,
        ),
        enforcing_failure_percentage: percent(
            "enforcing_failure_percentage",
            enforcing_failure_percentage,
            default.enforcing_failure_percentage,
        ),
        enforcing_failure_percentage_local_origin: percent(
            "enforcing_failure_percentage_local_origin",
            enforcing_failure_percentage_local_origin,
            default.enforcing_failure_percentage_local_origin,
        ),
        max_ejection_percent: percent(
            "max_ejection_percent",
            max_ejection_percent,
            default.max_ejection_percent,
        ),
        consecutive_5xx: consecutive_5xx.unwrap_or(default.consecutive_5xx),
        consecutive_gateway_failure: consecutive_gateway_failure
            .unwrap_or(default.consecutive_gateway_failure),
        consecutive_local_origin_failure: consecutive_local_origin_failure
            .unwrap_or(default.consecutive_local_origin_failure),
        split_external_local_origin: split_external_local_origin_errors,
        always_eject_one: always_eject_one_host.unwrap_or(default.always_eject_one),
        success_rate_min_hosts: success_rate_minimum_hosts.unwrap_or(default.success_rate_min_hosts),
        success_rate_volume: success_rate_request_volume.unwrap_or(default.success_rate_volume),
        success_rate_stdev_factor: success_rate_stdev_factor.unwrap_or(default.success_rate_stdev_factor),
        failure_percentage_min_hosts: failure_percentage_minimum_hosts
            .unwrap_or(default.failure_percentage_min_hosts),
        failure_percentage_volume: failure_percentage_request_volume
            .unwrap_or(default.failure_percentage_volume),
        successful_health_check_uneject: successful_active_health_check_uneject_host
            .unwrap_or(default.successful_health_check_uneject),
        ..default
    };
    made.interval = reader.positive_span_or("interval", interval, made.interval);
    made.base_ejection =
        reader.positive_span_or("base_ejection_time", base_ejection_time, made.base_ejection);
    // Without a limit of its own it grows with the first one.
    let longest = made.max_ejection.max(made.base_ejection);
    made.max_ejection = reader.positive_span_or("max_ejection_time", max_ejection_time, longest);
    made.max_ejection_jitter =
        reader.span_or("max_ejection_time_jitter", max_ejection_time_jitter, made.max_ejection_jitter);
    if made.max_ejection < made.base_ejection {
        reader.fault_at("max_ejection_time", "must not be shorter than base_ejection_time");
    }
    Some(made)
}

// --- breakers ---

/// `CircuitBreakers`: the thresholds of DEFAULT and of HIGH priority.
pub(super) fn breakers(reader: &mut Reader, breakers: Option<cluster::CircuitBreakers>) -> [Breaker; 2] {
    let cluster::CircuitBreakers { thresholds, per_host_thresholds } = breakers.unwrap_or_default();
    let mut made = [Breaker::default(); 2];
    let mut given = [false; 2];
    reader.at("circuit_breakers", |reader| {
        refuse!(reader, per_host_thresholds);
        reader.each("thresholds", thresholds, |reader, threshold| -> Option<()> {
            let (priority, found) = breaker(reader, threshold);
            if std::mem::replace(&mut given[priority], true) {
                reader.fault_at("priority", "is given twice");
            }
            made[priority] = found;
            None
        });
    });
    made
}

/// A threshold, and the index of its priority.
fn breaker(reader: &mut Reader, threshold: cluster::circuit_breakers::Thresholds) -> (usize, Breaker) {
    use cluster::circuit_breakers::thresholds::RetryBudget;
    let cluster::circuit_breakers::Thresholds {
        priority,
        max_connections,
        max_pending_requests,
        max_requests,
        max_retries,
        retry_budget,
        track_remaining,
        max_connection_pools,
    } = threshold;
    let priority = match reader.choice("priority", priority) {
        core::RoutingPriority::Default => 0,
        core::RoutingPriority::High => 1,
    };
    let default = Breaker::default();
    let budget = retry_budget.map(|RetryBudget { budget_percent, min_retry_concurrency }| {
        let percent =
            basic::percent_or(reader, "retry_budget.budget_percent", budget_percent, RETRY_BUDGET_PERCENT);
        (percent, min_retry_concurrency.unwrap_or(RETRY_BUDGET_LEAST))
    });
    let breaker = Breaker {
        max_connections: max_connections.unwrap_or(default.max_connections),
        max_pending: max_pending_requests.unwrap_or(default.max_pending),
        max_requests: max_requests.unwrap_or(default.max_requests),
        max_retries: max_retries.unwrap_or(default.max_retries),
        retry_budget: budget,
        max_connection_pools: max_connection_pools.unwrap_or(default.max_connection_pools),
        track_remaining,
    };
    (priority, breaker)
}

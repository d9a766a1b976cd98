//! `RetryPolicy`.
use super::matching;
use super::reader::{Reader, type_name};
use crate::snapshot::{RetryOn, RetryPolicy};
use ripstop_xds::envoy::config::route::v3 as route;
use std::sync::Arc;
use std::time::Duration;

const BASE_INTERVAL: Duration = Duration::from_millis(25);
const RESET_MAX: Duration = Duration::from_secs(300);

/// A `RetryPolicy` with Envoy's defaults: one retry, after 25 ms at first and at most ten times that.
pub(super) fn retry_policy(reader: &mut Reader, policy: route::RetryPolicy) -> Option<Arc<RetryPolicy>> {
    let route::RetryPolicy {
        retry_on,
        num_retries,
        per_try_timeout,
        per_try_idle_timeout,
        retry_priority,
        retry_host_predicate,
        retry_options_predicates,
        host_selection_retry_max_attempts,
        retriable_status_codes,
        retry_back_off,
        rate_limited_retry_back_off,
        retriable_headers,
        retriable_request_headers,
    } = policy;
    refuse!(reader, retry_priority, retry_options_predicates);
    let (base_interval, max_interval) = back_off(reader, retry_back_off);
    let (reset_headers, reset_max) = rate_limited(reader, rate_limited_retry_back_off);
    let predicates = reader.each("retry_host_predicate", retry_host_predicate, host_predicate);
    let picks = reader.within(
        "host_selection_retry_max_attempts",
        host_selection_retry_max_attempts,
        0,
        i64::from(u32::MAX),
    );
    Some(Arc::new(RetryPolicy {
        on: reader.at("retry_on", |reader| conditions(reader, &retry_on)),
        num_retries: num_retries.unwrap_or(1),
        per_try_timeout: reader.span_or("per_try_timeout", per_try_timeout, Duration::ZERO),
        per_try_idle_timeout: reader.span_or("per_try_idle_timeout", per_try_idle_timeout, Duration::ZERO),
        statuses: reader.each("retriable_status_codes", retriable_status_codes, |reader, status| {
            if !(100..=599).contains(&status) {
                reader.fault(format!("{status} is not an HTTP status"));
            }
            u16::try_from(status).ok()
        }),
        retriable_headers: reader.each("retriable_headers", retriable_headers, matching::header),
        retriable_request_headers: reader.each(
            "retriable_request_headers",
            retriable_request_headers,
            matching::header,
        ),
        base_interval,
        max_interval,
        avoids_previous_hosts: !predicates.is_empty(),
        host_picks_max: (picks as u32).max(1),
        reset_headers,
        reset_max,
    }))
}

fn back_off(reader: &mut Reader, wanted: Option<route::retry_policy::RetryBackOff>) -> (Duration, Duration) {
    let Some(route::retry_policy::RetryBackOff { base_interval, max_interval }) = wanted else {
        return (BASE_INTERVAL, BASE_INTERVAL * 10);
    };
    reader.at("retry_back_off", |reader| {
        let base = reader.required("base_interval", base_interval, |_, span| Some(span));
        let base = reader.positive_span_or("base_interval", base, BASE_INTERVAL);
        let max = reader.positive_span_or("max_interval", max_interval, base.saturating_mul(10));
        if max < base {
            reader.fault_at("max_interval", "must not be shorter than base_interval");
        }
        (base, max)
    })
}

type ResetHeaders = Vec<(Box<[u8]>, bool)>;

fn rate_limited(
    reader: &mut Reader,
    wanted: Option<route::retry_policy::RateLimitedRetryBackOff>,
) -> (ResetHeaders, Duration) {
    use route::retry_policy::{RateLimitedRetryBackOff, ResetHeader, ResetHeaderFormat};
    let Some(RateLimitedRetryBackOff { reset_headers, max_interval }) = wanted else {
        return (Vec::new(), RESET_MAX);
    };
    reader.at("rate_limited_retry_back_off", |reader| {
        if reset_headers.is_empty() {
            reader.fault_at("reset_headers", "must not be empty");
        }
        let headers = reader.each("reset_headers", reset_headers, |reader, ResetHeader { name, format }| {
            let is_seconds =
                reader.choice::<ResetHeaderFormat>("format", format) == ResetHeaderFormat::Seconds;
            Some((matching::header_name(reader, "name", &name), is_seconds))
        });
        (headers, reader.positive_span_or("max_interval", max_interval, RESET_MAX))
    })
}

/// `previous_hosts` is the one there is.
fn host_predicate(reader: &mut Reader, predicate: route::retry_policy::RetryHostPredicate) -> Option<()> {
    use route::retry_policy::retry_host_predicate::ConfigType;
    let route::retry_policy::RetryHostPredicate { name, config_type } = predicate;
    ignore!("the type says what it is", name);
    reader.required("typed_config", config_type, |reader, ConfigType::TypedConfig(any)| {
        if type_name(&any) == "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate" {
            return Some(());
        }
        reader.unknown(&any);
        None
    })
}

/// The words of `retry_on`, HTTP's and gRPC's. Envoy passes over unknown ones; here they are faults, for they are typos.
fn conditions(reader: &mut Reader, words: &str) -> RetryOn {
    let mut on = RetryOn::default();
    for word in words.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let Some(flag) = flag_of(&mut on, word) else {
            reader.fault(format!("'{word}' is not known"));
            continue;
        };
        *flag = true;
    }
    on
}

fn flag_of<'a>(on: &'a mut RetryOn, word: &str) -> Option<&'a mut bool> {
    Some(match word {
        "5xx" => &mut on.server_error,
        "gateway-error" => &mut on.gateway_error,
        "reset" => &mut on.reset,
        "reset-before-request" => &mut on.reset_before_request,
        "connect-failure" => &mut on.connect_failure,
        "retriable-4xx" => &mut on.retriable_4xx,
        "refused-stream" => &mut on.refused_stream,
        "retriable-status-codes" => &mut on.retriable_status_codes,
        "retriable-headers" => &mut on.retriable_headers,
        "envoy-ratelimited" => &mut on.envoy_ratelimited,
        "http3-post-connect-failure" => &mut on.http3_post_connect_failure,
        "cancelled" => &mut on.grpc_cancelled,
        "deadline-exceeded" => &mut on.grpc_deadline_exceeded,
        "internal" => &mut on.grpc_internal,
        "resource-exhausted" => &mut on.grpc_resource_exhausted,
        "unavailable" => &mut on.grpc_unavailable,
        _ => return None,
    })
}

//! Whether a failed attempt is repeated, and when (`RetryPolicy`). The words of `retry_on` mean what Envoy's router makes of
//! them; requests cannot change the policy (`x-envoy-retry-on` and its like are not honoured).
use super::grpc::GrpcStatus;
use crate::http::{Headers, Method, RequestHead, ResponseHead};
use crate::rng::Rng;
use crate::snapshot::RetryPolicy;
use std::time::Duration;

/// How an attempt failed without a response to pass on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptFailure {
    /// No connection: refused, timed out, TLS failed.
    ConnectFailure,
    /// `REFUSED_STREAM`, or GOAWAY with a lower last stream: the endpoint did not look at the request.
    Refused,
    /// The connection or stream broke before any byte of the request was sent.
    ResetBeforeRequest,
    /// It broke later. (Once the downstream has part of the response there is nothing to decide.)
    Reset,
    /// `per_try_timeout`
    PerTryTimeout,
    /// `per_try_idle_timeout`
    PerTryIdleTimeout,
    /// A circuit breaker let no connection, pending place or request.
    Overflow,
    /// No endpoint to ask.
    NoHost,
    /// The time of the whole request is up.
    Timeout,
}

/// Whether the policy holds for a request at all: by `retriable_request_headers`, or because the client says by a key that
/// repeating does no harm (`has_key`: there is one and the route believes it, `RouteExtras.retry_with_key`).
pub fn may_retry(policy: &RetryPolicy, request: &RequestHead, has_key: bool) -> bool {
    let matchers = &policy.retriable_request_headers;
    has_key || matchers.is_empty() || matchers.iter().any(|matcher| matcher.matches(request))
}

/// Whether the head of a response is one of the policy's conditions; with a key a gateway error always is. `num_retries` and
/// the cluster's breaker ([`crate::balance::ClusterState::try_retry`]) are asked after.
pub fn decide_head(
    policy: &RetryPolicy,
    request: &RequestHead,
    response: &ResponseHead,
    has_key: bool,
) -> bool {
    may_retry(policy, request, has_key) && would_retry_head(policy, response, has_key)
}

fn would_retry_head(policy: &RetryPolicy, response: &ResponseHead, has_key: bool) -> bool {
    let on = &policy.on;
    // Another proxy's rate limit answered: repeating it is what the limit is against.
    if response.headers.get_name(b"x-envoy-ratelimited").is_some() {
        return on.envoy_ratelimited;
    }
    let status = response.status;
    (on.server_error && (500..600).contains(&status))
        || ((on.gateway_error || has_key) && (502..=504).contains(&status))
        || (on.retriable_4xx && status == 409)
        || (on.retriable_status_codes && policy.statuses.contains(&status))
        || (on.retriable_headers && has_retriable_header(policy, response))
        || would_retry_grpc(policy, &response.headers)
}

fn would_retry_grpc(policy: &RetryPolicy, headers: &Headers) -> bool {
    let on = &policy.on;
    match GrpcStatus::of(headers) {
        Some(GrpcStatus::CANCELLED) => on.grpc_cancelled,
        Some(GrpcStatus::DEADLINE_EXCEEDED) => on.grpc_deadline_exceeded,
        Some(GrpcStatus::RESOURCE_EXHAUSTED) => on.grpc_resource_exhausted,
        Some(GrpcStatus::INTERNAL) => on.grpc_internal,
        Some(GrpcStatus::UNAVAILABLE) => on.grpc_unavailable,
        _ => false,
    }
}

fn has_retriable_header(policy: &RetryPolicy, response: &ResponseHead) -> bool {
    policy.retriable_headers.iter().any(|matcher| match &*matcher.name {
        b":status" => {
            let mut status = Headers::new();
            status.push(b":status", response.status.to_string().as_bytes());
            matcher.matches_fields(&status)
        }
        _ => matcher.matches_fields(&response.headers),
    })
}

/// Whether a failure is one of the policy's conditions; with a key any reset is. The rest as in [`decide_head`].
pub fn decide_failure(
    policy: &RetryPolicy,
    failure: AttemptFailure,
    request: &RequestHead,
    has_key: bool,
) -> bool {
    may_retry(policy, request, has_key) && would_retry_failure(policy, failure, has_key)
}

fn would_retry_failure(policy: &RetryPolicy, failure: AttemptFailure, has_key: bool) -> bool {
    use AttemptFailure::*;
    let on = &policy.on;
    // Any failure without a response would end as a 503 or 504, which these words are about.
    let any = has_key || on.reset || on.server_error || on.gateway_error;
    match failure {
        Overflow | NoHost | Timeout => false,
        ConnectFailure => any || on.connect_failure || on.reset_before_request,
        ResetBeforeRequest => any || on.reset_before_request,
        Refused => any || on.refused_stream,
        Reset | PerTryTimeout | PerTryIdleTimeout => any,
    }
}

/// The wait before retry number `retry` (1 for the first): by the response's reset headers when the policy names any that
/// fits, else a random part of `base * 2^(retry-1)`, at most of `max`. `wall`: time since the epoch, for reset headers that
/// are timestamps.
pub fn backoff(
    policy: &RetryPolicy,
    retry: u32,
    rng: &mut Rng,
    response: Option<&ResponseHead>,
    wall: Duration,
) -> Duration {
    if let Some(wait) = response.and_then(|r| reset_wait(policy, &r.headers, wall)) {
        let millis = wait.as_millis() as u64;
        return Duration::from_millis(millis + rng.below(millis / 2));
    }
    let base = policy.base_interval.max(Duration::from_millis(1));
    let longest = policy.max_interval.max(base);
    let doubled = base.saturating_mul(1 << retry.saturating_sub(1).min(20));
    Duration::from_nanos(rng.below(doubled.min(longest).as_nanos() as u64))
}

/// What `rate_limited_retry_back_off` finds in a response: the first header whose wait is not too long.
fn reset_wait(policy: &RetryPolicy, headers: &Headers, wall: Duration) -> Option<Duration> {
    policy
        .reset_headers
        .iter()
        .filter_map(|(name, is_seconds)| {
            let value: u64 = std::str::from_utf8(headers.get_name(name)?).ok()?.trim().parse().ok()?;
            let wait = if *is_seconds { Some(value) } else { value.checked_sub(wall.as_secs()) };
            wait.map(Duration::from_secs)
        })
        .find(|wait| !wait.is_zero() && *wait <= policy.reset_max)
}

/// Whether repeating a request does no harm: by its method, or because it carries a key that the service knows it by
/// (`RouteExtras.retry_with_key`).
pub fn is_safe(method: Method, has_key: bool) -> bool {
    method.is_idempotent() || has_key
}

//! Whether a failed attempt is repeated, and when (`RetryPolicy`). The words of `retry_on` mean what Envoy's router makes of
//! them; requests cannot change the policy (`x-envoy-retry-on` and its like are not honoured).
use super::grpc::GrpcStatus;
use crate::http::{Headers, Method, RequestHead, ResponseHead};
use crate::rng::Rng;
use crate::snapshot::{HeaderMatch, HeaderMatcher, RetryPolicy, StringMatch, StringMatcher};
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
    /// It broke later.
    Reset {
        /// The downstream has part of the response already.
        response_started: bool,
    },
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

/// The answer to: once more?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// What happened is not one of the policy's conditions.
    No,
    /// It is, but `num_retries` are used up (flag URX).
    LimitExceeded,
    /// Yes, if the cluster's breaker gives a retry ([`crate::balance::ClusterState::try_retry`]); no retry, but
    /// `upstream_rq_retry_overflow`, otherwise.
    Retry,
}

impl Decision {
    /// Whether to try again.
    pub fn is_retry(self) -> bool {
        self == Decision::Retry
    }

    fn of(would_retry: bool, policy: &RetryPolicy, retries: u32) -> Decision {
        match would_retry {
            false => Decision::No,
            true if retries >= policy.num_retries => Decision::LimitExceeded,
            true => Decision::Retry,
        }
    }
}

/// Whether the policy holds for a request at all (`retriable_request_headers`). Ask once, before the first attempt.
pub fn may_retry(policy: &RetryPolicy, request: &RequestHead) -> bool {
    let matchers = &policy.retriable_request_headers;
    matchers.is_empty()
        || matchers.iter().any(|m| matches(m, |name| request.value_of(name), &request.headers))
}

/// Decide by the head of a response. `retries`: made before.
pub fn decide_head(
    policy: &RetryPolicy,
    request: &RequestHead,
    response: &ResponseHead,
    retries: u32,
) -> Decision {
    let would = may_retry(policy, request) && would_retry_head(policy, response);
    Decision::of(would, policy, retries)
}

fn would_retry_head(policy: &RetryPolicy, response: &ResponseHead) -> bool {
    let on = &policy.on;
    // Another proxy's rate limit answered: repeating it is what the limit is against.
    if response.headers.get_name(b"x-envoy-ratelimited").is_some() {
        return on.envoy_ratelimited;
    }
    let status = response.status;
    (on.server_error && (500..600).contains(&status))
        || (on.gateway_error && (502..=504).contains(&status))
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
    let mut status = [0; 3];
    let text = status_text(response.status, &mut status);
    let value = |name: &[u8]| if name == b":status" { Some(text) } else { response.headers.get_name(name) };
    policy.retriable_headers.iter().any(|m| matches(m, value, &response.headers))
}

fn status_text(status: u16, digits: &mut [u8; 3]) -> &[u8] {
    *digits = [status / 100 % 10, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8);
    digits
}

/// Decide by a failure. `retries`: made before.
pub fn decide_failure(policy: &RetryPolicy, failure: AttemptFailure, retries: u32) -> Decision {
    Decision::of(would_retry_failure(policy, failure), policy, retries)
}

fn would_retry_failure(policy: &RetryPolicy, failure: AttemptFailure) -> bool {
    use AttemptFailure::*;
    let on = &policy.on;
    // Any failure without a response would end as a 503 or 504, which these words are about.
    let any = on.reset || on.server_error || on.gateway_error;
    match failure {
        Overflow | NoHost | Timeout | Reset { response_started: true } => false,
        ConnectFailure => any || on.connect_failure || on.reset_before_request,
        ResetBeforeRequest => any || on.reset_before_request,
        Refused => any || on.refused_stream,
        Reset { response_started: false } | PerTryTimeout | PerTryIdleTimeout => any,
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

fn matches<'a>(matcher: &HeaderMatcher, value: impl Fn(&[u8]) -> Option<&'a [u8]>, fields: &Headers) -> bool {
    let joined: Vec<u8>;
    let found = if fields.get_all_name(&matcher.name).nth(1).is_some() {
        joined = fields.get_all_name(&matcher.name).collect::<Vec<_>>().join(&b","[..]);
        Some(&joined[..])
    } else {
        value(&matcher.name)
    };
    let text = match (&matcher.kind, found) {
        (HeaderMatch::Present(wanted), found) => return (found.is_some() == *wanted) != matcher.invert,
        (_, Some(text)) => text,
        (_, None) if matcher.missing_is_empty => b"",
        // A header that is not there matches nothing, inverted or not.
        (_, None) => return false,
    };
    let is_match = match &matcher.kind {
        HeaderMatch::Text(matcher) => text_matches(matcher, text),
        HeaderMatch::Range(from, to) => {
            let number = std::str::from_utf8(text).ok().and_then(|t| t.parse::<i64>().ok());
            number.is_some_and(|n| (*from..*to).contains(&n))
        }
        HeaderMatch::Present(_) => true,
    };
    is_match != matcher.invert
}

fn text_matches(matcher: &StringMatcher, text: &[u8]) -> bool {
    let lower: Vec<u8>;
    let text = match (&matcher.kind, matcher.ignore_case) {
        (StringMatch::Regex(regex), _) => return regex.is_match(text),
        (_, false) => text,
        (_, true) => {
            lower = text.to_ascii_lowercase();
            &lower
        }
    };
    match &matcher.kind {
        StringMatch::Exact(pattern) => text == &**pattern,
        StringMatch::Prefix(pattern) => text.starts_with(pattern),
        StringMatch::Suffix(pattern) => text.ends_with(pattern),
        StringMatch::Contains(pattern) => memchr::memmem::find(text, pattern).is_some(),
        StringMatch::Regex(_) => false,
    }
}

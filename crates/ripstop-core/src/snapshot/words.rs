//! Matchers in words, for whoever asks why a request went where it went.
use super::*;
use std::fmt::{Display, Formatter, Result};

struct Quoted<'a>(&'a [u8]);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.0))
    }
}

/// An expression as it was written, without the anchors that `decode` puts around it.
fn written(pattern: &regex::bytes::Regex) -> &str {
    let text = pattern.as_str();
    text.strip_prefix("^(?:").and_then(|text| text.strip_suffix(")$")).unwrap_or(text)
}

impl Display for StringMatcher {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match &self.kind {
            StringMatch::Exact(text) => write!(f, "{}", Quoted(text)),
            StringMatch::Prefix(text) => write!(f, "prefix {}", Quoted(text)),
            StringMatch::Suffix(text) => write!(f, "suffix {}", Quoted(text)),
            StringMatch::Contains(text) => write!(f, "text with {}", Quoted(text)),
            StringMatch::Regex(pattern) => return write!(f, "regex {:?}", written(pattern)),
        }?;
        f.write_str(if self.ignore_case { " in any case" } else { "" })
    }
}

impl Display for HeaderMatcher {
    /// What the value must be; the name is told apart.
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if self.invert {
            f.write_str("not ")?;
        }
        match &self.kind {
            HeaderMatch::Text(wanted) => write!(f, "{wanted}"),
            HeaderMatch::Range(start, end) => write!(f, "a number from {start} up to but without {end}"),
            HeaderMatch::Present(true) => f.write_str("any value"),
            HeaderMatch::Present(false) => f.write_str("none"),
        }
    }
}

impl Display for QueryMatcher {
    /// What the value must be; the name is told apart.
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match &self.value {
            Some(wanted) => write!(f, "{wanted}"),
            None => f.write_str("any value"),
        }
    }
}

impl Display for PathMatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            PathMatch::Prefix(prefix) => write!(f, "prefix {}", Quoted(prefix)),
            PathMatch::Exact(whole) => write!(f, "{}", Quoted(whole)),
            PathMatch::Separated(prefix) => write!(f, "prefix {} by whole elements", Quoted(prefix)),
            PathMatch::Regex(pattern) => write!(f, "regex {:?}", written(pattern)),
            PathMatch::Connect => f.write_str("CONNECT"),
        }
    }
}

impl Display for RbacAction {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            RbacAction::Allow => "ALLOW",
            RbacAction::Deny => "DENY",
            RbacAction::Log => "LOG",
        })
    }
}

impl RetryOn {
    /// The words of `retry_on` that are set, as Envoy has them.
    pub fn words(&self) -> Vec<&'static str> {
        let all = [
            (self.server_error, "5xx"),
            (self.gateway_error, "gateway-error"),
            (self.reset, "reset"),
            (self.reset_before_request, "reset-before-request"),
            (self.connect_failure, "connect-failure"),
            (self.retriable_4xx, "retriable-4xx"),
            (self.refused_stream, "refused-stream"),
            (self.retriable_status_codes, "retriable-status-codes"),
            (self.retriable_headers, "retriable-headers"),
            (self.envoy_ratelimited, "envoy-ratelimited"),
            (self.http3_post_connect_failure, "http3-post-connect-failure"),
            (self.grpc_cancelled, "cancelled"),
            (self.grpc_deadline_exceeded, "deadline-exceeded"),
            (self.grpc_internal, "internal"),
            (self.grpc_resource_exhausted, "resource-exhausted"),
            (self.grpc_unavailable, "unavailable"),
        ];
        all.into_iter().filter_map(|(is_set, word)| is_set.then_some(word)).collect()
    }
}

impl FallbackTriggers {
    /// The triggers that are set, as documents have them; statuses as `500` or `500-599`.
    pub fn words(&self) -> Vec<String> {
        let flags = [
            (self.no_healthy, "noHealthy"),
            (self.breaker_open, "breakerOpen"),
            (self.overflow, "overflow"),
            (self.timeout, "timeout"),
        ];
        let set = flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, word)| word.to_owned());
        let statuses = self.status.iter().map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        });
        set.chain(statuses).collect()
    }
}

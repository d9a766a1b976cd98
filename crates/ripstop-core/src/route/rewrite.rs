//! Rewriting of paths and hosts on the way to an upstream.
use super::select::path_for_matching;
use crate::http::{HeaderId, RequestHead};
use crate::snapshot::{Forward, PathMatch, Route, WeightedCluster};
use regex::bytes::Regex;
use smallvec::SmallVec;

/// A path that is being made.
pub(crate) type PathText = SmallVec<[u8; 256]>;

/// Rewrite the path by `prefix_rewrite` or `regex_rewrite`; the query is kept. A pattern that would leave nothing of the
/// path changes nothing.
///
/// `tells_original` (the router does not suppress Envoy's headers): `x-envoy-original-path` has the path that was.
pub fn rewrite_path(forward: &Forward, route: &Route, head: &mut RequestHead, tells_original: bool) {
    let Some(new) = rewritten(forward, route, head.path()) else { return };
    set_path(head, &new, tells_original);
}

pub(crate) fn set_path(head: &mut RequestHead, new: &[u8], tells_original: bool) {
    if tells_original {
        let old = PathText::from_slice(head.path());
        head.headers.set(HeaderId::XEnvoyOriginalPath, &old);
    }
    head.set_path(new);
}

fn rewritten(forward: &Forward, route: &Route, path: &[u8]) -> Option<PathText> {
    if let Some(prefix) = forward.prefix_rewrite.as_deref().filter(|prefix| !prefix.is_empty()) {
        return Some(replace_start(path, matched_len(route, path), prefix));
    }
    let (pattern, substitution) = forward.regex_rewrite.as_ref()?;
    let only = path_for_matching(path);
    let mut new = replace_all(pattern, only, substitution);
    if new.is_empty() {
        return None;
    }
    new.extend_from_slice(&path[only.len()..]);
    Some(new)
}

/// How much of the path the route's match stands for: that is what a prefix rewrite replaces.
pub(crate) fn matched_len(route: &Route, path: &[u8]) -> usize {
    let only = path_for_matching(path).len();
    match &route.matches.path {
        PathMatch::Prefix(part) | PathMatch::Exact(part) | PathMatch::Separated(part) => part.len().min(only),
        PathMatch::Regex(_) | PathMatch::Connect => only,
    }
}

pub(crate) fn replace_start(path: &[u8], len: usize, new: &[u8]) -> PathText {
    let mut text = PathText::from_slice(new);
    text.extend_from_slice(&path[len.min(path.len())..]);
    text
}

/// Replace every match; `\1` in the substitution is what the first group matched, `\0` the whole, `\\` a backslash (RE2).
pub(crate) fn replace_all(pattern: &Regex, text: &[u8], substitution: &[u8]) -> PathText {
    let mut made = PathText::new();
    let mut done = 0;
    for groups in pattern.captures_iter(text) {
        let Some(whole) = groups.get(0) else { continue };
        made.extend_from_slice(&text[done..whole.start()]);
        substitute(&groups, substitution, &mut made);
        done = whole.end();
    }
    made.extend_from_slice(&text[done..]);
    made
}

fn substitute(groups: &regex::bytes::Captures<'_>, substitution: &[u8], made: &mut PathText) {
    let mut bytes = substitution.iter();
    while let Some(byte) = bytes.next() {
        match (byte, if *byte == b'\\' { bytes.next() } else { None }) {
            (_, Some(digit)) if digit.is_ascii_digit() => {
                let group = groups.get(usize::from(digit - b'0'));
                made.extend_from_slice(group.map_or(&b""[..], |found| found.as_bytes()));
            }
            (_, Some(other)) => made.push(*other),
            (byte, None) => made.push(*byte),
        }
    }
}

/// Rewrite the authority: first a weighted cluster's `host_rewrite_literal`, then the route's, which wins.
///
/// Call it after the header changes and before `rewrite_path`. `tells_original`: `x-envoy-original-host` has what was.
pub fn rewrite_host(
    forward: &Forward,
    weighted: Option<&WeightedCluster>,
    head: &mut RequestHead,
    tells_original: bool,
) {
    if let Some(host) = weighted.and_then(|cluster| cluster.host_rewrite.as_deref()) {
        head.set_authority(host);
    }
    if let Some(host) = &forward.host_rewrite {
        set_host(forward, head, host, tells_original);
    } else if let Some(name) = &forward.host_rewrite_header {
        let host = head.value_of(name).filter(|value| !value.is_empty()).map(PathText::from_slice);
        if let Some(host) = host {
            set_host(forward, head, &host, tells_original);
        }
    }
}

/// `auto_host_rewrite`: the authority becomes the host name of the endpoint that was chosen, if it has one.
pub fn host_of_endpoint(forward: &Forward, head: &mut RequestHead, hostname: &str, tells_original: bool) {
    if forward.auto_host_rewrite && !hostname.is_empty() {
        set_host(forward, head, hostname.as_bytes(), tells_original);
    }
}

fn set_host(forward: &Forward, head: &mut RequestHead, host: &[u8], tells_original: bool) {
    let old = PathText::from_slice(head.authority());
    if forward.append_forwarded_host && !old.is_empty() {
        append_forwarded_host(head, &old);
    }
    if tells_original {
        head.headers.set_name(b"x-envoy-original-host", &old);
    }
    head.set_authority(host);
}

/// One that is last already is not added again: a retry does not make the list longer.
fn append_forwarded_host(head: &mut RequestHead, host: &[u8]) {
    let Some(list) = head.headers.get(HeaderId::XForwardedHost) else {
        return head.headers.push_known(HeaderId::XForwardedHost, host);
    };
    let last = list.rsplit(|byte| *byte == b',').next().unwrap_or_default();
    if last != host {
        let mut longer = PathText::from_slice(list);
        longer.push(b',');
        longer.extend_from_slice(host);
        head.headers.set(HeaderId::XForwardedHost, &longer);
    }
}

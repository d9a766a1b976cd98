//! Redirects (`RedirectAction`) and the `Location` of other answers that need one.
use super::rewrite::{PathText, matched_len, replace_all, replace_start};
use super::select::path_for_matching;
use crate::http::{HeaderId, RequestHead};
use crate::snapshot::{PathMatch, PathRedirect, Redirect, Route};
use std::io::Write;

/// The status and the `Location` of a redirect. `scheme` is the request's.
pub fn redirect(redirect: &Redirect, route: &Route, head: &RequestHead, scheme: &[u8]) -> (u16, Vec<u8>) {
    let path = new_path(redirect, route, head.path());
    let new_scheme = match &redirect.scheme {
        Some(scheme) => scheme,
        None if redirect.https => &b"https"[..],
        None => scheme,
    };
    let host = match &redirect.host {
        Some(host) => host,
        None => host_for(head, scheme, new_scheme, redirect.port != 0),
    };
    let port = (redirect.port != 0).then_some(redirect.port);
    (redirect.status, uri(new_scheme, host, port, &path))
}

/// The `Location` of a direct response with a status of 201 or 3xx: the request's own URI, as Envoy has it.
pub fn location(head: &RequestHead, scheme: &[u8]) -> Vec<u8> {
    uri(scheme, head.authority(), None, head.path())
}

/// The `Location` of the 301 that `require_tls` answers with.
pub fn to_tls(head: &RequestHead) -> Vec<u8> {
    uri(b"https", head.authority(), None, head.path())
}

fn uri(scheme: &[u8], host: &[u8], port: Option<u16>, path: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(scheme.len() + host.len() + path.len() + 12);
    text.extend_from_slice(scheme);
    text.extend_from_slice(b"://");
    text.extend_from_slice(host);
    if let Some(port) = port {
        let _ = write!(text, ":{port}");
    }
    if path.first() != Some(&b'/') {
        text.push(b'/');
    }
    text.extend_from_slice(path);
    text
}

/// The request's host. Its port goes when another is set, or when the scheme changes and it was the old one's default.
fn host_for<'a>(head: &'a RequestHead, scheme: &[u8], new_scheme: &[u8], has_port: bool) -> &'a [u8] {
    let authority = head.authority();
    let host = super::without_port(authority);
    let port = authority.get(host.len() + 1..).unwrap_or_default();
    let spoken = head.headers.get(HeaderId::XForwardedProto).unwrap_or(scheme);
    let is_default = matches!((spoken, port), (b"https", b"443") | (b"http", b"80"));
    if has_port || (new_scheme != spoken && is_default) { host } else { authority }
}

fn new_path(redirect: &Redirect, route: &Route, path: &[u8]) -> PathText {
    let (mut new, keeps_query) = match &redirect.path {
        PathRedirect::Full(full) => full_path(full, path),
        PathRedirect::Keep => (PathText::from_slice(path), false),
        PathRedirect::Prefix(prefix) if prefix.is_empty() => (PathText::from_slice(path), false),
        PathRedirect::Prefix(prefix) => (with_prefix(route, path, prefix), false),
        PathRedirect::Regex(pattern, substitution) => (with_regex(pattern, substitution, path), false),
    };
    if redirect.strips_query && !keeps_query {
        let end = memchr::memchr(b'?', &new).unwrap_or(new.len());
        new.truncate(end);
    }
    new
}

/// A query in `path_redirect` takes the place of the request's and is never stripped.
fn full_path(full: &[u8], path: &[u8]) -> (PathText, bool) {
    let mut new = PathText::from_slice(full);
    let has_query = memchr::memchr(b'?', full).is_some();
    if let (false, Some(at)) = (has_query, memchr::memchr(b'?', path)) {
        new.extend_from_slice(&path[at..]);
    }
    (new, has_query)
}

fn with_prefix(route: &Route, path: &[u8], prefix: &[u8]) -> PathText {
    debug_assert!(!matches!(route.matches.path, PathMatch::Connect));
    replace_start(path, matched_len(route, path), prefix)
}

/// A pattern that leaves nothing of the path changes nothing.
fn with_regex(pattern: &regex::bytes::Regex, substitution: &[u8], path: &[u8]) -> PathText {
    let only = path_for_matching(path);
    let mut new = replace_all(pattern, only, substitution);
    if new.is_empty() {
        return PathText::from_slice(path);
    }
    new.extend_from_slice(&path[only.len()..]);
    new
}

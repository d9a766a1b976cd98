//! Which route a request takes, and where it leads.
use super::domain::virtual_host;
use super::matcher::starts_with_any_case;
use crate::http::{HeaderId, Method, RequestHead};
use crate::snapshot::*;
use std::sync::Arc;

/// The route of a request.
#[derive(Clone, Copy, Debug)]
pub struct Matched<'a> {
    /// The RouteConfiguration.
    pub config: &'a RouteConfig,
    /// The virtual host of the authority.
    pub virtual_host: &'a Arc<VirtualHost>,
    /// The first of its routes that matches.
    pub route: &'a Arc<Route>,
    /// The route's place among the virtual host's.
    pub index: usize,
}

/// Why no route was found.
#[derive(Clone, Copy, Debug)]
pub enum Missed<'a> {
    /// No domain matches the authority.
    NoVirtualHost,
    /// No route of the virtual host matches.
    NoRoute(&'a Arc<VirtualHost>),
    /// `require_tls`: the client is sent to `https` with 301 (see `redirect::to_tls`).
    NeedsTls(&'a Arc<VirtualHost>),
}

/// The first route that matches. `random` decides `runtime_fraction`; the same number must be given to `choose_cluster`.
///
/// # Errors
/// Why there is none.
pub fn find_route<'a>(
    config: &'a RouteConfig,
    head: &RequestHead,
    random: u64,
) -> Result<Matched<'a>, Missed<'a>> {
    let host = virtual_host(config, head.authority()).ok_or(Missed::NoVirtualHost)?;
    if host.require_tls.is_some() && needs_tls(host, head) {
        return Err(Missed::NeedsTls(host));
    }
    let path = path_for_matching(head.path());
    let found = host.routes.iter().position(|route| route_matches(&route.matches, head, path, random));
    let index = found.ok_or(Missed::NoRoute(host))?;
    Ok(Matched { config, virtual_host: host, route: &host.routes[index], index })
}

/// `x-forwarded-proto` counts, not how the connection is secured (Envoy does the same).
fn needs_tls(host: &VirtualHost, head: &RequestHead) -> bool {
    let scheme = head.headers.get(HeaderId::XForwardedProto).unwrap_or(head.scheme());
    let is_internal = || head.headers.get(HeaderId::XEnvoyInternal) == Some(b"true");
    !scheme.eq_ignore_ascii_case(b"https") && (host.require_tls == Some(true) || !is_internal())
}

/// A path without query and fragment.
pub(crate) fn path_for_matching(path: &[u8]) -> &[u8] {
    &path[..memchr::memchr2(b'?', b'#', path).unwrap_or(path.len())]
}

fn route_matches(wanted: &RouteMatch, head: &RequestHead, path: &[u8], random: u64) -> bool {
    path_matches(wanted, head, path)
        && wanted.fraction.is_none_or(|share| is_in_share(share, random))
        && (!wanted.only_grpc || head.is_grpc())
        && wanted.headers.iter().all(|header| header.matches(head))
        && (wanted.query.is_empty() || query_matches(&wanted.query, head))
}

/// Whether a random number falls into a share.
pub fn is_in_share(share: Millionths, random: u64) -> bool {
    random % 1_000_000 < u64::from(share.0)
}

fn query_matches(wanted: &[QueryMatcher], head: &RequestHead) -> bool {
    let query = head.query().unwrap_or_default();
    wanted.iter().all(|parameter| parameter.matches(query))
}

/// A request without a path (CONNECT) matches a `connect_matcher` only.
pub(super) fn path_matches(wanted: &RouteMatch, head: &RequestHead, path: &[u8]) -> bool {
    if head.path().is_empty() {
        return matches!(wanted.path, PathMatch::Connect) && head.method() == Method::Connect;
    }
    let starts = |prefix: &[u8]| match wanted.case_sensitive {
        true => path.starts_with(prefix),
        false => starts_with_any_case(path, prefix),
    };
    match &wanted.path {
        PathMatch::Prefix(prefix) => starts(prefix),
        PathMatch::Exact(whole) => path.len() == whole.len() && starts(whole),
        PathMatch::Separated(prefix) => {
            starts(prefix) && path.get(prefix.len()).is_none_or(|next| *next == b'/')
        }
        PathMatch::Regex(pattern) => pattern.is_match(path),
        PathMatch::Connect => head.method() == Method::Connect,
    }
}

/// Where a request is sent.
#[derive(Clone, Copy, Debug)]
pub struct Chosen<'a> {
    /// The cluster's name; empty when a header should have had it and did not.
    pub name: &'a str,
    /// The same, shared, when the configuration has it.
    pub shared: Option<&'a Arc<str>>,
    /// What the choice adds, when it was one of several.
    pub weighted: Option<&'a WeightedCluster>,
}

/// The cluster of a request. `random` decides among weighted ones.
pub fn choose_cluster<'a>(forward: &'a Forward, head: &'a RequestHead, random: u64) -> Chosen<'a> {
    match &forward.destination {
        Destination::Cluster(name) => Chosen { name, shared: Some(name), weighted: None },
        Destination::Header(header) => {
            let value = head.value_of(header).and_then(|value| std::str::from_utf8(value).ok());
            Chosen { name: value.unwrap_or(""), shared: None, weighted: None }
        }
        Destination::Weighted(clusters, total) => match weighted(clusters, *total, random) {
            Some(cluster) => {
                Chosen { name: &cluster.name, shared: Some(&cluster.name), weighted: Some(cluster) }
            }
            None => Chosen { name: "", shared: None, weighted: None },
        },
    }
}

fn weighted(clusters: &[WeightedCluster], total: u64, random: u64) -> Option<&WeightedCluster> {
    let mut left = random.checked_rem(total)?;
    for cluster in clusters {
        match left.checked_sub(u64::from(cluster.weight)) {
            None => return Some(cluster),
            Some(rest) => left = rest,
        }
    }
    clusters.iter().rev().find(|cluster| cluster.weight > 0)
}

/// The cluster of a TCP connection: by SNI, or by weight. None: no cluster has any weight.
pub fn tcp_cluster<'a>(proxy: &'a TcpProxy, server_name: &'a Arc<str>, random: u64) -> Option<&'a Arc<str>> {
    if proxy.by_sni {
        return Some(server_name);
    }
    if let [(name, _)] = proxy.clusters.as_slice() {
        return Some(name);
    }
    let mut point = ((u128::from(random) * u128::from(proxy.total_weight)) >> 64) as u64;
    for (name, weight) in &proxy.clusters {
        if point < u64::from(*weight) {
            return Some(name);
        }
        point -= u64::from(*weight);
    }
    None
}

/// Who says something about a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Level {
    WeightedCluster,
    Route,
    VirtualHost,
    RouteConfiguration,
}

/// What is said about a filter, the most specific first: weighted cluster, route, virtual host, RouteConfiguration.
pub fn per_filter<'a>(
    filter: &str,
    matched: &Matched<'a>,
    weighted: Option<&'a WeightedCluster>,
) -> Option<&'a PerFilter> {
    leveled_filter(filter, matched, weighted).map(|(_, config)| config)
}

/// The same, and who says it.
pub fn leveled_filter<'a>(
    filter: &str,
    matched: &Matched<'a>,
    weighted: Option<&'a WeightedCluster>,
) -> Option<(Level, &'a PerFilter)> {
    let by_cluster = weighted.map_or(&[][..], |cluster| &cluster.per_filter);
    let levels = [
        (Level::WeightedCluster, by_cluster),
        (Level::Route, &matched.route.per_filter),
        (Level::VirtualHost, &matched.virtual_host.per_filter),
        (Level::RouteConfiguration, &matched.config.per_filter),
    ];
    levels.into_iter().find_map(|(level, said)| {
        let (_, config) = said.iter().find(|(name, _)| **name == *filter)?;
        Some((level, config))
    })
}

/// The key of a scope (`scoped_routes`): an element of a header's value. None where routes are not scoped, or it is missing.
pub fn scope_key<'a>(source: &RouteSource, head: &'a RequestHead) -> Option<&'a [u8]> {
    let RouteSource::Scoped { header, separator, index } = source else { return None };
    let mut value = head.value_of(header)?;
    if separator.is_empty() {
        return (*index == 0).then_some(value);
    }
    for _ in 0..*index {
        let at = memchr::memmem::find(value, separator)?;
        value = &value[at + separator.len()..];
    }
    Some(&value[..memchr::memmem::find(value, separator).unwrap_or(value.len())])
}

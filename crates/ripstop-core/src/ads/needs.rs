//! What resources need of others before they are of use.
use crate::snapshot::*;
use std::sync::Arc;

/// The secrets of a TLS context.
fn secrets(context: &TlsContext) -> impl Iterator<Item = (&Arc<str>, &SdsSource)> {
    let trust = context.validation.as_ref().and_then(|validation| validation.trust.as_ref());
    context.certificates.iter().chain(trust).filter_map(|reference| match reference {
        SecretRef::Sds { name, source } => Some((name, source)),
        SecretRef::Inline(_) => None,
    })
}

/// The secrets that a listener's chains need.
pub(super) fn listener_secrets(listener: &Listener) -> impl Iterator<Item = (&Arc<str>, &SdsSource)> {
    chains(listener).filter_map(|chain| chain.tls.as_ref()).flat_map(|tls| secrets(&tls.common))
}

/// The secrets that a cluster needs.
pub(super) fn cluster_secrets(cluster: &Cluster) -> impl Iterator<Item = (&Arc<str>, &SdsSource)> {
    cluster.tls.iter().flat_map(|tls| secrets(&tls.common))
}

/// Where a listener's connection managers get their routes.
pub(super) fn route_sources(listener: &Listener) -> impl Iterator<Item = &RouteSource> {
    chains(listener).filter_map(|chain| match &chain.terminal {
        Terminal::Http(manager) => Some(&manager.routes),
        Terminal::Tcp(_) => None,
    })
}

fn chains(listener: &Listener) -> impl Iterator<Item = &Arc<FilterChain>> {
    listener.filter_chains.iter().chain(&listener.default_chain)
}

/// Whether some manager of a listener has scoped routes.
pub(super) fn is_scoped(listener: &Listener) -> bool {
    route_sources(listener).any(|source| matches!(source, RouteSource::Scoped { .. }))
}

/// The name that a cluster's endpoints have in EDS.
pub(super) fn assignment_of(cluster: &Cluster) -> Option<&Arc<str>> {
    match &cluster.discovery {
        Discovery::Eds(name) => Some(name),
        _ => None,
    }
}

/// The clusters that routes lead to.
pub(super) fn route_clusters(routes: &RouteConfig) -> impl Iterator<Item = &Arc<str>> {
    let routes = routes.virtual_hosts.iter().flat_map(|host| &host.routes);
    routes
        .filter_map(|route| match &route.action {
            RouteAction::Forward(forward) => Some(forward),
            _ => None,
        })
        .flat_map(|forward| {
            let one = match &forward.destination {
                Destination::Cluster(name) => Some(name),
                _ => None,
            };
            let weighted = match &forward.destination {
                Destination::Weighted(clusters, _) => clusters.as_slice(),
                _ => &[],
            };
            one.into_iter().chain(weighted.iter().map(|weighted| &weighted.name))
        })
}

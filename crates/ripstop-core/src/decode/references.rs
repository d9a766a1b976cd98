//! What a resource names: what has to be subscribed to, and what it waits for until it is used.
use crate::snapshot::{
    Cluster, Destination, Discovery, FilterChain, Forward, HttpManager, Listener, RouteAction, RouteConfig,
    RouteSource, SdsSource, SecretRef, Terminal, TlsContext,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The names that a resource holds, each once and in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// RouteConfigurations by RDS.
    pub routes: BTreeSet<Arc<str>>,
    /// Scopes by SRDS are looked at: subscribe to all of them.
    pub scoped: bool,
    /// ClusterLoadAssignments by EDS.
    pub assignments: BTreeSet<Arc<str>>,
    /// Clusters; those of routes may be missing without harm to the rest.
    pub clusters: BTreeSet<Arc<str>>,
    /// Secrets by SDS and where each comes from.
    pub secrets: Vec<(Arc<str>, SdsSource)>,
}

impl References {
    fn tls(&mut self, context: &TlsContext) {
        let trust = context.validation.as_ref().and_then(|validation| validation.trust.as_ref());
        for reference in context.certificates.iter().chain(trust) {
            let SecretRef::Sds { name, source } = reference else { continue };
            let named = (name.clone(), source.clone());
            if !self.secrets.contains(&named) {
                self.secrets.push(named);
            }
        }
    }

    fn chain(&mut self, chain: &FilterChain) {
        if let Some(tls) = &chain.tls {
            self.tls(&tls.common);
        }
        match &chain.terminal {
            Terminal::Http(manager) => self.manager(manager),
            Terminal::Tcp(proxy) => self.clusters.extend(proxy.clusters.iter().map(|(name, _)| name.clone())),
        }
    }

    fn manager(&mut self, manager: &HttpManager) {
        match &manager.routes {
            RouteSource::Rds(name) => {
                self.routes.insert(name.clone());
            }
            RouteSource::Scoped { .. } => self.scoped = true,
            RouteSource::Inline(config) => self.configuration(config),
        }
    }

    fn configuration(&mut self, config: &RouteConfig) {
        for route in config.virtual_hosts.iter().flat_map(|host| &host.routes) {
            if let RouteAction::Forward(forward) = &route.action {
                self.forward(forward);
            }
        }
    }

    fn forward(&mut self, forward: &Forward) {
        match &forward.destination {
            Destination::Cluster(name) => {
                self.clusters.insert(name.clone());
            }
            Destination::Weighted(clusters, _) => {
                self.clusters.extend(clusters.iter().map(|cluster| cluster.name.clone()));
            }
            Destination::Header(_) => {}
        }
        self.clusters.extend(forward.mirrors.iter().map(|mirror| mirror.cluster.clone()));
        self.clusters.extend(forward.extras.primary.clone());
        self.clusters.extend(forward.extras.fallbacks.iter().map(|hop| hop.cluster.clone()));
    }
}

/// A resource that names others.
pub trait Refers {
    /// Put down what it names.
    fn refer(&self, found: &mut References);
}

impl Refers for Listener {
    fn refer(&self, found: &mut References) {
        for chain in self.filter_chains.iter().chain(&self.default_chain) {
            found.chain(chain);
        }
    }
}

impl Refers for RouteConfig {
    fn refer(&self, found: &mut References) {
        found.configuration(self);
    }
}

impl Refers for Cluster {
    fn refer(&self, found: &mut References) {
        if let Some(tls) = &self.tls {
            found.tls(&tls.common);
        }
        match &self.discovery {
            Discovery::Eds(name) => {
                found.assignments.insert(name.clone());
            }
            Discovery::Aggregate(members) => found.clusters.extend(members.iter().cloned()),
            Discovery::Static(_) | Discovery::Dns { .. } | Discovery::OriginalDst => {}
        }
    }
}

/// What a Listener, a Cluster or a RouteConfiguration names.
pub fn references(resource: &impl Refers) -> References {
    let mut found = References::default();
    resource.refer(&mut found);
    found
}

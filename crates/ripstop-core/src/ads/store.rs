//! What is held of each kind, and what is wanted because of it.
use super::{Apply, Kind, Outcome, RawResource, Wanted, needs, warm};
use crate::snapshot::*;
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A resource that was read.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
#[allow(clippy::large_enum_variant)] // made once, taken apart at once
pub enum Decoded {
    Secret(Arc<str>, Secret),
    Cluster(Cluster),
    Endpoint(LoadAssignment),
    Listener(Listener),
    /// Its name, the key it is found by, the RouteConfiguration it leads to.
    ScopedRoute {
        name: Arc<str>,
        key: Arc<str>,
        route: Arc<str>,
    },
    Route(RouteConfig),
}

impl Decoded {
    fn name(&self) -> &Arc<str> {
        match self {
            Decoded::Secret(name, _) | Decoded::ScopedRoute { name, .. } => name,
            Decoded::Cluster(cluster) => &cluster.name,
            Decoded::Endpoint(assignment) => &assignment.name,
            Decoded::Listener(listener) => &listener.name,
            Decoded::Route(routes) => &routes.name,
        }
    }
}

/// Reads resources. The rim's also tries what only it can: whether a listener's socket can be bound.
pub trait Decoder {
    /// The resource, or its name and why it is refused.
    fn decode(&mut self, kind: Kind, bytes: &[u8]) -> Result<Decoded, (String, String)>;
}

/// A resource that was accepted.
#[derive(Debug)]
pub(super) struct Held<T> {
    pub value: Arc<T>,
    pub version: String,
    bytes: Vec<u8>,
    /// From then on it is used although something that it refers to has not come.
    pub deadline: Time,
}

pub(super) type HeldMap<T> = BTreeMap<Arc<str>, Held<T>>;

/// What a bootstrap has without asking anybody.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Static {
    pub clusters: Vec<Arc<Cluster>>,
    pub listeners: Vec<Arc<Listener>>,
    pub secrets: Vec<(Arc<str>, Arc<Secret>)>,
}

/// An accepted resource, to be kept on disk. Never a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Its kind.
    pub kind: Kind,
    /// Its name, its version and the message.
    pub resource: RawResource,
}

/// Everything that is held. What of it is in use is decided by [`Store::settle`].
#[derive(Debug, Default)]
pub struct Store {
    pub(super) fixed: Static,
    pub(super) clusters: HeldMap<Cluster>,
    pub(super) endpoints: HeldMap<LoadAssignment>,
    pub(super) listeners: HeldMap<Listener>,
    /// By the resource's name: scope key and RouteConfiguration.
    pub(super) scopes: HeldMap<(Arc<str>, Arc<str>)>,
    pub(super) routes: HeldMap<RouteConfig>,
    /// Whatever source they came from.
    pub(super) secrets: Named<Secret>,
    /// Secrets that came by the aggregated stream.
    ads_secrets: BTreeSet<Arc<str>>,
    /// Whether all scopes were told once.
    pub(super) scopes_came: bool,
    /// Clusters whose names were looked up once, well or not.
    pub(super) resolved: BTreeSet<Arc<str>>,
    pub(super) active: warm::Active,
}

impl Store {
    /// A store with a bootstrap's resources.
    pub fn new(fixed: Static) -> Store {
        let secrets = fixed.secrets.iter().cloned().collect();
        Store { fixed, secrets, ..Store::default() }
    }

    /// Take in what came; what was accepted, and what is refused and why.
    pub fn apply(&mut self, apply: Apply, decoder: &mut dyn Decoder, now: Time) -> Outcome {
        let Apply { kind, resources, removed, is_whole } = apply;
        let mut outcome = Outcome::default();
        let mut seen = BTreeSet::new();
        for resource in resources {
            match self.accept(kind, resource, decoder, now) {
                Ok((name, version)) => {
                    seen.insert(name.clone());
                    outcome.accepted.push((name, version));
                }
                Err((name, why)) => {
                    seen.insert(Arc::from(&*name));
                    outcome.refused.push((name, why));
                }
            }
        }
        let gone: Vec<Arc<str>> = match is_whole {
            // Once one cannot be read, not even its name, nobody knows what is gone.
            true if seen.contains("") => Vec::new(),
            true => self.names(kind).into_iter().filter(|name| !seen.contains(name)).collect(),
            false => removed.into_iter().map(Arc::from).collect(),
        };
        for name in gone {
            self.remove(kind, &name);
            outcome.removed.push(name);
        }
        self.scopes_came |= kind == Kind::ScopedRoute;
        outcome
    }

    fn accept(
        &mut self,
        kind: Kind,
        resource: RawResource,
        decoder: &mut dyn Decoder,
        now: Time,
    ) -> Result<(Arc<str>, String), (String, String)> {
        let version = resource.version.clone();
        if let Some(name) = self.renew(kind, &resource) {
            return Ok((name, version));
        }
        let decoded = decoder.decode(kind, &resource.bytes).map_err(|(name, why)| {
            (if resource.name.is_empty() { name } else { resource.name.clone() }, why)
        })?;
        let name = decoded.name().clone();
        if !resource.name.is_empty() && resource.name != *name {
            return Err((resource.name, format!("calls itself {name}")));
        }
        if self.is_fixed(kind, &name) {
            return Err((name.to_string(), "the bootstrap has a static one of this name".to_owned()));
        }
        self.hold(decoded, resource, now.after(warm::INITIAL_FETCH_TIMEOUT));
        Ok((name, version))
    }

    /// The same content once more: only its version is new.
    fn renew(&mut self, kind: Kind, resource: &RawResource) -> Option<Arc<str>> {
        fn renew<T>(held: &mut HeldMap<T>, resource: &RawResource) -> Option<Arc<str>> {
            let (name, _) = held.get_key_value(&*resource.name)?;
            let name = name.clone();
            let known = held.get_mut(&name).filter(|known| known.bytes == resource.bytes)?;
            known.version.clone_from(&resource.version);
            Some(name)
        }
        match kind {
            Kind::Cluster => renew(&mut self.clusters, resource),
            Kind::Endpoint => renew(&mut self.endpoints, resource),
            Kind::Listener => renew(&mut self.listeners, resource),
            Kind::ScopedRoute => renew(&mut self.scopes, resource),
            Kind::Route => renew(&mut self.routes, resource),
            Kind::Secret => None,
        }
    }

    fn hold(&mut self, decoded: Decoded, resource: RawResource, deadline: Time) {
        fn hold<T>(held: &mut HeldMap<T>, name: Arc<str>, value: T, resource: RawResource, deadline: Time) {
            let RawResource { version, bytes, .. } = resource;
            if let Some(known) = held.get_mut(&name).filter(|known| known.bytes == bytes) {
                known.version = version; // state of the world has no names outside, so it is seen only now
                return;
            }
            held.insert(name, Held { value: Arc::new(value), version, bytes, deadline });
        }
        let name = decoded.name().clone();
        match decoded {
            Decoded::Cluster(value) => hold(&mut self.clusters, name, value, resource, deadline),
            Decoded::Endpoint(value) => hold(&mut self.endpoints, name, value, resource, deadline),
            Decoded::Listener(value) => hold(&mut self.listeners, name, value, resource, deadline),
            Decoded::Route(value) => hold(&mut self.routes, name, value, resource, deadline),
            Decoded::ScopedRoute { key, route, .. } => {
                hold(&mut self.scopes, name, (key, route), resource, deadline)
            }
            Decoded::Secret(name, secret) => {
                self.ads_secrets.insert(name.clone());
                self.put_secret(name, secret);
            }
        }
    }

    fn is_fixed(&self, kind: Kind, name: &str) -> bool {
        match kind {
            Kind::Cluster => self.fixed.clusters.iter().any(|cluster| &*cluster.name == name),
            Kind::Listener => self.fixed.listeners.iter().any(|listener| &*listener.name == name),
            _ => false,
        }
    }

    fn names(&self, kind: Kind) -> Vec<Arc<str>> {
        match kind {
            Kind::Cluster => self.clusters.keys().cloned().collect(),
            Kind::Endpoint => self.endpoints.keys().cloned().collect(),
            Kind::Listener => self.listeners.keys().cloned().collect(),
            Kind::ScopedRoute => self.scopes.keys().cloned().collect(),
            Kind::Route => self.routes.keys().cloned().collect(),
            Kind::Secret => self.ads_secrets.iter().cloned().collect(),
        }
    }

    /// Kinds that are asked for by name are kept for as long as something refers to them, whatever the server says: as
    /// Envoy does, for traffic may depend on them.
    fn remove(&mut self, kind: Kind, name: &str) {
        match kind {
            Kind::Cluster => {
                self.clusters.remove(name);
                self.resolved.remove(name);
            }
            Kind::Listener => drop(self.listeners.remove(name)),
            Kind::ScopedRoute => drop(self.scopes.remove(name)),
            Kind::Endpoint | Kind::Route | Kind::Secret => {}
        }
    }

    /// A secret came by another way than the aggregated stream. True: it is news.
    pub fn put_secret(&mut self, name: Arc<str>, secret: Secret) -> bool {
        if self.secrets.get(&name).is_some_and(|known| **known == secret) {
            return false;
        }
        self.secrets.insert(name, Arc::new(secret));
        true
    }

    /// Whether a listener of this name is held, in use or not.
    pub fn has_listener(&self, name: &str) -> bool {
        self.listeners.contains_key(name) || self.is_fixed(Kind::Listener, name)
    }

    /// The names of a cluster's endpoints were looked up, well or not: it need not wait for them any longer.
    pub fn note_resolved(&mut self, cluster: &Arc<str>) {
        if self.clusters.contains_key(cluster) {
            self.resolved.insert(cluster.clone());
        }
    }

    /// Clusters by DNS that wait for the first answer.
    pub fn unresolved(&self) -> impl Iterator<Item = &Arc<Cluster>> {
        let held = self.clusters.values().map(|held| &held.value);
        held.filter(|cluster| {
            matches!(cluster.discovery, Discovery::Dns { .. }) && !self.resolved.contains(&cluster.name)
        })
    }

    // --- what is wanted ---

    /// What is wanted of a kind, because of what is held and what is in use.
    pub fn wanted(&self, kind: Kind) -> Wanted {
        let names: BTreeSet<Arc<str>> = match kind {
            Kind::Cluster | Kind::Listener => return Wanted { is_open: true, names: BTreeSet::new() },
            Kind::ScopedRoute => {
                let is_open = self.all_listeners().any(|listener| needs::is_scoped(listener));
                return Wanted { is_open, names: BTreeSet::new() };
            }
            Kind::Endpoint => {
                self.all_clusters().filter_map(|cluster| needs::assignment_of(cluster)).cloned().collect()
            }
            Kind::Route => self.wanted_routes(),
            Kind::Secret => self.wanted_secrets(&SdsSource::Ads),
        };
        Wanted { is_open: !names.is_empty(), names }
    }

    fn wanted_routes(&self) -> BTreeSet<Arc<str>> {
        let sources = self.all_listeners().flat_map(|listener| needs::route_sources(listener));
        let by_name = sources.filter_map(|source| match source {
            RouteSource::Rds(name) => Some(name.clone()),
            _ => None,
        });
        let held = self.scopes.values().map(|held| held.value.1.clone());
        by_name.chain(held).chain(self.active.scopes.values().map(|scope| scope.1.clone())).collect()
    }

    /// Names of secrets that are wanted from a source.
    pub fn wanted_secrets(&self, source: &SdsSource) -> BTreeSet<Arc<str>> {
        self.secret_references().filter(|(_, from)| *from == source).map(|(name, _)| name.clone()).collect()
    }

    /// The clusters at which secrets are to be asked for.
    pub fn secret_sources(&self) -> BTreeSet<Arc<str>> {
        let clusters = self.secret_references().filter_map(|(_, source)| match source {
            SdsSource::Cluster(cluster) => Some(cluster.clone()),
            _ => None,
        });
        clusters.collect()
    }

    fn secret_references(&self) -> impl Iterator<Item = (&Arc<str>, &SdsSource)> {
        let listeners = self.all_listeners().flat_map(|listener| needs::listener_secrets(listener));
        listeners.chain(self.all_clusters().flat_map(|cluster| needs::cluster_secrets(cluster)))
    }

    fn all_clusters(&self) -> impl Iterator<Item = &Arc<Cluster>> {
        let held = self.clusters.values().map(|held| &held.value);
        held.chain(&self.fixed.clusters).chain(self.active.clusters.values())
    }

    fn all_listeners(&self) -> impl Iterator<Item = &Arc<Listener>> {
        let held = self.listeners.values().map(|held| &held.value);
        held.chain(&self.fixed.listeners).chain(self.active.listeners.values())
    }

    /// Let go of what nothing refers to any more.
    pub fn forget_unwanted(&mut self) {
        let endpoints = self.wanted(Kind::Endpoint).names;
        self.endpoints.retain(|name, _| endpoints.contains(name));
        let routes = self.wanted(Kind::Route).names;
        self.routes.retain(|name, _| routes.contains(name));
        let mut secrets: BTreeSet<Arc<str>> =
            self.secret_references().map(|(name, _)| name.clone()).collect();
        secrets.extend(self.fixed.secrets.iter().map(|(name, _)| name.clone()));
        self.secrets.retain(|name, _| secrets.contains(name));
        self.ads_secrets.retain(|name| secrets.contains(name));
    }

    // --- on disk ---

    /// Everything accepted, but for secrets, in an order in which it can be applied again.
    pub fn saved(&self) -> Vec<Saved> {
        fn save<T>(kind: Kind, held: &HeldMap<T>, saved: &mut Vec<Saved>) {
            for (name, held) in held {
                let (version, bytes) = (held.version.clone(), held.bytes.clone());
                saved.push(Saved { kind, resource: RawResource { name: name.to_string(), version, bytes } });
            }
        }
        let mut saved = Vec::new();
        save(Kind::Cluster, &self.clusters, &mut saved);
        save(Kind::Endpoint, &self.endpoints, &mut saved);
        save(Kind::Listener, &self.listeners, &mut saved);
        save(Kind::ScopedRoute, &self.scopes, &mut saved);
        save(Kind::Route, &self.routes, &mut saved);
        saved
    }

    /// Names and versions of what is held, by kind, for people.
    pub fn versions(&self) -> Vec<(Kind, Arc<str>, String)> {
        self.saved().into_iter().map(|s| (s.kind, Arc::from(s.resource.name), s.resource.version)).collect()
    }
}

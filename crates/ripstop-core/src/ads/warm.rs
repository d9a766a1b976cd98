//! Make before break: what is held becomes used once what it needs is there, and what was used before stays so long.
//!
//! Source: xDS protocol, "Resource warming". A cluster needs its endpoints and secrets; routes need the clusters that they
//! lead to, if those are about to be there; scopes need their routes; listeners need routes, scopes and secrets. Nothing waits
//! longer than [`INITIAL_FETCH_TIMEOUT`].
use super::needs;
use super::store::{Held, HeldMap, Store};
use crate::snapshot::*;
use crate::time::Time;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long something is held back for want of what it refers to (Envoy: `initial_fetch_timeout`).
pub const INITIAL_FETCH_TIMEOUT: Duration = Duration::from_secs(15);

/// A scope's key and the name of its RouteConfiguration.
type Scope = Arc<(Arc<str>, Arc<str>)>;

/// What is in use.
#[derive(Debug, Default)]
pub(super) struct Active {
    pub clusters: Named<Cluster>,
    pub listeners: Named<Listener>,
    pub routes: Named<RouteConfig>,
    pub scopes: BTreeMap<Arc<str>, Scope>,
    /// What was last given out.
    given: Arc<Snapshot>,
    endpoints: Named<LoadAssignment>,
}

/// What changed. Endpoints that are new go before the snapshot, so that no route leads to a cluster without them.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    /// The new snapshot, if it is another than before.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Clusters with endpoints by EDS that are new or changed; empty for those whose endpoints did not come in time.
    pub endpoints: Vec<(Arc<str>, Arc<LoadAssignment>)>,
    /// When to look again, because something stops waiting then.
    pub next: Option<Time>,
}

impl Store {
    /// Put to use what can be used now.
    pub fn settle(&mut self, now: Time) -> Settled {
        let mut next = Time::NEVER;
        self.settle_clusters(now, &mut next);
        self.settle_routes(now, &mut next);
        self.settle_scopes(now, &mut next);
        self.settle_listeners(now, &mut next);
        self.forget_unwanted();
        let snapshot = self.give();
        let endpoints = self.changed_endpoints();
        Settled { snapshot, endpoints, next: (next != Time::NEVER).then_some(next) }
    }

    /// The snapshot that [`Store::settle`] gave last.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.active.given
    }

    /// Names of listeners and clusters that are held and not in use yet, in this version or at all.
    pub fn warming(&self) -> Vec<Arc<str>> {
        let clusters =
            self.clusters.iter().filter(|(name, held)| !is_used(self.active.clusters.get(*name), held));
        let listeners =
            self.listeners.iter().filter(|(name, held)| !is_used(self.active.listeners.get(*name), held));
        clusters.map(|(name, _)| name.clone()).chain(listeners.map(|(name, _)| name.clone())).collect()
    }

    fn settle_clusters(&mut self, now: Time, next: &mut Time) {
        let mut active = std::mem::take(&mut self.active.clusters);
        active.retain(|name, _| self.clusters.contains_key(name) || self.is_fixed_cluster(name));
        for cluster in &self.fixed.clusters {
            active.entry(cluster.name.clone()).or_insert_with(|| cluster.clone());
        }
        // Aggregates wait for their members, which may be aggregates themselves.
        loop {
            let ready = |cluster: &Cluster, active: &Named<Cluster>| self.is_cluster_ready(cluster, active);
            if !promote(&self.clusters, &mut active, ready, now) {
                break;
            }
        }
        note_deadlines(&self.clusters, &active, next);
        self.active.clusters = active;
    }

    fn is_fixed_cluster(&self, name: &str) -> bool {
        self.fixed.clusters.iter().any(|cluster| &*cluster.name == name)
    }

    fn is_cluster_ready(&self, cluster: &Cluster, active: &Named<Cluster>) -> bool {
        let has_secrets = needs::cluster_secrets(cluster).all(|(name, _)| self.secrets.contains_key(name));
        let has_endpoints = match &cluster.discovery {
            Discovery::Eds(name) => self.endpoints.contains_key(name),
            Discovery::Aggregate(members) => {
                members.iter().all(|name| active.contains_key(name) || !self.clusters.contains_key(name))
            }
            Discovery::Dns { .. } => self.resolved.contains(&cluster.name),
            Discovery::Static(_) | Discovery::OriginalDst => true,
        };
        has_secrets && has_endpoints
    }

    fn settle_routes(&mut self, now: Time, next: &mut Time) {
        let mut active = std::mem::take(&mut self.active.routes);
        active.retain(|name, _| self.routes.contains_key(name));
        let clusters = &self.active.clusters;
        // A cluster that nobody has ever told of is no reason to wait: requests for it are answered with 503 (NC).
        let is_coming = |name: &Arc<str>| self.clusters.contains_key(name) && !clusters.contains_key(name);
        let ready =
            |routes: &RouteConfig, _: &Named<RouteConfig>| !needs::route_clusters(routes).any(is_coming);
        promote(&self.routes, &mut active, ready, now);
        note_deadlines(&self.routes, &active, next);
        self.active.routes = active;
    }

    fn settle_scopes(&mut self, now: Time, next: &mut Time) {
        let mut active = std::mem::take(&mut self.active.scopes);
        active.retain(|name, _| self.scopes.contains_key(name));
        for (name, held) in &self.scopes {
            if active.get(name).is_some_and(|scope| Arc::ptr_eq(scope, &held.value)) {
                continue;
            }
            if self.active.routes.contains_key(&held.value.1) || now >= held.deadline {
                active.insert(name.clone(), held.value.clone());
            } else {
                *next = (*next).min(held.deadline);
            }
        }
        self.active.scopes = active;
    }

    fn settle_listeners(&mut self, now: Time, next: &mut Time) {
        let mut active = std::mem::take(&mut self.active.listeners);
        active.retain(|name, _| {
            self.listeners.contains_key(name) || self.fixed.listeners.iter().any(|l| l.name == *name)
        });
        for listener in &self.fixed.listeners {
            // Static ones wait for their secrets, but not for long: there is no telling when they were first seen.
            if self.is_listener_ready(listener) {
                active.entry(listener.name.clone()).or_insert_with(|| listener.clone());
            }
        }
        promote(&self.listeners, &mut active, |listener, _| self.is_listener_ready(listener), now);
        note_deadlines(&self.listeners, &active, next);
        self.active.listeners = active;
    }

    fn is_listener_ready(&self, listener: &Listener) -> bool {
        let has_secrets = needs::listener_secrets(listener).all(|(name, _)| self.secrets.contains_key(name));
        let has_routes = needs::route_sources(listener).all(|source| match source {
            RouteSource::Inline(_) => true,
            RouteSource::Rds(name) => self.active.routes.contains_key(name),
            RouteSource::Scoped { .. } => {
                self.scopes_came && self.scopes.keys().all(|name| self.active.scopes.contains_key(name))
            }
        });
        has_secrets && has_routes
    }

    /// A new snapshot, if anything in it is another than before.
    fn give(&mut self) -> Option<Arc<Snapshot>> {
        let given = &self.active.given;
        let scopes: std::collections::HashMap<_, _, _> = {
            // Of several with one key, the first by name counts, in whatever order they came.
            let pairs = self.active.scopes.values().rev().map(|scope| (scope.0.clone(), scope.1.clone()));
            pairs.collect()
        };
        let is_same = same(&given.clusters, &self.active.clusters)
            && same(&given.listeners, &self.active.listeners)
            && same(&given.routes, &self.active.routes)
            && same(&given.secrets, &self.secrets)
            && given.scopes == scopes;
        if is_same && given.generation > 0 {
            return None;
        }
        let snapshot = Arc::new(Snapshot {
            generation: given.generation + 1,
            listeners: self.active.listeners.clone(),
            routes: self.active.routes.clone(),
            scopes,
            clusters: self.active.clusters.clone(),
            secrets: self.secrets.clone(),
        });
        self.active.given = snapshot.clone();
        Some(snapshot)
    }

    fn changed_endpoints(&mut self) -> Vec<(Arc<str>, Arc<LoadAssignment>)> {
        let before = std::mem::take(&mut self.active.endpoints);
        let mut changed = Vec::new();
        for (name, cluster) in &self.active.clusters {
            let Some(assignment) = needs::assignment_of(cluster) else { continue };
            let known = before.get(name);
            let current = match self.endpoints.get(assignment) {
                Some(held) => held.value.clone(),
                None => known.cloned().unwrap_or_else(|| {
                    Arc::new(LoadAssignment { name: assignment.clone(), ..LoadAssignment::default() })
                }),
            };
            if !known.is_some_and(|known| Arc::ptr_eq(known, &current)) {
                changed.push((name.clone(), current.clone()));
            }
            self.active.endpoints.insert(name.clone(), current);
        }
        changed.sort_by(|a, b| a.0.cmp(&b.0));
        changed
    }
}

fn is_used<T>(active: Option<&Arc<T>>, held: &Held<T>) -> bool {
    active.is_some_and(|active| Arc::ptr_eq(active, &held.value))
}

/// Make used what is ready, or has waited long enough. True: something was made used.
fn promote<T>(
    held: &HeldMap<T>,
    active: &mut Named<T>,
    is_ready: impl Fn(&T, &Named<T>) -> bool,
    now: Time,
) -> bool {
    let mut has_changed = false;
    for (name, held) in held {
        if is_used(active.get(name), held) {
            continue;
        }
        if is_ready(&held.value, active) || now >= held.deadline {
            active.insert(name.clone(), held.value.clone());
            has_changed = true;
        }
    }
    has_changed
}

fn note_deadlines<T>(held: &HeldMap<T>, active: &Named<T>, next: &mut Time) {
    for (name, held) in held {
        if !is_used(active.get(name), held) {
            *next = (*next).min(held.deadline);
        }
    }
}

fn same<T>(a: &Named<T>, b: &Named<T>) -> bool {
    a.len() == b.len()
        && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| Arc::ptr_eq(value, other)))
}

//! The endpoints of one cluster at one time. The control thread builds a new set for every change; data threads pick from it.
use super::hashing::HashTable;
use super::host::{Availability, Host, flag};
use super::view::View;
use crate::snapshot::*;
use crate::time::Time;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// An endpoint and what an update of the set can change about it.
#[derive(Clone, Debug)]
pub struct HostEntry {
    /// The running state.
    pub host: Arc<Host>,
    /// `load_balancing_weight`; 1 at least.
    pub weight: u32,
    /// `health_status`
    pub configured: ConfiguredHealth,
    /// The endpoint's metadata.
    pub metadata: Arc<Metadata>,
    /// Where active checks connect to; 0 for the endpoint's own port.
    pub health_port: u16,
    /// Index into [`HostSet::localities`].
    pub locality: u32,
    /// 0 is the highest.
    pub priority: u32,
    /// The assignment does not have it any more; it stays until active checks fail.
    pub is_leaving: bool,
}

impl HostEntry {
    /// What keeps it from being used, in Envoy's words (`/clusters`): `/failed_active_hc`, or `healthy`.
    pub fn health_text(&self) -> String {
        use ConfiguredHealth::*;
        let host = &self.host;
        let is_down = matches!(self.configured, Unhealthy | Draining | Timeout);
        let told = [
            (host.has(flag::FAILED_ACTIVE), "/failed_active_hc"),
            (host.has(flag::EJECTED), "/failed_outlier_check"),
            (is_down, "/failed_eds_health"),
            (host.has(flag::DEGRADED_ACTIVE), "/degraded_active_hc"),
            (self.configured == Degraded, "/degraded_eds_health"),
            (self.is_leaving, "/pending_dynamic_removal"),
            (host.has(flag::PENDING_ACTIVE), "/pending_active_hc"),
        ];
        let text: String = told.iter().filter(|(holds, _)| *holds).map(|(_, text)| *text).collect();
        if text.is_empty() { "healthy".to_owned() } else { text }
    }

    /// Whether it may get requests now.
    pub fn availability(&self) -> Availability {
        use ConfiguredHealth::*;
        let flags = self.host.flags();
        if flags & (flag::FAILED_ACTIVE | flag::EJECTED) != 0 {
            return Availability::Unhealthy;
        }
        match self.configured {
            Unhealthy | Draining | Timeout => Availability::Unhealthy,
            Degraded => Availability::Degraded,
            Healthy if flags & flag::DEGRADED_ACTIVE != 0 => Availability::Degraded,
            Healthy => Availability::Healthy,
        }
    }
}

/// A locality of one priority.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct LocalityInfo {
    pub locality: Locality,
    pub weight: Option<u32>,
    pub priority: u32,
}

/// What all sets of one cluster share, so that threads on an older set see a change of health too.
#[derive(Debug, Default)]
pub struct ClusterHealth {
    /// Counts changes of health.
    pub(crate) epoch: AtomicU64,
    /// Hosts that outlier detection holds out.
    pub(crate) ejected: AtomicU64,
    /// Hosts that wait for their half-open request.
    pub(crate) probing: AtomicU64,
    /// What outlier detection did.
    pub outlier: crate::resilience::OutlierCounters,
}

static NEXT_SET: AtomicU64 = AtomicU64::new(1);

/// The set.
#[derive(Debug)]
pub struct HostSet {
    /// Unlike any other set's.
    pub id: u64,
    /// Each priority and its localities, by [`HostEntry::locality`].
    pub localities: Vec<LocalityInfo>,
    /// In percent.
    pub overprovisioning: u32,
    /// `weighted_priority_health`
    pub weighted_health: bool,
    /// `drop_overloads`
    pub drops: Vec<(String, Millionths)>,
    /// Shared with the sets before and after this one.
    pub health: Arc<ClusterHealth>,
    pub(crate) entries: Vec<HostEntry>,
    pub(crate) priorities: usize,
    /// By priority; empty unless the balancer hashes.
    pub(crate) tables: Vec<Option<Arc<HashTable>>>,
    by_address: HashMap<Arc<str>, u32, foldhash::fast::RandomState>,
    built_at: u64,
}

type Known<'a> = HashMap<(&'a Address, &'a str), &'a HostEntry>;
type Seen<'a> = HashSet<(&'a Address, &'a str)>;

impl HostSet {
    /// The set of an assignment. Hosts of `previous` that have the same address and host name go on as they are. Endpoints
    /// whose address is a name are left out: see [`resolved`].
    pub fn build(
        cluster: &Cluster,
        assignment: &LoadAssignment,
        previous: Option<&HostSet>,
        now: Time,
    ) -> HostSet {
        let mut set = HostSet {
            id: NEXT_SET.fetch_add(1, Ordering::Relaxed),
            localities: Vec::new(),
            overprovisioning: if assignment.overprovisioning == 0 {
                140
            } else {
                assignment.overprovisioning
            },
            weighted_health: assignment.weighted_priority_health,
            drops: assignment.drops.clone(),
            health: previous.map_or_else(Arc::default, |p| p.health.clone()),
            entries: Vec::new(),
            priorities: 1,
            tables: Vec::new(),
            by_address: HashMap::default(),
            built_at: 0,
        };
        let mut known: Known =
            previous.map_or(&[][..], |p| &p.entries).iter().map(|e| (key_of(e), e)).collect();
        let mut seen = Seen::new();
        for group in &assignment.localities {
            set.add_locality(cluster, group, (&mut known, &mut seen), now);
        }
        if let Some(previous) = previous {
            set.keep_leaving(cluster, previous, &known);
        }
        set.forget_judges(cluster);
        set.finish(cluster, now)
    }

    /// The same endpoints, prepared anew after changes of health; `cluster` may have changed too.
    pub fn refreshed(&self, cluster: &Cluster, now: Time) -> HostSet {
        self.forget_judges(cluster);
        self.prepared_again(cluster, now)
    }

    pub(crate) fn prepared_again(&self, cluster: &Cluster, now: Time) -> HostSet {
        let set = HostSet {
            id: NEXT_SET.fetch_add(1, Ordering::Relaxed),
            localities: self.localities.clone(),
            overprovisioning: self.overprovisioning,
            weighted_health: self.weighted_health,
            drops: self.drops.clone(),
            health: self.health.clone(),
            entries: self.entries.iter().filter(|e| !is_gone(e)).cloned().collect(),
            priorities: self.priorities,
            tables: Vec::new(),
            by_address: HashMap::default(),
            built_at: 0,
        };
        set.finish(cluster, now)
    }

    /// Whether health changed since it was built: the control thread makes a new one by [`HostSet::refreshed`]. Picks see
    /// the change in any case.
    pub fn is_stale(&self) -> bool {
        self.health.epoch.load(Ordering::Acquire) != self.built_at
    }

    /// All endpoints, of all priorities.
    pub fn hosts(&self) -> &[HostEntry] {
        &self.entries
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of priorities; 1 at least.
    pub fn priorities(&self) -> usize {
        self.priorities
    }

    /// How many are healthy, degraded and unhealthy now.
    pub fn counts(&self) -> (usize, usize, usize) {
        self.entries.iter().fold((0, 0, 0), |(healthy, degraded, rest), entry| match entry.availability() {
            Availability::Healthy => (healthy + 1, degraded, rest),
            Availability::Degraded => (healthy, degraded + 1, rest),
            Availability::Unhealthy => (healthy, degraded, rest + 1),
        })
    }

    /// Whether some host waits for its half-open request.
    pub fn has_probe(&self, now: Time) -> bool {
        self.health.probing.load(Ordering::Relaxed) > 0
            && self.entries.iter().any(|e| e.host.wants_probe(now))
    }

    /// The endpoint of an address as text.
    pub fn at_address(&self, address: &str) -> Option<&HostEntry> {
        self.by_address.get(address).map(|index| &self.entries[*index as usize])
    }

    /// The endpoint of a host.
    pub fn entry_of(&self, host: &Host) -> Option<&HostEntry> {
        self.entries.iter().find(|entry| entry.host.id == host.id)
    }

    /// Tell all threads that some host's health changed.
    pub fn note_health_change(&self) {
        self.health.epoch.fetch_add(1, Ordering::Release);
    }

    fn add_locality<'a>(
        &mut self,
        cluster: &Cluster,
        group: &'a LocalityEndpoints,
        (known, seen): (&mut Known<'a>, &mut Seen<'a>),
        now: Time,
    ) {
        let locality = self.localities.len() as u32;
        self.localities.push(LocalityInfo {
            locality: group.locality.clone(),
            weight: group.weight,
            priority: group.priority,
        });
        for endpoint in &group.endpoints {
            // Envoy takes an address that comes twice once.
            if matches!(endpoint.address, Address::Name(..))
                || !seen.insert((&endpoint.address, &*endpoint.hostname))
            {
                continue;
            }
            let host = match known.remove(&(&endpoint.address, &*endpoint.hostname)) {
                Some(entry) => entry.host.clone(),
                None => Arc::new(Host::new(
                    endpoint.address.clone(),
                    endpoint.hostname.clone(),
                    !cluster.health_checks.is_empty(),
                    now,
                )),
            };
            self.entries.push(HostEntry {
                host,
                weight: endpoint.weight.max(1),
                configured: endpoint.health,
                metadata: endpoint.metadata.clone(),
                health_port: endpoint.health_port,
                locality,
                priority: group.priority,
                is_leaving: false,
            });
        }
    }

    /// Endpoints that left the assignment but pass active checks stay until they fail, unless the cluster says otherwise
    /// (`ignore_health_on_host_removal`).
    fn keep_leaving(&mut self, cluster: &Cluster, previous: &HostSet, known: &Known) {
        if cluster.health_checks.is_empty() || cluster.ignores_health_on_removal {
            return;
        }
        for entry in previous.entries.iter().filter(|e| known.contains_key(&key_of(e)) && !has_failed(e)) {
            let before = &previous.localities[entry.locality as usize];
            let is_it = |l: &LocalityInfo| l.locality == before.locality && l.priority == before.priority;
            let locality = self.localities.iter().position(is_it).unwrap_or_else(|| {
                self.localities.push(before.clone());
                self.localities.len() - 1
            });
            self.entries.push(HostEntry { locality: locality as u32, is_leaving: true, ..entry.clone() });
        }
    }

    fn finish(mut self, cluster: &Cluster, now: Time) -> HostSet {
        self.entries.sort_by_key(|e| e.priority);
        // Priorities count up without gaps (`config.endpoint.v3`); a gap is an empty priority.
        self.priorities = self.localities.iter().map(|l| l.priority as usize + 1).max().unwrap_or(1);
        let flagged = |bit| self.entries.iter().filter(|e| e.host.has(bit)).count() as u64;
        self.health.ejected.store(flagged(flag::EJECTED), Ordering::Relaxed);
        self.health.probing.store(flagged(flag::PROBING), Ordering::Relaxed);
        self.by_address =
            (0..).zip(&self.entries).map(|(index, e)| (e.host.address_text.clone(), index)).collect();
        self.built_at = self.health.epoch.load(Ordering::Acquire);
        self.tables = View::tables(&self, cluster, now);
        self
    }

    /// A cluster that has no active checks or no outlier detection any more cannot bring back whom they took out.
    fn forget_judges(&self, cluster: &Cluster) {
        let mut gone = 0;
        if cluster.health_checks.is_empty() {
            gone |= flag::FAILED_ACTIVE | flag::PENDING_ACTIVE | flag::DEGRADED_ACTIVE;
        }
        if cluster.outlier.is_none() {
            gone |= flag::EJECTED | flag::PROBING;
        }
        let cleared =
            |e: &HostEntry| e.host.has(gone) && e.host.flags.fetch_and(!gone, Ordering::Relaxed) != 0;
        if self.entries.iter().filter(|entry| cleared(entry)).count() > 0 {
            self.note_health_change();
        }
    }
}

fn key_of(entry: &HostEntry) -> (&Address, &str) {
    (&entry.host.address, &entry.host.hostname)
}

fn has_failed(entry: &HostEntry) -> bool {
    entry.host.has(flag::FAILED_ACTIVE) || entry.configured == ConfiguredHealth::Unhealthy
}

fn is_gone(entry: &HostEntry) -> bool {
    entry.is_leaving && has_failed(entry)
}

/// An assignment with names replaced by what they resolve to; their text becomes the host name where none is set. A
/// logical DNS cluster takes the first address only. Names without an address are left out.
pub fn resolved(
    assignment: &LoadAssignment,
    is_logical: bool,
    look_up: impl Fn(&str) -> Vec<IpAddr>,
) -> LoadAssignment {
    let mut result = assignment.clone();
    for group in &mut result.localities {
        group.endpoints = std::mem::take(&mut group.endpoints)
            .into_iter()
            .flat_map(|endpoint| {
                let Address::Name(name, port) = endpoint.address.clone() else { return vec![endpoint] };
                let mut addresses = look_up(&name);
                addresses.truncate(if is_logical { 1 } else { usize::MAX });
                let hostname = if endpoint.hostname.is_empty() { name } else { endpoint.hostname.clone() };
                let at = |ip| Address::Socket(SocketAddr::new(ip, port));
                let one =
                    |ip| EndpointConfig { address: at(ip), hostname: hostname.clone(), ..endpoint.clone() };
                addresses.into_iter().map(one).collect()
            })
            .collect();
    }
    result
}

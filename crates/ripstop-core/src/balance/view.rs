//! A host set as it is right now, by health: what one thread picks from until health changes again.
use super::edf::Edf;
use super::hashing::{HashTable, Shares};
use super::host::Availability;
use super::host_set::{HostEntry, HostSet};
use super::priority::{LevelHealth, Loads};
use crate::rng::Rng;
use crate::snapshot::{Balancer, Cluster};
use crate::time::Time;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Some hosts to pick among.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Indices into the set's entries.
    pub members: Vec<u32>,
    /// Where plain round robin is.
    pub cursor: u64,
    /// By weight; None where all weigh the same or the balancer does not use it.
    pub schedule: Option<Edf>,
    /// Whether all weigh the same.
    pub is_even: bool,
}

/// One priority.
#[derive(Debug, Default)]
pub(crate) struct Level {
    pub all: Group,
    pub healthy: Group,
    pub degraded: Group,
    /// With locality weights: healthy and degraded hosts of each locality, and which locality is next.
    pub localities: Vec<(Group, Group)>,
    pub healthy_localities: Option<Edf>,
    pub degraded_localities: Option<Edf>,
    pub locality_weights: (Vec<f64>, Vec<f64>),
    pub table: Option<Arc<HashTable>>,
}

/// The view.
#[derive(Debug, Default)]
pub(crate) struct View {
    set: u64,
    epoch: u64,
    pub levels: Vec<Level>,
    pub loads: Loads,
}

impl View {
    /// Whether it shows `set` as it is now.
    pub fn is_current(&self, set: &HostSet) -> bool {
        self.set == set.id && self.epoch == set.health.epoch.load(Ordering::Acquire)
    }

    /// The view of those entries of `set` that `is_in` holds for; `old` says where round robin was.
    pub fn new(set: &HostSet, cluster: &Cluster, old: &View, is_in: impl Fn(&HostEntry) -> bool) -> View {
        let epoch = set.health.epoch.load(Ordering::Acquire);
        let mut levels: Vec<Level> = (0..set.priorities).map(|_| Level::default()).collect();
        let mut healths =
            vec![LevelHealth { overprovisioning: set.overprovisioning, ..Default::default() }; levels.len()];
        for (index, entry) in (0..).zip(&set.entries).filter(|(_, entry)| is_in(entry)) {
            let priority = entry.priority as usize;
            let availability = entry.availability();
            levels[priority].add(index, availability);
            count(&mut healths[priority], entry, availability, set.weighted_health);
        }
        let loads = Loads::of(&healths, cluster.panic_threshold);
        for (level, before) in levels.iter_mut().zip(&old.levels) {
            level.all.cursor = before.all.cursor;
            level.healthy.cursor = before.healthy.cursor;
            level.degraded.cursor = before.degraded.cursor;
        }
        View { set: set.id, epoch, levels, loads }
    }

    /// Make schedules for a balancer.
    pub fn prepare(&mut self, set: &HostSet, cluster: &Cluster, now: Time, rng: &mut Rng) {
        if cluster.locality_weighted {
            self.add_localities(set, rng);
        }
        for level in &mut self.levels {
            for group in [&mut level.all, &mut level.healthy, &mut level.degraded] {
                group.prepare(&set.entries, &cluster.balancer, now, rng);
            }
            for (healthy, degraded) in &mut level.localities {
                healthy.prepare(&set.entries, &cluster.balancer, now, rng);
                degraded.prepare(&set.entries, &cluster.balancer, now, rng);
            }
        }
    }

    /// The tables of a set's priorities, if its balancer hashes.
    pub fn tables(set: &HostSet, cluster: &Cluster, _now: Time) -> Vec<Option<Arc<HashTable>>> {
        if !hashes(&cluster.balancer) {
            return Vec::new();
        }
        let mut view = View::new(set, cluster, &View::default(), |_| true);
        view.add_tables(set, cluster);
        view.levels.into_iter().map(|level| level.table).collect()
    }

    /// Build hash tables here (for subsets; the whole set has its own ready).
    pub fn add_tables(&mut self, set: &HostSet, cluster: &Cluster) {
        for (priority, level) in self.levels.iter_mut().enumerate() {
            let members =
                if self.loads.panic[priority] { &level.all.members } else { &level.healthy.members };
            let shares = shares(set, cluster, members);
            level.table = HashTable::build(&cluster.balancer, &set.entries, &shares).map(Arc::new);
        }
    }

    fn add_localities(&mut self, set: &HostSet, rng: &mut Rng) {
        for level in &mut self.levels {
            let count = set.localities.len();
            level.localities = (0..count).map(|_| Default::default()).collect();
            for index in &level.healthy.members {
                level.localities[set.entries[*index as usize].locality as usize].0.members.push(*index);
            }
            for index in &level.degraded.members {
                level.localities[set.entries[*index as usize].locality as usize].1.members.push(*index);
            }
            let mut totals = vec![0usize; count];
            for index in &level.all.members {
                totals[set.entries[*index as usize].locality as usize] += 1;
            }
            let weights = |eligible: &dyn Fn(usize) -> usize| -> Vec<f64> {
                (0..count).map(|l| locality_weight(set, l, eligible(l), totals[l])).collect()
            };
            let healthy = weights(&|l| level.localities[l].0.members.len());
            let degraded = weights(&|l| level.localities[l].1.members.len());
            let schedule = |weights: &[f64], rng: &mut Rng| {
                weights.iter().any(|w| *w > 0.0).then(|| Edf::new(weights, rng))
            };
            level.healthy_localities = schedule(&healthy, rng);
            level.degraded_localities = schedule(&degraded, rng);
            level.locality_weights = (healthy, degraded);
        }
    }
}

/// Whether a balancer picks by hash.
pub(crate) fn hashes(balancer: &Balancer) -> bool {
    matches!(balancer, Balancer::RingHash { .. } | Balancer::Maglev { .. })
}

/// A locality's weight, less when too few of its hosts can be used (Envoy: "Locality weighted load balancing").
fn locality_weight(set: &HostSet, locality: usize, eligible: usize, total: usize) -> f64 {
    if total == 0 {
        return 0.0;
    }
    let available = eligible as f64 / total as f64 * f64::from(set.overprovisioning) / 100.0;
    f64::from(set.localities[locality].weight.unwrap_or(0)) * available.min(1.0)
}

/// Each member's share of the whole: by weight; with locality weights, by weight in its locality.
fn shares(set: &HostSet, cluster: &Cluster, members: &[u32]) -> Shares {
    let weight = |index: u32| f64::from(set.entries[index as usize].weight);
    let weighted = |index: u32| set.localities[set.entries[index as usize].locality as usize].weight;
    if !cluster.locality_weighted || members.iter().all(|m| weighted(*m).unwrap_or(0) == 0) {
        let sum: f64 = members.iter().map(|m| weight(*m)).sum();
        return members.iter().map(|m| (*m, weight(*m) / sum)).collect();
    }
    let mut sums = vec![0.0; set.localities.len()];
    let mut present = vec![false; set.localities.len()];
    for member in members {
        let locality = set.entries[*member as usize].locality as usize;
        sums[locality] += weight(*member);
        present[locality] = true;
    }
    let priority = members.first().map_or(0, |m| set.entries[*m as usize].priority);
    let all: f64 = set
        .localities
        .iter()
        .filter(|l| l.priority == priority)
        .map(|l| f64::from(l.weight.unwrap_or(0)))
        .sum();
    let mut result: Shares = Vec::with_capacity(members.len());
    for locality in (0..sums.len()).filter(|l| present[*l]) {
        let part = f64::from(set.localities[locality].weight.unwrap_or(0)) / all;
        let own = members.iter().filter(|m| set.entries[**m as usize].locality as usize == locality);
        result
            .extend(own.map(|m| (*m, weight(*m) * part / sums[locality])).filter(|(_, share)| *share > 0.0));
    }
    result
}

pub(crate) fn count(
    health: &mut LevelHealth,
    entry: &HostEntry,
    availability: Availability,
    is_weighted: bool,
) {
    let weight = if is_weighted { u64::from(entry.weight) } else { 1 };
    health.hosts += 1;
    health.total_weight += weight;
    match availability {
        Availability::Healthy => {
            health.healthy += 1;
            health.healthy_weight += weight;
        }
        Availability::Degraded => {
            health.degraded += 1;
            health.degraded_weight += weight;
        }
        Availability::Unhealthy => {}
    }
}

impl Level {
    fn add(&mut self, index: u32, availability: Availability) {
        self.all.members.push(index);
        match availability {
            Availability::Healthy => self.healthy.members.push(index),
            Availability::Degraded => self.degraded.members.push(index),
            Availability::Unhealthy => {}
        }
    }
}

impl Level {
    /// The hosts to pick among; with locality weights, those of the locality whose turn it is.
    pub fn group(&mut self, kind: Availability) -> Option<&mut Group> {
        let is_degraded = kind == Availability::Degraded;
        let (schedule, weights) = match is_degraded {
            true => (&mut self.degraded_localities, &self.locality_weights.1),
            false => (&mut self.healthy_localities, &self.locality_weights.0),
        };
        if let Some(schedule) = schedule {
            let locality = schedule.pick(|l| weights[l as usize])?;
            let (healthy, degraded) = self.localities.get_mut(locality as usize)?;
            return Some(if is_degraded { degraded } else { healthy });
        }
        Some(if is_degraded { &mut self.degraded } else { &mut self.healthy })
    }
}

impl Group {
    fn prepare(&mut self, entries: &[HostEntry], balancer: &Balancer, now: Time, rng: &mut Rng) {
        let weight = |member: &u32| entries[*member as usize].weight;
        let first = self.members.first().map(weight);
        self.is_even = self.members.iter().all(|m| Some(weight(m)) == first);
        if self.cursor == 0 {
            self.cursor = rng.below(1 << 32);
        }
        let slow_start = super::choose::slow_start(balancer);
        let starts = |m: &u32| {
            let host = &entries[*m as usize].host;
            slow_start.is_some_and(|s| now.since(Time(host.healthy_since.load(Ordering::Relaxed))) < s.window)
        };
        let is_scheduled = matches!(balancer, Balancer::RoundRobin { .. } | Balancer::LeastRequest { .. });
        let needs =
            is_scheduled && self.members.len() > 1 && (!self.is_even || self.members.iter().any(starts));
        self.schedule = needs.then(|| {
            let weigh = |m: &u32| super::choose::weight(&entries[*m as usize], balancer, now);
            let weights: Vec<f64> = self.members.iter().map(weigh).collect();
            Edf::new(&weights, rng)
        });
    }
}

//! Aggregate clusters (`clusters.aggregate`): the priorities of the members in order are the priorities of one cluster, so
//! a request goes on to the next member when the former cannot take it.
use super::host::Availability;
use super::host_set::{HostEntry, HostSet};
use super::priority::{LevelHealth, Loads};
use crate::rng::Rng;
use crate::snapshot::Cluster;
use crate::time::Time;
use std::sync::atomic::Ordering;

/// The member that was chosen, and what [`super::PickContext::level`] is then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Member {
    pub index: usize,
    pub level: (u32, Availability),
}

/// The balancer of an aggregate cluster on one thread.
#[derive(Debug)]
pub struct AggregatePicker {
    panic_threshold: f64,
    /// Set and epoch of each member that `loads` was reckoned from.
    seen: Vec<(u64, u64)>,
    /// Member and its priority by priority of the whole.
    levels: Vec<(usize, u32)>,
    loads: Loads,
}

impl AggregatePicker {
    /// The balancer of an aggregate cluster.
    pub fn new(cluster: &Cluster) -> AggregatePicker {
        let panic_threshold = cluster.panic_threshold;
        AggregatePicker { panic_threshold, seen: Vec::new(), levels: Vec::new(), loads: Loads::default() }
    }

    /// The member for a request; then its own [`super::Picker`] picks with this level. Members without a set are not
    /// there (yet). None: no member has an endpoint.
    pub fn choose(&mut self, members: &[Option<&HostSet>], now: Time, rng: &mut Rng) -> Option<Member> {
        // An ejected host that wants its half-open request would else never come back while a later member serves.
        if let Some(index) = members.iter().position(|set| set.is_some_and(|s| s.has_probe(now))) {
            return Some(Member { index, level: (0, Availability::Healthy) });
        }
        let now_of =
            |set: &Option<&HostSet>| set.map_or((0, 0), |s| (s.id, s.health.epoch.load(Ordering::Acquire)));
        if !members.iter().map(now_of).eq(self.seen.iter().copied()) {
            self.seen.clear();
            self.seen.extend(members.iter().map(now_of));
            self.reckon(members);
        }
        let (level, kind) = self.loads.choose(rng.next_u64());
        let (index, priority) = *self.levels.get(level)?;
        Some(Member { index, level: (priority, kind) })
    }

    fn reckon(&mut self, members: &[Option<&HostSet>]) {
        self.levels.clear();
        let mut healths = Vec::new();
        for (index, set) in members.iter().enumerate().filter_map(|(i, set)| set.map(|s| (i, s))) {
            for priority in 0..set.priorities {
                let health = health_of(set, priority as u32);
                if health.hosts > 0 {
                    self.levels.push((index, priority as u32));
                    healths.push(health);
                }
            }
        }
        self.loads = Loads::of(&healths, self.panic_threshold);
    }
}

pub(super) fn health_of(set: &HostSet, priority: u32) -> LevelHealth {
    let mut health = LevelHealth { overprovisioning: set.overprovisioning, ..Default::default() };
    for entry in set.entries.iter().filter(|e: &&HostEntry| e.priority == priority) {
        super::view::count(&mut health, entry, entry.availability(), set.weighted_health);
    }
    health
}

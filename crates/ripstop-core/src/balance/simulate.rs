//! Trying a cluster's balancer without traffic: where would so many requests go?
use super::{
    AggregatePicker, Availability, ClusterState, Host, HostSet, LevelHealth, Loads, NoHost, PickContext,
    Picker, flag,
};
use super::{HostEntry, HostId};
use crate::rng::Rng;
use crate::snapshot::{Cluster, LoadAssignment, Locality};
use crate::time::Time;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// What is tried.
#[derive(Clone, Debug, Default)]
pub struct Simulation {
    /// How many requests.
    pub requests: u32,
    /// Equal seeds give equal answers.
    pub seed: u64,
    /// How many requests are under way at a time; 0 means each ends before the next begins.
    pub in_flight: usize,
    /// Addresses (`10.0.0.1:8080`) that active checks say are not well.
    pub unhealthy: Vec<String>,
    /// Addresses that outlier detection has ejected.
    pub ejected: Vec<String>,
    /// How long an address takes for an answer; peak EWMA looks at it. Others take 1 ms.
    pub latency: HashMap<String, Duration>,
    /// The hash of every request (`route::hash_request`); `keys` are not looked at then.
    pub hash: Option<u64>,
    /// Hash keys to take turns with; empty: each request has a key of its own.
    pub keys: Vec<String>,
    /// `metadata_match` of the route.
    pub subset: Vec<(String, String)>,
}

/// What one endpoint got.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Share {
    pub cluster: Arc<str>,
    pub address: Arc<str>,
    pub locality: Locality,
    pub priority: u32,
    pub availability: Availability,
    pub requests: u32,
}

/// How it went.
#[derive(Clone, Debug)]
pub struct Simulated {
    /// In the order of members and of their assignments' priorities.
    pub shares: Vec<Share>,
    /// What priorities get and which are in panic; an aggregate's are its members' one after the other.
    pub loads: Loads,
    /// Requests that found no healthy endpoint, or none at all.
    pub without_host: u32,
    /// Requests that `drop_overload` dropped.
    pub dropped: u32,
}

/// Send so many imaginary requests, a millisecond apart, and count where they go. All endpoints are taken to have passed
/// their active checks a day ago, except for those that are named.
pub fn simulate(cluster: &Cluster, assignment: &LoadAssignment, what: &Simulation) -> Simulated {
    run(cluster, &[(cluster, assignment)], false, what)
}

/// The same for an aggregate cluster and its members, in order.
pub fn simulate_aggregate(
    cluster: &Cluster,
    members: &[(&Cluster, &LoadAssignment)],
    what: &Simulation,
) -> Simulated {
    run(cluster, members, true, what)
}

fn run(
    cluster: &Cluster,
    members: &[(&Cluster, &LoadAssignment)],
    is_aggregate: bool,
    what: &Simulation,
) -> Simulated {
    let begin = Time(1);
    let mut now = begin.after(Duration::from_secs(24 * 3600));
    let prepare = |(cluster, assignment): &(&Cluster, &LoadAssignment)| {
        let set = HostSet::build(cluster, assignment, None, begin);
        set_health(&set, what);
        set.prepared_again(cluster, now)
    };
    let sets: Vec<HostSet> = members.iter().map(prepare).collect();
    let mut run = Run {
        what,
        aggregate: is_aggregate.then(|| AggregatePicker::new(cluster)),
        pickers: members.iter().map(|(member, _)| (Picker::new(member), ClusterState::default())).collect(),
        rng: Rng::new(what.seed),
        active: VecDeque::new(),
        counts: HashMap::new(),
        without_host: 0,
        dropped: 0,
    };
    for number in 0..what.requests {
        run.send(&sets, number, now);
        now = now.after(Duration::from_millis(1));
    }
    let shares = members.iter().zip(&sets).flat_map(|((member, _), set)| {
        set.hosts().iter().map(|entry| run.share(member, set, entry)).collect::<Vec<_>>()
    });
    Simulated {
        shares: shares.collect(),
        loads: loads(&sets, cluster),
        without_host: run.without_host,
        dropped: run.dropped,
    }
}

fn set_health(set: &HostSet, what: &Simulation) {
    for entry in set.hosts() {
        let is_in = |list: &[String]| list.iter().any(|address| **address == *entry.host.address_text);
        let mut flags = 0;
        if is_in(&what.unhealthy) {
            flags |= flag::FAILED_ACTIVE;
        }
        if is_in(&what.ejected) {
            flags |= flag::EJECTED;
        }
        entry.host.flags.store(flags, Relaxed);
    }
}

fn loads(sets: &[HostSet], cluster: &Cluster) -> Loads {
    let of_set = |set| (0..HostSet::priorities(set)).map(move |p| super::aggregate::health_of(set, p as u32));
    let levels: Vec<LevelHealth> = sets.iter().flat_map(of_set).collect();
    Loads::of(&levels, cluster.panic_threshold)
}

struct Run<'a> {
    what: &'a Simulation,
    aggregate: Option<AggregatePicker>,
    pickers: Vec<(Picker, ClusterState)>,
    rng: Rng,
    active: VecDeque<Arc<Host>>,
    counts: HashMap<HostId, u32>,
    without_host: u32,
    dropped: u32,
}

impl Run<'_> {
    fn send(&mut self, sets: &[HostSet], number: u32, now: Time) {
        while self.active.len() >= self.what.in_flight.max(1) {
            self.end_oldest(now);
        }
        let hash = match (self.what.hash, self.what.keys.len()) {
            (Some(hash), _) => hash,
            (None, 0) => self.rng.next_u64(),
            (None, count) => {
                twox_hash::XxHash64::oneshot(0, self.what.keys[number as usize % count].as_bytes())
            }
        };
        let mut context =
            PickContext { hash: Some(hash), now, subset: &self.what.subset, ..Default::default() };
        let mut member = 0;
        if let Some(aggregate) = &mut self.aggregate {
            let all: Vec<Option<&HostSet>> = sets.iter().map(Some).collect();
            let Some(chosen) = aggregate.choose(&all, now, &mut self.rng) else {
                self.without_host += 1;
                return;
            };
            (member, context.level) = (chosen.index, Some(chosen.level));
        }
        let (Some(set), Some((picker, state))) = (sets.get(member), self.pickers.get_mut(member)) else {
            return;
        };
        match picker.pick(set, state, &context, &mut self.rng) {
            Ok(entry) => {
                *self.counts.entry(entry.host.id).or_default() += 1;
                entry.host.request_began();
                self.active.push_back(entry.host.clone());
            }
            Err(NoHost::Dropped(_)) => self.dropped += 1,
            Err(_) => self.without_host += 1,
        }
    }

    fn share(&self, member: &Cluster, set: &HostSet, entry: &HostEntry) -> Share {
        Share {
            cluster: member.name.clone(),
            address: entry.host.address_text.clone(),
            locality: set.localities[entry.locality as usize].locality.clone(),
            priority: entry.priority,
            availability: entry.availability(),
            requests: self.counts.get(&entry.host.id).copied().unwrap_or(0),
        }
    }

    fn end_oldest(&mut self, now: Time) {
        let Some(host) = self.active.pop_front() else { return };
        host.request_ended();
        let latency = self.what.latency.get(&*host.address_text);
        host.latency.answered(latency.copied().unwrap_or(Duration::from_millis(1)), now);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assignment, cluster, endpoint, even, group};
    use super::*;
    use crate::snapshot::Balancer;

    fn requests(result: &Simulated) -> Vec<u32> {
        result.shares.iter().map(|share| share.requests).collect()
    }

    #[test]
    fn the_unhealthy_get_nothing_and_their_priority_spills_over() {
        let cluster = cluster(Balancer::RoundRobin { slow_start: None });
        let near = group(0, None, vec![endpoint(0, 1), endpoint(1, 1)]);
        let far = group(1, None, vec![endpoint(2, 1)]);
        let unhealthy = vec![endpoint(0, 1).address.to_string()];
        let what = Simulation { requests: 1000, seed: 1, unhealthy, ..Default::default() };
        let result = simulate(&cluster, &assignment(vec![near, far]), &what);
        assert_eq!(result.loads.healthy, [70, 30]);
        let found = requests(&result);
        assert!(found[0] == 0 && (650..750).contains(&found[1]) && result.without_host == 0, "{found:?}");
    }

    #[test]
    fn an_aggregate_goes_on_to_its_next_member_when_the_first_is_not_well() {
        let cluster = cluster(Balancer::RoundRobin { slow_start: None });
        let first = assignment(vec![group(0, None, vec![endpoint(0, 1)])]);
        let second = assignment(vec![group(0, None, vec![endpoint(1, 1)])]);
        let unhealthy = vec![endpoint(0, 1).address.to_string()];
        let what = Simulation { requests: 100, unhealthy, ..Default::default() };
        let members = [(&cluster, &first), (&cluster, &second)];
        assert_eq!(requests(&simulate_aggregate(&cluster, &members, &what)), [0, 100]);
        let what = Simulation { requests: 100, ..Default::default() };
        assert_eq!(requests(&simulate_aggregate(&cluster, &members, &what)), [100, 0]);
    }

    #[test]
    fn a_key_always_goes_to_one_endpoint() {
        let cluster = cluster(Balancer::Maglev { table_size: 65537, use_hostname: false });
        let what = Simulation { requests: 50, keys: vec!["user-1".to_owned()], ..Default::default() };
        let found = requests(&simulate(&cluster, &even(5), &what));
        assert_eq!(found.iter().filter(|n| **n > 0).collect::<Vec<_>>(), [&50]);
    }

    #[test]
    fn peak_ewma_leaves_the_slow_alone() {
        let cluster = cluster(Balancer::PeakEwma);
        let latency = HashMap::from([(endpoint(0, 1).address.to_string(), Duration::from_millis(200))]);
        let what = Simulation { requests: 3000, seed: 1, in_flight: 8, latency, ..Default::default() };
        let found = requests(&simulate(&cluster, &even(3), &what));
        assert!(found[0] < 300, "{found:?}");
    }
}

//! The endpoints of each cluster while it runs: sets are built here and told to the data threads.
use super::mailbox::ToWorker;
use ripstop_core::balance::{ClusterState, HostSet, resolved};
use ripstop_core::resilience::{Change, sweep};
use ripstop_core::rng::Rng;
use ripstop_core::snapshot::{Address, Cluster, Discovery, DnsFamily, LoadAssignment, Snapshot};
use ripstop_core::time::Time;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// A cluster while it runs. It outlives its updates.
#[derive(Debug)]
pub struct ClusterRun {
    /// What holds now.
    pub config: Arc<Cluster>,
    /// Its endpoints.
    pub set: Arc<HostSet>,
    /// What it has in flight.
    pub state: Arc<ClusterState>,
    /// Before names are looked up.
    assignment: Arc<LoadAssignment>,
    next_sweep: Time,
    /// How often the set became another one (`membership_change`).
    pub changes: u64,
}

/// Addresses by name, as they were last known.
pub type Answers = HashMap<Arc<str>, Vec<IpAddr>>;

/// What a snapshot changed.
#[derive(Debug, Default)]
pub struct Changed {
    /// Clusters with another set than before.
    pub sets: Vec<Arc<str>>,
    /// Clusters that are no more.
    pub gone: Vec<Arc<str>>,
}

/// All clusters.
#[derive(Debug, Default)]
pub struct Endpoints {
    runs: HashMap<Arc<str>, ClusterRun>,
    /// Good answers by cluster; an answer is kept until there is a better one.
    answers: HashMap<Arc<str>, Answers>,
}

impl Endpoints {
    /// A cluster by its name.
    pub fn get(&self, name: &str) -> Option<&ClusterRun> {
        self.runs.get(name)
    }

    /// All clusters.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &ClusterRun)> {
        self.runs.iter()
    }

    /// A new snapshot: the clusters whose sets are new, and those that are gone. Sets of clusters by EDS come with
    /// [`Endpoints::assigned`].
    pub fn update(&mut self, snapshot: &Snapshot, now: Time) -> Changed {
        let gone = self.runs.keys().filter(|name| !snapshot.clusters.contains_key(*name)).cloned().collect();
        let mut changed = Changed { gone, ..Changed::default() };
        for (name, cluster) in &snapshot.clusters {
            let is_eds = matches!(cluster.discovery, Discovery::Eds(_));
            match self.runs.get_mut(name) {
                Some(run) if Arc::ptr_eq(&run.config, cluster) => continue,
                Some(run) => run.config = cluster.clone(),
                None => {
                    self.add(name, cluster, now);
                    if is_eds {
                        continue;
                    }
                }
            }
            if !is_eds {
                self.assign(name, own_assignment(cluster));
            }
            self.rebuild(name, now);
            changed.sets.push(name.clone());
        }
        for name in &changed.gone {
            self.runs.remove(name);
            self.answers.remove(name);
        }
        changed
    }

    fn add(&mut self, name: &Arc<str>, cluster: &Arc<Cluster>, now: Time) {
        let assignment = own_assignment(cluster);
        let run = ClusterRun {
            config: cluster.clone(),
            set: Arc::new(HostSet::build(cluster, &LoadAssignment::default(), None, now)),
            state: Arc::default(),
            assignment,
            next_sweep: cluster.outlier.as_ref().map_or(Time::NEVER, |outlier| now.after(outlier.interval)),
            changes: 0,
        };
        self.runs.insert(name.clone(), run);
    }

    fn assign(&mut self, name: &str, assignment: Arc<LoadAssignment>) {
        if let Some(run) = self.runs.get_mut(name) {
            run.assignment = assignment;
        }
    }

    /// Endpoints came by EDS.
    pub fn assigned(&mut self, name: &str, assignment: Arc<LoadAssignment>, now: Time) {
        self.assign(name, assignment);
        self.rebuild(name, now);
    }

    /// Names were looked up; an empty answer is none. Whether the set is another one now. Answers may come before the cluster.
    pub fn answered(&mut self, cluster: &Arc<str>, answers: Answers, now: Time) -> bool {
        let known = self.answers.entry(cluster.clone()).or_default();
        let mut is_news = false;
        for (name, addresses) in answers {
            if !addresses.is_empty() && known.get(&name) != Some(&addresses) {
                known.insert(name, addresses);
                is_news = true;
            }
        }
        if is_news {
            self.rebuild(cluster, now);
        }
        is_news
    }

    fn rebuild(&mut self, name: &str, now: Time) {
        let Some(run) = self.runs.get_mut(name) else { return };
        let nothing = Answers::new();
        let answers = self.answers.get(name).unwrap_or(&nothing);
        let set = match &run.config.discovery {
            Discovery::Dns { logical, .. } => {
                let look_up = |name: &str| answers.get(name).cloned().unwrap_or_default();
                let found = resolved(&run.assignment, *logical, look_up);
                HostSet::build(&run.config, &found, Some(&run.set), now)
            }
            _ => HostSet::build(&run.config, &run.assignment, Some(&run.set), now),
        };
        run.set = Arc::new(set);
        run.changes += 1;
        if run.next_sweep == Time::NEVER || run.config.outlier.is_none() {
            run.next_sweep =
                run.config.outlier.as_ref().map_or(Time::NEVER, |outlier| now.after(outlier.interval));
        }
    }

    /// Do what time brings: outlier detection's intervals, and sets anew where health changed.
    pub fn tick(&mut self, now: Time, rng: &mut Rng, mut note: impl FnMut(&str, &Change)) -> Vec<Arc<str>> {
        let mut changed = Vec::new();
        for (name, run) in &mut self.runs {
            if now >= run.next_sweep {
                for change in sweep(&run.set, &run.config, now, rng) {
                    note(name, &change);
                }
                let interval = run.config.outlier.as_ref().map(|outlier| outlier.interval);
                run.next_sweep = interval.map_or(Time::NEVER, |interval| now.after(interval));
            }
            if run.set.is_stale() {
                run.set = Arc::new(run.set.refreshed(&run.config, now));
                changed.push(name.clone());
            }
        }
        changed
    }

    /// When outlier detection wants to look next.
    pub fn next_sweep(&self) -> Time {
        self.runs.values().map(|run| run.next_sweep).min().unwrap_or(Time::NEVER)
    }

    /// What a worker is told of a cluster.
    pub fn message(&self, name: &Arc<str>) -> Option<ToWorker> {
        let run = self.runs.get(name)?;
        Some(ToWorker::Endpoints { cluster: name.clone(), set: run.set.clone(), state: run.state.clone() })
    }
}

fn own_assignment(cluster: &Cluster) -> Arc<LoadAssignment> {
    match &cluster.discovery {
        Discovery::Static(assignment) | Discovery::Dns { assignment, .. } => assignment.clone(),
        _ => Arc::default(),
    }
}

/// The names that a cluster's endpoints have.
pub fn names(cluster: &Cluster) -> Vec<Arc<str>> {
    let assignment = own_assignment(cluster);
    let endpoints = assignment.localities.iter().flat_map(|group| &group.endpoints);
    let mut names: Vec<Arc<str>> = endpoints
        .filter_map(|endpoint| match &endpoint.address {
            Address::Name(name, _) => Some(name.clone()),
            _ => None,
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The addresses of the family that is wanted (`dns_lookup_family`), in an order that does not change by chance.
pub fn of_family(family: DnsFamily, addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let (mut v4, mut v6): (Vec<IpAddr>, Vec<IpAddr>) = addresses.into_iter().partition(IpAddr::is_ipv4);
    for list in [&mut v4, &mut v6] {
        list.sort();
        list.dedup();
    }
    match family {
        DnsFamily::V4Only => v4,
        DnsFamily::V6Only => v6,
        DnsFamily::V4Preferred if v4.is_empty() => v6,
        DnsFamily::V4Preferred => v4,
        DnsFamily::Auto if v6.is_empty() => v4,
        DnsFamily::Auto => v6,
        DnsFamily::All => v4.into_iter().chain(v6).collect(),
    }
}

//! Picking an endpoint on one thread.
use super::choose::choose;
use super::host::{Availability, HostId};
use super::host_set::{HostEntry, HostSet};
use super::state::ClusterState;
use super::view::{View, hashes};
use crate::rng::Rng;
use crate::snapshot::{Cluster, MetadataValue};
use crate::time::Time;
use std::sync::atomic::Ordering::Relaxed;

/// What is known of the request when an endpoint is picked.
#[derive(Clone, Copy, Debug, Default)]
pub struct PickContext<'a> {
    /// Of the route's hash policies; None: ring hash and Maglev pick by chance.
    pub hash: Option<u64>,
    /// Hosts that earlier attempts used, when the retry policy avoids them.
    pub avoid: &'a [HostId],
    /// `host_selection_retry_max_attempts`: how often another host is tried for one to avoid.
    pub host_picks_max: u32,
    /// The address that the session keeps to.
    pub wanted: Option<&'a str>,
    /// The time.
    pub now: Time,
    /// `metadata_match` of the route.
    pub subset: &'a [(String, String)],
    /// 0 for the first attempt, which alone can be dropped by `drop_overload`.
    pub attempt: u32,
    /// An aggregate cluster has chosen the priority and the kind of host already.
    pub level: Option<(u32, Availability)>,
}

/// Why there is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoHost {
    /// None of those that may be asked is well.
    NoHealthy,
    /// `drop_overload` dropped the request, by this category.
    Dropped(String),
    /// The cluster, or the subset, has none at all.
    Empty,
}

/// So many subsets are remembered by a thread and cluster; beyond, all are forgotten.
const MAX_SUBSETS: usize = 256;

type SubsetView = (Vec<(String, String)>, View);

/// The balancer of one cluster on one thread.
#[derive(Debug)]
pub struct Picker {
    cluster: Box<Cluster>,
    view: View,
    subsets: Vec<SubsetView>,
}

impl Picker {
    /// The balancer of a cluster; a changed cluster needs a new one.
    pub fn new(cluster: &Cluster) -> Picker {
        let mut own = cluster.clone();
        if own.extras.peak_ewma {
            own.balancer = crate::snapshot::Balancer::PeakEwma;
        }
        Picker { cluster: Box::new(own), view: View::default(), subsets: Vec::new() }
    }

    /// An endpoint for a request. Allocates only after a change of the set or of its health.
    pub fn pick<'s>(
        &mut self,
        set: &'s HostSet,
        state: &ClusterState,
        ctx: &PickContext,
        rng: &mut Rng,
    ) -> Result<&'s HostEntry, NoHost> {
        if ctx.attempt == 0 {
            drop_some(set, rng)?;
        }
        if set.entries.is_empty() {
            return Err(NoHost::Empty);
        }
        if let Some(entry) = ctx.wanted.and_then(|address| set.at_address(address))
            && entry.availability() != Availability::Unhealthy
        {
            return Ok(entry);
        }
        if let Some(entry) = probe(set, ctx) {
            return Ok(entry);
        }
        let Picker { cluster, view, subsets } = self;
        let view = if cluster.subset_keys.is_empty() {
            whole_view(view, cluster, set, ctx, rng)
        } else {
            subset_view(subsets, cluster, set, ctx, rng)?
        };
        let attempts = if ctx.avoid.is_empty() { 1 } else { ctx.host_picks_max + 1 };
        let hash = hashes(&cluster.balancer).then(|| ctx.hash.unwrap_or_else(|| rng.next_u64()));
        let mut found = None;
        for attempt in 0..attempts {
            let picked = match hash {
                Some(hash) => by_hash(view, set, state, (hash, attempt)),
                None => by_load(view, cluster, set, state, ctx, rng),
            };
            let Some(entry) = picked else { break };
            found = Some(entry);
            if !ctx.avoid.contains(&entry.host.id) {
                break;
            }
        }
        found.ok_or(NoHost::NoHealthy)
    }
}

fn whole_view<'v>(
    view: &'v mut View,
    cluster: &Cluster,
    set: &HostSet,
    ctx: &PickContext,
    rng: &mut Rng,
) -> &'v mut View {
    if !view.is_current(set) {
        *view = View::new(set, cluster, view, |_| true);
        view.prepare(set, cluster, ctx.now, rng);
        for (level, table) in view.levels.iter_mut().zip(&set.tables) {
            level.table = table.clone();
        }
    }
    view
}

/// The view of a subset (`lb_subset_config` with NO_FALLBACK: a route whose keys are not those of a selector finds
/// nothing).
fn subset_view<'v>(
    subsets: &'v mut Vec<SubsetView>,
    cluster: &Cluster,
    set: &HostSet,
    ctx: &PickContext,
    rng: &mut Rng,
) -> Result<&'v mut View, NoHost> {
    let subset = ctx.subset;
    let is_selector =
        |keys: &Vec<String>| keys.len() == subset.len() && subset.iter().all(|(k, _)| keys.contains(k));
    if !cluster.subset_keys.iter().any(is_selector) {
        return Err(NoHost::Empty);
    }
    let position = match subsets.iter().position(|(of, _)| of.as_slice() == subset) {
        Some(position) => position,
        None => {
            if subsets.len() >= MAX_SUBSETS {
                subsets.clear();
            }
            subsets.push((subset.to_vec(), View::default()));
            subsets.len() - 1
        }
    };
    let view = &mut subsets[position].1;
    if !view.is_current(set) {
        *view = View::new(set, cluster, view, |entry| is_in_subset(entry, subset));
        view.prepare(set, cluster, ctx.now, rng);
        if hashes(&cluster.balancer) {
            view.add_tables(set, cluster);
        }
    }
    if view.levels.iter().all(|level| level.all.members.is_empty()) {
        return Err(NoHost::Empty);
    }
    Ok(view)
}

fn is_in_subset(entry: &HostEntry, subset: &[(String, String)]) -> bool {
    subset.iter().all(|(key, wanted)| match entry.metadata.get("envoy.lb", &[key.as_str()]) {
        Some(MetadataValue::Text(text)) => text == wanted,
        Some(MetadataValue::Bool(value)) => *wanted == value.to_string(),
        Some(MetadataValue::Number(value)) => *wanted == value.to_string(),
        _ => false,
    })
}

/// `drop_overload`: each category drops its share of what the ones before let through.
fn drop_some(set: &HostSet, rng: &mut Rng) -> Result<(), NoHost> {
    match set.drops.iter().find(|(_, share)| rng.chance(share.0)) {
        Some((category, _)) => Err(NoHost::Dropped(category.clone())),
        None => Ok(()),
    }
}

/// A half-open host that waits for its one request.
fn probe<'s>(set: &'s HostSet, ctx: &PickContext) -> Option<&'s HostEntry> {
    if set.health.probing.load(Relaxed) == 0 || ctx.attempt > 0 {
        return None;
    }
    let fits = |entry: &&HostEntry| ctx.subset.is_empty() || is_in_subset(entry, ctx.subset);
    set.entries.iter().filter(fits).find(|entry| entry.host.take_probe(ctx.now))
}

fn by_hash<'s>(
    view: &View,
    set: &'s HostSet,
    state: &ClusterState,
    (hash, attempt): (u64, u32),
) -> Option<&'s HostEntry> {
    // As in Envoy the key chooses the priority too, in an aggregate cluster as well.
    let (priority, _) = view.loads.choose(hash);
    let level = view.levels.get(priority)?;
    let is_panic = view.loads.panic[priority];
    if is_panic {
        state.counters.healthy_panic.fetch_add(1, Relaxed);
    }
    let is_usable =
        |index: u32| is_panic || set.entries[index as usize].availability() == Availability::Healthy;
    let table = level.table.as_ref();
    let found = table.and_then(|t| t.find(hash, attempt)).filter(|found| is_usable(*found));
    // The table is the control thread's; it may not know yet that a host failed, or that the first became healthy.
    let found = found.or_else(|| table.and_then(|t| t.find_usable(hash, is_usable)));
    let found = found.or_else(|| {
        let members = if is_panic { &level.all.members } else { &level.healthy.members };
        members.get((hash % members.len().max(1) as u64) as usize).copied()
    });
    set.entries.get(found? as usize)
}

fn by_load<'s>(
    view: &mut View,
    cluster: &Cluster,
    set: &'s HostSet,
    state: &ClusterState,
    ctx: &PickContext,
    rng: &mut Rng,
) -> Option<&'s HostEntry> {
    // One priority that is healthy is the common case; chance has nothing to say there.
    let is_simple = view.levels.len() == 1 && view.loads.healthy[0] == 100;
    let (priority, kind) = match ctx.level {
        Some((priority, kind)) => (priority as usize, kind),
        None if is_simple => (0, Availability::Healthy),
        None => view.loads.choose(rng.next_u64()),
    };
    let is_panic = *view.loads.panic.get(priority)?;
    let level = view.levels.get_mut(priority)?;
    let group = if is_panic {
        state.counters.healthy_panic.fetch_add(1, Relaxed);
        &mut level.all
    } else {
        level.group(kind)?
    };
    let mut index = choose(group, &set.entries, &cluster.balancer, ctx.now, rng)?;
    let host = &set.entries[index as usize].host;
    if cluster.extras.half_open && rng.unit() > host.ramp_factor(cluster.extras.ramp, ctx.now) {
        index = choose(group, &set.entries, &cluster.balancer, ctx.now, rng)?;
    }
    set.entries.get(index as usize)
}

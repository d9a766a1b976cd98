//! Statistics: names are resolved to numbers when configuration changes, counting is a plain store into the worker's own
//! memory, and all workers are summed when somebody asks.
//!
//! A worker makes one [`Shard`] of its [`WorkerStats`] and counts with it: `shard.cluster(id).inc(ClusterStat::RqTotal)`.
mod block;
mod histogram;
mod mesh;
mod prometheus;
mod sample;
mod sums;
#[cfg(test)]
mod tests;
mod text;

pub use block::{
    Block, ClusterBlock, ClusterStat, Kind, ListenerBlock, ListenerStat, ManagerBlock, ManagerStat,
    RateLimitStat, RbacStat, Stat, TcpStat,
};
pub use histogram::{BOUNDS, Histogram, HistogramSum};
pub use mesh::{MAX_SERIES, MeshId, SEPARATOR};
pub use prometheus::prometheus;
pub use sample::{Sample, Scope, Value};
pub use sums::samples;
pub use text::text;

use mesh::{MeshShard, MeshShared, Metric};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What one worker counts, as the control thread reads it.
#[derive(Debug, Default)]
pub struct WorkerStats {
    clusters: Scopes<ClusterBlock>,
    managers: Scopes<ManagerBlock>,
    listeners: Scopes<ListenerBlock>,
    tcp: Scopes<Block<TcpStat>>,
    rbac: Scopes<Block<RbacStat>>,
    rate_limits: Scopes<Block<RateLimitStat>>,
    mesh: MeshShared,
    /// What was decided of exchanges.
    pub decisions: crate::worker::decisions::Decisions,
}

/// Blocks by name; locked when configuration changes and when statistics are read, never on the request path.
#[derive(Debug)]
struct Scopes<B>(Mutex<HashMap<Arc<str>, Arc<B>>>);

impl<B> Default for Scopes<B> {
    fn default() -> Scopes<B> {
        Scopes(Mutex::default())
    }
}

impl<B: Default> Scopes<B> {
    fn block(&self, name: &str) -> Arc<B> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = known.get(name) {
            return block.clone();
        }
        let block = Arc::<B>::default();
        known.insert(Arc::from(name), block.clone());
        block
    }

    fn each(&self, mut visit: impl FnMut(&Arc<str>, &B)) {
        for (name, block) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            visit(name, block);
        }
    }

    fn remove(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $($(#[$doc])* #[derive(Clone, Copy, Debug, PartialEq, Eq)] pub struct $name(u32);)*
    };
}

ids! {
    /// A cluster's number on one worker.
    ClusterId;
    /// A connection manager's.
    ManagerId;
    /// A listener's.
    ListenerId;
    /// A TCP proxy's.
    TcpId;
    /// An RBAC filter's, HTTP or network.
    RbacId;
    /// A local rate limit's.
    RateLimitId;
}

/// Blocks by number. Equal names share a number.
#[derive(Debug)]
struct Numbered<B> {
    blocks: Vec<Arc<B>>,
    numbers: HashMap<Box<str>, u32>,
    /// For a number that there is not: counts into nothing.
    nothing: Arc<B>,
}

impl<B: Default> Default for Numbered<B> {
    fn default() -> Numbered<B> {
        Numbered { blocks: Vec::new(), numbers: HashMap::new(), nothing: Arc::default() }
    }
}

impl<B: Default> Numbered<B> {
    fn number(&mut self, name: &str, scopes: &Scopes<B>) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = u32::try_from(self.blocks.len()).unwrap_or(u32::MAX);
        self.blocks.push(scopes.block(name));
        self.numbers.insert(name.into(), number);
        number
    }

    #[inline(always)]
    fn get(&self, number: u32) -> &B {
        self.blocks.get(number as usize).unwrap_or(&self.nothing)
    }
}

/// A worker's hand on its own statistics. Not shared with anybody, so nothing is locked while counting.
#[derive(Debug)]
pub struct Shard {
    shared: Arc<WorkerStats>,
    clusters: Numbered<ClusterBlock>,
    managers: Numbered<ManagerBlock>,
    listeners: Numbered<ListenerBlock>,
    tcp: Numbered<Block<TcpStat>>,
    rbac: Numbered<Block<RbacStat>>,
    rate_limits: Numbered<Block<RateLimitStat>>,
    mesh: MeshShard,
}

impl Shard {
    /// The ring of decisions.
    pub fn decisions(&self) -> &crate::worker::decisions::Decisions {
        &self.shared.decisions
    }

    /// The only writer of `shared`.
    pub fn new(shared: Arc<WorkerStats>) -> Shard {
        Shard {
            shared,
            clusters: Numbered::default(),
            managers: Numbered::default(),
            listeners: Numbered::default(),
            tcp: Numbered::default(),
            rbac: Numbered::default(),
            rate_limits: Numbered::default(),
            mesh: MeshShard::default(),
        }
    }

    /// The number of a cluster by its `stat_name`.
    pub fn cluster_id(&mut self, stat_name: &str) -> ClusterId {
        ClusterId(self.clusters.number(stat_name, &self.shared.clusters))
    }

    /// The number of a connection manager by its `stat_prefix`.
    pub fn manager_id(&mut self, stat_prefix: &str) -> ManagerId {
        ManagerId(self.managers.number(stat_prefix, &self.shared.managers))
    }

    /// The number of a listener by its `stat_prefix` (its address where it has none; colons become underscores).
    pub fn listener_id(&mut self, stat_prefix: &str) -> ListenerId {
        ListenerId(self.listeners.number(stat_prefix, &self.shared.listeners))
    }

    /// The number of a TCP proxy by its `stat_prefix`.
    pub fn tcp_id(&mut self, stat_prefix: &str) -> TcpId {
        TcpId(self.tcp.number(stat_prefix, &self.shared.tcp))
    }

    /// The number of an HTTP RBAC filter: the manager's `stat_prefix` and the filter's two prefixes, which may be empty.
    pub fn http_rbac_id(&mut self, manager: &str, rules_prefix: &str, shadow_prefix: &str) -> RbacId {
        let name = sums::http_rbac_name(manager, rules_prefix, shadow_prefix);
        RbacId(self.rbac.number(&name, &self.shared.rbac))
    }

    /// The number of a network RBAC filter by its `stat_prefix` and `shadow_rules_stat_prefix`.
    pub fn network_rbac_id(&mut self, stat_prefix: &str, shadow_prefix: &str) -> RbacId {
        let name = sums::network_rbac_name(stat_prefix, shadow_prefix);
        RbacId(self.rbac.number(&name, &self.shared.rbac))
    }

    /// The number of a local rate limit by its `stat_prefix`.
    pub fn rate_limit_id(&mut self, stat_prefix: &str) -> RateLimitId {
        RateLimitId(self.rate_limits.number(stat_prefix, &self.shared.rate_limits))
    }

    /// The number of a counter or histogram of a statistics log: `prefix` is the log's, `tags` are the tags' names.
    pub fn mesh_id<'a>(
        &mut self,
        prefix: &str,
        name: &str,
        tags: impl IntoIterator<Item = &'a str>,
        is_histogram: bool,
    ) -> MeshId {
        let name = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
        self.mesh.id(Metric { name, tags: tags.into_iter().map(str::to_owned).collect(), is_histogram })
    }

    /// A cluster is gone: its statistics go too, as Envoy's do. Its number counts into nothing from now on; a cluster of
    /// that name that comes back gets a new one and begins at zero.
    pub fn forget_cluster(&mut self, stat_name: &str) {
        if let Some(number) = self.clusters.numbers.remove(stat_name)
            && let Some(block) = self.clusters.blocks.get_mut(number as usize)
        {
            *block = self.clusters.nothing.clone();
        }
        self.shared.clusters.remove(stat_name);
    }

    /// A cluster's counters.
    #[inline(always)]
    pub fn cluster(&self, id: ClusterId) -> &ClusterBlock {
        self.clusters.get(id.0)
    }

    /// A connection manager's counters.
    #[inline(always)]
    pub fn manager(&self, id: ManagerId) -> &ManagerBlock {
        self.managers.get(id.0)
    }

    /// A listener's counters.
    #[inline(always)]
    pub fn listener(&self, id: ListenerId) -> &ListenerBlock {
        self.listeners.get(id.0)
    }

    /// A TCP proxy's counters.
    #[inline(always)]
    pub fn tcp(&self, id: TcpId) -> &Block<TcpStat> {
        self.tcp.get(id.0)
    }

    /// An RBAC filter's counters.
    #[inline(always)]
    pub fn rbac(&self, id: RbacId) -> &Block<RbacStat> {
        self.rbac.get(id.0)
    }

    /// A local rate limit's counters.
    #[inline(always)]
    pub fn rate_limit(&self, id: RateLimitId) -> &Block<RateLimitStat> {
        self.rate_limits.get(id.0)
    }

    /// Count a record of a statistics log: `value` more of a counter, or a value of a histogram. `tags` are the rendered
    /// values in the order of their names, each followed by [`SEPARATOR`].
    #[inline]
    pub fn mesh(&mut self, id: MeshId, tags: &[u8], value: u64) {
        self.mesh.record(id, tags, value, &self.shared.mesh);
    }
}

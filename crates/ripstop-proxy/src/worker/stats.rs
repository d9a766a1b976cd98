//! What the worker counts, in its own words; the names and blocks are `control::stats`.
use super::Map;
use super::connection::{Connection, Machine};
use crate::control::stats::{
    ClusterStat, ListenerStat, ManagerStat, MeshId, RateLimitId, RateLimitStat, RbacId, RbacStat, SEPARATOR,
    Shard, WorkerStats,
};
use ripstop_core::authorization::Verdict;
use ripstop_core::record::Record;
use ripstop_core::snapshot::{HttpRbac, NetworkRbac, StatsLog, StatsValue};
use ripstop_core::template;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use crate::control::stats::{ClusterId, ListenerId, ManagerId};

/// A manager's prefix, the prefixes of rules and of shadow rules, the number.
type HttpRbacName = (Arc<str>, Box<str>, Box<str>, RbacId);

/// A worker's statistics.
pub(crate) struct Stats {
    shard: Shard,
    /// Numbers of filters by what names them; few, so lists.
    http_rbac: Vec<HttpRbacName>,
    network_rbac: Vec<(Box<str>, Box<str>, RbacId)>,
    rate_limits: Vec<(Box<str>, RateLimitId)>,
    /// By the log's address; the log is held so that no other can have it.
    logs: Map<usize, LogIds>,
}

struct LogIds {
    _log: Arc<StatsLog>,
    counters: Vec<MeshId>,
    histograms: Vec<MeshId>,
}

impl Stats {
    pub fn new(shared: Arc<WorkerStats>) -> Stats {
        Stats {
            shard: Shard::new(shared),
            http_rbac: Vec::new(),
            network_rbac: Vec::new(),
            rate_limits: Vec::new(),
            logs: Map::default(),
        }
    }

    /// The ring of decisions, shared with the control thread.
    pub fn decisions(&self) -> &super::decisions::Decisions {
        self.shard.decisions()
    }

    pub fn cluster(&mut self, name: &str) -> ClusterId {
        self.shard.cluster_id(name)
    }

    pub fn manager(&mut self, prefix: &str) -> ManagerId {
        self.shard.manager_id(prefix)
    }

    pub fn listener(&mut self, prefix: &str) -> ListenerId {
        self.shard.listener_id(prefix)
    }

    // --- listeners ---

    pub fn connection_opened(&self, listener: ListenerId) {
        let block = self.shard.listener(listener);
        block.inc(ListenerStat::CxTotal);
        block.inc(ListenerStat::CxActive);
    }

    pub fn listener_overflow(&self, listener: ListenerId) {
        self.shard.listener(listener).inc(ListenerStat::CxOverflow);
    }

    pub fn overload_rejected(&self, listener: ListenerId) {
        self.shard.listener(listener).inc(ListenerStat::CxOverloadReject);
    }

    pub fn no_filter_chain(&self, listener: ListenerId) {
        self.shard.listener(listener).inc(ListenerStat::NoFilterChainMatch);
    }

    pub fn handshake(&self, listener: ListenerId) {
        self.shard.listener(listener).inc(ListenerStat::SslHandshake);
    }

    pub fn handshake_failed(&self, listener: ListenerId) {
        self.shard.listener(listener).inc(ListenerStat::SslConnectionError);
    }

    pub fn connection_closed(&self, connection: &Connection, listener: Option<ListenerId>, lived: Duration) {
        if let Some(listener) = listener {
            let block = self.shard.listener(listener);
            block.inc(ListenerStat::CxDestroy);
            block.dec(ListenerStat::CxActive);
            block.cx_length.record(lived);
        }
        let Some(chain) = &connection.chain else { return };
        let is_h2 = match &connection.machine {
            Machine::H2Server(_) => true,
            Machine::H1Server(_) | Machine::Lingering => false,
            _ => return,
        };
        if chain.manager.is_none() {
            return;
        }
        let block = self.shard.manager(chain.stats);
        block.dec(ManagerStat::CxActive);
        block.dec(if is_h2 { ManagerStat::CxHttp2Active } else { ManagerStat::CxHttp1Active });
        block.inc(ManagerStat::CxDestroy);
        block.add(ManagerStat::CxRxBytes, connection.bytes_in);
        block.add(ManagerStat::CxTxBytes, connection.bytes_out);
    }

    // --- connection managers ---

    pub fn http_connection_opened(&self, manager: ManagerId, is_h2: bool) {
        let block = self.shard.manager(manager);
        block.inc(ManagerStat::CxTotal);
        block.inc(ManagerStat::CxActive);
        block.inc(if is_h2 { ManagerStat::CxHttp2Total } else { ManagerStat::CxHttp1Total });
        block.inc(if is_h2 { ManagerStat::CxHttp2Active } else { ManagerStat::CxHttp1Active });
    }

    /// An HTTP/1 connection became a tunnel: it is counted no more as HTTP.
    pub fn became_tunnel(&self, manager: ManagerId) {
        let block = self.shard.manager(manager);
        block.dec(ManagerStat::CxActive);
        block.dec(ManagerStat::CxHttp1Active);
        block.inc(ManagerStat::CxUpgradesTotal);
    }

    pub fn count_manager(&self, manager: ManagerId, stat: ManagerStat) {
        self.shard.manager(manager).inc(stat);
    }

    pub fn request_began(&self, manager: ManagerId) {
        let block = self.shard.manager(manager);
        block.inc(ManagerStat::RqTotal);
        block.inc(ManagerStat::RqActive);
    }

    pub fn request_ended(&self, manager: ManagerId, status: u16, duration: Duration) {
        let block = self.shard.manager(manager);
        block.dec(ManagerStat::RqActive);
        if status > 0 {
            block.status(status);
        }
        block.rq_time.record(duration);
    }

    pub fn http_rbac(&mut self, prefix: &Arc<str>, manager: &str, rbac: &HttpRbac, verdict: &Verdict) {
        let known = self.http_rbac.iter().find(|(of, rules, shadow, _)| {
            Arc::ptr_eq(of, prefix) && **rules == *rbac.rules_prefix && **shadow == *rbac.shadow_prefix
        });
        let id = match known {
            Some((.., id)) => *id,
            None => {
                let id = self.shard.http_rbac_id(manager, &rbac.rules_prefix, &rbac.shadow_prefix);
                let entry = (
                    prefix.clone(),
                    rbac.rules_prefix.as_str().into(),
                    rbac.shadow_prefix.as_str().into(),
                    id,
                );
                self.http_rbac.push(entry);
                id
            }
        };
        self.verdict(id, verdict);
    }

    pub fn rbac(&mut self, rbac: &NetworkRbac, verdict: &Verdict) {
        let known = self
            .network_rbac
            .iter()
            .find(|(prefix, shadow, _)| **prefix == *rbac.stat_prefix && **shadow == *rbac.shadow_prefix);
        let id = match known {
            Some((.., id)) => *id,
            None => {
                let id = self.shard.network_rbac_id(&rbac.stat_prefix, &rbac.shadow_prefix);
                self.network_rbac.push((
                    rbac.stat_prefix.as_str().into(),
                    rbac.shadow_prefix.as_str().into(),
                    id,
                ));
                id
            }
        };
        self.verdict(id, verdict);
    }

    fn verdict(&self, id: RbacId, verdict: &Verdict) {
        let block = self.shard.rbac(id);
        if let Some(enforced) = &verdict.enforced {
            block.inc(if enforced.allowed { RbacStat::Allowed } else { RbacStat::Denied });
        }
        if let Some(shadow) = &verdict.shadow {
            block.inc(if shadow.allowed { RbacStat::ShadowAllowed } else { RbacStat::ShadowDenied });
        }
    }

    pub fn rate_limited(&mut self, prefix: &str, passes: bool, enforced: bool) {
        let id = match self.rate_limits.iter().find(|(name, _)| **name == *prefix) {
            Some((_, id)) => *id,
            None => {
                let id = self.shard.rate_limit_id(prefix);
                self.rate_limits.push((prefix.into(), id));
                id
            }
        };
        let block = self.shard.rate_limit(id);
        block.inc(RateLimitStat::Enabled);
        block.inc(if passes { RateLimitStat::Ok } else { RateLimitStat::RateLimited });
        if enforced {
            block.inc(RateLimitStat::Enforced);
        }
    }

    // --- clusters ---

    pub fn forget_cluster(&mut self, name: &str) {
        self.shard.forget_cluster(name);
    }

    pub fn count(&self, cluster: ClusterId, stat: ClusterStat) {
        self.shard.cluster(cluster).inc(stat);
    }

    pub fn upstream_request(&self, cluster: ClusterId) {
        self.count(cluster, ClusterStat::RqTotal);
    }

    fn gauge(&self, cluster: ClusterId, stat: ClusterStat, up: bool) {
        let block = self.shard.cluster(cluster);
        if up { block.inc(stat) } else { block.dec(stat) }
    }

    pub fn upstream_active(&self, cluster: ClusterId, change: i8) {
        self.gauge(cluster, ClusterStat::RqActive, change > 0);
    }

    pub fn pending(&self, cluster: ClusterId, change: i8) {
        if change > 0 {
            self.count(cluster, ClusterStat::RqPendingTotal);
        }
        self.gauge(cluster, ClusterStat::RqPendingActive, change > 0);
    }

    pub fn upstream_connection(&self, cluster: ClusterId, change: i8) {
        self.count(cluster, if change > 0 { ClusterStat::CxTotal } else { ClusterStat::CxDestroy });
        self.gauge(cluster, ClusterStat::CxActive, change > 0);
    }

    pub fn upstream_bytes(&self, cluster: ClusterId, received: u64, sent: u64) {
        let block = self.shard.cluster(cluster);
        block.add(ClusterStat::CxRxBytes, received);
        block.add(ClusterStat::CxTxBytes, sent);
    }

    pub fn upstream_status(&self, cluster: ClusterId, status: u16, duration: Duration) {
        let block = self.shard.cluster(cluster);
        block.status(status);
        block.rq_time.record(duration);
    }

    pub fn connect_failed(&self, cluster: ClusterId) {
        self.count(cluster, ClusterStat::CxConnectFail);
    }

    // --- statistics logs ---

    /// Count a record as a statistics log says (`access_loggers.stats`).
    pub fn log(&mut self, log: &Arc<StatsLog>, record: &Record<'_>, scratch: &mut Vec<u8>) {
        let address = Arc::as_ptr(log) as usize;
        if !self.logs.contains_key(&address) {
            let ids = self.ids_of(log);
            self.logs.insert(address, ids);
        }
        let Some(ids) = self.logs.get(&address) else { return };
        for (counter, id) in log.counters.iter().zip(&ids.counters) {
            let value = match &counter.value {
                StatsValue::Fixed(value) => *value,
                StatsValue::Format(format) => number(format, record, scratch),
            };
            tags(counter.tags.iter().map(|(_, value)| value), record, scratch);
            self.shard.mesh(*id, scratch, value);
        }
        for (histogram, id) in log.histograms.iter().zip(&ids.histograms) {
            let value = number(&histogram.value, record, scratch);
            tags(histogram.tags.iter().map(|(_, value)| value), record, scratch);
            self.shard.mesh(*id, scratch, value);
        }
    }

    fn ids_of(&mut self, log: &Arc<StatsLog>) -> LogIds {
        let shard = &mut self.shard;
        let counters = log
            .counters
            .iter()
            .map(|c| shard.mesh_id(&log.prefix, &c.name, c.tags.iter().map(|(name, _)| name.as_str()), false))
            .collect();
        let histograms = log
            .histograms
            .iter()
            .map(|h| shard.mesh_id(&log.prefix, &h.name, h.tags.iter().map(|(name, _)| name.as_str()), true))
            .collect();
        LogIds { _log: log.clone(), counters, histograms }
    }
}

fn number(format: &ripstop_core::snapshot::Template, record: &Record<'_>, scratch: &mut Vec<u8>) -> u64 {
    scratch.clear();
    template::render(format, record, scratch);
    std::str::from_utf8(scratch).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn tags<'a>(
    values: impl Iterator<Item = &'a ripstop_core::snapshot::Template>,
    record: &Record<'_>,
    scratch: &mut Vec<u8>,
) {
    scratch.clear();
    for value in values {
        // Envoy's tags are empty where logs say `-`.
        template::render_or_empty(value, record, scratch);
        scratch.push(SEPARATOR);
    }
}

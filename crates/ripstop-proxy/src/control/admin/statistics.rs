//! `/stats`: what workers counted, and what the control thread knows itself.
use super::{Query, Reply};
use crate::control::plane::Plane;
use crate::control::stats::{Sample, Scope, Value, WorkerStats, prometheus, samples, text};
use crate::memory::{Memory, Pressure};
use http::StatusCode;
use regex::Regex;
use ripstop_core::ads::Kind;
use ripstop_core::balance::{Availability, Class, flag};
use ripstop_core::resilience::EjectionKind;
use ripstop_core::snapshot::Breaker;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

const KINDS: [EjectionKind; EjectionKind::COUNT] = [
    EjectionKind::Consecutive5xx,
    EjectionKind::ConsecutiveGatewayFailure,
    EjectionKind::ConsecutiveLocalOriginFailure,
    EjectionKind::SuccessRate,
    EjectionKind::SuccessRateLocalOrigin,
    EjectionKind::FailurePercentage,
    EjectionKind::FailurePercentageLocalOrigin,
    EjectionKind::Probe,
];

impl Plane {
    pub(super) fn stats(&self, query: &Query, is_prometheus: bool) -> Reply {
        let filter = match query.get("filter").map(Regex::new).transpose() {
            Ok(filter) => filter,
            Err(error) => return Reply::fault(StatusCode::BAD_REQUEST, format!("Invalid regex: {error}\n")),
        };
        let only_used = query.has("usedonly");
        let mut found = self.samples();
        found.retain(|sample| {
            (sample.is_used || !only_used)
                && filter.as_ref().is_none_or(|filter| filter.is_match(&sample.name))
        });
        Reply::text(if is_prometheus { prometheus(&mut found) } else { text(&mut found) })
    }

    fn samples(&self) -> Vec<Sample> {
        let workers: Vec<Arc<WorkerStats>> = self.workers.iter().map(|worker| worker.stats.clone()).collect();
        let mut found = samples(&workers);
        let connections = found
            .iter()
            .filter(|s| s.name.starts_with("listener.") && s.name.ends_with(".downstream_cx_active"));
        let connections = connections.map(|sample| number(&sample.value)).fold(0, u64::wrapping_add);
        found.extend(self.cluster_samples());
        self.server_samples(connections, &mut found);
        found
    }

    /// Of clusters with one `stat_name` the sum.
    fn cluster_samples(&self) -> Vec<Sample> {
        let mut sums: BTreeMap<String, Sample> = BTreeMap::new();
        for (_, run) in self.endpoints.iter() {
            let scope = Scope::cluster(&run.config.stat_name);
            let (healthy, degraded, unhealthy) = run.set.counts();
            let ejected = run.set.hosts().iter().filter(|entry| entry.host.has(flag::EJECTED)).count();
            let counters = &run.state.counters;
            let mut found = vec![
                Sample::gauge(&scope, "membership_total", (healthy + degraded + unhealthy) as u64),
                Sample::gauge(&scope, "membership_healthy", healthy as u64),
                Sample::rare_gauge(&scope, "membership_degraded", degraded as u64),
                Sample::counter(&scope, "membership_change", run.changes),
                Sample::counter(&scope, "lb_healthy_panic", counters.healthy_panic.load(Relaxed)),
                Sample::counter(&scope, "upstream_cx_overflow", counters.connection_overflow.load(Relaxed)),
                Sample::counter(
                    &scope,
                    "upstream_rq_pending_overflow",
                    counters.pending_overflow.load(Relaxed),
                ),
                Sample::counter(
                    &scope,
                    "upstream_rq_active_overflow",
                    counters.request_overflow.load(Relaxed),
                ),
                Sample::counter(&scope, "upstream_rq_retry_overflow", counters.retry_overflow.load(Relaxed)),
            ];
            if run.config.outlier.is_some() {
                outlier_samples(&scope, ejected as u64, &run.set.health.outlier, &mut found);
            }
            for (class, name, breaker) in [
                (Class::Default, "default", &run.config.breakers[0]),
                (Class::High, "high", &run.config.breakers[1]),
            ] {
                breaker_samples(&scope, name, breaker, run.state.class(class), &mut found);
            }
            for sample in found {
                match sums.get_mut(&sample.name) {
                    Some(sum) => add(sum, &sample),
                    None => drop(sums.insert(sample.name.clone(), sample)),
                }
            }
        }
        sums.into_values().collect()
    }

    fn server_samples(&self, connections: u64, found: &mut Vec<Sample>) {
        let server = Scope::plain("server.");
        let memory = self.memory.resident();
        let uptime = self.epoch.elapsed().as_secs();
        let listeners = Scope::plain("listener_manager.");
        let clusters = Scope::plain("cluster_manager.");
        found.extend([
            Sample::gauge(&server, "live", u64::from(self.state() == "LIVE")),
            Sample::gauge(&server, "state", if self.is_live { u64::from(self.is_draining) } else { 2 }),
            Sample::gauge(&server, "uptime", uptime),
            Sample::gauge(&server, "concurrency", self.workers.len() as u64),
            Sample::gauge(&server, "memory_allocated", memory),
            Sample::gauge(&server, "memory_physical_size", memory),
            Sample::gauge(&server, "total_connections", connections),
            Sample::gauge(&server, "memory_limit", self.memory.limit()),
            Sample::gauge(&server, "memory_most", self.memory.most().max(memory)),
            Sample::gauge(&listeners, "total_listeners_active", self.listening.len() as u64),
            Sample::counter(&listeners, "listener_create_failure", self.listener_failures),
            Sample::gauge(&clusters, "active_clusters", self.store.snapshot().clusters.len() as u64),
            Sample::rare_gauge(&clusters, "warming_clusters", self.store.warming().len() as u64),
            Sample::gauge(&Scope::plain("control_plane."), "connected_state", u64::from(self.is_connected())),
        ]);
        overload_samples(&self.memory, memory, found);
        for (kind, scope) in
            [(Kind::Cluster, "cluster_manager.cds."), (Kind::Listener, "listener_manager.lds.")]
        {
            let updates = self.updates[kind as usize];
            let scope = Scope::plain(scope);
            found.push(Sample::counter(&scope, "update_attempt", updates.attempts));
            found.push(Sample::counter(&scope, "update_success", updates.successes));
            found.push(Sample::counter(&scope, "update_rejected", updates.rejections));
        }
    }
}

fn outlier_samples(
    scope: &Scope,
    ejected: u64,
    counters: &ripstop_core::resilience::OutlierCounters,
    found: &mut Vec<Sample>,
) {
    let mut total = 0;
    for (index, kind) in KINDS.into_iter().enumerate() {
        let count = |counts: &[std::sync::atomic::AtomicU64]| {
            counts.get(index).map_or(0, |count| count.load(Relaxed))
        };
        let (detected, enforced) = (count(&counters.detected), count(&counters.enforced));
        total += enforced;
        let name = kind.name();
        found.push(Sample::counter(scope, &format!("outlier_detection.ejections_detected_{name}"), detected));
        found.push(Sample::counter(scope, &format!("outlier_detection.ejections_enforced_{name}"), enforced));
    }
    let overflow = counters.overflow.load(Relaxed);
    found.push(Sample::counter(scope, "outlier_detection.ejections_enforced_total", total));
    found.push(Sample::counter(scope, "outlier_detection.ejections_overflow", overflow));
    let active = Value::Gauge(ejected);
    found.push(Sample::new(scope, "outlier_detection.ejections_active", active, total > 0 || ejected > 0));
}

/// What Envoy's overload manager tells with a `fixed_heap` monitor and the actions that come nearest to ours.
fn overload_samples(memory: &Memory, used: u64, found: &mut Vec<Sample>) {
    let scope = Scope::plain("overload.");
    let percent = used.saturating_mul(100).checked_div(memory.limit()).unwrap_or(0);
    found.push(Sample::gauge(&scope, "envoy.resource_monitors.fixed_heap.pressure", percent));
    for (action, stage) in [
        ("disable_http_keepalive", Pressure::Shedding),
        ("stop_accepting_requests", Pressure::Shedding),
        ("reject_incoming_connections", Pressure::Closing),
        ("reset_high_memory_stream", Pressure::Closing),
    ] {
        let is_active = u64::from(memory.pressure() >= stage);
        found.push(Sample::gauge(&scope, &format!("envoy.overload_actions.{action}.active"), is_active));
    }
}

fn breaker_samples(
    scope: &Scope,
    class: &str,
    breaker: &Breaker,
    state: &ripstop_core::balance::ClassState,
    found: &mut Vec<Sample>,
) {
    let retries = ripstop_core::resilience::retries_allowed(breaker, state);
    let parts = [
        ("cx", "remaining_cx", state.connections.load(Relaxed), breaker.max_connections),
        ("rq_pending", "remaining_pending", state.pending.load(Relaxed), breaker.max_pending),
        ("rq", "remaining_rq", state.requests.load(Relaxed), breaker.max_requests),
        ("rq_retry", "remaining_retries", state.retries.load(Relaxed), retries),
    ];
    for (name, remaining, taken, limit) in parts {
        let is_open = u64::from(taken >= limit);
        found.push(Sample::rare_gauge(scope, &format!("circuit_breakers.{class}.{name}_open"), is_open));
        if breaker.track_remaining {
            let left = u64::from(limit.saturating_sub(taken));
            found.push(Sample::gauge(scope, &format!("circuit_breakers.{class}.{remaining}"), left));
        }
    }
}

fn number(value: &Value) -> u64 {
    match value {
        Value::Counter(value) | Value::Gauge(value) => *value,
        Value::Histogram(sum) => sum.count(),
    }
}

fn add(sum: &mut Sample, other: &Sample) {
    match &mut sum.value {
        Value::Counter(value) | Value::Gauge(value) => *value = value.wrapping_add(number(&other.value)),
        Value::Histogram(_) => {}
    }
    sum.is_used |= other.is_used;
}

/// Envoy's word for an endpoint's health in `/clusters`.
pub(super) fn health_flags(entry: &ripstop_core::balance::HostEntry) -> String {
    use ripstop_core::snapshot::ConfiguredHealth;
    let mut words = String::new();
    for (bit, word) in [
        (flag::FAILED_ACTIVE, "/failed_active_hc"),
        (flag::EJECTED, "/failed_outlier_check"),
        (flag::DEGRADED_ACTIVE, "/degraded_active_hc"),
        (flag::PENDING_ACTIVE, "/pending_active_hc"),
        (flag::PROBING, "/half_open"),
    ] {
        if entry.host.has(bit) {
            words.push_str(word);
        }
    }
    match entry.configured {
        ConfiguredHealth::Healthy => {}
        ConfiguredHealth::Degraded => words.push_str("/degraded_eds_health"),
        ConfiguredHealth::Draining => words.push_str("/eds_status_draining"),
        ConfiguredHealth::Unhealthy | ConfiguredHealth::Timeout => words.push_str("/failed_eds_health"),
    }
    if entry.is_leaving {
        words.push_str("/pending_dynamic_removal");
    }
    if words.is_empty() && entry.availability() == Availability::Healthy {
        words.push_str("healthy");
    }
    words
}

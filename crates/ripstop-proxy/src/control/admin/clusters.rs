//! `/clusters`: each endpoint and how it fares, in Envoy's lines.
use super::statistics::health_flags;
use crate::control::endpoints::ClusterRun;
use crate::control::plane::Plane;
use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

pub(super) fn text(plane: &Plane) -> String {
    let mut runs: Vec<_> = plane.endpoints.iter().collect();
    runs.sort_by(|a, b| a.0.cmp(b.0));
    let mut out = String::new();
    for (name, run) in runs {
        let _ = cluster(&mut out, name, run);
    }
    out
}

fn cluster(out: &mut String, name: &str, run: &ClusterRun) -> std::fmt::Result {
    writeln!(out, "{name}::observability_name::{}", run.config.stat_name)?;
    for (class, breaker) in ["default_priority", "high_priority"].iter().zip(&run.config.breakers) {
        writeln!(out, "{name}::{class}::max_connections::{}", breaker.max_connections)?;
        writeln!(out, "{name}::{class}::max_pending_requests::{}", breaker.max_pending)?;
        writeln!(out, "{name}::{class}::max_requests::{}", breaker.max_requests)?;
        writeln!(out, "{name}::{class}::max_retries::{}", breaker.max_retries)?;
    }
    for entry in run.set.hosts() {
        let host = &entry.host;
        let counters = &host.counters;
        let at = format!("{name}::{}::", host.address_text);
        for (what, value) in [
            ("cx_active", u64::from(counters.active_connections.load(Relaxed))),
            ("cx_connect_fail", counters.connect_failures.load(Relaxed)),
            ("cx_total", counters.connections.load(Relaxed)),
            ("rq_active", u64::from(host.active_requests())),
            ("rq_error", counters.errors.load(Relaxed)),
            ("rq_success", counters.successes.load(Relaxed)),
            ("rq_timeout", counters.timeouts.load(Relaxed)),
            ("rq_total", counters.requests.load(Relaxed)),
        ] {
            writeln!(out, "{at}{what}::{value}")?;
        }
        let place = run.set.localities.get(entry.locality as usize).map(|info| info.locality.clone());
        let place = place.unwrap_or_default();
        let rate = host.success_rate().unwrap_or(-1.0);
        writeln!(out, "{at}hostname::{}", host.hostname)?;
        writeln!(out, "{at}health_flags::{}", health_flags(entry))?;
        writeln!(out, "{at}weight::{}", entry.weight)?;
        writeln!(out, "{at}region::{}", place.region)?;
        writeln!(out, "{at}zone::{}", place.zone)?;
        writeln!(out, "{at}sub_zone::{}", place.sub_zone)?;
        writeln!(out, "{at}priority::{}", entry.priority)?;
        writeln!(out, "{at}success_rate::{rate}")?;
    }
    Ok(())
}

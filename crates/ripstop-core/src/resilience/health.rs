//! Active health checks: what a result changes (`HealthCheck`). Sending them is the rim's.
use super::outlier::uneject;
use crate::balance::{Host, HostSet, flag};
use crate::rng::Rng;
use crate::snapshot::{Cluster, HealthCheck};
use crate::time::Time;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckResult {
    /// Well.
    Passed,
    /// Well, and the response says `x-envoy-degraded`.
    Degraded,
    /// No connection, no answer in time, or it broke (all that a TCP check can find): counts towards the threshold.
    NetworkFailure,
    /// The answer says no (status, gRPC status): at once, whatever the threshold.
    Refused,
}

/// What a result changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Nothing.
    Unchanged,
    /// The threshold is not reached yet.
    Pending,
    /// The host is healthy now.
    Healthy,
    /// The host is unhealthy now.
    Unhealthy,
    /// It became degraded, or no longer is.
    DegradedChanged,
}

/// The checks of one host; the control thread's.
#[derive(Clone, Debug, Default)]
pub struct ActiveHealth {
    passed: u32,
    failed: u32,
    /// Whether any check has ended.
    has_result: bool,
}

impl ActiveHealth {
    /// Take in a result. The first that passes makes the host healthy at once.
    pub fn on_result(
        &mut self,
        host: &Host,
        set: &HostSet,
        cluster: &Cluster,
        check: &HealthCheck,
        result: CheckResult,
        now: Time,
    ) -> Transition {
        let is_first = !std::mem::replace(&mut self.has_result, true);
        let before = host.flags();
        let transition = match result {
            CheckResult::Passed | CheckResult::Degraded => {
                self.failed = 0;
                self.passed += 1;
                let is_enough = is_first || self.passed >= check.healthy_threshold;
                passed(host, is_enough, result == CheckResult::Degraded, now)
            }
            CheckResult::NetworkFailure | CheckResult::Refused => {
                self.passed = 0;
                self.failed += 1;
                let is_enough = result == CheckResult::Refused || self.failed >= check.unhealthy_threshold;
                failed(host, is_enough)
            }
        };
        host.flags.fetch_and(!flag::PENDING_ACTIVE, Relaxed);
        if result == CheckResult::Passed || result == CheckResult::Degraded {
            let ends_ejection = cluster.outlier.as_ref().is_some_and(|o| o.successful_health_check_uneject);
            if ends_ejection && !host.has(flag::FAILED_ACTIVE) {
                uneject(host, set, now);
            }
        }
        if host.flags() != before {
            set.note_health_change();
        }
        transition
    }

    /// The wait before the next check. `has_traffic`: the cluster has had a connection.
    pub fn next_wait(
        &self,
        host: &Host,
        check: &HealthCheck,
        transition: Transition,
        has_traffic: bool,
        rng: &mut Rng,
    ) -> Duration {
        let is_failed = host.has(flag::FAILED_ACTIVE) && transition != Transition::Pending;
        let wait = match (has_traffic, is_failed) {
            (false, _) if !check.no_traffic_interval.is_zero() => check.no_traffic_interval,
            (_, true) if !check.unhealthy_interval.is_zero() => check.unhealthy_interval,
            _ => check.interval,
        };
        let jitter = rng.below(check.interval_jitter.as_nanos().min(u128::from(u64::MAX)) as u64);
        wait + Duration::from_nanos(jitter)
    }
}

fn passed(host: &Host, is_enough: bool, is_degraded: bool, now: Time) -> Transition {
    let mut transition = Transition::Unchanged;
    if host.has(flag::FAILED_ACTIVE) {
        if !is_enough {
            return Transition::Pending;
        }
        host.flags.fetch_and(!flag::FAILED_ACTIVE, Relaxed);
        host.healthy_since.store(now.0.max(1), Relaxed);
        transition = Transition::Healthy;
    }
    if is_degraded != host.has(flag::DEGRADED_ACTIVE) {
        host.flags.fetch_xor(flag::DEGRADED_ACTIVE, Relaxed);
        if transition == Transition::Unchanged {
            transition = Transition::DegradedChanged;
        }
    }
    transition
}

fn failed(host: &Host, is_enough: bool) -> Transition {
    if host.has(flag::FAILED_ACTIVE) {
        return Transition::Unchanged;
    }
    if !is_enough {
        return Transition::Pending;
    }
    host.flags.fetch_or(flag::FAILED_ACTIVE, Relaxed);
    Transition::Unhealthy
}

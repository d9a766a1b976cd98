//! Outlier detection's interval, on the control thread: who comes back, whose success rate is too low.
use super::outlier::{Ejection, EjectionKind, try_eject, uneject};
use crate::balance::{Host, HostSet, flag};
use crate::rng::Rng;
use crate::snapshot::{Cluster, Outlier};
use crate::time::Time;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// What a sweep did to a host.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Change {
    Ejected(Arc<Host>, Ejection),
    /// It is back.
    Unejected(Arc<Host>),
    /// Half-open: it waits for one request.
    Probing(Arc<Host>),
}

/// Success and volume of a host in the interval that ends.
struct Rate<'a> {
    host: &'a Arc<Host>,
    percent: f64,
    volume: u64,
}

/// Do what each `interval` ends with. After any change [`HostSet::is_stale`] holds.
pub fn sweep(set: &HostSet, cluster: &Cluster, now: Time, rng: &mut Rng) -> Vec<Change> {
    let Some(outlier) = &cluster.outlier else { return Vec::new() };
    let mut changes = Vec::new();
    for entry in set.hosts() {
        changes.extend(end_sentence(&entry.host, set, cluster.extras.half_open, now));
        entry.host.detector.success_rate.store(0, Relaxed);
    }
    let external = rates(set, |d| (&d.external_success, &d.external_failure));
    let local = rates(set, |d| (&d.local_success, &d.local_failure));
    judge(
        &external,
        set,
        outlier,
        (EjectionKind::SuccessRate, EjectionKind::FailurePercentage),
        now,
        rng,
        &mut changes,
    );
    let kinds = (EjectionKind::SuccessRateLocalOrigin, EjectionKind::FailurePercentageLocalOrigin);
    judge(&local, set, outlier, kinds, now, rng, &mut changes);
    for entry in set.hosts() {
        forgive(&entry.host, outlier, now);
    }
    changes
}

fn end_sentence(host: &Arc<Host>, set: &HostSet, half_open: bool, now: Time) -> Option<Change> {
    if !host.has(flag::EJECTED)
        || host.has(flag::PROBING)
        || now.0 < host.detector.ejected_until.load(Relaxed)
    {
        return None;
    }
    if !half_open {
        return uneject(host, set, now).then(|| Change::Unejected(host.clone()));
    }
    host.release_probe();
    host.flags.fetch_or(flag::PROBING, Relaxed);
    set.health.probing.fetch_add(1, Relaxed);
    Some(Change::Probing(host.clone()))
}

fn rates<'a>(
    set: &'a HostSet,
    counters: impl Fn(&'a crate::balance::Detector) -> (&'a AtomicU32, &'a AtomicU32),
) -> Vec<Rate<'a>> {
    let mut rates = Vec::new();
    for entry in set.hosts() {
        let (success, failure) = counters(&entry.host.detector);
        let (success, failure) = (u64::from(success.swap(0, Relaxed)), u64::from(failure.swap(0, Relaxed)));
        let volume = success + failure;
        if volume > 0 && !entry.host.has(flag::EJECTED) {
            rates.push(Rate { host: &entry.host, percent: success as f64 * 100.0 / volume as f64, volume });
        }
    }
    rates
}

fn judge(
    rates: &[Rate],
    set: &HostSet,
    outlier: &Outlier,
    (by_rate, by_percentage): (EjectionKind, EjectionKind),
    now: Time,
    rng: &mut Rng,
    changes: &mut Vec<Change>,
) {
    let with = |volume: u32| rates.iter().filter(move |r| r.volume >= u64::from(volume));
    if by_rate == EjectionKind::SuccessRate {
        for rate in with(outlier.success_rate_volume.min(outlier.failure_percentage_volume)) {
            rate.host.detector.success_rate.store((rate.percent * 100.0) as u32 + 1, Relaxed);
        }
    }
    let measured: Vec<&Rate> = with(outlier.success_rate_volume).collect();
    if !measured.is_empty() && measured.len() >= outlier.success_rate_min_hosts as usize {
        let threshold = threshold(&measured, f64::from(outlier.success_rate_stdev_factor) / 1000.0);
        for rate in measured.iter().filter(|r| r.percent < threshold) {
            eject(rate.host, outlier, set, by_rate, now, rng, changes);
        }
    }
    let measured: Vec<&Rate> = with(outlier.failure_percentage_volume).collect();
    if !measured.is_empty() && measured.len() >= outlier.failure_percentage_min_hosts as usize {
        let worst = f64::from(outlier.failure_percentage_threshold);
        for rate in measured.iter().filter(|r| 100.0 - r.percent >= worst) {
            eject(rate.host, outlier, set, by_percentage, now, rng, changes);
        }
    }
}

/// Below the mean by `factor` standard deviations.
fn threshold(rates: &[&Rate], factor: f64) -> f64 {
    let count = rates.len() as f64;
    let mean = rates.iter().map(|r| r.percent).sum::<f64>() / count;
    let variance = rates.iter().map(|r| (r.percent - mean).powi(2)).sum::<f64>() / count;
    mean - factor * variance.sqrt()
}

fn eject(
    host: &Arc<Host>,
    outlier: &Outlier,
    set: &HostSet,
    kind: EjectionKind,
    now: Time,
    rng: &mut Rng,
    changes: &mut Vec<Change>,
) {
    if !host.has(flag::EJECTED) {
        changes.push(Change::Ejected(host.clone(), try_eject(host, outlier, set, kind, now, rng)));
    }
}

/// A host that has been back for an interval gets a shorter ejection next time.
fn forgive(host: &Host, outlier: &Outlier, now: Time) {
    let detector = &host.detector;
    let back = detector.unejected_at.load(Relaxed);
    if back != 0 && !host.has(flag::EJECTED) && now.since(Time(back)) >= outlier.interval {
        let _ = detector.backoff.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
    }
}

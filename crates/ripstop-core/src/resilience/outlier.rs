//! Outlier detection on the request path: consecutive failures (`OutlierDetection`). What needs statistics over an interval
//! is in `sweep`.
use crate::balance::{Host, HostSet, flag};
use crate::rng::Rng;
use crate::snapshot::Outlier;
use crate::time::Time;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How something between us and an endpoint ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportKind {
    /// A response that is no HTTP (TCP), or an exchange that went well.
    Success,
    /// A connection was made. Counts only where local origin errors are apart.
    Connected,
    /// A response's status; of a gRPC response of headers alone, [`super::http_status_of`].
    Http(u16),
    /// No connection could be made.
    ConnectFailure,
    /// No answer in time, of the request or of one attempt.
    Timeout,
    /// The connection or the stream broke.
    Reset,
}

/// What outlier detection is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// What happened.
    pub kind: ReportKind,
    /// Whether we saw it happen instead of being told by the endpoint. Envoy takes every reset to be so.
    pub local_origin: bool,
}

impl Report {
    /// A report as Envoy would make it.
    pub const fn new(kind: ReportKind) -> Report {
        let local_origin = !matches!(kind, ReportKind::Http(_) | ReportKind::Success);
        Report { kind, local_origin }
    }

    /// The status that stands for it where local origin errors are not apart; None: it counts for nothing.
    const fn status(self) -> Option<u16> {
        match self.kind {
            ReportKind::Success => Some(200),
            ReportKind::Connected => None,
            ReportKind::Http(status) => Some(status),
            ReportKind::ConnectFailure | ReportKind::Reset => Some(503),
            ReportKind::Timeout => Some(504),
        }
    }
}

/// Which detector found an outlier (`OutlierEjectionType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum EjectionKind {
    Consecutive5xx,
    ConsecutiveGatewayFailure,
    ConsecutiveLocalOriginFailure,
    SuccessRate,
    SuccessRateLocalOrigin,
    FailurePercentage,
    FailurePercentageLocalOrigin,
    /// Half-open: the probe failed.
    Probe,
}

impl EjectionKind {
    /// The number of kinds.
    pub const COUNT: usize = 8;

    /// As statistics name it: `ejections_detected_consecutive_5xx`.
    pub const fn name(self) -> &'static str {
        match self {
            EjectionKind::Consecutive5xx => "consecutive_5xx",
            EjectionKind::ConsecutiveGatewayFailure => "consecutive_gateway_failure",
            EjectionKind::ConsecutiveLocalOriginFailure => "consecutive_local_origin_failure",
            EjectionKind::SuccessRate => "success_rate",
            EjectionKind::SuccessRateLocalOrigin => "local_origin_success_rate",
            EjectionKind::FailurePercentage => "failure_percentage",
            EjectionKind::FailurePercentageLocalOrigin => "local_origin_failure_percentage",
            EjectionKind::Probe => "probe",
        }
    }

    fn enforcing(self, outlier: &Outlier) -> u32 {
        match self {
            EjectionKind::Consecutive5xx => outlier.enforcing_consecutive_5xx,
            EjectionKind::ConsecutiveGatewayFailure => outlier.enforcing_consecutive_gateway_failure,
            EjectionKind::ConsecutiveLocalOriginFailure => outlier.enforcing_consecutive_local_origin_failure,
            EjectionKind::SuccessRate => outlier.enforcing_success_rate,
            EjectionKind::SuccessRateLocalOrigin => outlier.enforcing_local_origin_success_rate,
            EjectionKind::FailurePercentage => outlier.enforcing_failure_percentage,
            EjectionKind::FailurePercentageLocalOrigin => outlier.enforcing_failure_percentage_local_origin,
            EjectionKind::Probe => 100,
        }
    }
}

/// What outlier detection did in a cluster, by [`EjectionKind`].
#[derive(Debug, Default)]
#[allow(missing_docs)]
pub struct OutlierCounters {
    pub detected: [AtomicU64; EjectionKind::COUNT],
    pub enforced: [AtomicU64; EjectionKind::COUNT],
    /// `ejections_overflow`: not ejected because too many are already.
    pub overflow: AtomicU64,
}

/// An outlier was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// By which detector.
    pub kind: EjectionKind,
    /// Whether it is out; else the chance of enforcing or `max_ejection_percent` spoke against it.
    pub enforced: bool,
}

/// Count an outcome. On success this is one addition and three loads. The caller tells the control thread of an ejection
/// (for its log, and so that it prepares a new set); other threads see it with their next pick.
pub fn report(
    host: &Host,
    outlier: &Outlier,
    set: &HostSet,
    report: Report,
    now: Time,
    rng: &mut Rng,
) -> Option<Ejection> {
    if host.has(flag::PROBING)
        && host.probe_sent.load(Relaxed) != 0
        && let Some(status) = report.status()
    {
        return probe_ended(host, outlier, set, status < 500, now, rng);
    }
    if outlier.split_external_local_origin && (report.local_origin || report.kind == ReportKind::Success) {
        return report_local(host, outlier, set, report.kind, now, rng);
    }
    let status = report.status()?;
    count_status(host, outlier, set, status, now, rng)
}

fn report_local(
    host: &Host,
    outlier: &Outlier,
    set: &HostSet,
    kind: ReportKind,
    now: Time,
    rng: &mut Rng,
) -> Option<Ejection> {
    let detector = &host.detector;
    match kind {
        ReportKind::Connected | ReportKind::Success | ReportKind::Http(_) => {
            detector.local_success.fetch_add(1, Relaxed);
            reset(&detector.consecutive_local);
            if kind == ReportKind::Success { count_status(host, outlier, set, 200, now, rng) } else { None }
        }
        ReportKind::ConnectFailure | ReportKind::Timeout | ReportKind::Reset => {
            detector.local_failure.fetch_add(1, Relaxed);
            let is_reached = reaches(&detector.consecutive_local, outlier.consecutive_local_origin_failure);
            let kind = EjectionKind::ConsecutiveLocalOriginFailure;
            is_reached.then(|| detected(host, outlier, set, kind, now, rng)).flatten()
        }
    }
}

fn count_status(
    host: &Host,
    outlier: &Outlier,
    set: &HostSet,
    status: u16,
    now: Time,
    rng: &mut Rng,
) -> Option<Ejection> {
    let detector = &host.detector;
    if !(500..600).contains(&status) {
        detector.external_success.fetch_add(1, Relaxed);
        reset(&detector.consecutive_5xx);
        reset(&detector.consecutive_gateway);
        return None;
    }
    detector.external_failure.fetch_add(1, Relaxed);
    let mut ejection = None;
    if (502..=504).contains(&status) {
        if reaches(&detector.consecutive_gateway, outlier.consecutive_gateway_failure) {
            ejection = detected(host, outlier, set, EjectionKind::ConsecutiveGatewayFailure, now, rng);
        }
    } else {
        reset(&detector.consecutive_gateway);
    }
    if reaches(&detector.consecutive_5xx, outlier.consecutive_5xx) {
        let other = detected(host, outlier, set, EjectionKind::Consecutive5xx, now, rng);
        ejection = ejection.filter(|e| e.enforced).or(other).or(ejection);
    }
    ejection
}

/// Stores only what changes, so that a cache line that threads share is not made dirty by every success.
fn reset(counter: &AtomicU32) {
    if counter.load(Relaxed) != 0 {
        counter.store(0, Relaxed);
    }
}

fn reaches(counter: &AtomicU32, threshold: u32) -> bool {
    counter.fetch_add(1, Relaxed) + 1 == threshold
}

fn detected(
    host: &Host,
    outlier: &Outlier,
    set: &HostSet,
    kind: EjectionKind,
    now: Time,
    rng: &mut Rng,
) -> Option<Ejection> {
    if host.has(flag::EJECTED) {
        return None;
    }
    let ejection = try_eject(host, outlier, set, kind, now, rng);
    let detector = &host.detector;
    match kind {
        EjectionKind::Consecutive5xx => reset(&detector.consecutive_5xx),
        EjectionKind::ConsecutiveGatewayFailure => reset(&detector.consecutive_gateway),
        _ => reset(&detector.consecutive_local),
    }
    Some(ejection)
}

/// Eject a host that a detector found, if the limits allow.
pub(crate) fn try_eject(
    host: &Host,
    outlier: &Outlier,
    set: &HostSet,
    kind: EjectionKind,
    now: Time,
    rng: &mut Rng,
) -> Ejection {
    let counters = &set.health.outlier;
    counters.detected[kind as usize].fetch_add(1, Relaxed);
    if !take_place(set, outlier) {
        counters.overflow.fetch_add(1, Relaxed);
        return Ejection { kind, enforced: false };
    }
    if rng.below(100) >= u64::from(kind.enforcing(outlier)) {
        give_place(set);
        return Ejection { kind, enforced: false };
    }
    if host.flags.fetch_or(flag::EJECTED, Relaxed) & flag::EJECTED != 0 {
        // Another thread was faster.
        give_place(set);
        return Ejection { kind, enforced: false };
    }
    counters.enforced[kind as usize].fetch_add(1, Relaxed);
    set_sentence(host, outlier, now, rng);
    set.note_health_change();
    Ejection { kind, enforced: true }
}

/// How long it is out: the base time, as often as it was ejected lately, up to the longest, and some jitter.
fn set_sentence(host: &Host, outlier: &Outlier, now: Time, rng: &mut Rng) {
    let detector = &host.detector;
    detector.times_ejected.fetch_add(1, Relaxed);
    let mut factor = detector.backoff.load(Relaxed);
    let base = outlier.base_ejection;
    if base.saturating_mul(factor) < outlier.max_ejection.saturating_add(base) {
        factor += 1;
        detector.backoff.store(factor, Relaxed);
    }
    let jitter = rng.below(outlier.max_ejection_jitter.as_millis() as u64 + 1);
    let length = base.saturating_mul(factor).min(outlier.max_ejection) + Duration::from_millis(jitter);
    detector.ejected_at.store(now.0, Relaxed);
    detector.ejected_until.store(now.after(length).0, Relaxed);
}

/// `max_ejection_percent` of all hosts of the cluster, whatever their priority.
fn take_place(set: &HostSet, outlier: &Outlier) -> bool {
    let hosts = set.hosts().len().max(1) as u64;
    let percent = u64::from(outlier.max_ejection_percent.min(100));
    let has_room =
        |ejected: u64| (ejected + 1) * 100 <= percent * hosts || (outlier.always_eject_one && ejected == 0);
    let take = |ejected| has_room(ejected).then_some(ejected + 1);
    set.health.ejected.fetch_update(Relaxed, Relaxed, take).is_ok()
}

fn give_place(set: &HostSet) {
    let _ = set.health.ejected.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
}

/// Take a host back. Its consecutive counters begin anew. Whether it was out.
pub(crate) fn uneject(host: &Host, set: &HostSet, now: Time) -> bool {
    let before = host.flags.fetch_and(!(flag::EJECTED | flag::PROBING), Relaxed);
    if before & flag::EJECTED == 0 {
        return false;
    }
    give_place(set);
    if before & flag::PROBING != 0 {
        let _ = set.health.probing.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
    }
    let detector = &host.detector;
    reset(&detector.consecutive_5xx);
    reset(&detector.consecutive_gateway);
    reset(&detector.consecutive_local);
    detector.unejected_at.store(now.0.max(1), Relaxed);
    set.note_health_change();
    true
}

/// Half-open: the one request told whether the host is well.
fn probe_ended(
    host: &Host,
    outlier: &Outlier,
    set: &HostSet,
    is_well: bool,
    now: Time,
    rng: &mut Rng,
) -> Option<Ejection> {
    if is_well {
        if uneject(host, set, now) {
            host.ramp_from.store(now.0.max(1), Relaxed);
        }
        return None;
    }
    if host.flags.fetch_and(!flag::PROBING, Relaxed) & flag::PROBING == 0 {
        return None;
    }
    let _ = set.health.probing.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
    set_sentence(host, outlier, now, rng);
    set.health.outlier.detected[EjectionKind::Probe as usize].fetch_add(1, Relaxed);
    set.health.outlier.enforced[EjectionKind::Probe as usize].fetch_add(1, Relaxed);
    set.note_health_change();
    Some(Ejection { kind: EjectionKind::Probe, enforced: true })
}

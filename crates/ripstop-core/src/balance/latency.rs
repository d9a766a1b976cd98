//! Peak-sensitive moving average of round trips: a slow answer counts at once, fast ones bring it down over ten seconds.
use crate::time::Time;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// After this time an old estimate weighs 1/e.
pub const DECAY: Duration = Duration::from_secs(10);
/// A host that has answered nothing for so long is being avoided: from then on its estimate fades fast, so that it is tried
/// again after some ten seconds, however slow it was, and what it answers then counts.
pub const SILENCE: Duration = Duration::from_secs(1);
/// After this time of silence more the estimate weighs 1/e.
pub const FADE: Duration = Duration::from_secs(1);
/// What a host without any answer yet is taken to need: fast, but not free.
pub const NEW_HOST: Duration = Duration::from_millis(1);
/// What a failure counts as, at least: else a host that fails fast would draw traffic.
pub const FAILURE: Duration = Duration::from_secs(5);

/// The estimate. Threads race on its two words; a lost sample does no harm.
#[derive(Debug)]
pub struct Latency {
    /// Nanoseconds, bits of an f64.
    estimate: AtomicU64,
    /// When `estimate` held.
    at: AtomicU64,
}

impl Latency {
    /// The estimate of a host that nothing is known of.
    pub fn new(now: Time) -> Latency {
        let estimate = (NEW_HOST.as_nanos() as f64).to_bits();
        Latency { estimate: AtomicU64::new(estimate), at: AtomicU64::new(now.0) }
    }

    /// The estimate in nanoseconds as it is at `now`: without answers it fades, so that an idle host is tried again.
    pub fn nanos(&self, now: Time) -> f64 {
        let (estimate, at) = (f64::from_bits(self.estimate.load(Relaxed)), Time(self.at.load(Relaxed)));
        estimate * kept(at, now) * faded(at, now)
    }

    /// A response took `round_trip`.
    pub fn answered(&self, round_trip: Duration, now: Time) {
        let sample = round_trip.as_nanos() as f64;
        let at = Time(self.at.load(Relaxed));
        let old = f64::from_bits(self.estimate.load(Relaxed)) * faded(at, now);
        let share = kept(at, now);
        let new = if sample > old { sample } else { old * share + sample * (1.0 - share) };
        self.estimate.store(new.to_bits(), Relaxed);
        self.at.store(now.0, Relaxed);
    }

    /// An attempt failed after `elapsed`.
    pub fn failed(&self, elapsed: Duration, now: Time) {
        self.answered(elapsed.max(FAILURE), now);
    }
}

fn kept(since: Time, now: Time) -> f64 {
    (-now.since(since).as_secs_f64() / DECAY.as_secs_f64()).exp()
}

fn faded(since: Time, now: Time) -> f64 {
    let silence = now.since(since).saturating_sub(SILENCE);
    (-silence.as_secs_f64() / FADE.as_secs_f64()).exp()
}

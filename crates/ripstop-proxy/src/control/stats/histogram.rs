//! Histograms in milliseconds, by the bounds that Envoy's Prometheus endpoint has.
use super::block::add;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds (`le`) as Envoy has them by default (`HistogramSettingsImpl::defaultBuckets`).
pub const BOUNDS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1_000.0,
    2_500.0,
    5_000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];
const BUCKETS: usize = BOUNDS.len() + 1;

/// Bounds in microseconds, so that recording needs no floating point.
const MICROS: [u64; BOUNDS.len()] = {
    let mut micros = [0; BOUNDS.len()];
    let mut index = 0;
    while index < BOUNDS.len() {
        micros[index] = (BOUNDS[index] * 1000.0) as u64;
        index += 1;
    }
    micros
};

/// Written by one worker.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; BUCKETS],
    /// Microseconds.
    sum: AtomicU64,
}

impl Histogram {
    /// Count a duration.
    #[inline]
    pub fn record(&self, duration: Duration) {
        self.record_micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// Count a value in the unit that the bounds have (milliseconds, or whatever a statistics log says).
    #[inline]
    pub fn record_value(&self, value: u64) {
        self.record_micros(value.saturating_mul(1000));
    }

    fn record_micros(&self, micros: u64) {
        let bucket = MICROS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len());
        if let Some(count) = self.counts.get(bucket) {
            add(count, 1);
        }
        add(&self.sum, micros);
    }

    pub(super) fn add_to(&self, sums: &mut HistogramSum) {
        for (sum, count) in sums.counts.iter_mut().zip(&self.counts) {
            *sum += count.load(Relaxed);
        }
        sums.micros = sums.micros.wrapping_add(self.sum.load(Relaxed));
    }
}

/// The sum of one histogram over all workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistogramSum {
    counts: [u64; BUCKETS],
    micros: u64,
}

impl HistogramSum {
    /// How many values were recorded.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all values.
    pub fn sum(&self) -> f64 {
        self.micros as f64 / 1000.0
    }

    /// Each bound and how many values are at most as large.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut below = 0;
        BOUNDS.iter().zip(&self.counts).map(move |(bound, count)| {
            below += count;
            (*bound, below)
        })
    }

    /// The value that a share of all is at most as large as, interpolated within its bucket; None when nothing was recorded.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        let wanted = share * total as f64;
        let (mut before, mut lower) = (0.0, 0.0);
        for (index, count) in self.counts.iter().enumerate() {
            let Some(upper) = BOUNDS.get(index) else { break };
            let after = before + *count as f64;
            if *count > 0 && after >= wanted {
                return Some(lower + (upper - lower) * ((wanted - before) / *count as f64));
            }
            (before, lower) = (after, *upper);
        }
        Some(lower)
    }
}

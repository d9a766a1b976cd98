//! What statistics access loggers count (`access_loggers.stats`): counters and histograms by tags that are rendered for
//! each record. A combination of tags that was seen before is found by one hash look-up, without allocating.
use super::block::add;
use super::histogram::{Histogram, HistogramSum};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// Combinations of tags that one worker counts; what is new beyond them is not counted, or a peer that makes up
/// header values could take all memory.
pub const MAX_SERIES: usize = 10_000;

/// Ends each tag's value in a key.
pub const SEPARATOR: u8 = 0x1f;

/// A counter or histogram of a statistics log.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Metric {
    /// With the log's prefix: `mesh.requests`.
    pub name: String,
    /// Names of tags, in the order of their values in a key.
    pub tags: Vec<String>,
    pub is_histogram: bool,
}

#[derive(Debug)]
pub(super) enum Series {
    Counter(AtomicU64),
    Histogram(Box<Histogram>),
}

/// A metric's number on one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeshId(u32);

type Known = HashMap<Box<[u8]>, Arc<Series>, foldhash::fast::RandomState>;

/// One worker's side.
#[derive(Debug, Default)]
pub(super) struct MeshShard {
    metrics: Vec<(Arc<Metric>, Known)>,
    series: usize,
}

/// What the control thread can see of it.
#[derive(Debug, Default)]
pub(super) struct MeshShared(Mutex<Vec<Listed>>);

#[derive(Debug)]
struct Listed {
    metric: Arc<Metric>,
    tags: Box<[u8]>,
    series: Arc<Series>,
}

impl MeshShard {
    pub(super) fn id(&mut self, metric: Metric) -> MeshId {
        let known = self.metrics.iter().position(|(have, _)| **have == metric);
        let index = known.unwrap_or_else(|| {
            self.metrics.push((Arc::new(metric), Known::default()));
            self.metrics.len() - 1
        });
        MeshId(u32::try_from(index).unwrap_or(u32::MAX))
    }

    #[inline]
    pub(super) fn record(&mut self, id: MeshId, tags: &[u8], value: u64, shared: &MeshShared) {
        let Some((metric, known)) = self.metrics.get_mut(id.0 as usize) else { return };
        if let Some(series) = known.get(tags) {
            return series.record(value);
        }
        if self.series >= MAX_SERIES {
            return;
        }
        self.series += 1;
        let series = Arc::new(if metric.is_histogram {
            Series::Histogram(Box::default())
        } else {
            Series::Counter(AtomicU64::new(0))
        });
        series.record(value);
        known.insert(tags.into(), series.clone());
        let listed = Listed { metric: metric.clone(), tags: tags.into(), series };
        shared.0.lock().unwrap_or_else(PoisonError::into_inner).push(listed);
    }
}

impl Series {
    #[inline]
    fn record(&self, value: u64) {
        match self {
            Series::Counter(counter) => add(counter, value),
            Series::Histogram(histogram) => histogram.record_value(value),
        }
    }
}

/// The sum of one combination of tags over all workers.
#[derive(Clone, Debug)]
pub(super) enum MeshSum {
    Counter(u64),
    Histogram(Box<HistogramSum>),
}

pub(super) type MeshSums = HashMap<(Arc<Metric>, Box<[u8]>), MeshSum>;

impl MeshShared {
    pub(super) fn add_to(&self, sums: &mut MeshSums) {
        for listed in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let key = (listed.metric.clone(), listed.tags.clone());
            match &*listed.series {
                Series::Counter(counter) => {
                    if let MeshSum::Counter(sum) = sums.entry(key).or_insert(MeshSum::Counter(0)) {
                        *sum += counter.load(Relaxed);
                    }
                }
                Series::Histogram(histogram) => {
                    if let MeshSum::Histogram(sum) =
                        sums.entry(key).or_insert(MeshSum::Histogram(Box::default()))
                    {
                        histogram.add_to(sum);
                    }
                }
            }
        }
    }
}

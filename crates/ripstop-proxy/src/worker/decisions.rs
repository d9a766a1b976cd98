//! The ring of decisions: what was decided of each exchange that went wrong, and of a sample of those that went well.
use super::Worker;
use super::exchange::{Exchange, Kind};
use ripstop_core::balance::Host;
use ripstop_core::decision::{self, Attempt, More};
use ripstop_core::http::HeaderId;
use ripstop_core::time::Time;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One success of so many is kept; by its request id, so that all hops keep the same ones.
const SAMPLE: u64 = 100;
/// Decisions that a worker keeps, and how many bytes of them.
const KEPT: usize = 2048;
const KEPT_BYTES: usize = 4 << 20;
/// Failures, and successes that somebody watches, beyond this many a second are counted only: a storm of them costs no more.
const PER_SECOND: u32 = 200;

/// An attempt that was followed by another, or by none.
pub(crate) struct Past {
    pub host: Option<Arc<Host>>,
    pub cluster: Option<Arc<str>>,
    pub began: Time,
    pub ended: Time,
    pub failure: &'static str,
    pub status: u16,
}

/// Decisions, the oldest first, each a line of JSON.
#[derive(Debug, Default)]
pub struct Ring {
    lines: VecDeque<Line>,
    bytes: usize,
    /// Counts up with each line.
    last: u64,
    /// What was to be kept and was not.
    pub dropped: u64,
    second: u64,
    in_second: u32,
}

#[derive(Debug)]
struct Line {
    number: u64,
    id: Box<[u8]>,
    text: Box<[u8]>,
}

/// Shared with the control thread, which reads it when somebody asks.
#[derive(Debug, Default)]
pub struct Decisions {
    ring: Mutex<Ring>,
    /// Keep one success of so many until `until`: somebody is watching.
    every: AtomicU64,
    until: AtomicU64,
}

impl Decisions {
    /// The ring, for as long as it takes to copy lines.
    pub fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keep one success of `every` until then.
    pub fn watch(&self, every: u64, until: Time) {
        self.every.store(every.max(1), Relaxed);
        self.until.store(until.0, Relaxed);
    }

    /// One success of how many is kept now, and whether that is more than usual.
    fn sample(&self, now: Time) -> (u64, bool) {
        match now.0 < self.until.load(Relaxed) {
            true => (self.every.load(Relaxed).max(1), true),
            false => (SAMPLE, false),
        }
    }
}

impl Ring {
    /// Whether another may be kept in this second; counts those that may not.
    fn admits(&mut self, since_epoch: Duration) -> bool {
        if self.second != since_epoch.as_secs() {
            (self.second, self.in_second) = (since_epoch.as_secs(), 0);
        }
        self.in_second += 1;
        let admits = self.in_second <= PER_SECOND;
        self.dropped += u64::from(!admits);
        admits
    }

    fn push(&mut self, id: &[u8], text: &[u8]) {
        self.last += 1;
        self.bytes += text.len();
        self.lines.push_back(Line { number: self.last, id: id.into(), text: text.into() });
        while self.lines.len() > KEPT || self.bytes > KEPT_BYTES {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.text.len();
        }
    }

    /// The number of the newest line.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Lines after number `after`, of the request `id` when it is not empty; the newest `most` of them, oldest first.
    pub fn copy(&self, id: &[u8], after: u64, most: usize, out: &mut Vec<u8>) {
        let wanted = |line: &&Line| line.number > after && (id.is_empty() || *line.id == *id);
        let found: Vec<&Line> = self
            .lines
            .iter()
            .rev()
            .take_while(|line| line.number > after)
            .filter(wanted)
            .take(most)
            .collect();
        for line in found.into_iter().rev() {
            out.extend_from_slice(&line.text);
        }
    }
}

impl Worker {
    /// An attempt is over and its answer is not the one that goes downstream.
    pub(crate) fn note_attempt(&self, ex: &mut Exchange, failure: &'static str, status: u16) {
        let cluster = ex.cluster.and_then(|key| self.clusters.get(key)).map(|c| c.config.name.clone());
        let host = ex.host.clone().filter(|_| !matches!(failure, "no cluster" | "no endpoint" | "dropped"));
        ex.history.push(Past { host, cluster, began: ex.attempt_start, ended: self.now, failure, status });
    }

    /// Keep what was decided of an exchange that is over.
    pub(crate) fn keep_decision(&mut self, ex: &Exchange) {
        if ex.kind == Kind::Mirror || ex.chain.is_none() {
            return;
        }
        let id = ex.request.headers.get(HeaderId::XRequestId).unwrap_or_default();
        let is_plain = ex.flags.is_empty() && ex.history.is_empty() && ex.hop == 0;
        let went_well = is_plain && ex.status < 500 && (ex.details.is_empty() || ex.details == VIA_UPSTREAM);
        let decisions = self.stats.decisions();
        let (every, is_watched) = decisions.sample(self.now);
        let is_wanted = !went_well || is_sampled(id, ex.random, every);
        let is_bounded = !went_well || is_watched;
        let is_kept = is_wanted && (!is_bounded || decisions.lock().admits(ex.start_wall));
        if is_kept {
            self.write_decision(ex);
        }
    }

    fn write_decision(&mut self, ex: &Exchange) {
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        let cluster = self.cluster_of_record(ex);
        let record = super::log::record_of(ex, self.now, &self.no_connection, cluster.as_deref());
        let thread = ex.cluster.and_then(|key| self.clusters.get(key));
        let attempts: Vec<Attempt<'_>> = ex
            .history
            .iter()
            .map(|past| told(past, ex))
            .chain(last(ex, self.now, cluster.as_deref()))
            .collect();
        let more = More {
            direction: ex.chain.as_ref().map(|chain| chain.direction).unwrap_or_default(),
            listener: ex.chain.as_ref().map_or("", |chain| &chain.listener),
            generation: self.snapshot.generation,
            fallback: ex.degraded.as_ref().map(|(service, reason)| (&**service, *reason)),
            attempts: &attempts,
            set: thread.and_then(|thread| thread.set.as_deref()),
            state: thread.map(|thread| &*thread.state),
            class: ex.class(),
            now: self.now,
        };
        decision::write(&record, &more, &mut text);
        let id = ex.request.headers.get(HeaderId::XRequestId).unwrap_or_default();
        self.stats.decisions().lock().push(id, &text);
        self.scratch = text;
    }
}

/// What the log says of an answer that the upstream gave.
const VIA_UPSTREAM: &str = "via_upstream";

fn told<'a>(past: &'a Past, ex: &Exchange) -> Attempt<'a> {
    Attempt {
        cluster: past.cluster.as_deref().unwrap_or_default(),
        endpoint: past.host.as_ref().map_or("", |host| &host.address_text),
        began: past.began.since(ex.start),
        took: past.ended.since(past.began),
        failure: past.failure,
        status: past.status,
    }
}

/// The attempt whose answer went downstream.
fn last<'a>(
    ex: &'a Exchange,
    now: Time,
    cluster: Option<&'a ripstop_core::snapshot::Cluster>,
) -> Option<Attempt<'a>> {
    let is_told = ex.history.last().is_some_and(|past| past.began == ex.attempt_start);
    let host = ex.host.as_ref().filter(|_| ex.attempts > 0 && !is_told)?;
    Some(Attempt {
        cluster: cluster.map_or("", |cluster| &cluster.name),
        endpoint: &host.address_text,
        began: ex.attempt_start.since(ex.start),
        took: now.since(ex.attempt_start),
        failure: if ex.details == VIA_UPSTREAM || ex.details.is_empty() { "" } else { ex.details },
        status: if ex.details == VIA_UPSTREAM { ex.status } else { 0 },
    })
}

/// Whether a request that went well is kept.
fn is_sampled(id: &[u8], random: u64, every: u64) -> bool {
    let hash = match id {
        [] => random,
        // FNV-1a: the same at every hop.
        id => id.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        }),
    };
    hash % every == 0
}

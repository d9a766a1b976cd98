//! The bound of the process's memory: how much of it is in use, and how pressing that is.
//!
//! What is measured is what the kernel says is resident (`/proc/self/statm`): it leaves nothing out, whoever allocated
//! it. Data threads measure in step with what they take in, see [`Memory::step`], so that the bound is not left behind
//! between two looks; see `docs/decisions/2026-11-25-memory-is-measured-as-resident.md`.
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The least bound, in MiB: below it there would be no room for traffic.
pub const LEAST_MB: usize = 32;
/// The bound where neither the command line nor the container says one, in MiB.
pub const DEFAULT_MB: usize = 1024;
/// Memory that was freed is given back to the kernel at most so often: that takes milliseconds.
const GIVE_BACK_EVERY: Duration = Duration::from_millis(100);
/// Of a step, in bytes.
const LEAST_STEP: u64 = 16 * 1024;
const LONGEST_STEP: u64 = 4 * 1024 * 1024;

/// How much of the bound is in use, as stages of what is done about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// Everything is served.
    #[default]
    None,
    /// From 85 %: new requests are answered 503, connections end with their answer, buffers are kept small.
    Shedding,
    /// From 95 %: new connections are closed at once, idle ones too, then those that hold most.
    Closing,
    /// From 98 %: nothing is read any more.
    Full,
}

/// Where stages begin and, so that they do not flap, end: in thousandths of the bound.
const STAGES: [(Pressure, u64, u64); 3] =
    [(Pressure::Full, 980, 960), (Pressure::Closing, 950, 900), (Pressure::Shedding, 850, 800)];

/// Whoever ends connections ends them down to this.
const COMFORT: u64 = 750;

impl Pressure {
    fn of(thousandths: u64, before: Pressure) -> Pressure {
        let holds = |(stage, begins, ends): &&(Pressure, u64, u64)| {
            thousandths >= *begins || (before >= *stage && thousandths >= *ends)
        };
        STAGES.iter().find(holds).map_or(Pressure::None, |(stage, ..)| *stage)
    }

    fn from_u8(value: u8) -> Pressure {
        [Pressure::None, Pressure::Shedding, Pressure::Closing, Pressure::Full][usize::from(value & 3)]
    }
}

/// The bound and what is in use, shared by all threads.
#[derive(Debug)]
pub struct Memory {
    /// Bytes; 0: none.
    limit: u64,
    page: u64,
    statm: Option<File>,
    used: AtomicU64,
    most: AtomicU64,
    pressure: AtomicU8,
    began: Instant,
    /// Milliseconds since `began`.
    given_back: AtomicU64,
}

impl Default for Memory {
    /// Without a bound.
    fn default() -> Memory {
        Memory::new(0)
    }
}

impl Memory {
    /// With a bound in bytes; 0: without.
    pub fn new(limit: u64) -> Memory {
        Memory {
            limit,
            page: rustix::param::page_size() as u64,
            statm: File::open("/proc/self/statm").ok(),
            used: AtomicU64::new(0),
            most: AtomicU64::new(0),
            pressure: AtomicU8::new(0),
            began: Instant::now(),
            given_back: AtomicU64::new(0),
        }
    }

    /// The bound in bytes; 0: none.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Resident bytes when somebody last looked.
    pub fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// The most resident bytes that anybody saw.
    pub fn most(&self) -> u64 {
        self.most.load(Relaxed)
    }

    /// The stage when somebody last looked.
    pub fn pressure(&self) -> Pressure {
        Pressure::from_u8(self.pressure.load(Relaxed))
    }

    /// Bytes that must go for everything to be served again, with something to spare.
    pub fn excess(&self) -> u64 {
        self.used().saturating_sub(self.limit / 1000 * COMFORT)
    }

    /// Look now. Under pressure, memory that is free already is given back to the kernel first.
    pub fn measure(&self) -> Pressure {
        if self.limit == 0 {
            return Pressure::None;
        }
        let before = self.pressure();
        let mut now = Pressure::of(self.share(), before);
        if now != Pressure::None && self.may_give_back() {
            give_back();
            now = Pressure::of(self.share(), before);
        }
        self.pressure.store(now as u8, Relaxed);
        now
    }

    /// How much one of `workers` data threads may take in before it must look again: a part of what is free that is so
    /// small that even bytes that take their manifold (growing buffers, heads as tables) fit.
    pub fn step(&self, workers: usize) -> usize {
        if self.limit == 0 {
            return usize::MAX;
        }
        let free = self.limit.saturating_sub(self.used());
        (free / 16 / workers.max(1) as u64).clamp(LEAST_STEP, LONGEST_STEP) as usize
    }

    /// What is resident now, in thousandths of the bound.
    fn share(&self) -> u64 {
        let used = self.resident();
        self.used.store(used, Relaxed);
        self.most.fetch_max(used, Relaxed);
        used.saturating_mul(1000) / self.limit.max(1)
    }

    /// Resident bytes now; 0 where nobody tells.
    pub fn resident(&self) -> u64 {
        let mut text = [0; 128];
        let read = self.statm.as_ref().and_then(|statm| statm.read_at(&mut text, 0).ok()).unwrap_or(0);
        let second = text[..read].split(|byte| *byte == b' ').nth(1);
        let pages = second.and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u64>().ok());
        pages.unwrap_or(0) * self.page
    }

    fn may_give_back(&self) -> bool {
        let now = self.began.elapsed().as_millis() as u64;
        let last = self.given_back.load(Relaxed);
        let is_due = now >= last + GIVE_BACK_EVERY.as_millis() as u64;
        // One thread does it.
        is_due && self.given_back.compare_exchange(last, now, Relaxed, Relaxed).is_ok()
    }
}

/// The allocator keeps what was freed, below what is still in use, for ever; this gives whole free pages back.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code)]
fn give_back() {
    // SAFETY: it takes a number and no pointers, and locks what it looks at.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(target_env = "gnu"))]
fn give_back() {}

/// The bound where none was said: [`DEFAULT_MB`], or three quarters of the container's limit when that is less.
pub fn default_limit_mb() -> usize {
    let limit = container_limit().map_or(DEFAULT_MB, |bytes| (bytes / 4 * 3 / (1024 * 1024)) as usize);
    limit.clamp(LEAST_MB, DEFAULT_MB)
}

/// What the cgroup may take (cgroup v2: `memory.max`).
fn container_limit() -> Option<u64> {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let files = [format!("/sys/fs/cgroup{path}/memory.max"), "/sys/fs/cgroup/memory.max".to_owned()];
    files.iter().find_map(|file| std::fs::read_to_string(file).ok()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_begins_above_where_it_ends() {
        use Pressure::{Closing, Full, None, Shedding};
        let mut stage = None;
        let steps = [
            (840, None),
            (850, Shedding),
            (810, Shedding),
            (799, None),
            (951, Closing),
            (901, Closing),
            (899, Shedding),
            (985, Full),
            (961, Full),
            (940, Closing),
            (100, None),
        ];
        for (share, expected) in steps {
            stage = Pressure::of(share, stage);
            assert_eq!(stage, expected, "at {share}");
        }
    }

    #[test]
    fn what_is_resident_is_told_by_the_kernel() {
        let memory = Memory::new(1 << 40);
        assert_eq!(memory.measure(), Pressure::None);
        assert!(memory.used() > 256 * 1024, "{}", memory.used());
        assert_eq!(memory.step(2), LONGEST_STEP as usize);
        assert_eq!(Memory::new(LEAST_STEP).step(2), LEAST_STEP as usize);
    }

    #[test]
    fn a_bound_below_what_is_in_use_is_pressure() {
        let memory = Memory::new(64 * 1024);
        assert_eq!(memory.measure(), Pressure::Full);
        assert!(memory.excess() > 0);
    }

    #[test]
    fn without_a_bound_there_is_no_pressure() {
        let memory = Memory::default();
        assert_eq!((memory.measure(), memory.step(1)), (Pressure::None, usize::MAX));
    }

    #[test]
    fn the_default_is_a_bound_in_any_container() {
        assert!((LEAST_MB..=DEFAULT_MB).contains(&default_limit_mb()));
    }
}

//! One endpoint of one cluster while it runs: what all threads know of it, in atomics. It outlives updates of the endpoint
//! set for as long as its address and host name are in it.
use super::latency::Latency;
use crate::snapshot::Address;
use crate::time::Time;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Tells hosts apart, in the whole process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostId(pub u64);

static NEXT_HOST: AtomicU64 = AtomicU64::new(1);

/// Bits of [`Host::flags`] (Envoy's health flags, as `/clusters` shows them).
pub mod flag {
    /// Active checks say that it is not well (`FAILED_ACTIVE_HC`).
    pub const FAILED_ACTIVE: u32 = 1;
    /// Outlier detection took it out (`FAILED_OUTLIER_CHECK`).
    pub const EJECTED: u32 = 2;
    /// No active check has ended yet (`PENDING_ACTIVE_HC`).
    pub const PENDING_ACTIVE: u32 = 4;
    /// Active checks answer with `x-envoy-degraded` (`DEGRADED_ACTIVE_HC`).
    pub const DEGRADED_ACTIVE: u32 = 8;
    /// Half-open: ejected, and its time is up: one real request may try it.
    pub const PROBING: u32 = 16;
}

/// Whether an endpoint may get requests (Envoy's coarse health).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Availability {
    Healthy,
    Degraded,
    Unhealthy,
}

/// Counters that outlier detection keeps.
#[derive(Debug, Default)]
pub(crate) struct Detector {
    pub consecutive_5xx: AtomicU32,
    pub consecutive_gateway: AtomicU32,
    pub consecutive_local: AtomicU32,
    /// Since the last sweep.
    pub external_success: AtomicU32,
    pub external_failure: AtomicU32,
    pub local_success: AtomicU32,
    pub local_failure: AtomicU32,
    /// How often it was ejected.
    pub times_ejected: AtomicU32,
    /// The factor of the next ejection's length; goes down with good intervals.
    pub backoff: AtomicU32,
    pub ejected_at: AtomicU64,
    pub ejected_until: AtomicU64,
    /// 0: never.
    pub unejected_at: AtomicU64,
    /// The last success rate measured, in hundredths of a percent, plus one; 0: none.
    pub success_rate: AtomicU32,
}

/// What is counted of an endpoint.
#[derive(Debug, Default)]
#[allow(missing_docs)]
pub struct HostCounters {
    pub active_requests: AtomicU32,
    pub active_connections: AtomicU32,
    pub requests: AtomicU64,
    pub successes: AtomicU64,
    pub errors: AtomicU64,
    pub timeouts: AtomicU64,
    pub connections: AtomicU64,
    pub connect_failures: AtomicU64,
}

/// An endpoint. Everything that an update of the set can change is in [`super::HostEntry`].
#[derive(Debug)]
pub struct Host {
    /// Unlike any other's.
    pub id: HostId,
    /// A socket address or a pipe; never a name.
    pub address: Address,
    /// The address as text: `10.0.0.1:8080`.
    pub address_text: Arc<str>,
    /// The endpoint's hostname; empty without one.
    pub hostname: Arc<str>,
    /// When it came into the cluster.
    pub added: Time,
    /// What is counted.
    pub counters: HostCounters,
    /// How fast it answers.
    pub latency: Latency,
    pub(crate) detector: Detector,
    pub(crate) flags: AtomicU32,
    /// When it last became healthy: slow start counts from here; 0: never.
    pub(crate) healthy_since: AtomicU64,
    /// When the ramp after a successful probe began; 0: there is none.
    pub(crate) ramp_from: AtomicU64,
    /// When the half-open state's one request left; 0: it may leave.
    pub(crate) probe_sent: AtomicU64,
}

/// After this long without an outcome another probe may leave.
const PROBE_LIFETIME: std::time::Duration = std::time::Duration::from_secs(30);

impl Host {
    /// A new endpoint. `is_checked`: the cluster has active checks, so it counts as failed until the first passes.
    pub fn new(address: Address, hostname: Arc<str>, is_checked: bool, now: Time) -> Host {
        let flags = if is_checked { flag::FAILED_ACTIVE | flag::PENDING_ACTIVE } else { 0 };
        Host {
            id: HostId(NEXT_HOST.fetch_add(1, Relaxed)),
            address_text: Arc::from(address.to_string()),
            address,
            hostname,
            added: now,
            counters: HostCounters::default(),
            latency: Latency::new(now),
            detector: Detector::default(),
            flags: AtomicU32::new(flags),
            healthy_since: AtomicU64::new(if is_checked { 0 } else { now.0.max(1) }),
            ramp_from: AtomicU64::new(0),
            probe_sent: AtomicU64::new(0),
        }
    }

    /// The socket address; None for a pipe.
    pub fn socket(&self) -> Option<SocketAddr> {
        match self.address {
            Address::Socket(address) => Some(address),
            _ => None,
        }
    }

    /// The bits of [`flag`].
    pub fn flags(&self) -> u32 {
        self.flags.load(Relaxed)
    }

    /// Whether any of the bits is set.
    pub fn has(&self, bits: u32) -> bool {
        self.flags() & bits != 0
    }

    /// Requests that have no end yet, of all threads.
    pub fn active_requests(&self) -> u32 {
        self.counters.active_requests.load(Relaxed)
    }

    /// A request goes to it. Each call is paired with one of [`Host::request_ended`].
    pub fn request_began(&self) {
        self.counters.active_requests.fetch_add(1, Relaxed);
        self.counters.requests.fetch_add(1, Relaxed);
    }

    /// A request is over.
    pub fn request_ended(&self) {
        let counter = &self.counters.active_requests;
        let _ = counter.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
    }

    /// A connection to it is opened. Each call is paired with one of [`Host::connection_closed`].
    pub fn connection_opened(&self) {
        self.counters.active_connections.fetch_add(1, Relaxed);
        self.counters.connections.fetch_add(1, Relaxed);
    }

    /// A connection is gone.
    pub fn connection_closed(&self) {
        let counter = &self.counters.active_connections;
        let _ = counter.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
    }

    /// How often it was ejected, when the current ejection began and when it ends at the earliest.
    pub fn ejections(&self) -> (u32, Option<Time>, Option<Time>) {
        let times = self.detector.times_ejected.load(Relaxed);
        let is_out = self.has(flag::EJECTED);
        let at = |word: &AtomicU64| is_out.then(|| Time(word.load(Relaxed)));
        (times, at(&self.detector.ejected_at), at(&self.detector.ejected_until))
    }

    /// The success rate of the last interval that had enough requests, in percent.
    pub fn success_rate(&self) -> Option<f64> {
        let stored = self.detector.success_rate.load(Relaxed);
        (stored > 0).then(|| f64::from(stored - 1) / 100.0)
    }

    /// The share of its weight that a host gets after a probe, from a tenth up to all over `ramp`.
    pub(crate) fn ramp_factor(&self, ramp: std::time::Duration, now: Time) -> f64 {
        let from = self.ramp_from.load(Relaxed);
        if from == 0 {
            return 1.0;
        }
        let elapsed = now.since(Time(from));
        if elapsed >= ramp {
            self.ramp_from.store(0, Relaxed);
            return 1.0;
        }
        (elapsed.as_secs_f64() / ramp.as_secs_f64()).max(0.1)
    }

    /// Whether it is half-open and its one request has not left, or left long ago.
    pub(crate) fn wants_probe(&self, now: Time) -> bool {
        let sent = self.probe_sent.load(Relaxed);
        self.has(flag::PROBING) && (sent == 0 || now.since(Time(sent)) >= PROBE_LIFETIME)
    }

    /// Take the one request that a half-open host may get; whether it was there to be taken.
    pub(crate) fn take_probe(&self, now: Time) -> bool {
        let sent = self.probe_sent.load(Relaxed);
        self.wants_probe(now)
            && self.probe_sent.compare_exchange(sent, now.0.max(1), Relaxed, Relaxed).is_ok()
    }

    /// A probe ended without telling anything (the client went away): another may leave.
    pub fn release_probe(&self) {
        self.probe_sent.store(0, Relaxed);
    }
}

//! What a cluster has in flight, against its circuit breakers (`CircuitBreakers`). Shared by all threads; outlives updates
//! of the cluster.
use crate::resilience::retries_allowed;
use crate::snapshot::Breaker;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Whose limits hold: routes of DEFAULT or of HIGH priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Class {
    #[default]
    Default,
    High,
}

/// In flight, of one class.
#[derive(Debug, Default)]
#[allow(missing_docs)]
pub struct ClassState {
    pub connections: AtomicU32,
    pub pending: AtomicU32,
    pub requests: AtomicU32,
    pub retries: AtomicU32,
}

/// What a breaker still lets through, and whether it is open, as Envoy's gauges say it (`circuit_breakers.default.rq_open`,
/// `remaining_rq`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Remaining {
    pub connections: u32,
    pub pending: u32,
    pub requests: u32,
    pub retries: u32,
}

impl ClassState {
    /// What is left of each limit; 0: that breaker is open.
    pub fn remaining(&self, breaker: &Breaker) -> Remaining {
        let left = |limit: u32, used: &AtomicU32| limit.saturating_sub(used.load(Relaxed));
        Remaining {
            connections: left(breaker.max_connections, &self.connections),
            pending: left(breaker.max_pending, &self.pending),
            requests: left(breaker.max_requests, &self.requests),
            retries: left(retries_allowed(breaker, self), &self.retries),
        }
    }
}

/// What breakers and balancers refused or did, by Envoy's names of cluster statistics.
#[derive(Debug, Default)]
#[allow(missing_docs)]
pub struct ClusterCounters {
    /// `upstream_cx_overflow`
    pub connection_overflow: AtomicU64,
    /// `upstream_rq_pending_overflow`, for want of a pending place or of a request.
    pub pending_overflow: AtomicU64,
    /// Of those, for `max_requests`.
    pub request_overflow: AtomicU64,
    /// `upstream_rq_retry_overflow`
    pub retry_overflow: AtomicU64,
    /// `lb_healthy_panic`
    pub healthy_panic: AtomicU64,
}

/// The state of one cluster.
#[derive(Debug, Default)]
pub struct ClusterState {
    classes: [ClassState; 2],
    /// What was refused.
    pub counters: ClusterCounters,
}

impl ClusterState {
    /// What a class has in flight.
    pub fn class(&self, class: Class) -> &ClassState {
        &self.classes[class as usize]
    }

    /// Take a connection; false: the breaker is open. `is_first`: its host has none, and the first is always allowed
    /// (Envoy), though counted as an overflow. Given back by [`ClusterState::release_connection`].
    pub fn try_connection(&self, class: Class, breaker: &Breaker, is_first: bool) -> bool {
        let counter = &self.class(class).connections;
        if take(counter, breaker.max_connections) {
            return true;
        }
        self.counters.connection_overflow.fetch_add(1, Relaxed);
        if is_first {
            counter.fetch_add(1, Relaxed);
        }
        is_first
    }

    /// Take a place among requests that wait for a connection. Given back by [`ClusterState::release_pending`].
    pub fn try_pending(&self, class: Class, breaker: &Breaker) -> bool {
        let is_taken = take(&self.class(class).pending, breaker.max_pending);
        if !is_taken {
            self.counters.pending_overflow.fetch_add(1, Relaxed);
        }
        is_taken
    }

    /// Take a request. Given back by [`ClusterState::release_request`].
    pub fn try_request(&self, class: Class, breaker: &Breaker) -> bool {
        let is_taken = take(&self.class(class).requests, breaker.max_requests);
        if !is_taken {
            self.counters.pending_overflow.fetch_add(1, Relaxed);
            self.counters.request_overflow.fetch_add(1, Relaxed);
        }
        is_taken
    }

    /// Take a retry, within `max_retries` or the retry budget. Envoy holds it until the retried request is decided on again
    /// or over. Given back by [`ClusterState::release_retry`].
    pub fn try_retry(&self, class: Class, breaker: &Breaker) -> bool {
        let state = self.class(class);
        let is_taken = take(&state.retries, retries_allowed(breaker, state));
        if !is_taken {
            self.counters.retry_overflow.fetch_add(1, Relaxed);
        }
        is_taken
    }

    /// Give back a connection.
    pub fn release_connection(&self, class: Class) {
        give(&self.class(class).connections);
    }

    /// Give back a pending place.
    pub fn release_pending(&self, class: Class) {
        give(&self.class(class).pending);
    }

    /// Give back a request.
    pub fn release_request(&self, class: Class) {
        give(&self.class(class).requests);
    }

    /// Give back a retry.
    pub fn release_retry(&self, class: Class) {
        give(&self.class(class).retries);
    }
}

fn take(counter: &AtomicU32, limit: u32) -> bool {
    if counter.fetch_add(1, Relaxed) < limit {
        return true;
    }
    counter.fetch_sub(1, Relaxed);
    false
}

/// Never below zero: a bug of the caller's must not open the breaker for good.
fn give(counter: &AtomicU32) {
    let _ = counter.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
}

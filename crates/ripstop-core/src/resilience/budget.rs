//! How many retries a cluster may have at a time (`CircuitBreakers.Thresholds.retry_budget`).
use crate::balance::ClassState;
use crate::snapshot::Breaker;
use std::sync::atomic::Ordering::Relaxed;

/// The limit of retries at a time: `max_retries`, or with a budget that share of the active and pending requests, but never
/// below the budget's minimum.
pub fn retries_allowed(breaker: &Breaker, state: &ClassState) -> u32 {
    let Some((percent, least)) = breaker.retry_budget else { return breaker.max_retries };
    let active = u64::from(state.requests.load(Relaxed)) + u64::from(state.pending.load(Relaxed));
    let share = (percent / 100.0 * active as f64) as u32;
    share.max(least)
}

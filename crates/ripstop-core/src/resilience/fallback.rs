//! Which service is asked when one does not answer well (Ripstop's own; Envoy has the aggregate cluster, which looks at
//! health only).
use crate::snapshot::{FallbackHop, FallbackTriggers};

/// Why a hop gives way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// No endpoint is healthy, or there is none.
    NoHealthy,
    /// A circuit breaker let no connection or request.
    BreakerOpen,
    /// The answer says that the service sheds load.
    Overflow,
    /// No answer in time.
    Timeout,
    /// A response's status.
    Status(u16),
}

impl Trigger {
    /// As `Mesh-Degraded` and logs tell it.
    pub const fn name(self) -> &'static str {
        match self {
            Trigger::NoHealthy => "no-healthy",
            Trigger::BreakerOpen => "breaker-open",
            Trigger::Overflow => "overflow",
            Trigger::Timeout => "timeout",
            Trigger::Status(_) => "status",
        }
    }
}

/// The index of the next hop, when `tried` of them were tried already (0: the route's own cluster gave way). Each hop says
/// itself what in the one before it leads there.
pub fn next_hop(hops: &[FallbackHop], tried: usize, trigger: Trigger) -> Option<usize> {
    fires(&hops.get(tried)?.on, trigger).then_some(tried)
}

fn fires(on: &FallbackTriggers, trigger: Trigger) -> bool {
    match trigger {
        Trigger::NoHealthy => on.no_healthy,
        Trigger::BreakerOpen => on.breaker_open,
        Trigger::Overflow => on.overflow,
        Trigger::Timeout => on.timeout,
        Trigger::Status(status) => on.status.iter().any(|(from, to)| (*from..=*to).contains(&status)),
    }
}

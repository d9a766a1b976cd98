//! Points in time as the core is told them: nanoseconds since the process began. The core never reads a clock.
use std::time::Duration;

/// A point in time. Only differences mean anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// Never reached.
    pub const NEVER: Time = Time(u64::MAX);

    /// `ms` milliseconds after the process began.
    pub const fn from_millis(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    /// `duration` later; saturates at [`Time::NEVER`].
    pub fn after(self, duration: Duration) -> Time {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Time(self.0.saturating_add(nanos))
    }

    /// How long ago `earlier` was; zero when it is later.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

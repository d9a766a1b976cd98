//! What is done when endpoints fail: outlier detection, retries and their budget, active health, fallbacks.
mod budget;
mod fallback;
mod grpc;
mod health;
mod outlier;
mod retry;
mod sweep;
#[cfg(test)]
mod tests;

pub use budget::retries_allowed;
pub use fallback::{Trigger, next_hop};
pub use grpc::{GrpcStatus, http_status_of};
pub use health::{ActiveHealth, CheckResult, Transition};
pub use outlier::{Ejection, EjectionKind, OutlierCounters, Report, ReportKind, report};
pub use retry::{AttemptFailure, backoff, decide_failure, decide_head, is_safe, may_retry};
pub use sweep::{Change, sweep};

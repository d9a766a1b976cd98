//! HTTP filters as decisions: CORS, faults, local rate limits, stateful sessions.
mod base64;
pub mod cors;
pub mod fault;
pub mod rate_limit;
pub mod session;

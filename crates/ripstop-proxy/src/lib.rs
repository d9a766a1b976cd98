//! The rim around `ripstop-core`: sockets, TLS, timers, telemetry.
pub mod control;
pub mod tls;
pub mod worker;

//! The rim around `ripstop-core`: sockets, TLS, timers, telemetry.
pub mod control;
pub mod memory;
pub mod tls;
pub mod worker;

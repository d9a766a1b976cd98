//! The functions that are fuzzed, with what must hold of whatever they are handed.
#[path = "../../crates/ripstop-proxy/src/tls/inspector.rs"]
mod inspector;
#[path = "../../crates/ripstop-proxy/src/tls/proxy_protocol.rs"]
#[allow(dead_code)] // what the proxy writes itself
mod proxy_protocol;

#[path = "targets.rs"]
pub mod targets;

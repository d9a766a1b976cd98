//! TLS of the data threads, without sockets: rustls with aws-lc-rs, bytes in and bytes out.
mod cache;
mod certificate;
mod config;
mod failure;
#[cfg(test)]
mod fixtures;
pub mod inspector;
mod names;
pub mod proxy_protocol;
mod session;
mod verify;

pub use cache::ConfigCache;
pub use config::{ClientTls, ConfigFault, ServerTls, client_config, server_config};
pub use failure::TlsFailure;
pub use session::{Received, Session};

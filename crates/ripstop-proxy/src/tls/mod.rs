//! TLS of the data threads, without sockets: rustls with aws-lc-rs, bytes in and bytes out.
mod cache;
mod certificate;
mod config;
mod established;
mod failure;
#[cfg(test)]
mod fixtures;
mod handshake;
pub mod inspector;
mod names;
pub mod proxy_protocol;
mod records;
mod session;
mod verify;

#[cfg(test)]
mod openssl_tests;
#[cfg(test)]
mod peer_tests;

pub use cache::ConfigCache;
pub use config::{ClientTls, ConfigFault, ServerTls, client_config, server_config};
pub use failure::TlsFailure;
pub use session::{Received, Session};

//! The control thread: everything that is not on the path of a request. ADS and SDS, names, health checks, sockets,
//! statistics, the admin interface; what comes of it is told to the data threads by their mailboxes.
mod admin;
mod decoder;
mod dial;
mod dns;
mod doors;
mod endpoints;
mod files;
mod grpc;
mod hand_over;
mod health;
mod listeners;
pub mod log;
pub mod mailbox;
pub mod options;
mod plane;
mod saved;
mod server;
pub mod stats;
mod xds;

pub use options::Options;
pub use server::run;

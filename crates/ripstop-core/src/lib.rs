//! The data core: every decision about a request, as pure functions of (snapshot, request, endpoint state, now, chance),
//! and the protocols as machines that are handed bytes. Nothing here opens a socket, reads a clock or draws chance.
pub mod ads;
pub mod authorization;
pub mod balance;
pub mod decision;
pub mod decode;
pub mod explain;
pub mod http;
pub mod http1;
pub mod http2;
pub mod outcome;
pub mod policies;
pub mod record;
pub mod resilience;
pub mod rng;
pub mod route;
pub mod snapshot;
pub mod template;
pub mod time;

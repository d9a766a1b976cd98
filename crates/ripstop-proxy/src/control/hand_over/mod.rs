//! One process after another on the same sockets: the old one gives the new one what it listens on (SCM_RIGHTS, unix(7)),
//! and ends only once the new one is ready.
//!
//! The new process connects to a unix socket and says `hello`; the old one answers with its sockets, one `socket` message
//! for each, and `end`. The new one gets its configuration, puts the sockets to use and says `ready`; the old one answers
//! `yours` and drains. Whoever goes away before `ready` has changed nothing.
mod channel;
mod donor;
mod successor;

pub use donor::{Door, Predecessor};
pub use successor::{Heritage, inherit};

use std::os::fd::OwnedFd;

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A listener's.
    Listener,
    /// The admin interface's.
    Admin,
}

/// A socket that is listened on, as it is given away.
#[derive(Debug)]
pub struct Given {
    /// What for.
    pub purpose: Purpose,
    /// The listener's name; empty for the admin interface.
    pub name: String,
    /// The address as it is configured: its port may be 0 where the socket's is not.
    pub address: String,
    /// The socket itself.
    pub socket: OwnedFd,
}

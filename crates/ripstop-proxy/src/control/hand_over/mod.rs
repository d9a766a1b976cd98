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

use channel::Channel;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

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

/// Only the owner of the directory, who must be us or root, may put something there.
fn check_directory(path: &Path) -> Result<(), String> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let about = std::fs::metadata(directory).map_err(|error| error.to_string())?;
    let is_ours = about.uid() == rustix::process::geteuid().as_raw() || about.uid() == 0;
    if !is_ours || about.mode() & 0o022 != 0 {
        return Err("others may write to its directory".to_owned());
    }
    Ok(())
}

/// The other process is of our own user, or root's.
fn check_peer(channel: &Channel) -> io::Result<()> {
    let peer = rustix::net::sockopt::socket_peercred(channel.socket())?;
    if peer.uid != rustix::process::geteuid() && !peer.uid.is_root() {
        return Err(io::Error::other("the other process is another user's"));
    }
    Ok(())
}

//! The new process: takes over from the one before it, if there is one.
use super::channel::{Channel, Message};
use super::{Given, Purpose, check_directory, check_peer};
use crate::control::log::log;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

/// How long the process before us may take to say a word. It may be busy with another successor.
const WORD: Duration = Duration::from_secs(10);

/// What the process before us gave.
#[derive(Debug)]
pub struct Heritage {
    /// Sockets of listeners, and of the admin interface.
    pub sockets: Vec<Given>,
    channel: Channel,
}

/// Ask the process that listens at a path for its sockets. None: there is no such process.
///
/// # Errors
/// There is one, and it does not give them.
pub fn inherit(path: &Path) -> Result<Option<Heritage>, String> {
    let fault = |why: String| format!("--hand-over {}: {why}", path.display());
    check_directory(path).map_err(fault)?;
    let channel = match Channel::connect(path) {
        Ok(channel) => channel,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(fault(error.to_string())),
    };
    let sockets = ask(&channel).map_err(|error| fault(error.to_string()))?;
    log!(Info, "{} sockets were handed over", sockets.len());
    Ok(Some(Heritage { sockets, channel }))
}

fn ask(channel: &Channel) -> io::Result<Vec<Given>> {
    check_peer(channel)?;
    channel.send(&Message::Hello, WORD)?;
    let mut sockets = Vec::new();
    loop {
        match channel.receive(WORD)? {
            Some(Message::Socket(given)) => sockets.push(given),
            Some(Message::End) => return Ok(sockets),
            Some(_) => return Err(io::Error::other("the process before us says something unexpected")),
            None => return Err(io::Error::other("the process before us gave no sockets")),
        }
    }
}

impl Heritage {
    /// The admin interface's socket, where it is at this address.
    pub fn take_admin(&mut self, address: &str) -> Option<OwnedFd> {
        let is_it = |given: &Given| given.purpose == Purpose::Admin && given.address == address;
        let at = self.sockets.iter().position(is_it)?;
        Some(self.sockets.swap_remove(at).socket)
    }

    /// Say that we serve, and wait until the process before us has let go. One that is gone has done so.
    pub fn take_over(&self) {
        let said = self.channel.send(&Message::Ready, WORD).and_then(|()| self.channel.receive(WORD));
        match said {
            Ok(Some(Message::Yours)) => log!(Info, "the process before us drains"),
            Ok(_) => log!(Warning, "the process before us is gone"),
            Err(error) => log!(Warning, "the process before us does not answer: {error}"),
        }
    }
}

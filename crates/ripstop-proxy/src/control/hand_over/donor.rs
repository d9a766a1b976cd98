//! The old process: waits for one that comes after it.
use super::channel::{Channel, Message};
use super::{Given, check_directory, check_peer};
use crate::control::log::log;
use crate::control::plane::Event;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc as sync;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long the peer may take to say or read a word.
const WORD: Duration = Duration::from_secs(5);
/// How long a new process may take to become ready; it gives up sooner by itself.
const READY: Duration = Duration::from_secs(60);

/// Where a successor knocks.
#[derive(Debug)]
pub struct Door {
    path: PathBuf,
    socket: Socket,
}

/// Told to the control thread: answer with the sockets, or let go of them.
#[derive(Debug)]
pub enum Predecessor {
    /// A successor is there and wants the sockets.
    Asked(sync::Sender<Vec<Given>>),
    /// It serves: end, and say so once nothing is accepted any more.
    Relieved(sync::Sender<()>),
}

impl Door {
    /// Listen at a path (0600), in a directory that nobody else may write to.
    ///
    /// # Errors
    /// The directory is open to others, or the path cannot be had.
    pub fn open(path: &Path) -> Result<Door, String> {
        let fault = |why: String| format!("--hand-over {}: {why}", path.display());
        check_directory(path).map_err(fault)?;
        let bind = || -> io::Result<Socket> {
            let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
            // Of a process that is gone: a living one was asked before.
            if std::fs::symlink_metadata(path).is_ok_and(|about| about.file_type().is_socket()) {
                std::fs::remove_file(path)?;
            }
            socket.bind(&SockAddr::unix(path)?)?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
            socket.listen(4)?;
            Ok(socket)
        };
        let socket = bind().map_err(|error| fault(error.to_string()))?;
        Ok(Door { path: path.to_owned(), socket })
    }

    /// Wait for a successor, in a thread of its own.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn wait(self, events: mpsc::UnboundedSender<Event>) -> Result<(), String> {
        let body = move || {
            while let Ok((socket, _)) = self.socket.accept() {
                match give(&Channel::new(socket), &events) {
                    Ok(channel) => return self.relieved(channel, &events),
                    Err(error) => log!(Warning, "a new process did not take over: {error}"),
                }
            }
        };
        let thread = std::thread::Builder::new().name("hand-over".to_owned());
        thread.spawn(body).map_err(|error| format!("hand-over: {error}"))?;
        Ok(())
    }

    /// A successor serves. It listens at the path itself, once it has heard that all is its own.
    fn relieved(&self, channel: &Channel, events: &mpsc::UnboundedSender<Event>) {
        let _ = std::fs::remove_file(&self.path);
        let (done, is_done) = sync::channel();
        if events.send(Event::HandOver(Predecessor::Relieved(done))).is_ok() {
            let _ = is_done.recv_timeout(WORD);
        }
        let _ = channel.send(&Message::Yours, WORD);
    }
}

/// Give the sockets to a process of our own user, and wait until it serves.
fn give<'a>(channel: &'a Channel, events: &mpsc::UnboundedSender<Event>) -> io::Result<&'a Channel> {
    let other = |why: &str| io::Error::other(why.to_owned());
    check_peer(channel)?;
    if !matches!(channel.receive(WORD)?, Some(Message::Hello)) {
        return Err(other("it said nothing that is known here"));
    }
    let (reply, sockets) = sync::channel();
    let is_asked = events.send(Event::HandOver(Predecessor::Asked(reply))).is_ok();
    let sockets = sockets.recv_timeout(WORD).map_err(|_| other("this process is ending"))?;
    if !is_asked {
        return Err(other("this process is ending"));
    }
    for given in sockets {
        channel.send(&Message::Socket(given), WORD)?;
    }
    channel.send(&Message::End, WORD)?;
    match channel.receive(READY)? {
        Some(Message::Ready) => Ok(channel),
        _ => Err(other("it ended before it was ready")),
    }
}

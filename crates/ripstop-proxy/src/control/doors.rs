//! What the process itself is reached by, the admin interface and its successor's way in. A process that takes over opens
//! them once the one before it has let go.
use super::admin::{Door, serve};
use super::hand_over::{self, Given, Heritage, Purpose, inherit};
use super::options::Options;
use super::plane::{Event, Plane};
use ripstop_core::decode::Bootstrap;
use ripstop_core::snapshot::Address;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// All of them.
pub struct Doors {
    admin: Option<Address>,
    hand_over: Option<PathBuf>,
    admin_socket: Option<OwnedFd>,
    heritage: Option<Arc<Heritage>>,
    state: State,
    events: mpsc::UnboundedSender<Event>,
    serving: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The process before us serves.
    Waiting,
    /// It was told that we do.
    Taking,
    /// Nobody is before us.
    Free,
    /// All is open.
    Open,
}

impl Doors {
    /// Closed doors. Where there is a process before us, its sockets are taken.
    ///
    /// # Errors
    /// There is one, and it does not give them.
    pub fn new(
        bootstrap: &Bootstrap,
        options: &Options,
        events: mpsc::UnboundedSender<Event>,
    ) -> Result<Doors, String> {
        let hand_over = options.hand_over.clone();
        let mut heritage = hand_over.as_deref().map(inherit).transpose()?.flatten();
        let admin = bootstrap.admin.clone();
        let admin_socket =
            heritage.as_mut().zip(admin.as_ref()).and_then(|(from, at)| from.take_admin(&at.to_string()));
        let state = if heritage.is_some() { State::Waiting } else { State::Free };
        let heritage = heritage.map(Arc::new);
        Ok(Doors { admin, hand_over, admin_socket, heritage, state, events, serving: None })
    }

    /// The listeners' sockets of the process before us; None when there is none.
    pub fn take_sockets(&mut self) -> Option<Vec<Given>> {
        let heritage = Arc::get_mut(self.heritage.as_mut()?)?;
        Some(std::mem::take(&mut heritage.sockets))
    }

    /// Do what is due: take over once we serve, open once that is done.
    ///
    /// # Errors
    /// We are not ready in time, or a door cannot be opened.
    pub async fn follow(&mut self, plane: &mut Plane) -> Result<(), String> {
        match self.state {
            State::Open => {}
            State::Waiting if plane.is_too_late_to_take_over() => {
                return Err("there is no configuration; the process before this one goes on".to_owned());
            }
            State::Waiting if plane.is_live => {
                self.state = State::Taking;
                let (heritage, events) = (self.heritage.take(), self.events.clone());
                tokio::task::spawn_blocking(move || {
                    if let Some(heritage) = heritage {
                        heritage.take_over();
                    }
                    let _ = events.send(Event::TookOver);
                });
            }
            State::Taking if plane.took_over => self.open(plane).await?,
            State::Free => self.open(plane).await?,
            State::Waiting | State::Taking => {}
        }
        Ok(())
    }

    async fn open(&mut self, plane: &mut Plane) -> Result<(), String> {
        self.state = State::Open;
        if let Some(address) = &self.admin {
            let door = match self.admin_socket.take() {
                Some(socket) => Door::adopt(address, socket)?,
                None => Door::open(address).await?,
            };
            if self.hand_over.is_some() {
                let socket =
                    door.share().map_err(|error| format!("admin interface at {address}: {error}"))?;
                let (name, address) = (String::new(), address.to_string());
                plane.admin_socket = Some(Given { purpose: Purpose::Admin, name, address, socket });
            }
            self.serving = Some(tokio::spawn(serve(door, self.events.clone())));
        }
        if let Some(path) = &self.hand_over {
            hand_over::Door::open(path)?.wait(self.events.clone())?;
        }
        Ok(())
    }

    /// The process ends. Where another one answers the admin interface's questions, no more are accepted; where there is
    /// none, nobody shall look for sockets here.
    pub async fn close(&mut self, plane: &Plane) {
        if plane.relieved.is_none() {
            if let Some(path) = self.hand_over.take().filter(|_| self.state == State::Open) {
                let _ = std::fs::remove_file(path);
            }
        } else if let Some(serving) = self.serving.take() {
            serving.abort();
            let _ = serving.await;
        }
    }
}

//! What the control thread tells data threads.
use super::stats::WorkerStats;
use ripstop_core::balance::{ClusterState, HostSet};
use ripstop_core::snapshot::{Listener, Snapshot};
use ripstop_core::time::Time;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

/// A message. They come in an order in which nothing refers to what is not there yet.
#[derive(Debug)]
pub enum ToWorker {
    /// From now on this holds.
    Snapshot(Arc<Snapshot>),
    /// The endpoints of a cluster, new or changed. `state` is the same for all sets of one cluster and for all workers.
    Endpoints {
        /// The cluster's name.
        cluster: Arc<str>,
        /// Its endpoints.
        set: Arc<HostSet>,
        /// What it has in flight.
        state: Arc<ClusterState>,
    },
    /// A cluster is no more; its connections are drained.
    ClusterGone(Arc<str>),
    /// Listen, or go on listening with another configuration; new connections get it.
    Listener {
        /// Its name.
        name: Arc<str>,
        /// What to do with connections.
        config: Arc<Listener>,
        /// This worker's sockets, non-blocking. Empty: those that it has already.
        sockets: Vec<ListenSocket>,
    },
    /// A listener is no more: accept nothing, let connections end for at most `drain`, then close them.
    ListenerGone {
        /// Its name.
        name: Arc<str>,
        /// How long its connections may go on.
        drain: Duration,
    },
    /// Ask clients to go away (GOAWAY, `Connection: close`), of inbound listeners or of all; go on accepting.
    Drain {
        /// Only listeners with `traffic_direction: INBOUND`.
        inbound_only: bool,
        /// How long HTTP/2 peers may still open streams.
        patience: Duration,
    },
    /// End: accept nothing, drain, and be gone at the deadline at the latest.
    Stop {
        /// When what is left is cut off.
        deadline: Time,
        /// A connection that carries nothing ends once nothing came for so long.
        idle: Duration,
    },
}

/// A socket that is bound and listens.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum ListenSocket {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

/// A data thread as the control thread knows it.
#[derive(Debug)]
pub struct WorkerHandle {
    /// Its mailbox.
    pub sender: Sender<ToWorker>,
    /// Wakes it from its poll.
    pub waker: Arc<mio::Waker>,
    /// What it counts.
    pub stats: Arc<WorkerStats>,
    /// To be joined at the end.
    pub thread: Option<std::thread::JoinHandle<()>>,
}

impl WorkerHandle {
    /// Put a message into the mailbox and wake the worker. One that has ended hears nothing; that shows when it is joined.
    pub fn tell(&self, message: ToWorker) {
        if self.sender.send(message).is_ok() {
            let _ = self.waker.wake();
        }
    }

    /// Whether its thread still runs.
    pub fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

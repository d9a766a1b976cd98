//! Sockets that are listened on: bound when a listener is accepted, handed to the data threads when it is put to use.
use super::mailbox::ListenSocket;
use ripstop_core::snapshot::{Address, Listener};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// The sockets of all listeners.
#[derive(Debug)]
pub struct Sockets {
    workers: usize,
    bound: HashMap<Arc<str>, Bound>,
}

#[derive(Debug)]
struct Bound {
    address: Address,
    /// One for each worker, until they are handed over.
    waiting: Vec<Socket>,
    /// The address that a newer version wants, not in use yet.
    next: Option<(Address, Vec<Socket>)>,
    is_used: bool,
}

impl Sockets {
    /// For so many data threads.
    pub fn new(workers: usize) -> Sockets {
        Sockets { workers: workers.max(1), bound: HashMap::new() }
    }

    /// Bind a listener's address, unless it has it already. Nobody can connect yet.
    ///
    /// # Errors
    /// The address cannot be had.
    pub fn reserve(&mut self, listener: &Listener) -> Result<(), String> {
        let workers = self.workers;
        let bind =
            || bind_all(&listener.address, workers).map_err(|error| format!("{}: {error}", listener.address));
        match self.bound.get_mut(&listener.name) {
            Some(bound) if bound.address == listener.address => bound.next = None,
            Some(bound) if bound.next.as_ref().is_some_and(|(next, _)| *next == listener.address) => {}
            Some(bound) => bound.next = Some((listener.address.clone(), bind()?)),
            None => {
                let bound =
                    Bound { address: listener.address.clone(), waiting: bind()?, next: None, is_used: false };
                self.bound.insert(listener.name.clone(), bound);
            }
        }
        Ok(())
    }

    /// The listener is put to use: its sockets listen from now on. One list for each worker; empty lists when the workers
    /// have the sockets already.
    ///
    /// # Errors
    /// Somebody else listens there by now.
    pub fn activate(&mut self, listener: &Listener) -> Result<Vec<Vec<ListenSocket>>, String> {
        self.reserve(listener)?;
        let nothing = || (0..self.workers).map(|_| Vec::new()).collect();
        let Some(bound) = self.bound.get_mut(&listener.name) else { return Ok(nothing()) };
        if let Some((address, sockets)) = bound.next.take() {
            (bound.address, bound.waiting, bound.is_used) = (address, sockets, false);
        }
        if bound.is_used {
            return Ok(nothing());
        }
        let backlog = i32::try_from(listener.backlog).unwrap_or(i32::MAX);
        let sockets = std::mem::take(&mut bound.waiting);
        let listening: io::Result<Vec<_>> =
            sockets.into_iter().map(|socket| listen(socket, backlog)).collect();
        match listening {
            Ok(sockets) => {
                bound.is_used = true;
                Ok(sockets.into_iter().map(|socket| vec![socket]).collect())
            }
            Err(error) => {
                self.bound.remove(&listener.name);
                Err(format!("{}: {error}", listener.address))
            }
        }
    }

    /// The listener is gone; its workers close their sockets.
    pub fn forget(&mut self, name: &str) {
        self.bound.remove(name);
    }

    /// Let go of addresses whose listeners are not among those named.
    pub fn retain(&mut self, is_wanted: impl Fn(&str) -> bool) {
        self.bound.retain(|name, _| is_wanted(name));
    }
}

fn bind_all(address: &Address, workers: usize) -> io::Result<Vec<Socket>> {
    match address {
        Address::Socket(address) => bind_tcp(*address, workers),
        Address::Pipe(path) => bind_unix(path, workers),
        Address::Name(name, _) => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name} is not an IP address")))
        }
    }
}

fn bind_tcp(mut address: SocketAddr, workers: usize) -> io::Result<Vec<Socket>> {
    let mut sockets = Vec::with_capacity(workers);
    for _ in 0..workers {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if workers > 1 {
            socket.set_reuse_port(true)?;
        }
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        // Accepted sockets have it from here. Without it every small answer would wait for an acknowledgement.
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into())?;
        if address.port() == 0 {
            // The others get the port that the first was given.
            address = socket.local_addr()?.as_socket().unwrap_or(address);
        }
        sockets.push(socket);
    }
    Ok(sockets)
}

/// All workers accept from one socket: there is no `SO_REUSEPORT` for paths.
fn bind_unix(path: &str, workers: usize) -> io::Result<Vec<Socket>> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    if !path.starts_with('@') && is_left_over(path) {
        let _ = std::fs::remove_file(path);
    }
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(super::dial::socket_path(path))?)?;
    (0..workers).map(|_| socket.try_clone()).collect()
}

/// A socket that nobody listens on any more.
fn is_left_over(path: &str) -> bool {
    std::os::unix::net::UnixStream::connect(path)
        .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn listen(socket: Socket, backlog: i32) -> io::Result<ListenSocket> {
    socket.listen(backlog)?;
    let is_unix = socket.domain()? == Domain::UNIX;
    let descriptor = OwnedFd::from(socket);
    Ok(if is_unix { ListenSocket::Unix(descriptor.into()) } else { ListenSocket::Tcp(descriptor.into()) })
}

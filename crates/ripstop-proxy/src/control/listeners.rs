//! Sockets that are listened on: bound when a listener is accepted, handed to the data threads when it is put to use.
use super::hand_over::{Given, Purpose};
use super::mailbox::ListenSocket;
use ripstop_core::snapshot::{Address, Listener};
use rustix::net::sockopt::socket_cookie;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// The sockets of all listeners.
#[derive(Debug)]
pub struct Sockets {
    workers: usize,
    bound: HashMap<Arc<str>, Bound>,
    /// Of the process before us, not in use yet.
    inherited: Vec<Given>,
}

#[derive(Debug)]
struct Bound {
    address: Address,
    /// Some for each worker, until the workers have them.
    waiting: Vec<Vec<Socket>>,
    /// The address that a newer version wants, not in use yet.
    next: Option<(Address, Vec<Vec<Socket>>)>,
    is_used: bool,
    /// The same sockets as the workers', for the process that comes after us.
    shared: Vec<Socket>,
}

impl Sockets {
    /// For so many data threads.
    pub fn new(workers: usize) -> Sockets {
        Sockets { workers: workers.max(1), bound: HashMap::new(), inherited: Vec::new() }
    }

    /// Use the sockets of the process before us where they are of the same address.
    pub fn inherit(&mut self, sockets: Vec<Given>) {
        self.inherited = sockets;
    }

    /// Let go of what was inherited and is not used: nobody would accept there.
    pub fn disclaim(&mut self) {
        self.inherited.clear();
    }

    /// Everything that is listened on, to be given away.
    ///
    /// # Errors
    /// There is no file descriptor left.
    pub fn give(&self) -> io::Result<Vec<Given>> {
        let all = self.bound.iter().flat_map(|(name, bound)| {
            bound.shared.iter().map(move |socket| {
                let (name, address) = (name.to_string(), bound.address.to_string());
                let socket = socket.try_clone()?.into();
                Ok(Given { purpose: Purpose::Listener, name, address, socket })
            })
        });
        all.collect()
    }

    /// Close what a listener's workers close; its address stays taken until it is forgotten.
    pub fn stop(&mut self, name: &str) {
        if let Some(bound) = self.bound.get_mut(name) {
            bound.shared.clear();
        }
    }

    /// Close everything.
    pub fn stop_all(&mut self) {
        self.bound.clear();
        self.inherited.clear();
    }

    /// Bind a listener's address, unless it has it already. Nobody can connect yet.
    ///
    /// # Errors
    /// The address cannot be had.
    pub fn reserve(&mut self, listener: &Listener) -> Result<(), String> {
        let (workers, inherited) = (self.workers, &mut self.inherited);
        let mut bind = || {
            if let Some(sockets) = adopt(inherited, listener, workers) {
                return sockets.map_err(|error| format!("{}: {error}", listener.address));
            }
            let bound = bind_all(&listener.address, workers);
            let bound = bound.map_err(|error| format!("{}: {error}", listener.address))?;
            Ok::<_, String>(bound.into_iter().map(|socket| vec![socket]).collect())
        };
        match self.bound.get_mut(&listener.name) {
            Some(bound) if bound.address == listener.address => bound.next = None,
            Some(bound) if bound.next.as_ref().is_some_and(|(next, _)| *next == listener.address) => {}
            Some(bound) => bound.next = Some((listener.address.clone(), bind()?)),
            None => {
                let (address, waiting) = (listener.address.clone(), bind()?);
                let bound = Bound { address, waiting, next: None, is_used: false, shared: Vec::new() };
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
        let shared: io::Result<Vec<_>> = sockets.iter().flatten().map(Socket::try_clone).collect();
        let listening: io::Result<Vec<Vec<_>>> = sockets
            .into_iter()
            .map(|of_worker| of_worker.into_iter().map(|socket| listen(socket, backlog)).collect())
            .collect();
        match shared.and_then(|shared| Ok((shared, listening?))) {
            Ok((shared, sockets)) => {
                (bound.is_used, bound.shared) = (true, shared);
                Ok(sockets)
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

/// The sockets of the process before us for a listener, some for each worker: every one must be accepted from, for the
/// kernel has connections waiting at each. Where the port is any, the name tells which is meant.
fn adopt(
    inherited: &mut Vec<Given>,
    listener: &Listener,
    workers: usize,
) -> Option<io::Result<Vec<Vec<Socket>>>> {
    let address = listener.address.to_string();
    let is_any_port = matches!(&listener.address, Address::Socket(address) if address.port() == 0);
    let is_it = |given: &mut Given| {
        given.purpose == Purpose::Listener
            && given.address == address
            && (!is_any_port || given.name == *listener.name)
    };
    let mut found: Vec<Socket> = inherited.extract_if(.., is_it).map(|given| given.socket.into()).collect();
    // Where threads shared a socket it came once for each.
    let mut cookies = HashSet::new();
    found.retain(|socket| socket_cookie(socket).map_or(true, |cookie| cookies.insert(cookie)));
    (!found.is_empty()).then(|| spread(found, workers))
}

/// Several workers may accept from one socket, one worker from several.
fn spread(sockets: Vec<Socket>, workers: usize) -> io::Result<Vec<Vec<Socket>>> {
    let mut spread: Vec<Vec<Socket>> = (0..workers).map(|_| Vec::new()).collect();
    for worker in sockets.len()..workers {
        spread[worker].push(sockets[worker % sockets.len()].try_clone()?);
    }
    for (index, socket) in sockets.into_iter().enumerate() {
        spread[index % workers].push(socket);
    }
    Ok(spread)
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

//! A stream socket, TCP or unix, as the loop uses it: tries, and never waits.
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::time::Duration;

/// A non-blocking stream.
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Begin to connect; the socket tells by becoming writable.
    pub fn connect(address: &Target) -> io::Result<Socket> {
        match address {
            Target::Socket(address) => {
                let stream = TcpStream::connect(*address)?;
                stream.set_nodelay(true)?;
                Ok(Socket::Tcp(stream))
            }
            Target::Pipe(path) => UnixStream::connect(path).map(Socket::Unix),
        }
    }

    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        match self {
            Socket::Tcp(stream) => registry.register(stream, token, both),
            Socket::Unix(stream) => registry.register(stream, token, both),
        }
    }

    /// Why a connection was not made, once the socket is writable.
    pub fn error(&self) -> Option<io::Error> {
        let found = match self {
            Socket::Tcp(stream) => stream.take_error(),
            Socket::Unix(stream) => stream.take_error(),
        };
        found.unwrap_or_else(Some)
    }

    /// Whether the connection is made.
    pub fn is_connected(&self) -> bool {
        match self {
            Socket::Tcp(stream) => stream.peer_addr().is_ok(),
            Socket::Unix(_) => true,
        }
    }

    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let result = match self {
                Socket::Tcp(stream) => stream.read(into),
                Socket::Unix(stream) => stream.read(into),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    pub fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        loop {
            let result = match self {
                Socket::Tcp(stream) => stream.write(from),
                Socket::Unix(stream) => stream.write(from),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// Two pieces by one call.
    pub fn write_two(&mut self, first: &[u8], second: &[u8]) -> io::Result<usize> {
        let pieces = [IoSlice::new(first), IoSlice::new(second)];
        match self {
            Socket::Tcp(stream) => stream.write_vectored(&pieces),
            Socket::Unix(stream) => stream.write_vectored(&pieces),
        }
    }

    pub fn shutdown_write(&self) {
        // An error means that the peer is gone already.
        let _ = match self {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }

    /// Dropping it sends RST, not FIN.
    pub fn reset_when_closed(&self) {
        // An error means that the peer is gone already.
        let _ = match self {
            Socket::Tcp(stream) => socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)),
            Socket::Unix(_) => Ok(()),
        };
    }

    pub fn local(&self) -> SocketAddr {
        match self {
            Socket::Tcp(stream) => stream.local_addr().unwrap_or(NOWHERE),
            Socket::Unix(_) => NOWHERE,
        }
    }
}

/// What unix sockets have for an address.
pub(crate) const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Where to connect to, looked up already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Socket(SocketAddr),
    Pipe(std::path::PathBuf),
}

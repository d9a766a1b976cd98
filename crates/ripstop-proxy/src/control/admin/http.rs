//! The admin interface's door: HTTP/1.1 on TCP or a unix socket.
use super::{Query, Reply};
use crate::control::dial::socket_path;
use crate::control::log::log;
use crate::control::plane::Event;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use ripstop_core::snapshot::Address;
use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, oneshot};

/// Where it listens.
#[derive(Debug)]
pub enum Door {
    /// On TCP.
    Tcp(TcpListener),
    /// At a path.
    Unix(UnixListener),
}

impl Door {
    /// The socket of the process before us.
    ///
    /// # Errors
    /// It cannot be polled.
    pub fn adopt(address: &Address, socket: OwnedFd) -> Result<Door, String> {
        let door = match address {
            Address::Pipe(_) => UnixListener::from_std(socket.into()).map(Door::Unix),
            _ => TcpListener::from_std(socket.into()).map(Door::Tcp),
        };
        door.map_err(|error| format!("admin interface at {address}: {error}"))
    }

    /// The same socket once more, for the process that comes after us.
    ///
    /// # Errors
    /// There is no file descriptor left.
    pub fn share(&self) -> std::io::Result<OwnedFd> {
        match self {
            Door::Tcp(listener) => listener.as_fd().try_clone_to_owned(),
            Door::Unix(listener) => listener.as_fd().try_clone_to_owned(),
        }
    }

    /// Listen. A socket in the file system is for our user alone (0600).
    ///
    /// # Errors
    /// The address cannot be had.
    pub async fn open(address: &Address) -> Result<Door, String> {
        let fault = |error: std::io::Error| format!("admin interface at {address}: {error}");
        match address {
            Address::Socket(address) => Ok(Door::Tcp(TcpListener::bind(address).await.map_err(fault)?)),
            Address::Name(name, port) => {
                Ok(Door::Tcp(TcpListener::bind((&**name, *port)).await.map_err(fault)?))
            }
            Address::Pipe(path) => {
                if !path.starts_with('@') {
                    let _ = std::fs::remove_file(&**path);
                }
                let listener = UnixListener::bind(socket_path(path)).map_err(fault)?;
                if !path.starts_with('@') {
                    let mode = std::fs::Permissions::from_mode(0o600);
                    std::fs::set_permissions(&**path, mode).map_err(fault)?;
                }
                Ok(Door::Unix(listener))
            }
        }
    }
}

/// Serve for ever.
pub async fn serve(door: Door, events: mpsc::UnboundedSender<Event>) {
    loop {
        let accepted = match &door {
            Door::Tcp(listener) => {
                listener.accept().await.map(|(stream, _)| talk(TokioIo::new(stream), &events))
            }
            Door::Unix(listener) => {
                listener.accept().await.map(|(stream, _)| talk(TokioIo::new(stream), &events))
            }
        };
        if let Err(error) = accepted {
            log!(Warning, "admin interface: {error}");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
}

fn talk<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    io: TokioIo<T>,
    events: &mpsc::UnboundedSender<Event>,
) {
    let events = events.clone();
    tokio::spawn(async move {
        let service = service_fn(move |request| answer(request, events.clone()));
        // One request a connection: the next may be for the process that comes after us.
        let mut http = hyper::server::conn::http1::Builder::new();
        let _ = http.keep_alive(false).serve_connection(io, service).await;
    });
}

async fn answer(
    request: Request<Incoming>,
    events: mpsc::UnboundedSender<Event>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let query =
        Query::new(request.method().clone(), request.uri().path(), request.uri().query().unwrap_or_default());
    let (sender, receiver) = oneshot::channel();
    let is_sent = events.send(Event::Admin(query, sender)).is_ok();
    let reply = match receiver.await {
        Ok(reply) if is_sent => reply,
        _ => Reply::fault(StatusCode::SERVICE_UNAVAILABLE, "ending\n"),
    };
    let mut response = Response::new(Full::new(Bytes::from(reply.body)));
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    headers.insert("content-type", http::HeaderValue::from_static(reply.content_type));
    headers.insert("cache-control", http::HeaderValue::from_static("no-cache, max-age=0"));
    headers.insert("x-content-type-options", http::HeaderValue::from_static("nosniff"));
    Ok(response)
}

//! gRPC as a client, as much of it as xDS and health checks need: HTTP/2 by the `h2` crate, five bytes before each message.
//!
//! Source: gRPC over HTTP/2 (PROTOCOL-HTTP2.md). Messages are never compressed, and a compressed one is a fault.
use super::dial::{self, Peer};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// The largest message that is taken in.
const MAX_MESSAGE: usize = 64 << 20;
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// What a stream tells.
#[derive(Debug)]
pub enum StreamEvent {
    /// Requests may be sent now.
    Open,
    /// A message.
    Message(Bytes),
    /// It is over, and why.
    Closed(String),
}

/// Run one stream of both directions until it ends: what comes by `outgoing` is sent, what happens is told by `tell`.
/// Ends with [`StreamEvent::Closed`], also when there is no connection to be had.
pub async fn run_stream(
    peer: Peer,
    path: &'static str,
    outgoing: mpsc::UnboundedReceiver<Vec<u8>>,
    mut tell: impl FnMut(StreamEvent),
) {
    let why = match converse(&peer, path, outgoing, &mut tell).await {
        Ok(()) => "the server ended the stream".to_owned(),
        Err(why) => why,
    };
    tell(StreamEvent::Closed(why));
}

async fn converse(
    peer: &Peer,
    path: &str,
    mut outgoing: mpsc::UnboundedReceiver<Vec<u8>>,
    tell: &mut impl FnMut(StreamEvent),
) -> Result<(), String> {
    let (mut client, _guard) = connect(peer).await?;
    let (response, mut sender) = start(&mut client, peer, path)?;
    tell(StreamEvent::Open);
    let mut incoming = Incoming::Head(response);
    loop {
        tokio::select! {
            message = outgoing.recv() => match message {
                Some(message) => send(&mut sender, &message, false)?,
                None => return Err("no longer needed".to_owned()),
            },
            event = incoming.next() => match event? {
                Some(message) => tell(StreamEvent::Message(message)),
                None => return Ok(()),
            },
        }
    }
}

/// One request, one answer (unary), for health checks.
///
/// # Errors
/// No connection, no answer, or a status that is not OK.
pub async fn call(peer: &Peer, path: &str, message: &[u8]) -> Result<Bytes, CallError> {
    let (mut client, _guard) = connect(peer).await.map_err(CallError::Network)?;
    let (response, mut sender) = start(&mut client, peer, path).map_err(CallError::Network)?;
    send(&mut sender, message, true).map_err(CallError::Network)?;
    let mut incoming = Incoming::Head(response);
    match incoming.next().await {
        Ok(Some(message)) => Ok(message),
        Ok(None) => Err(CallError::Refused("an answer without a message".to_owned())),
        Err(why) if matches!(incoming, Incoming::Ended) => Err(CallError::Refused(why)),
        Err(why) => Err(CallError::Network(why)),
    }
}

/// Why a call has no answer.
#[derive(Debug)]
pub enum CallError {
    /// No connection, or it broke.
    Network(String),
    /// An HTTP or gRPC status that is not OK.
    Refused(String),
}

/// Ends the connection when it is dropped.
pub struct Guard(tokio::task::JoinHandle<()>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An HTTP/2 connection of its own.
///
/// # Errors
/// Why there is none.
pub async fn connect(peer: &Peer) -> Result<(SendRequest<Bytes>, Guard), String> {
    timeout(peer.connect_timeout, handshake(peer)).await.map_err(|_| "no connection in time".to_owned())?
}

async fn handshake(peer: &Peer) -> Result<(SendRequest<Bytes>, Guard), String> {
    let io = dial::dial(peer).await?;
    let mut builder = h2::client::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .enable_push(false);
    let (client, mut connection) = builder.handshake(io).await.map_err(|error| error.to_string())?;
    let pings = connection.ping_pong();
    let keepalive = peer.keepalive;
    let task = tokio::spawn(async move {
        tokio::select! {
            _ = connection => {}
            () = keep_alive(pings, keepalive) => {}
        }
    });
    let client = client.ready().await.map_err(|error| error.to_string())?;
    Ok((client, Guard(task)))
}

/// Ends when a PING is not answered in time (`connection_keepalive`).
async fn keep_alive(pings: Option<h2::PingPong>, keepalive: Option<(Duration, Duration)>) {
    let (Some(mut pings), Some((interval, patience))) = (pings, keepalive) else {
        return std::future::pending().await;
    };
    loop {
        tokio::time::sleep(interval).await;
        match timeout(patience, pings.ping(h2::Ping::opaque())).await {
            Ok(Ok(_)) => {}
            _ => return,
        }
    }
}

fn start(
    client: &mut SendRequest<Bytes>,
    peer: &Peer,
    path: &str,
) -> Result<(ResponseFuture, SendStream<Bytes>), String> {
    let scheme = if peer.tls.is_some() { "https" } else { "http" };
    let request = Request::post(format!("{scheme}://{}{path}", peer.authority))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", concat!("ripstop-proxy/", env!("CARGO_PKG_VERSION")))
        .body(())
        .map_err(|error| error.to_string())?;
    client.send_request(request, false).map_err(|error| error.to_string())
}

/// Requests are few and small: they may wait in memory for the peer's window.
fn send(sender: &mut SendStream<Bytes>, message: &[u8], is_last: bool) -> Result<(), String> {
    let length = u32::try_from(message.len()).map_err(|_| "a request is too large".to_owned())?;
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(length);
    framed.put_slice(message);
    sender.send_data(framed.freeze(), is_last).map_err(|error| error.to_string())
}

/// The server's side of a stream. Servers may not even send headers before they have something to say.
enum Incoming {
    Head(ResponseFuture),
    Body(RecvStream, BytesMut),
    /// The peer said so itself.
    Ended,
}

impl Incoming {
    /// The next message; None at the end. May be dropped while it waits, and called again.
    async fn next(&mut self) -> Result<Option<Bytes>, String> {
        if let Incoming::Head(response) = self {
            let response = response.await.map_err(|error| error.to_string())?;
            if let Some(fault) = head_fault(&response) {
                *self = Incoming::Ended;
                return Err(fault);
            }
            *self = Incoming::Body(response.into_body(), BytesMut::new());
        }
        let Incoming::Body(body, buffer) = self else { return Ok(None) };
        loop {
            if let Some(message) = deframe(buffer)? {
                return Ok(Some(message));
            }
            match body.data().await {
                Some(chunk) => {
                    let chunk = chunk.map_err(|error| error.to_string())?;
                    buffer.extend_from_slice(&chunk);
                    let _ = body.flow_control().release_capacity(chunk.len());
                }
                None => {
                    let trailers = body.trailers().await.map_err(|error| error.to_string())?;
                    *self = Incoming::Ended;
                    return match trailers.as_ref().and_then(status_fault) {
                        Some(fault) => Err(fault),
                        None => Ok(None),
                    };
                }
            }
        }
    }
}

fn head_fault(response: &http::Response<RecvStream>) -> Option<String> {
    if !response.status().is_success() {
        return Some(format!("HTTP status {}", response.status().as_u16()));
    }
    status_fault(response.headers())
}

fn status_fault(headers: &HeaderMap) -> Option<String> {
    let status = headers.get("grpc-status")?.to_str().unwrap_or("unreadable");
    if status == "0" {
        return None;
    }
    let message = headers.get("grpc-message").and_then(|text| text.to_str().ok()).unwrap_or_default();
    Some(format!("gRPC status {status} {message}").trim_end().to_owned())
}

fn deframe(buffer: &mut BytesMut) -> Result<Option<Bytes>, String> {
    let Some(head) = buffer.first_chunk::<5>() else { return Ok(None) };
    if head[0] != 0 {
        return Err("a compressed message came, which was not asked for".to_owned());
    }
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if length > MAX_MESSAGE {
        return Err(format!("a message of {length} bytes is more than the {MAX_MESSAGE} that are taken"));
    }
    if buffer.len() < length + 5 {
        buffer.reserve(length + 5 - buffer.len());
        return Ok(None);
    }
    buffer.advance(5);
    Ok(Some(buffer.split_to(length).freeze()))
}

//! A server on a real socket, for conformance tools. Asked for by hand:
//! `RIPSTOP_H2_PORT=8080 cargo test -- --ignored serves_conformance_tools`.
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::super::*;
use super::pair::{Told, feed, response};

/// Answer each request when it has ended, until the client goes.
fn serve(mut socket: TcpStream) -> std::io::Result<()> {
    let mut server = Connection::server(Settings { max_concurrent_streams: 100, ..Settings::default() });
    let mut buffer = vec![0; 65_536];
    loop {
        socket.write_all(&std::mem::take(server.out()))?;
        let n = socket.read(&mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        let Ok(told) = feed(&mut server, &buffer[..n]) else {
            socket.write_all(server.out())?;
            socket.shutdown(std::net::Shutdown::Write)?;
            socket.set_read_timeout(Some(Duration::from_secs(1)))?;
            while socket.read(&mut buffer)? > 0 {}
            return Ok(());
        };
        for event in told {
            let stream = match event {
                Told::Request(stream, _, true) | Told::Data(stream, _, true) | Told::Trailers(stream, _) => {
                    stream
                }
                _ => continue,
            };
            server.send_response(stream, &response(200), false);
            server.send_data(stream, &[b'x'; 1024], true);
        }
    }
}

#[test]
#[ignore = "a server for tools"]
fn serves_conformance_tools() {
    let port = std::env::var("RIPSTOP_H2_PORT").unwrap_or_else(|_| "8080".into());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).unwrap();
    for socket in listener.incoming().flatten() {
        std::thread::spawn(move || serve(socket));
    }
}

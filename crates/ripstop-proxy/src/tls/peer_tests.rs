//! Sessions against rustls' own connections.
use super::fixtures::*;
use super::{ClientTls, ServerTls};
use proptest::prelude::*;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Connection, ServerConnection};
use std::io::{Read, Write};
use std::sync::{Arc, LazyLock};

type Pair = (Arc<ServerTls>, Arc<ClientTls>);
static MESH: LazyLock<Pair> = LazyLock::new(|| mesh(&["h2"]));

/// rustls' buffered connection and all that it read.
struct Peer {
    connection: Connection,
    plain: Vec<u8>,
    is_closed: bool,
}

impl Peer {
    fn client() -> Peer {
        let name = ServerName::try_from("a.mesh").unwrap();
        Peer::new(ClientConnection::new(MESH.1.rustls(), name).unwrap().into())
    }

    fn server() -> Peer {
        Peer::new(ServerConnection::new(MESH.0.config.clone()).unwrap().into())
    }

    fn new(connection: Connection) -> Peer {
        Peer { connection, plain: Vec::new(), is_closed: false }
    }

    fn receive(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.connection.read_tls(&mut bytes).unwrap();
            let state = self.connection.process_new_packets().unwrap();
            let mut part = vec![0; state.plaintext_bytes_to_read()];
            self.connection.reader().read_exact(&mut part).unwrap();
            self.plain.extend(part);
            self.is_closed |= state.peer_has_closed();
        }
    }

    fn send(&mut self, plain: &[u8]) {
        self.connection.set_buffer_limit(None);
        self.connection.writer().write_all(plain).unwrap();
    }

    fn talk(&mut self, end: &mut End, sizes: &mut dyn Iterator<Item = usize>) {
        while self.connection.wants_write() || !end.out.is_empty() {
            let mut bytes = Vec::new();
            while self.connection.wants_write() {
                self.connection.write_tls(&mut bytes).unwrap();
            }
            let from_end = std::mem::take(&mut end.out);
            end.receive(&bytes, sizes);
            self.receive(&from_end);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_peer_of_another_make_is_understood(
        is_server: bool,
        sizes in prop::collection::vec(1usize..5000, 1..20),
        steps in prop::collection::vec((0u8..4, prop::collection::vec(any::<u8>(), 0..20_000)), 0..10),
    ) {
        let mut sizes = sizes.into_iter().cycle();
        let (mut end, mut peer) = match is_server {
            true => (End::server(&MESH.0), Peer::client()),
            false => (End::client(&MESH.1, "a.mesh"), Peer::server()),
        };
        peer.talk(&mut end, &mut sizes);
        prop_assert!(!end.session.is_handshaking(), "{:?}", end.failure);
        let (mut to_end, mut to_peer) = (Vec::new(), Vec::new());
        for (step, data) in &steps {
            match step {
                0 => {
                    peer.send(data);
                    to_end.extend_from_slice(data);
                }
                1 if !data.is_empty() => {
                    end.send(data);
                    to_peer.extend_from_slice(data);
                }
                2 => peer.connection.refresh_traffic_keys().unwrap(),
                _ => peer.talk(&mut end, &mut sizes),
            }
        }
        peer.connection.send_close_notify();
        peer.talk(&mut end, &mut sizes);
        end.session.close(&mut end.out);
        peer.talk(&mut end, &mut sizes);
        prop_assert!(end.failure.is_none(), "{:?}", end.failure);
        prop_assert!(end.plain == to_end && peer.plain == to_peer);
        prop_assert!(end.peer_closed && peer.is_closed);
    }
}

#[test]
fn a_peer_of_another_make_understands_our_new_keys() {
    let (mut end, mut peer) = (End::server(&MESH.0), Peer::client());
    let mut sizes = std::iter::repeat(usize::MAX);
    peer.talk(&mut end, &mut sizes);
    for _ in 0..3 {
        end.session.established().limit_send_keys(1);
        end.send(&[5; 40_000]);
        peer.talk(&mut end, &mut sizes);
    }
    assert_eq!(peer.plain, vec![5; 120_000]);
}

use super::super::fixtures::*;
use super::super::{client_config, server_config};
use proptest::prelude::*;
use ripstop_core::snapshot::*;
use std::sync::{Arc, LazyLock};

type Pair = (Arc<super::ServerTls>, Arc<super::ClientTls>);
static MESH: LazyLock<Pair> = LazyLock::new(|| mesh(&["h2", "http/1.1"]));

fn connected() -> (End, End) {
    let (mut client, mut server) = (End::client(&MESH.1, "reviews.mesh"), End::server(&MESH.0));
    talk(&mut client, &mut server);
    (client, server)
}

#[test]
fn both_ends_of_a_mesh_connection_know_who_the_other_is() {
    let (client, server) = connected();
    let (at_client, at_server) = (client.session.info(), server.session.info());
    assert_eq!(at_client.version, "TLSv1.3");
    assert_eq!(at_client.cipher, "TLS_AES_128_GCM_SHA256");
    assert_eq!(at_server.alpn, "h2");
    let peer = at_server.peer.as_ref().expect("the client showed a certificate");
    assert_eq!(&*peer.uris[0], "spiffe://mesh/ns/a/sa/client");
    assert_eq!(peer.subject, "O=Acme\\, Inc.,CN=a workload");
    assert_eq!(peer.fingerprint.len(), 64);
    assert_eq!(&*at_server.local_uri, "spiffe://mesh/ns/a/sa/server");
    assert_eq!(&*at_client.local_uri, "spiffe://mesh/ns/a/sa/client");
    assert_eq!(&*at_client.peer.as_ref().expect("servers do").uris[0], "spiffe://mesh/ns/a/sa/server");
    assert_eq!(server.session.server_name(), Some("reviews.mesh"));
}

#[test]
fn what_one_sends_the_other_gets_and_close_is_told() {
    let (mut client, mut server) = connected();
    client.send(b"hello");
    talk(&mut client, &mut server);
    server.send(&vec![7; 100_000]);
    server.session.close(&mut server.out);
    talk(&mut client, &mut server);
    assert_eq!(server.plain, b"hello");
    assert_eq!(client.plain, vec![7; 100_000]);
    assert!(client.peer_closed && !server.peer_closed);
    client.send(b"a last word");
    talk(&mut client, &mut server);
    assert_eq!(server.plain, b"helloa last word");
}

#[test]
fn records_are_as_long_as_may_be() {
    let (mut client, _server) = connected();
    client.send(&vec![1; 64 * 1024]);
    assert_eq!(client.out.len(), 4 * (16 * 1024 + 5 + 1 + 16));
}

#[test]
fn sending_before_the_handshake_is_done_is_refused() {
    let mut client = End::client(&MESH.1, "");
    let mut out = Vec::new();
    assert!(client.session.send(b"early", &mut out).is_err());
    assert!(out.is_empty());
}

#[test]
fn a_client_without_a_certificate_is_refused_where_one_is_required() {
    let authority = Authority::new("mesh");
    let leaf = authority.leaf(&["spiffe://mesh/a"]);
    let validation = Some(trusting(&authority, ""));
    let none = Named::default();
    let config = |required| {
        let tls = downstream(context(vec![leaf.inline()], validation.clone(), &[]), required);
        server_config(&tls, &none).unwrap()
    };
    let anonymous = client_config(&upstream(context(vec![], validation.clone(), &[])), &none).unwrap();
    let (mut client, mut server) = (End::client(&anonymous, ""), End::server(&config(true)));
    talk(&mut client, &mut server);
    assert!(server.reason().contains("PEER_DID_NOT_RETURN_A_CERTIFICATE"), "{:?}", server.failure);
    assert!(client.reason().contains("TLSV1_ALERT_CERTIFICATE_REQUIRED"), "{:?}", client.failure);

    let (mut client, mut server) = (End::client(&anonymous, ""), End::server(&config(false)));
    talk(&mut client, &mut server);
    assert!(!server.session.is_handshaking() && server.failure.is_none());
    assert_eq!(server.session.info().peer, None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn however_the_bytes_are_cut_the_same_arrives(
        sizes in prop::collection::vec(1usize..3000, 1..40),
        messages in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 1..40_000)), 0..6),
    ) {
        let mut sizes = sizes.into_iter().cycle();
        let (mut client, mut server) = (End::client(&MESH.1, "a.b"), End::server(&MESH.0));
        talk_in_pieces(&mut client, &mut server, &mut sizes);
        prop_assert!(!client.session.is_handshaking() && !server.session.is_handshaking());
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        for (is_up, message) in &messages {
            let (from, expected) =
                if *is_up { (&mut client, &mut to_server) } else { (&mut server, &mut to_client) };
            from.send(message);
            expected.extend_from_slice(message);
            if message.len() % 2 == 0 {
                talk_in_pieces(&mut client, &mut server, &mut sizes);
            }
        }
        talk_in_pieces(&mut client, &mut server, &mut sizes);
        prop_assert!(server.plain == to_server && client.plain == to_client);
    }
}

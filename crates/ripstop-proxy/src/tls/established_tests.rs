use super::super::fixtures::*;
use super::super::{ClientTls, ServerTls};
use super::*;
use std::sync::{Arc, LazyLock};

static MESH: LazyLock<(Arc<ServerTls>, Arc<ClientTls>)> = LazyLock::new(|| mesh(&[]));

fn connected() -> (End, End) {
    let (mut client, mut server) = (End::client(&MESH.1, ""), End::server(&MESH.0));
    talk(&mut client, &mut server);
    (client, server)
}

/// Send one record of a type of our choice.
fn seal(end: &mut End, kind: u8, content: &[u8]) {
    end.session.established().seal(kind, content, &mut end.out).unwrap();
}

#[test]
fn used_up_keys_are_replaced_and_data_goes_on() {
    let (mut client, mut server) = connected();
    for round in 0u8..20 {
        client.session.established().limit_send_keys(3);
        server.session.established().limit_send_keys(1);
        client.send(&vec![round; 40_000]);
        server.send(&[round; 10]);
        talk(&mut client, &mut server);
    }
    assert_eq!(server.plain.len(), 800_000);
    assert_eq!(client.plain.len(), 200);
    assert!(client.failure.is_none() && server.failure.is_none());
}

#[test]
fn a_request_for_new_keys_is_answered_once_however_often_it_came() {
    let (mut client, mut server) = connected();
    for _ in 0..3 {
        let end = client.session.established();
        end.send.seal(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 1], &mut client.out).unwrap();
        let Schedule::Client(schedule) = &mut end.schedule else { panic!("it is a client") };
        end.send = Keys::new(schedule.update_tx_secret().unwrap()).unwrap();
    }
    let bytes = std::mem::take(&mut client.out);
    server.receive(&bytes, &mut std::iter::repeat(usize::MAX));
    assert_eq!(server.out.len(), 5 + OVERHEAD);
    server.send(b"under new keys");
    client.send(b"as well");
    talk(&mut client, &mut server);
    assert_eq!((&client.plain[..], &server.plain[..]), (&b"under new keys"[..], &b"as well"[..]));
}

#[test]
fn a_changed_record_ends_the_connection_and_the_peer_is_told() {
    let (mut client, mut server) = connected();
    client.send(b"something");
    client.out[10] ^= 1;
    talk(&mut client, &mut server);
    assert!(server.reason().contains("BAD_RECORD_MAC"), "{:?}", server.failure);
    assert!(client.reason().contains("SSLV3_ALERT_BAD_RECORD_MAC"), "{:?}", client.failure);
    assert_eq!(server.plain, b"");
    assert!(server.session.send(b"more", &mut Vec::new()).is_err());
}

#[test]
fn a_repeated_record_ends_the_connection() {
    let (mut client, mut server) = connected();
    client.send(b"pay");
    client.out.extend_from_within(..);
    talk(&mut client, &mut server);
    assert_eq!(server.plain, b"pay");
    assert!(server.reason().contains("BAD_RECORD_MAC"));
}

#[test]
fn what_does_not_belong_after_the_handshake_is_refused() {
    let new_certificate_request = [13, 0, 0, 3, 0, 0, 0];
    let client_hello = [1, 0, 0, 1, 0];
    let key_update_and_more = [KEY_UPDATE, 0, 0, 1, 0, KEY_UPDATE];
    for (kind, content) in [
        (HANDSHAKE, &new_certificate_request[..]),
        (HANDSHAKE, &client_hello),
        (HANDSHAKE, &key_update_and_more),
        (HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 2]),
        (HANDSHAKE, &[KEY_UPDATE, 0, 0, 2, 0, 0]),
        (HANDSHAKE, &[NEW_SESSION_TICKET, 0, 0, 1, 0]),
        (HANDSHAKE, &[NEW_SESSION_TICKET, 255, 0, 0]),
        (HANDSHAKE, &[]),
        (CHANGE_CIPHER_SPEC, &[1]),
        (ALERT, &[1]),
        (ALERT, &[1, 0, 1, 0]),
        (0, &[]),
        (99, &[1, 2, 3]),
    ] {
        let (mut client, mut server) = connected();
        seal(&mut client, kind, content);
        client.send(b"after it");
        talk(&mut client, &mut server);
        assert!(server.failure.is_some(), "type {kind}: {content:?}");
        assert!(client.failure.is_some(), "the peer is told of type {kind}: {content:?}");
        assert_eq!(server.plain, b"", "nothing after it counts");
    }
}

#[test]
fn unencrypted_records_are_refused_after_the_handshake() {
    for record in
        [[21, 3, 3, 0, 2, 1, 0], [20, 3, 3, 0, 1, 1, 0], [22, 3, 3, 0, 2, 0, 0], [23, 3, 3, 0, 2, 0, 0]]
    {
        let (_client, mut server) = connected();
        server.receive(&record, &mut std::iter::repeat(usize::MAX));
        assert!(server.failure.is_some() && !server.peer_closed, "{record:?}");
    }
}

#[test]
fn records_that_are_too_long_are_refused_at_their_header() {
    let (_client, mut server) = connected();
    server.receive(&[23, 3, 3, 0x41, 1], &mut std::iter::repeat(usize::MAX));
    assert!(server.reason().contains("EXCESSIVE_MESSAGE_SIZE"), "{:?}", server.failure);
}

#[test]
fn data_between_parts_of_a_message_is_refused() {
    let (mut client, mut server) = connected();
    seal(&mut client, HANDSHAKE, &[KEY_UPDATE, 0, 0]);
    client.send(b"data");
    talk(&mut client, &mut server);
    assert!(server.failure.is_some() && server.plain.is_empty());
}

#[test]
fn records_without_data_have_a_limit_that_data_resets() {
    let (mut client, mut server) = connected();
    for _ in 0..5 {
        for _ in 0..MAX_IDLE_RECORDS {
            seal(&mut client, APPLICATION_DATA, b"");
        }
        client.send(b".");
    }
    talk(&mut client, &mut server);
    assert_eq!(server.plain, b".....");
    for _ in 0..=MAX_IDLE_RECORDS {
        seal(&mut client, APPLICATION_DATA, b"");
    }
    talk(&mut client, &mut server);
    assert!(server.failure.is_some());
}

#[test]
fn alerts_other_than_closing_are_failures_whatever_their_level() {
    for level in [WARNING, FATAL] {
        let (mut client, mut server) = connected();
        seal(&mut client, ALERT, &[level, 90]);
        client.send(b"never mind");
        seal(&mut client, ALERT, &[level, 49]);
        talk(&mut client, &mut server);
        assert_eq!(server.plain, b"never mind");
        assert!(server.reason().contains("TLSV1_ALERT_ACCESS_DENIED"));
        assert!(server.out.is_empty() && client.failure.is_none(), "an alert is not answered");
    }
}

#[test]
fn nothing_after_close_notify_counts() {
    let (mut client, mut server) = connected();
    client.session.close(&mut client.out);
    client.session.close(&mut client.out);
    let once = client.out.len();
    assert_eq!(once, 2 + OVERHEAD);
    client.out.extend_from_slice(b"whatever follows");
    talk(&mut client, &mut server);
    assert!(server.peer_closed && server.failure.is_none() && server.plain.is_empty());
    assert!(client.session.send(b"more", &mut Vec::new()).is_err());
}

#[test]
fn padding_is_taken_off() {
    let (mut client, mut server) = connected();
    seal(&mut client, 0, &[b'h', b'i', APPLICATION_DATA, 0, 0, 0, 0]);
    talk(&mut client, &mut server);
    assert_eq!(server.plain, b"hi");
}

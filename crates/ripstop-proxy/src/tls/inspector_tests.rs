use super::super::fixtures::{End, mesh};
use super::*;
use proptest::prelude::*;
use std::sync::LazyLock;

static HELLO: LazyLock<Vec<u8>> =
    LazyLock::new(|| End::client(&mesh(&["h2", "http/1.1"]).1, "Reviews.Mesh").out);

fn expected() -> Peek {
    Peek::Hello {
        server_name: Some("reviews.mesh".to_owned()),
        alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
    }
}

/// The same message in records of at most `size` bytes.
fn in_records(size: usize) -> Vec<u8> {
    let chunks = HELLO[5..].chunks(size);
    chunks
        .flat_map(|chunk| {
            let length = u16::try_from(chunk.len()).unwrap().to_be_bytes();
            [&[22, 3, 1, length[0], length[1]], chunk].concat()
        })
        .collect()
}

#[test]
fn a_client_hello_tells_its_name_and_protocols() {
    assert_eq!(peek(&HELLO), expected());
    assert_eq!(peek(&[&HELLO[..], b"what follows"].concat()), expected());
}

#[test]
fn every_beginning_of_a_client_hello_wants_more() {
    for end in 0..HELLO.len() {
        assert_eq!(peek(&HELLO[..end]), Peek::NeedMore, "{end} bytes");
    }
}

#[test]
fn a_client_hello_may_come_in_many_records() {
    for size in [1, 3, 7, 100, 1000] {
        assert_eq!(peek(&in_records(size)), expected(), "records of {size} bytes");
    }
}

#[test]
fn other_protocols_are_known_at_their_first_bytes() {
    for start in
        ["GET / HTTP/1.1\r\n", "PRI * HTTP/2.0", "SSH-2.0", "\0\0\0\x08", "\x16\x02\x01", "\x15\x03\x01"]
    {
        assert_eq!(peek(start.as_bytes()), Peek::NotTls, "{start:?}");
    }
    assert_eq!(peek(&[22, 3, 1, 0, 4, 2, 0, 0, 0]), Peek::NotTls, "a ServerHello");
    assert_eq!(peek(&[22, 3, 1, 0, 0]), Peek::NotTls, "an empty record");
    assert_eq!(peek(&[22, 3, 1, 0, 4, 1, 2, 0, 0]), Peek::NotTls, "a ClientHello of 128 KiB");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        peek(&bytes);
        peek(&[&[22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3], &bytes[..]].concat());
    }

    #[test]
    fn a_broken_client_hello_does_not_make_it_panic(at in 0usize..2000, byte: u8, cut in 0usize..2000) {
        let mut hello = HELLO.clone();
        let n = hello.len();
        hello[at % n] = byte;
        peek(&hello);
        peek(&hello[..cut % n]);
    }
}

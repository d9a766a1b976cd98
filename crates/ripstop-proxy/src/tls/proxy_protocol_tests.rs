use super::*;
use proptest::prelude::*;

fn addresses(source: &str, destination: &str) -> ProxyHeader {
    ProxyHeader::Addresses { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

#[test]
fn version_1_is_read() {
    let line = b"PROXY TCP4 192.168.0.1 10.0.0.1 56324 443\r\nGET /";
    assert_eq!(parse(line), (addresses("192.168.0.1:56324", "10.0.0.1:443"), line.len() - 5));
    let line = b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n";
    assert_eq!(parse(line), (addresses("[2001:db8::1]:1", "[::1]:65535"), line.len()));
    assert_eq!(parse(b"PROXY UNKNOWN\r\n"), (ProxyHeader::Local, 15));
    assert_eq!(parse(b"PROXY UNKNOWN ffff::1 whatever\r\n"), (ProxyHeader::Local, 32));
}

#[test]
fn malformed_lines_are_refused() {
    for line in [
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
        "PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n",
        "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "GET / HTTP/1.1\r\n",
    ] {
        assert_eq!(parse(line.as_bytes()), (ProxyHeader::Invalid, 0), "{line:?}");
    }
    assert_eq!(parse(&[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 100]].concat()), (ProxyHeader::Invalid, 0));
}

#[test]
fn version_2_local_and_unknown_families_leave_the_addresses_alone() {
    let mut local = Vec::new();
    write_local(&mut local);
    assert_eq!(parse(&local), (ProxyHeader::Local, 16));
    let unspecified = [SIGNATURE.as_slice(), &[0x21, 0x00, 0, 2, 9, 9]].concat();
    assert_eq!(parse(&unspecified), (ProxyHeader::Local, 18));
}

#[test]
fn version_2_that_cannot_be_understood_is_refused() {
    for rest in
        [[0x31, 0x11, 0, 0], [0x22, 0x11, 0, 0], [0x21, 0x31, 0, 0], [0x21, 0x12, 0, 0], [0x21, 0x11, 0, 0]]
    {
        assert_eq!(parse(&[SIGNATURE.as_slice(), &rest].concat()), (ProxyHeader::Invalid, 0), "{rest:?}");
    }
}

#[test]
fn tlvs_are_passed_over() {
    let mut header = Vec::new();
    write(2, "1.2.3.4:5".parse().unwrap(), "6.7.8.9:10".parse().unwrap(), &mut header);
    header[15] += 3;
    header.extend_from_slice(&[4, 0, 0, b'x']);
    assert_eq!(parse(&header), (addresses("1.2.3.4:5", "6.7.8.9:10"), header.len() - 1));
}

proptest! {
    #[test]
    fn what_is_written_is_read(version in 1u8..=2, source: SocketAddr, destination: SocketAddr, rest: Vec<u8>) {
        let plain = |address: SocketAddr| SocketAddr::new(address.ip(), address.port());
        let mut header = Vec::new();
        write(version, source, destination, &mut header);
        for end in 0..header.len() {
            prop_assert_eq!(parse(&header[..end]), (ProxyHeader::NeedMore, 0));
        }
        let n = header.len();
        header.extend_from_slice(&rest);
        let both = |address: SocketAddr| match source.is_ipv4() == destination.is_ipv4() {
            true => plain(address),
            false => SocketAddr::new(IpAddr::V6(as_v6(address.ip())), address.port()),
        };
        let expected = ProxyHeader::Addresses { source: both(source), destination: both(destination) };
        prop_assert_eq!(parse(&header), (expected, n));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        parse(&bytes);
        parse(&[V1_START, &bytes].concat());
        parse(&[SIGNATURE.as_slice(), &bytes].concat());
    }
}

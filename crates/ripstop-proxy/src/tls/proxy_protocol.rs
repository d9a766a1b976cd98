//! PROXY protocol, versions 1 and 2 (haproxy.org, "The PROXY protocol", sections 2.1 and 2.2): who really connected, told in
//! front of everything else. Read for `envoy.filters.listener.proxy_protocol`, written towards upstreams.
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V1_START: &[u8] = b"PROXY ";
/// The longest line of version 1, with its end (section 2.1).
const V1_MAX: usize = 107;
const V2_HEADER: usize = 16;

/// What the beginning of a connection says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// A header so far; it is not complete.
    NeedMore,
    /// Not a header that may be believed.
    Invalid,
    /// The proxy speaks for itself, or does not know: the socket's addresses count.
    Local,
    /// Who connected, and to where.
    Addresses {
        /// The client.
        source: SocketAddr,
        /// What it connected to.
        destination: SocketAddr,
    },
}

/// Read a header from all bytes since the connection began. The second is how many bytes it takes; 0 for `NeedMore` and `Invalid`.
pub fn parse(buf: &[u8]) -> (ProxyHeader, usize) {
    if starts_alike(buf, SIGNATURE) {
        parse_v2(buf)
    } else if starts_alike(buf, V1_START) {
        parse_v1(buf)
    } else {
        (ProxyHeader::Invalid, 0)
    }
}

/// Whether one begins with the other.
fn starts_alike(buf: &[u8], start: &[u8]) -> bool {
    let n = buf.len().min(start.len());
    buf[..n] == start[..n]
}

fn parse_v1(buf: &[u8]) -> (ProxyHeader, usize) {
    let window = &buf[..buf.len().min(V1_MAX)];
    let Some(end) = memchr::memchr(b'\n', window) else {
        let fault = if window.len() == V1_MAX { ProxyHeader::Invalid } else { ProxyHeader::NeedMore };
        return (fault, 0);
    };
    let line = window[..end].strip_suffix(b"\r").and_then(|line| std::str::from_utf8(line).ok());
    match line.and_then(line_v1) {
        Some(header) => (header, end + 1),
        None => (ProxyHeader::Invalid, 0),
    }
}

fn line_v1(line: &str) -> Option<ProxyHeader> {
    let mut words = line.split(' ').skip(1);
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(ProxyHeader::Local);
    }
    let (source, destination) = (words.next()?, words.next()?);
    let (source_port, destination_port) = (port(words.next()?)?, port(words.next()?)?);
    if words.next().is_some() {
        return None;
    }
    let (source, destination): (IpAddr, IpAddr) = match family {
        "TCP4" => (source.parse::<Ipv4Addr>().ok()?.into(), destination.parse::<Ipv4Addr>().ok()?.into()),
        "TCP6" => (source.parse::<Ipv6Addr>().ok()?.into(), destination.parse::<Ipv6Addr>().ok()?.into()),
        _ => return None,
    };
    Some(ProxyHeader::Addresses {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    })
}

/// A decimal number without sign or leading zeros.
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_plain { text.parse().ok() } else { None }
}

fn parse_v2(buf: &[u8]) -> (ProxyHeader, usize) {
    let Some((header, rest)) = buf.split_at_checked(V2_HEADER) else {
        let is_other_version = buf.get(12).is_some_and(|byte| byte >> 4 != 2);
        return (if is_other_version { ProxyHeader::Invalid } else { ProxyHeader::NeedMore }, 0);
    };
    let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
    let (version, command, family) = (header[12] >> 4, header[12] & 0xf, header[13]);
    if version != 2 || command > 1 {
        return (ProxyHeader::Invalid, 0);
    }
    let Some(block) = rest.get(..length) else { return (ProxyHeader::NeedMore, 0) };
    // TLVs after the addresses are passed over, as Envoy does unless told otherwise.
    let found = match (command, family) {
        (0, _) | (1, 0x00) => Some(ProxyHeader::Local),
        (_, 0x11) => addresses_v4(block),
        (_, 0x21) => addresses_v6(block),
        _ => None,
    };
    match found {
        Some(header) => (header, V2_HEADER + length),
        None => (ProxyHeader::Invalid, 0),
    }
}

fn addresses_v4(block: &[u8]) -> Option<ProxyHeader> {
    let (source, rest) = block.split_first_chunk::<4>()?;
    let (destination, rest) = rest.split_first_chunk::<4>()?;
    with_ports(IpAddr::from(*source), IpAddr::from(*destination), rest)
}

fn addresses_v6(block: &[u8]) -> Option<ProxyHeader> {
    let (source, rest) = block.split_first_chunk::<16>()?;
    let (destination, rest) = rest.split_first_chunk::<16>()?;
    with_ports(IpAddr::from(*source), IpAddr::from(*destination), rest)
}

fn with_ports(source: IpAddr, destination: IpAddr, ports: &[u8]) -> Option<ProxyHeader> {
    let (a, rest) = ports.split_first_chunk::<2>()?;
    let (b, _) = rest.split_first_chunk::<2>()?;
    Some(ProxyHeader::Addresses {
        source: SocketAddr::new(source, u16::from_be_bytes(*a)),
        destination: SocketAddr::new(destination, u16::from_be_bytes(*b)),
    })
}

/// Append a header of `version` 1 or 2. Addresses of different families are both written as IPv6 (RFC 4291 section 2.5.5.2).
pub fn write(version: u8, source: SocketAddr, destination: SocketAddr, out: &mut Vec<u8>) {
    let (from, to) = match (source.ip(), destination.ip()) {
        (IpAddr::V4(_), IpAddr::V4(_)) => (source.ip(), destination.ip()),
        (from, to) => (IpAddr::V6(as_v6(from)), IpAddr::V6(as_v6(to))),
    };
    let (from, to) = (SocketAddr::new(from, source.port()), SocketAddr::new(to, destination.port()));
    if version == 1 { write_v1(from, to, out) } else { write_v2(from, to, out) }
}

/// Append a header of version 2 that says that nobody is spoken for: of health checks.
pub fn write_local(out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    out.extend_from_slice(&[0x20, 0, 0, 0]);
}

fn as_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

fn write_v1(from: SocketAddr, to: SocketAddr, out: &mut Vec<u8>) {
    let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
    // Writing to a vector does not fail.
    let _ = write!(out, "PROXY {family} {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port());
}

fn write_v2(from: SocketAddr, to: SocketAddr, out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    match (from.ip(), to.ip()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            out.extend_from_slice(&[0x21, 0x11, 0, 12]);
            out.extend_from_slice(&a.octets());
            out.extend_from_slice(&b.octets());
        }
        (a, b) => {
            out.extend_from_slice(&[0x21, 0x21, 0, 36]);
            out.extend_from_slice(&as_v6(a).octets());
            out.extend_from_slice(&as_v6(b).octets());
        }
    }
    out.extend_from_slice(&from.port().to_be_bytes());
    out.extend_from_slice(&to.port().to_be_bytes());
}

#[cfg(test)]
#[path = "proxy_protocol_tests.rs"]
mod tests;

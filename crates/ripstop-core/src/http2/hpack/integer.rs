//! Integers with a prefix of some bits (RFC 7541, section 5.1).

/// Larger numbers are an error: no length, index or table size is ever near.
const LARGEST: u32 = 1 << 28;

/// Read an integer whose first octet is `input[0]`, of which the low `prefix` bits count. Returns it and the octets it took;
/// `None` when it is cut off or too large.
#[inline]
pub(super) fn read(input: &[u8], prefix: u32) -> Option<(usize, usize)> {
    let mask = (1u32 << prefix) - 1;
    let first = u32::from(*input.first()?) & mask;
    if first < mask {
        return Some((first as usize, 1));
    }
    read_long(input, first)
}

fn read_long(input: &[u8], first: u32) -> Option<(usize, usize)> {
    let mut value = first;
    for (at, &byte) in input.iter().enumerate().skip(1).take(5) {
        let part = u32::from(byte & 0x7f).checked_shl(7 * (at as u32 - 1))?;
        if part >> (7 * (at as u32 - 1)) != u32::from(byte & 0x7f) {
            return None;
        }
        value = value.checked_add(part).filter(|v| *v <= LARGEST)?;
        if byte & 0x80 == 0 {
            return Some((value as usize, at + 1));
        }
    }
    None
}

/// Write `value` with `first` as the bits above the prefix.
#[inline]
pub(super) fn write(value: usize, prefix: u32, first: u8, out: &mut Vec<u8>) {
    let mask = (1usize << prefix) - 1;
    if value < mask {
        out.push(first | value as u8);
        return;
    }
    write_long(value - mask, first | mask as u8, out);
}

fn write_long(mut rest: usize, first: u8, out: &mut Vec<u8>) {
    out.push(first);
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

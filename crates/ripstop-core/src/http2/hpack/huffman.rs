//! The Huffman code of RFC 7541, Appendix B. The code is canonical, so the lengths alone give it.

/// The length of each symbol's code in bits; the last one is EOS.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

const EOS: u16 = 256;
const LONGEST: usize = 30;
/// Codes up to this many bits are found with one look; all of ASCII that headers use is among them.
const SHORT: usize = 8;

struct Codes {
    /// By symbol, in the low bits.
    code: [u32; 257],
    /// By length: the first code that is too large, moved to the top of 32 bits.
    limit: [u64; LONGEST + 1],
    /// By length: the first code.
    first: [u32; LONGEST + 1],
    /// By length: where its symbols begin in `sorted`.
    offset: [u16; LONGEST + 1],
    /// The symbols by length, then by value.
    sorted: [u16; 257],
    /// By the next eight bits: symbol and length, or length 0 when the code is longer.
    short: [(u8, u8); 1 << SHORT],
}

const fn codes() -> Codes {
    let mut all = Codes {
        code: [0; 257],
        limit: [0; LONGEST + 1],
        first: [0; LONGEST + 1],
        offset: [0; LONGEST + 1],
        sorted: [0; 257],
        short: [(0, 0); 1 << SHORT],
    };
    let (mut code, mut length, mut found) = (0u32, 1, 0usize);
    while length <= LONGEST {
        all.first[length] = code;
        all.offset[length] = found as u16;
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol] as usize == length {
                all.code[symbol] = code;
                all.sorted[found] = symbol as u16;
                if length <= SHORT {
                    let mut at = (code as usize) << (SHORT - length);
                    let end = (code as usize + 1) << (SHORT - length);
                    while at < end {
                        all.short[at] = (symbol as u8, length as u8);
                        at += 1;
                    }
                }
                code += 1;
                found += 1;
            }
            symbol += 1;
        }
        all.limit[length] = (code as u64) << (32 - length);
        code <<= 1;
        length += 1;
    }
    all
}

static CODES: Codes = codes();

/// How many octets `text` takes when it is encoded.
pub fn encoded_len(text: &[u8]) -> usize {
    text.iter().map(|&b| LENGTHS[b as usize] as usize).sum::<usize>().div_ceil(8)
}

/// Encode `text` to the end of `out`.
pub fn encode(text: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut held) = (0u64, 0u32);
    for &byte in text {
        let length = u32::from(LENGTHS[byte as usize]);
        bits = bits << length | u64::from(CODES.code[byte as usize]);
        held += length;
        while held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    if held > 0 {
        out.push((bits << (8 - held)) as u8 | 0xff >> held);
    }
}

/// Decode `input` to the end of `out`. `None` when it is no valid code (RFC 7541, section 5.2: EOS inside, padding
/// of eight bits or more, padding other than ones).
pub fn decode(input: &[u8], out: &mut Vec<u8>) -> Option<()> {
    // `bits` holds the next `held` bits at its top.
    let (mut bits, mut held, mut rest) = (0u64, 0u32, input);
    loop {
        while held <= 56 {
            let Some((&byte, left)) = rest.split_first() else { break };
            bits |= u64::from(byte) << (56 - held);
            held += 8;
            rest = left;
        }
        // 30 bits hold the longest code; less is safe only when there is no more to come.
        while held >= LONGEST as u32 || (rest.is_empty() && held >= SHORT as u32) {
            let (symbol, length) = match CODES.short[(bits >> 56) as usize] {
                (_, 0) => long(bits, held)?,
                short => short,
            };
            out.push(symbol);
            bits <<= length;
            held -= u32::from(length);
        }
        if rest.is_empty() {
            break;
        }
    }
    tail(bits, held, out)
}

/// A symbol whose code is longer than eight bits.
fn long(bits: u64, held: u32) -> Option<(u8, u8)> {
    let next = bits >> 32;
    for length in SHORT + 1..=LONGEST {
        if next < CODES.limit[length] {
            let nth = (next >> (32 - length)) as u32 - CODES.first[length];
            let symbol = CODES.sorted[usize::from(CODES.offset[length]) + nth as usize];
            let is_whole = length as u32 <= held && symbol != EOS;
            return is_whole.then_some((symbol as u8, length as u8));
        }
    }
    None
}

/// The last, fewer than eight bits: perhaps one symbol, then ones.
fn tail(mut bits: u64, mut held: u32, out: &mut Vec<u8>) -> Option<()> {
    loop {
        let padded = bits | u64::MAX.checked_shr(held).unwrap_or(0);
        if padded == u64::MAX {
            return Some(());
        }
        let (symbol, length) = CODES.short[(padded >> 56) as usize];
        if length == 0 || u32::from(length) > held {
            return None;
        }
        out.push(symbol);
        bits <<= length;
        held -= u32::from(length);
    }
}

//! The vectors of RFC 7541, Appendix C, and what they leave out.
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .bytes()
        .filter(|b| !b.is_ascii_whitespace())
        .map(|b| (b as char).to_digit(16).unwrap() as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn decoded(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, HpackError> {
    let mut fields = Vec::new();
    decoder.decode(block, |f| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        fields.push((text(f.name), text(f.value)));
    })?;
    Ok(fields)
}

fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

const FIRST: &[(&str, &str)] =
    &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];
const SECOND: &[(&str, &str)] = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":path", "/"),
    (":authority", "www.example.com"),
    ("cache-control", "no-cache"),
];
const THIRD: &[(&str, &str)] = &[
    (":method", "GET"),
    (":scheme", "https"),
    (":path", "/index.html"),
    (":authority", "www.example.com"),
    ("custom-key", "custom-value"),
];

#[test]
fn integers_are_read_and_written_as_in_c_1() {
    for (value, prefix, hex) in [(10, 5, "0a"), (1337, 5, "1f9a0a"), (42, 8, "2a")] {
        assert_eq!(integer::read(&octets(hex), prefix), Some((value, hex.len() / 2)));
        let mut out = Vec::new();
        integer::write(value, prefix, 0, &mut out);
        assert_eq!(out, octets(hex));
    }
}

#[test]
fn integers_that_are_too_large_or_cut_off_are_refused() {
    for hex in ["1fffffffffff00", "1f8080808080808000", "1fff", "1fffffffff7f", ""] {
        assert_eq!(integer::read(&octets(hex), 5), None, "{hex}");
    }
}

#[test]
fn single_fields_are_read_as_in_c_2() {
    let cases = [
        ("400a637573746f6d2d6b65790d637573746f6d2d686561646572", "custom-key", "custom-header", 55),
        ("040c2f73616d706c652f70617468", ":path", "/sample/path", 0),
        ("100870617373776f726406736563726574", "password", "secret", 0),
        ("82", ":method", "GET", 0),
    ];
    for (hex, name, value, size) in cases {
        let mut decoder = Decoder::new(4096);
        assert_eq!(decoded(&mut decoder, &octets(hex)), Ok(pairs(&[(name, value)])));
        assert_eq!(decoder.table_size(), size);
    }
}

#[test]
fn literals_that_are_never_indexed_are_told() {
    let mut told = Vec::new();
    let mut decoder = Decoder::new(4096);
    decoder.decode(&octets("100870617373776f726406736563726574"), |f| told.push(f.sensitive)).unwrap();
    assert_eq!(told, [true]);
}

#[test]
fn requests_are_read_as_in_c_3_and_c_4() {
    let plain = [
        "828684410f7777772e6578616d706c652e636f6d",
        "828684be58086e6f2d6361636865",
        "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
    ];
    let huffman = [
        "828684418cf1e3c2e5f23a6ba0ab90f4ff",
        "828684be5886a8eb10649cbf",
        "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
    ];
    for blocks in [plain, huffman] {
        let mut decoder = Decoder::new(4096);
        for ((block, fields), size) in blocks.iter().zip([FIRST, SECOND, THIRD]).zip([57, 110, 164]) {
            assert_eq!(decoded(&mut decoder, &octets(block)), Ok(pairs(fields)));
            assert_eq!(decoder.table_size(), size);
        }
    }
}

#[test]
fn responses_are_read_with_eviction_as_in_c_5_and_c_6() {
    let plain = [
        "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d",
        "4803333037c1c0bf",
        "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
    ];
    let huffman = [
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
        "4883640effc1c0bf",
        "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
    ];
    let date = ("date", "Mon, 21 Oct 2013 20:13:21 GMT");
    let location = ("location", "https://www.example.com");
    let cookie = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
    let messages = [
        vec![(":status", "302"), ("cache-control", "private"), date, location],
        vec![(":status", "307"), ("cache-control", "private"), date, location],
        vec![
            (":status", "200"),
            ("cache-control", "private"),
            ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
            location,
            ("content-encoding", "gzip"),
            ("set-cookie", cookie),
        ],
    ];
    for blocks in [plain, huffman] {
        let mut decoder = Decoder::new(4096);
        assert_eq!(decoded(&mut decoder, &octets("3fe101")), Ok(vec![]));
        for ((block, fields), size) in blocks.iter().zip(&messages).zip([222, 222, 215]) {
            assert_eq!(decoded(&mut decoder, &octets(block)), Ok(pairs(fields)));
            assert_eq!(decoder.table_size(), size);
        }
    }
}

#[test]
fn blocks_that_break_the_format_are_refused() {
    let cases = [
        ("80", "index outside the table"),
        ("be", "index outside the table"),
        ("7e0161", "name index outside the table"),
        ("40", "bad integer"),
        ("400a6162", "string is cut off"),
        ("00", "bad integer"),
        ("823fe101", "table size update inside a block"),
        ("3fe13f", "table size above the limit"),
        // Padding of eight bits, padding of zeros, EOS (RFC 7541, section 5.2).
        ("00821fff0161", "bad Huffman code"),
        ("0081180161", "bad Huffman code"),
        ("0084ffffffff0161", "bad Huffman code"),
    ];
    for (hex, why) in cases {
        assert_eq!(decoded(&mut Decoder::new(4096), &octets(hex)), Err(HpackError(why)), "{hex}");
    }
}

#[test]
fn a_field_larger_than_the_table_empties_it() {
    let mut decoder = Decoder::new(4096);
    decoded(&mut decoder, &octets("400a637573746f6d2d6b65790d637573746f6d2d686561646572")).unwrap();
    decoded(&mut decoder, &octets("3f05")).unwrap();
    assert_eq!(decoder.table_size(), 0);
}

/// Write fields as one block.
fn encoded(encoder: &mut Encoder, fields: &[(String, String)]) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.begin(&mut out);
    for (name, value) in fields {
        encoder.field(Kind::of(name.as_bytes()), name.as_bytes(), value.as_bytes(), false, &mut out);
    }
    out
}

#[test]
fn what_repeats_costs_one_octet_a_field() {
    let message = pairs(&[
        (":method", "POST"),
        (":scheme", "https"),
        (":path", "/shop.Cart/Add"),
        (":authority", "cart.example"),
        ("content-type", "application/grpc"),
        ("x-tenant", "blue"),
    ]);
    let mut encoder = Encoder::new(4096, false);
    encoded(&mut encoder, &message);
    encoded(&mut encoder, &message);
    assert_eq!(encoded(&mut encoder, &message).len(), message.len());
}

#[test]
fn what_is_new_each_time_does_not_displace_what_repeats() {
    let mut encoder = Encoder::new(4096, false);
    let message = |n: usize| {
        pairs(&[("x-tenant", "blue")]).into_iter().chain([("x-request-id".to_string(), format!("{n:036}"))])
    };
    let mut sizes: Vec<usize> =
        (0..1000).map(|n| encoded(&mut encoder, &message(n).collect::<Vec<_>>()).len()).collect();
    // One octet, and a literal with an indexed name.
    assert!(sizes.split_off(2).iter().all(|size| *size == 1 + 2 + 1 + 36));
}

#[test]
fn short_secrets_are_never_indexed() {
    let mut encoder = Encoder::new(4096, false);
    for name in ["authorization", "cookie"] {
        for _ in 0..3 {
            let block = encoded(&mut encoder, &pairs(&[(name, "short")]));
            let mut told = false;
            Decoder::new(4096).decode(&block, |f| told = f.sensitive).unwrap();
            assert!(told, "{name}");
        }
    }
}

#[test]
fn a_smaller_table_is_announced_at_the_next_block() {
    let mut encoder = Encoder::new(4096, false);
    let mut decoder = Decoder::new(4096);
    let message = pairs(&[("x-tenant", "blue"), ("user-agent", "a")]);
    decoded(&mut decoder, &encoded(&mut encoder, &message)).unwrap();
    encoder.set_peer_limit(0);
    encoder.set_peer_limit(100);
    let block = encoded(&mut encoder, &message);
    assert_eq!(block[..2], [0x20, 0x3f]);
    assert_eq!(decoded(&mut decoder, &block), Ok(message));
    assert!(decoder.table_size() <= 100);
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(":path".to_string()),
        Just(":status".to_string()),
        Just("content-type".to_string()),
        Just("x-request-id".to_string()),
        Just("etag".to_string()),
        "[a-c]{1,3}",
        "[a-z0-9-]{1,40}",
    ]
}

fn field() -> impl Strategy<Value = (String, String)> {
    (name(), prop_oneof!["[a-b]{0,2}", "[ -~]{0,60}", "[a-z]{0,600}"])
}

proptest! {
    #[test]
    fn huffman_gives_back_what_was_encoded(text in vec(any::<u8>(), 0..200)) {
        let (mut code, mut back) = (Vec::new(), Vec::new());
        huffman::encode(&text, &mut code);
        prop_assert_eq!(code.len(), huffman::encoded_len(&text));
        prop_assert_eq!(huffman::decode(&code, &mut back), Some(()));
        prop_assert_eq!(back, text);
    }

    #[test]
    fn huffman_codes_have_one_form(code in vec(any::<u8>(), 0..40)) {
        let (mut text, mut again) = (Vec::new(), Vec::new());
        if huffman::decode(&code, &mut text).is_some() {
            huffman::encode(&text, &mut again);
            prop_assert_eq!(again, code);
        }
    }

    #[test]
    fn the_decoder_reads_what_the_encoder_wrote(
        blocks in vec((vec(field(), 0..12), proptest::option::of(0usize..5000)), 1..20),
        huffman in any::<bool>(),
    ) {
        let mut encoder = Encoder::new(4096, huffman);
        let mut decoder = Decoder::new(4096);
        for (fields, size) in &blocks {
            if let Some(size) = size {
                encoder.set_peer_limit(*size);
            }
            let block = encoded(&mut encoder, fields);
            prop_assert_eq!(&decoded(&mut decoder, &block).unwrap(), fields);
            prop_assert_eq!(decoder.table_size(), encoder.table_size());
        }
    }

    #[test]
    fn no_block_makes_the_decoder_panic(blocks in vec(vec(any::<u8>(), 0..60), 1..5)) {
        let mut decoder = Decoder::new(4096);
        for block in &blocks {
            let _ = decoded(&mut decoder, block);
        }
    }
}

//! What a head costs. Not a test: run it in release to tune, `cargo test --release -p ripstop-core http1::tests::cost -- --ignored --nocapture`.
use crate::http::{BodyLength, Method, RequestHead, ResponseHead, Version};
use crate::http1::{
    BodyDecoder, Limits, Parsed, parse_request, parse_response, strip_hop_by_hop_request,
    strip_hop_by_hop_response, write_request, write_response,
};
use std::hint::black_box;
use std::time::Instant;

const SHORT: &[u8] = b"GET /items HTTP/1.1\r\nHost: reviews.shop:8080\r\nUser-Agent: wrk/4.2\r\n\r\n";

const EIGHT: &[u8] = b"GET /api/v1/items?page=2&sort=price HTTP/1.1\r\n\
    Host: reviews.shop.example:8080\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: application/json, text/plain;q=0.9\r\n\
    Accept-Encoding: gzip, deflate, br\r\n\
    Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N\r\n\
    Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\
    X-Tenant-Id: 4711\r\n\
    Connection: keep-alive\r\n\r\n";

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Server: nginx/1.22.1\r\n\
    Date: Wed, 25 Nov 2026 13:48:46 GMT\r\n\
    Content-Type: application/json\r\n\
    Content-Length: 128\r\n\
    Last-Modified: Wed, 25 Nov 2026 12:00:00 GMT\r\n\
    Connection: keep-alive\r\n\
    ETag: \"65a1b2c3-80\"\r\n\
    Accept-Ranges: bytes\r\n\r\n";

fn report(what: &str, mut work: impl FnMut()) {
    // The machine may be busy with other things: the quickest of many short rounds is one that nothing disturbed.
    const TIMES: u32 = 500;
    let mut best = f64::MAX;
    for _ in 0..2000 {
        let start = Instant::now();
        for _ in 0..TIMES {
            work();
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(TIMES));
    }
    println!("{what:<44} {best:>8.1} ns");
}

fn report_request(what: &str, text: &[u8]) {
    let limits = Limits::default();
    let mut head = RequestHead::default();
    let mut out = Vec::with_capacity(4096);
    report(&format!("{what}: read"), || {
        let read = parse_request(black_box(text), &mut 0, &limits, &mut head);
        assert!(matches!(read, Ok((Parsed::Complete(_), _))));
    });
    report(&format!("{what}: read, strip, write"), || {
        let read = parse_request(black_box(text), &mut 0, &limits, &mut head);
        assert!(read.is_ok());
        strip_hop_by_hop_request(&mut head, false);
        out.clear();
        write_request(&head, BodyLength::Empty, true, &mut out);
        black_box(&out);
    });
}

#[test]
#[ignore = "a measurement"]
fn what_heads_cost() {
    report_request("request, 2 fields", SHORT);
    report_request("request, 8 fields", EIGHT);
    let limits = Limits::default();
    let mut head = ResponseHead::default();
    let mut out = Vec::with_capacity(4096);
    report("response, 8 fields: read", || {
        let read = parse_response(black_box(ANSWER), &mut 0, Method::Get, &limits, &mut head);
        assert!(matches!(read, Ok((Parsed::Complete(_), _))));
    });
    report("response, 8 fields: read, strip, write", || {
        let read = parse_response(black_box(ANSWER), &mut 0, Method::Get, &limits, &mut head);
        let Ok((_, meta)) = read else { return };
        strip_hop_by_hop_response(&mut head, false);
        out.clear();
        write_response(&head, meta.body, Method::Get, Version::Http11, true, &mut out);
        black_box(&out);
    });
    let chunks = b"400\r\n".iter().copied().chain([b'x'; 1024]).chain(*b"\r\n0\r\n\r\n").collect::<Vec<u8>>();
    report("a chunk of 1 KiB and the end", || {
        let mut body = BodyDecoder::new(BodyLength::Chunked);
        let mut at = 0;
        while !body.is_done() {
            let Ok(decoded) = body.decode(black_box(&chunks[at..]), &limits) else { return };
            at += decoded.consumed;
        }
    });
}

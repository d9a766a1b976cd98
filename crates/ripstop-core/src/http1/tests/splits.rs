//! However the network cuts a message, it is read the same; and nothing that comes makes the codec panic.
use super::body;
use crate::http::{BodyLength, Method, RequestHead, ResponseHead};
use crate::http1::{Limits, Parsed, Refusal, parse_request, parse_response};
use proptest::collection::vec;
use proptest::prelude::*;

/// Text made of what heads are made of, now and then wrong.
fn head_text() -> impl Strategy<Value = Vec<u8>> {
    let start = prop_oneof![
        8 => Just("GET / HTTP/1.1\r\n"), 2 => Just("POST http://a/x?y HTTP/1.1\r\n"),
        1 => Just("\r\nGET / HTTP/1.0\r\n"), 1 => Just("HTTP/1.1 200 OK\r\n"), 1 => Just("HTTP/1.0 404\r\n"),
        1 => Just("CONNECT a:1 HTTP/1.1\r\n"), 1 => Just("GET /"), 1 => Just("\r"), 1 => Just(""),
    ];
    let line = prop_oneof![
        6 => Just("Host: a\r\n"), 3 => Just("X-Own: some value\tand more\r\n"), 3 => Just("Content-Length: 5\r\n"),
        2 => Just("Transfer-Encoding: chunked\r\n"), 1 => Just("Connection: close, te\r\n"), 1 => Just(" folded\r\n"),
        1 => Just("X : y\r\n"), 1 => Just("X: y\n"), 1 => Just("X: y\r"), 1 => Just("no colon\r\n"), 1 => Just("X: \0\r\n"),
        6 => Just("\r\n"), 1 => Just("\n"), 1 => Just("body"),
    ];
    (start, vec(line, 0..8)).prop_map(|(start, lines)| [start, &lines.concat()].concat().into_bytes())
}

fn chunk_text() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        8 => Just("3\r\nabc\r\n"), 4 => Just("0\r\n\r\n"), 3 => Just("0\r\n"), 2 => Just("00a;x=y\r\n0123456789\r\n"),
        2 => Just("X-Trailer: 1\r\n"), 2 => Just("\r\n"), 1 => Just("3\r\nab"), 1 => Just("3;\n"), 1 => Just("\r"),
        1 => Just("FFFFFFFFFFFFFFFF"), 1 => Just(" "), 1 => Just("3\r\nabcd\r\n"),
    ];
    vec(part, 0..8).prop_map(|parts| parts.concat().into_bytes())
}

fn any_text(likely: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![9 => likely, 1 => vec(any::<u8>(), 0..200)]
}

/// Cuts that leave pieces of a few octets, some of them one.
fn cuts() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![Just(1usize), 1usize..40], 0..60)
}

/// Ends of ever longer beginnings of a text.
fn ends(len: usize, cuts: &[usize]) -> Vec<usize> {
    let mut ends: Vec<usize> =
        cuts.iter().scan(0, |at, cut| Some(*at + *cut).inspect(|next| *at = *next)).collect();
    ends.retain(|end| *end < len);
    ends.push(len);
    ends
}

type Outcome<T> = Result<Option<(usize, T)>, Refusal>;

/// Read ever longer beginnings until there is an outcome.
fn read<T>(text: &[u8], ends: &[usize], mut step: impl FnMut(&[u8], &mut usize) -> Outcome<T>) -> Outcome<T> {
    let mut scanned = 0;
    for end in ends {
        let outcome = step(&text[..*end], &mut scanned);
        if !matches!(outcome, Ok(None)) {
            return outcome;
        }
    }
    Ok(None)
}

fn read_request(text: &[u8], ends: &[usize], limits: &Limits) -> Outcome<String> {
    read(text, ends, |text, scanned| {
        let mut head = RequestHead::default();
        match parse_request(text, scanned, limits, &mut head)? {
            (Parsed::Complete(used), meta) => {
                let parts = [head.method_text(), head.scheme(), head.authority(), head.path()];
                let fields: Vec<_> = head.headers.iter().collect();
                Ok(Some((used, format!("{parts:?} {meta:?} {fields:?}"))))
            }
            (Parsed::Incomplete, _) => Ok(None),
        }
    })
}

fn read_response(text: &[u8], ends: &[usize], limits: &Limits) -> Outcome<String> {
    read(text, ends, |text, scanned| {
        let mut head = ResponseHead::default();
        match parse_response(text, scanned, Method::Get, limits, &mut head)? {
            (Parsed::Complete(used), meta) => {
                let fields: Vec<_> = head.headers.iter().collect();
                Ok(Some((used, format!("{} {meta:?} {fields:?}", head.status))))
            }
            (Parsed::Incomplete, _) => Ok(None),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_request_is_the_same_in_pieces(
        text in any_text(head_text()), cuts in cuts(), max_head_bytes in prop_oneof![Just(60_000usize), 1usize..200],
    ) {
        let limits = Limits { max_head_bytes, max_headers: 5, ..Limits::default() };
        let whole = read_request(&text, &[text.len()], &limits);
        prop_assert_eq!(whole, read_request(&text, &ends(text.len(), &cuts), &limits));
    }

    #[test]
    fn a_response_is_the_same_in_pieces(
        text in any_text(head_text()), cuts in cuts(), max_head_bytes in prop_oneof![Just(60_000usize), 1usize..200],
    ) {
        let limits = Limits { max_head_bytes, max_headers: 5, ..Limits::default() };
        let whole = read_response(&text, &[text.len()], &limits);
        prop_assert_eq!(whole, read_response(&text, &ends(text.len(), &cuts), &limits));
    }

    #[test]
    fn chunks_are_the_same_in_pieces(text in any_text(chunk_text()), cuts in cuts(), small in any::<bool>()) {
        let limits = match small {
            true => Limits { max_chunk_extension: 3, max_chunk_extensions: 5, max_trailer_bytes: 20, ..Limits::default() },
            false => Limits::default(),
        };
        let ends = ends(text.len(), &cuts);
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let pieces: Vec<&[u8]> = starts.zip(&ends).map(|(start, end)| &text[start..*end]).collect();
        let whole = body(BodyLength::Chunked, &[&text], &limits);
        let cut = body(BodyLength::Chunked, &pieces, &limits);
        match (whole, cut) {
            (Ok(whole), Ok(cut)) => prop_assert_eq!(whole, cut),
            (whole, cut) => prop_assert_eq!(whole.err(), cut.err()),
        }
    }

    #[test]
    fn bytes_after_a_head_change_nothing(text in head_text(), more in vec(any::<u8>(), 0..50)) {
        let limits = Limits::default();
        let Ok(Some(alone)) = read_request(&text, &[text.len()], &limits) else { return Ok(()) };
        let followed = [text, more].concat();
        prop_assert_eq!(Ok(Some(alone)), read_request(&followed, &[followed.len()], &limits));
    }

    #[test]
    fn whatever_was_scanned_before_nothing_panics(text in any_text(head_text()), mut scanned in 0usize..500) {
        let mut head = RequestHead::default();
        let _ = parse_request(&text, &mut scanned, &Limits::default(), &mut head);
    }
}

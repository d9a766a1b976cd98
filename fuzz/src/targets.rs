//! One function a target. `crates/ripstop-proxy/tests/fuzz_corpora.rs` runs them over the corpora too, so they use
//! nothing of libFuzzer.
use super::{inspector, proxy_protocol as proxy};
use ripstop_core::decode::{self, NoFiles};
use ripstop_core::http::{BodyLength, HeaderId, Headers, Method, RequestHead, ResponseHead};
use ripstop_core::http1::{self, BodyDecoder, Limits, Parsed};
use ripstop_core::http2::hpack::{Decoder, Encoder, Kind};
use ripstop_core::http2::{Connection, Event, PREFACE, Settings};
use ripstop_core::route;
use ripstop_core::snapshot::{HttpManager, RouteConfig, Terminal};
use std::sync::OnceLock;

/// Any of the targets.
pub type Target = fn(&[u8]);

/// All of them by the names of their corpora.
pub const ALL: [(&str, Target); 8] = [
    ("http1_head", http1_head),
    ("http1_chunks", http1_chunks),
    ("http2_frames", http2_frames),
    ("hpack", hpack),
    ("xds_decode", xds_decode),
    ("path_match", path_match),
    ("tls_peek", tls_peek),
    ("proxy_protocol", proxy_protocol),
];

/// A head means the same however it is cut, and what is written of it is understood as it was.
pub fn http1_head(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else { return };
    if choice & 1 == 0 {
        request_head(data, usize::from(choice >> 1))
    } else {
        response_head(data, choice >> 1)
    }
}

fn request_head(data: &[u8], cut: usize) {
    let limits = Limits::default();
    let (mut whole, mut pieces) = (RequestHead::default(), RequestHead::default());
    let parsed = http1::parse_request(data, &mut 0, &limits, &mut whole);
    let mut scanned = 0;
    let first = http1::parse_request(&data[..cut.min(data.len())], &mut scanned, &limits, &mut pieces);
    let in_pieces = match first {
        Ok((Parsed::Incomplete, _)) => http1::parse_request(data, &mut scanned, &limits, &mut pieces),
        decided => decided,
    };
    match (&parsed, &in_pieces) {
        (Ok((a, _)), Ok((b, _))) => assert_eq!(a, b),
        (Err(_), Err(_)) => {}
        _ => panic!("cut at {cut}: {parsed:?} against {in_pieces:?}"),
    }
    let Ok((Parsed::Complete(used), meta)) = parsed else { return };
    assert!(used <= data.len());
    let mut head = whole;
    http1::strip_hop_by_hop_request(&mut head, false);
    if head.method() == Method::Connect || head.authority().is_empty() {
        return; // what a tunnel sends is no request; the version may be one without a host
    }
    let mut out = Vec::new();
    http1::write_request(&head, meta.body, true, &mut out);
    let mut again = RequestHead::default();
    let (read, second) = match http1::parse_request(&out, &mut 0, &limits, &mut again) {
        Ok(read) => read,
        // It may have grown beyond a limit.
        Err(refusal) if refusal.status == 431 || refusal.status == 414 => return,
        Err(refusal) => panic!("{refusal:?}: {}", String::from_utf8_lossy(&out)),
    };
    assert_eq!(read, Parsed::Complete(out.len()), "{}", String::from_utf8_lossy(&out));
    assert_eq!((again.method_text(), again.path()), (head.method_text(), head.path()));
    assert_eq!(again.authority(), head.authority());
    assert_eq!(second.body, meta.body);
    assert_eq!(shown(&again.headers), shown(&head.headers));
}

/// Fields without those that say how a body is framed, or that the connection ends.
fn shown(headers: &Headers) -> Vec<(Vec<u8>, Vec<u8>)> {
    use HeaderId::{Connection, ContentLength, TransferEncoding};
    let others = headers.iter().filter(|f| !matches!(f.id, Connection | ContentLength | TransferEncoding));
    others.map(|field| (field.name.to_vec(), field.value.to_vec())).collect()
}

fn response_head(data: &[u8], cut: u8) {
    let limits = Limits::default();
    let method = if cut & 1 == 0 { Method::Get } else { Method::Head };
    let cut = usize::from(cut >> 1);
    let (mut whole, mut pieces) = (ResponseHead::default(), ResponseHead::default());
    let parsed = http1::parse_response(data, &mut 0, method, &limits, &mut whole);
    let mut scanned = 0;
    let first =
        http1::parse_response(&data[..cut.min(data.len())], &mut scanned, method, &limits, &mut pieces);
    let in_pieces = match first {
        Ok((Parsed::Incomplete, _)) => {
            http1::parse_response(data, &mut scanned, method, &limits, &mut pieces)
        }
        decided => decided,
    };
    match (&parsed, &in_pieces) {
        (Ok((a, _)), Ok((b, _))) => assert_eq!(a, b),
        (Err(_), Err(_)) => {}
        _ => panic!("cut at {cut}: {parsed:?} against {in_pieces:?}"),
    }
}

/// A body means the same however it is cut.
pub fn http1_chunks(data: &[u8]) {
    let Some((&cut, data)) = data.split_first() else { return };
    let whole = bodies(data, data.len().max(1));
    let pieces = bodies(data, usize::from(cut).max(1));
    assert_eq!(whole, pieces);
}

/// The body, its end or the refusal, when at most `piece` new bytes come at a time.
fn bodies(data: &[u8], piece: usize) -> (Vec<u8>, Option<usize>, Option<&'static str>) {
    let limits = Limits::default();
    let mut decoder = BodyDecoder::new(BodyLength::Chunked);
    let (mut body, mut used, mut there) = (Vec::new(), 0, 0);
    loop {
        there = (there + piece).min(data.len());
        loop {
            let decoded = match decoder.decode(&data[used..there], &limits) {
                Ok(decoded) => decoded,
                // Body bytes before the fault may have been told, or not: nobody may rely on either.
                Err(refusal) => return (Vec::new(), None, Some(refusal.why)),
            };
            body.extend_from_slice(&data[used..there][decoded.data]);
            used += decoded.consumed;
            if decoded.done {
                return (body, Some(used), None);
            }
            if decoded.consumed == 0 {
                break;
            }
        }
        if there == data.len() {
            return (body, None, None);
        }
    }
}

/// Neither end of a connection is confused by anything, and it is the same in pieces.
pub fn http2_frames(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else { return };
    let piece = usize::from(choice >> 2).max(1);
    let make = || {
        if choice & 1 == 0 {
            let mut server = Connection::server(Settings::default());
            if choice & 2 == 0 {
                converse(&mut server, PREFACE, PREFACE.len());
            }
            server
        } else {
            let mut client = Connection::client(Settings::default());
            let mut head = RequestHead::default();
            head.set_method(b"POST");
            head.set_path(b"/");
            head.set_authority(b"a");
            let _ = client.send_request(&head, true);
            if let Ok(stream) = client.send_request(&head, false) {
                client.send_data(stream, &[0; 100_000], true);
            }
            client
        }
    };
    let whole = converse(&mut make(), data, data.len().max(1));
    let pieces = converse(&mut make(), data, piece);
    assert_eq!(whole, pieces);
}

/// What was told, and how it ended, when at most `piece` new bytes come at a time. DATA is told as one.
fn converse(connection: &mut Connection, data: &[u8], piece: usize) -> (Vec<String>, Option<String>) {
    let (mut told, mut used, mut there) = (Vec::new(), 0, 0);
    loop {
        there = (there + piece).min(data.len());
        loop {
            match connection.receive(&data[used..there]) {
                Ok((taken, Event::NeedMore)) => {
                    used += taken;
                    break;
                }
                Ok((taken, event)) => {
                    used += taken;
                    answer(connection, event, &mut told);
                }
                Err(error) => return (told, Some(format!("{error:?}"))),
            }
        }
        if there == data.len() {
            return (told, None);
        }
    }
}

fn answer(connection: &mut Connection, event: Event, told: &mut Vec<String>) {
    match &event {
        Event::Data { stream, data, end, flow } => {
            connection.release(*stream, *flow);
            if *end {
                told.push(format!("the end of {stream}"));
            } else if !data.is_empty() {
                return; // cut as the input was
            }
        }
        Event::Request { stream, .. } => {
            let head = connection.request_head();
            told.push(format!("{:?} {:?}", head.method_text(), shown(&head.headers)));
            let mut response = ResponseHead { status: 200, ..ResponseHead::default() };
            response.headers.push(b"x-a", b"b");
            connection.send_response(*stream, &response, false);
            connection.send_data(*stream, &[1; 70_000], true);
        }
        Event::Response { .. } => {
            let head = connection.response_head();
            told.push(format!("{} {:?}", head.status, shown(&head.headers)));
        }
        Event::Trailers { .. } => {
            let fields = shown(connection.trailers());
            told.push(format!("{fields:?}"));
        }
        other => told.push(format!("{other:?}")),
    }
    connection.out().clear();
}

/// A header block is refused or understood, and what is understood can be said again.
pub fn hpack(data: &[u8]) {
    let Some((&blocks, data)) = data.split_first() else { return };
    let (mut decoder, mut second) = (Decoder::new(4096), Decoder::new(4096));
    let mut encoder = Encoder::new(4096, blocks & 1 == 1);
    for block in data.chunks((data.len() / (usize::from(blocks >> 1) % 8 + 1)).max(1)) {
        let Some(fields) = decoded(&mut decoder, block) else { return };
        let mut out = Vec::new();
        encoder.begin(&mut out);
        for (name, value, sensitive) in &fields {
            encoder.field(Kind::of(name), name, value, *sensitive, &mut out);
        }
        let again = decoded(&mut second, &out).expect("we understand ourselves");
        assert_eq!(fields.len(), again.len());
        for (was, is) in fields.iter().zip(&again) {
            assert_eq!((&was.0, &was.1), (&is.0, &is.1));
            assert!(is.2 || !was.2, "a field that nobody may remember was put into the table");
        }
    }
}

/// Name, value, and whether it may never be put into a table.
type Said = (Vec<u8>, Vec<u8>, bool);

fn decoded(decoder: &mut Decoder, block: &[u8]) -> Option<Vec<Said>> {
    let (mut fields, mut size) = (Vec::new(), 0);
    let result = decoder.decode(block, |field| {
        size += field.name.len() + field.value.len();
        if size < 1 << 20 {
            fields.push((field.name.to_vec(), field.value.to_vec(), field.sensitive));
        }
    });
    result.ok().filter(|()| size < 1 << 20).map(|()| fields)
}

/// A resource is taken or refused, whatever it is.
pub fn xds_decode(data: &[u8]) {
    let Some((&kind, data)) = data.split_first() else { return };
    match kind % 7 {
        0 => drop(decode::listener(data, &NoFiles)),
        1 => {
            if let Ok(config) = decode::route_configuration(data) {
                let mut head = RequestHead::default();
                head.set_method(b"GET");
                head.set_path(b"/a/b?c=d");
                head.set_authority(b"a.test:80");
                let _ = route::find_route(&config, &head, 7);
            }
        }
        2 => drop(decode::scoped_route(data)),
        3 => drop(decode::cluster(data, &NoFiles)),
        4 => drop(decode::load_assignment(data)),
        5 => drop(decode::secret(data, &NoFiles)),
        _ => drop(decode::bootstrap(data, &NoFiles)),
    }
}

/// A normal path is normal, stays so, and its route is found without a fault.
pub fn path_match(data: &[u8]) {
    let (manager, routes) = world();
    let mut head = RequestHead::default();
    head.set_method(b"GET");
    head.set_authority(b"a.test");
    head.set_path(data);
    let before = head.path().to_vec();
    let normal = route::normalize_path(&mut head, manager);
    let _ = route::find_route(routes, &head, 7);
    if normal.is_err() || !before.starts_with(b"/") {
        return;
    }
    let path = head.path().to_vec();
    let only = path.split(|byte| *byte == b'?').next().unwrap_or_default();
    assert!(only.starts_with(b"/"), "{}", String::from_utf8_lossy(&path));
    for part in only.split(|byte| *byte == b'/').skip(1) {
        assert!(!matches!(part, b"." | b".."), "{}", String::from_utf8_lossy(&path));
    }
    let doubled = memchr::memmem::find(only, b"//").is_some() && only != b"//"; // as Envoy keeps it
    assert!(!doubled, "{}", String::from_utf8_lossy(&path));
    assert!(route::normalize_path(&mut head, manager).is_ok());
    assert_eq!(head.path(), path, "made normal once more");
    // A path that is matched by what guards `/admin` is one that begins with it.
    if let Ok(matched) = route::find_route(routes, &head, 7) {
        let is_admin = only == b"/admin" || only.starts_with(b"/admin/");
        assert_eq!(matched.index == 0, is_admin, "{}", String::from_utf8_lossy(&path));
    }
}

/// What the first bytes of a connection are does not change with those that follow.
pub fn tls_peek(data: &[u8]) {
    use inspector::{Peek, peek};
    let whole = peek(data);
    for end in [data.len() / 4, data.len() / 2, data.len().saturating_sub(1)] {
        let part = peek(&data[..end]);
        assert!(part == Peek::NeedMore || part == whole, "{part:?} became {whole:?} after {end}");
    }
}

/// The same of a PROXY header; and one that we write says what we meant.
pub fn proxy_protocol(data: &[u8]) {
    use proxy::{ProxyHeader, parse, write};
    let (header, used) = parse(data);
    assert!(used <= data.len());
    for end in [data.len() / 4, data.len() / 2, data.len().saturating_sub(1)] {
        let (part, taken) = parse(&data[..end]);
        assert!(
            part == ProxyHeader::NeedMore || (part, taken) == (header, used),
            "{part:?} became {header:?}"
        );
    }
    let ProxyHeader::Addresses { source, destination } = header else { return };
    for version in [1, 2] {
        let mut out = Vec::new();
        write(version, source, destination, &mut out);
        assert_eq!(parse(&out), (header, out.len()), "version {version}");
    }
}

/// A connection manager and routes as a mesh's gateway has them.
fn world() -> (&'static HttpManager, &'static RouteConfig) {
    static WORLD: OnceLock<(HttpManager, RouteConfig)> = OnceLock::new();
    let (manager, routes) = WORLD.get_or_init(|| {
        let listener = decode::listener(include_bytes!("world.pb"), &NoFiles).expect("a listener");
        let Terminal::Http(manager) = &listener.filter_chains[0].terminal else { panic!("an HTTP listener") };
        let ripstop_core::snapshot::RouteSource::Inline(routes) = &manager.routes else {
            panic!("routes of its own")
        };
        (HttpManager::clone(manager), RouteConfig::clone(routes))
    });
    (manager, routes)
}

//! What is expected here was seen at Envoy 1.40 with the same configuration.
use super::*;
use crate::http::{HeaderId, RequestHead, ResponseHead, Version};
use crate::outcome::Flags;
use crate::record::{ConnectionInfo, DynamicMetadata, PeerCertificate, TlsInfo, Told, Word};
use crate::snapshot::*;
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The pieces that a record borrows.
struct Exchange {
    connection: ConnectionInfo,
    request: RequestHead,
    response: ResponseHead,
    dynamic: DynamicMetadata,
}

impl Exchange {
    fn new() -> Exchange {
        let mut request = RequestHead::default();
        request.set_method(b"GET");
        request.set_path(b"/cart?a=1");
        request.set_authority(b"shop.example");
        let mut response = ResponseHead { status: 200, ..ResponseHead::default() };
        response.headers.push(b"server", b"x");
        let local = "127.0.0.1:22000".parse().unwrap();
        let connection = ConnectionInfo {
            id: 7,
            remote: "[::ffff:10.1.2.3]:4000".parse().unwrap(),
            local,
            tls: Some(Arc::new(tls())),
            ..ConnectionInfo::default()
        };
        Exchange { connection, request, response, dynamic: DynamicMetadata::default() }
    }

    fn tell(&mut self, key: &str, value: &'static str) {
        self.dynamic.set(Word::Static("f"), &[key], Told::Word(Word::Static(value)));
    }

    fn record(&self) -> Record<'_> {
        Record {
            request: Some(&self.request),
            response: Some(&self.response),
            protocol: Some(Version::Http2),
            status: 200,
            details: "via_upstream",
            start: Duration::new(1_795_613_991, 462_732_000),
            duration: Duration::from_millis(12),
            request_duration: Some(Duration::from_millis(2)),
            response_duration: Some(Duration::from_millis(9)),
            bytes_received: 3,
            bytes_sent: 4,
            attempts: 1,
            upstream_host: Some("10.0.0.1:80"),
            stream_id: 1,
            ..Record::new(&self.connection, &self.dynamic)
        }
    }
}

fn tls() -> TlsInfo {
    let uris = vec!["spiffe://mesh/a".into(), "spiffe://mesh/b".into()];
    TlsInfo {
        version: "TLSv1.3",
        peer: Some(PeerCertificate { uris, ..PeerCertificate::default() }),
        local_uri: "spiffe://mesh/shop".into(),
        ..TlsInfo::default()
    }
}

fn op(operator: Operator) -> Template {
    Template(vec![Part::Operator(operator, None)])
}

fn req(name: &str) -> Operator {
    Operator::Req(name.as_bytes().into(), None)
}

fn shown(operator: Operator, record: &Record<'_>) -> String {
    let mut out = Vec::new();
    render(&op(operator), record, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn operators_are_shown_as_envoy_shows_them() {
    let exchange = Exchange::new();
    for (operator, wanted) in [
        (Operator::StartTime(None), "2026-11-25T13:39:51.462Z"),
        (req(":method"), "GET"),
        (req("x-none"), "-"),
        (Operator::Req(b"x-none".as_slice().into(), Some(b":path".as_slice().into())), "/cart?a=1"),
        (Operator::Resp(b":status".as_slice().into(), None), "200"),
        (Operator::Resp(b"server".as_slice().into(), None), "x"),
        (Operator::Trailer(b"grpc-status".as_slice().into(), None), "-"),
        (Operator::Protocol, "HTTP/2"),
        (Operator::ResponseCode, "200"),
        (Operator::ResponseFlags, "-"),
        (Operator::ResponseFlagsLong, "-"),
        (Operator::GrpcStatus, "-"),
        (Operator::Duration, "12"),
        (Operator::ResponseTxDuration, "3"),
        (Operator::UpstreamHost, "10.0.0.1:80"),
        (Operator::UpstreamClusterRaw, "-"),
        (Operator::RouteName, "-"),
        (Operator::DownstreamPeerUriSan, "spiffe://mesh/a,spiffe://mesh/b"),
        (Operator::DownstreamLocalUriSan, "spiffe://mesh/shop"),
        (Operator::UpstreamPeerUriSan, "-"),
        (Operator::DownstreamRemoteAddress, "10.1.2.3:4000"),
        (Operator::DownstreamRemoteAddressWithoutPort, "10.1.2.3"),
        (Operator::DownstreamLocalPort, "22000"),
        (Operator::DownstreamTlsVersion, "TLSv1.3"),
        (Operator::DownstreamTlsCipher, "-"),
        (Operator::ConnectionId, "7"),
        (Operator::LocalReplyBody, ""),
        (Operator::Hostname, "-"),
    ] {
        let name = format!("{operator:?}");
        assert_eq!(shown(operator, &exchange.record()), wanted, "{name}");
    }
}

#[test]
fn a_grpc_request_has_a_status_whatever_came_back() {
    let mut exchange = Exchange::new();
    exchange.request.headers.push(b"content-type", b"application/grpc");
    assert_eq!(shown(Operator::GrpcStatus, &exchange.record()), "Unknown");
    assert_eq!(shown(Operator::GrpcStatusNumber, &Record { status: 503, ..exchange.record() }), "14");
    exchange.response.headers.set(HeaderId::GrpcStatus, b"5");
    assert_eq!(shown(Operator::GrpcStatus, &exchange.record()), "NotFound");
    assert_eq!(shown(Operator::GrpcStatus, &Record { grpc_status: Some(99), ..exchange.record() }), "99");
}

#[test]
fn times_are_formatted_as_asked() {
    let exchange = Exchange::new();
    for (format, wanted) in [
        ("%Y/%m/%d %H-%M-%S.%3f", "2026/11/25 13-39-51.462"),
        ("%f|%6f|%1f", "462732000|462732|4"),
        ("%s|%3s", "1795613991|1795613991"),
        ("%E3S|%E*S|%E6f|%Ez|%z|%Z", "51.462|51.462732|462732|+00:00|+0000|UTC"),
        (
            "%a %A %b %B %j %e %y %D %F %T %R %I %p %h %Q %% ",
            "Wed Wednesday Nov November 329 25 26 11/25/26 2026-11-25 13:39:51 13:39 01 PM Nov %Q % ",
        ),
        ("%", "%"),
        ("%E", "%E"),
    ] {
        assert_eq!(shown(Operator::StartTime(Some(format.into())), &exchange.record()), wanted);
    }
}

#[test]
fn dates_of_leap_years_and_centuries_hold() {
    for (seconds, wanted) in [
        (0, (1970, 1, 1, 4, 1)),
        (951_782_400, (2000, 2, 29, 2, 60)),
        (1_709_164_800, (2024, 2, 29, 4, 60)),
        (4_107_542_399, (2100, 2, 28, 0, 59)),
        (4_107_542_400, (2100, 3, 1, 1, 60)),
        (1_798_761_599, (2026, 12, 31, 4, 365)),
    ] {
        let civil = Civil::of(Duration::from_secs(seconds));
        assert_eq!(
            (civil.year, civil.month, civil.day, civil.weekday, civil.day_of_year),
            wanted,
            "{seconds}"
        );
    }
}

fn json(fields: Vec<(&str, JsonFormat)>, omit_empty: bool, record: &Record<'_>) -> String {
    let fields = fields.into_iter().map(|(name, format)| (name.to_owned(), format)).collect();
    let mut out = Vec::new();
    line(&LogFormat::Json { fields, omit_empty, sort: true }, record, &mut out);
    String::from_utf8(out).unwrap()
}

fn single(operator: Operator) -> JsonFormat {
    JsonFormat::Template(op(operator))
}

fn mixed() -> JsonFormat {
    let parts = vec![
        Part::Literal("x".into()),
        Part::Operator(req("x-none"), None),
        Part::Literal("y\"".into()),
        Part::Operator(req(":path"), Some(5)),
    ];
    JsonFormat::Template(Template(parts))
}

#[test]
fn json_keeps_types_and_shows_what_is_missing_as_null() {
    let exchange = Exchange::new();
    let fields = vec![
        ("code", single(Operator::ResponseCode)),
        ("flags", single(Operator::ResponseFlags)),
        ("mixed", mixed()),
        ("none", single(req("x-none"))),
        ("nested", JsonFormat::Struct(vec![("i".into(), single(req("x-none")))])),
        ("number", JsonFormat::Number(1.5)),
        ("five", JsonFormat::Number(5.0)),
        ("null", JsonFormat::Null),
        ("list", JsonFormat::List(vec![single(req("x-none")), JsonFormat::Bool(true)])),
    ];
    let whole = r#"{"code":200,"flags":"-","mixed":"x-y\"/cart","none":null,"nested":{"i":null},"number":1.5,"five":5,"null":null,"list":[null,true]}"#;
    assert_eq!(json(fields.clone(), false, &exchange.record()), format!("{whole}\n"));
    let omitted = r#"{"code":200,"flags":"-","mixed":"xy\"/cart","number":1.5,"five":5,"list":[true]}"#;
    assert_eq!(json(fields, true, &exchange.record()), format!("{omitted}\n"));
}

#[test]
fn json_leaves_out_empty_objects_but_not_empty_lists() {
    let exchange = Exchange::new();
    let empty = || JsonFormat::Struct(Vec::new());
    let fields = vec![
        ("a", JsonFormat::List(vec![single(req("x-none"))])),
        (
            "b",
            JsonFormat::Struct(vec![("c".into(), JsonFormat::Struct(vec![("d".into(), single(req("x")))]))]),
        ),
        ("e", JsonFormat::List(vec![empty()])),
        ("f", empty()),
        ("h", JsonFormat::Template(Template::default())),
    ];
    assert_eq!(json(fields, true, &exchange.record()), "{\"a\":[],\"e\":[],\"h\":\"\"}\n");
}

#[test]
fn json_text_is_escaped() {
    let mut exchange = Exchange::new();
    for (value, wanted) in [
        (&b"a\tb\"\\/<"[..], "\"a\\tb\\\"\\\\/<\""),
        ("é€𝄞".as_bytes(), "\"é€𝄞\""),
        (b"\xff\xfe", "\"\\u00ff\\u00fe\""),
        (b"a\xe2\x82", "\"a\\u00e2\\u0082\""),
        (b"\x01\x1f", "\"\\u0001\\u001f\""),
    ] {
        exchange.request.headers.set_name(b"x-a", value);
        let line = json(vec![("v", single(req("x-a")))], false, &exchange.record());
        assert_eq!(line, format!("{{\"v\":{wanted}}}\n"));
    }
}

fn metadata() -> Metadata {
    let object = HashMap::from([
        ("k".to_owned(), MetadataValue::Text("v".into())),
        ("b".to_owned(), MetadataValue::Bool(true)),
    ]);
    let list = vec![MetadataValue::Text("a".into()), MetadataValue::Number(1.0), MetadataValue::Null];
    let fields = HashMap::from([
        ("text".to_owned(), MetadataValue::Text("t x".into())),
        ("list".to_owned(), MetadataValue::List(list)),
        ("obj".to_owned(), MetadataValue::Struct(object)),
        ("none".to_owned(), MetadataValue::Null),
    ]);
    Metadata(HashMap::from([("rip".to_owned(), fields)]))
}

fn route() -> Route {
    Route {
        name: "r".into(),
        matches: RouteMatch {
            path: PathMatch::Prefix(b"/".as_slice().into()),
            case_sensitive: true,
            headers: Vec::new(),
            query: Vec::new(),
            fraction: None,
            only_grpc: false,
        },
        action: RouteAction::Direct(DirectResponse { status: 200, body: Arc::from(&b""[..]) }),
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
        per_filter: Vec::new(),
        metadata: metadata(),
    }
}

#[test]
fn metadata_is_text_or_json() {
    let (exchange, route) = (Exchange::new(), route());
    let record = Record { route: Some(&route), ..exchange.record() };
    for (path, wanted) in [
        (&["text"][..], "t x"),
        (&["list"], "[\"a\",1,null]"),
        (&["obj"], "{\"b\":true,\"k\":\"v\"}"),
        (&["obj", "k"], "v"),
        (&["none"], "-"),
        (&["missing"], "-"),
        (&["text", "deeper"], "-"),
        (&[], "{\"list\":[\"a\",1,null],\"none\":null,\"obj\":{\"b\":true,\"k\":\"v\"},\"text\":\"t x\"}"),
    ] {
        let path = path.iter().map(|key| (*key).to_owned()).collect();
        assert_eq!(shown(Operator::RouteMetadata("rip".into(), path), &record), wanted);
    }
}

#[test]
fn the_last_dynamic_metadata_of_a_key_counts() {
    let mut exchange = Exchange::new();
    exchange.tell("a", "1");
    exchange.tell("a", "2");
    let get = |path: &[&str]| {
        Operator::DynamicMetadata("f".into(), path.iter().map(|key| (*key).to_owned()).collect())
    };
    assert_eq!(shown(get(&["a"]), &exchange.record()), "2");
    assert_eq!(shown(get(&[]), &exchange.record()), "{\"a\":\"2\"}");
    assert_eq!(shown(Operator::DynamicMetadata("g".into(), Vec::new()), &exchange.record()), "-");
}

#[test]
fn a_value_is_cut_and_missing_ones_are_empty_where_that_is_asked() {
    let exchange = Exchange::new();
    let parts = vec![Part::Operator(req(":authority"), Some(4)), Part::Operator(req("x-none"), Some(1))];
    let (mut dashed, mut empty) = (Vec::new(), Vec::new());
    render(&Template(parts.clone()), &exchange.record(), &mut dashed);
    render_or_empty(&Template(parts), &exchange.record(), &mut empty);
    assert_eq!((&dashed[..], &empty[..]), (&b"shop-"[..], &b"shop"[..]));
}

fn by_metadata(key: &str, wanted: MetadataMatch, if_missing: bool) -> LogFilter {
    LogFilter::Metadata { filter: "f".into(), path: vec![key.into()], value: wanted, if_missing }
}

#[test]
fn filters_let_pass_what_they_are_for() {
    let mut exchange = Exchange::new();
    exchange.tell("result", "denied");
    let denied = || {
        let exact = StringMatch::Exact(b"denied".as_slice().into());
        MetadataMatch::Text(StringMatcher { kind: exact, ignore_case: false })
    };
    let record = Record { status: 404, flags: Flags::NO_ROUTE_FOUND, ..exchange.record() };
    let status = |how, code| LogFilter::StatusCode(how, code);
    for (filter, wanted) in [
        (status(Comparison::Ge, 400), true),
        (status(Comparison::Eq, 400), false),
        (status(Comparison::Ne, 400), true),
        (status(Comparison::Le, 403), false),
        (LogFilter::Duration(Comparison::Ge, 12), true),
        (LogFilter::Duration(Comparison::Ge, 13), false),
        (LogFilter::NotHealthCheck, true),
        (LogFilter::Fraction(Millionths(10)), true),
        (LogFilter::Fraction(Millionths(9)), false),
        (LogFilter::ResponseFlag(vec!["UF".into(), "NR".into()]), true),
        (LogFilter::ResponseFlag(vec!["UF".into()]), false),
        (LogFilter::ResponseFlag(Vec::new()), true),
        (LogFilter::GrpcStatus(vec![12], false), true),
        (LogFilter::GrpcStatus(vec![12], true), false),
        (by_metadata("result", denied(), false), true),
        (by_metadata("result", MetadataMatch::Present, false), true),
        (by_metadata("result", MetadataMatch::Bool(true), true), false),
        (by_metadata("other", denied(), false), false),
        (by_metadata("other", denied(), true), true),
        (LogFilter::And(vec![status(Comparison::Ge, 400), LogFilter::ResponseFlag(Vec::new())]), true),
        (LogFilter::Or(vec![status(Comparison::Eq, 1), status(Comparison::Eq, 2)]), false),
    ] {
        assert_eq!(passes(&filter, &record, 9), wanted, "{filter:?}");
    }
    assert!(!passes(&LogFilter::ResponseFlag(Vec::new()), &exchange.record(), 0));
}

fn addition(name: &str, value: Vec<Part>) -> HeaderAdd {
    HeaderAdd {
        name: name.as_bytes().into(),
        value: Template(value),
        action: AppendAction::AppendIfExistsOrAdd,
        keep_empty: false,
    }
}

fn replies() -> LocalReplies {
    let body = vec![
        ("b".to_owned(), single(Operator::LocalReplyBody)),
        ("s".to_owned(), single(Operator::ResponseCode)),
        ("r".to_owned(), single(Operator::Resp(b":status".as_slice().into(), None))),
    ];
    let mapper = ReplyMapper {
        filter: LogFilter::StatusCode(Comparison::Eq, 403),
        status: Some(418),
        body: Some(Template(vec![Part::Literal("lit".into())])),
        body_format: Some(ReplyBody {
            format: LogFormat::Json { fields: body, omit_empty: false, sort: true },
            content_type: "application/json".into(),
        }),
        headers: vec![
            addition("x-pol", vec![Part::Operator(Operator::ResponseCode, None)]),
            addition("x-none", vec![Part::Operator(req("x-none"), None)]),
        ],
    };
    LocalReplies { mappers: vec![mapper], body: None }
}

#[test]
fn the_first_mapper_for_a_local_reply_changes_it() {
    let (exchange, replies) = (Exchange::new(), replies());
    let mut head = ResponseHead { status: 403, ..ResponseHead::default() };
    let mut body = b"RBAC: access denied".to_vec();
    let kind = map_reply(&replies, &exchange.record(), &mut head, &mut body, 0);
    assert_eq!((kind, head.status), ("application/json", 418));
    assert_eq!(String::from_utf8_lossy(&body), "{\"b\":\"lit\",\"s\":418,\"r\":\"418\"}\n");
    let fields: Vec<_> = head.headers.iter().map(|f| (f.name.to_vec(), f.value.to_vec())).collect();
    assert_eq!(fields, [(b"x-pol".to_vec(), b"403".to_vec())]);
}

#[test]
fn a_local_reply_without_a_mapper_stays_or_takes_the_common_form() {
    let (exchange, mut replies) = (Exchange::new(), replies());
    let mut head = ResponseHead { status: 503, ..ResponseHead::default() };
    let mut body = b"no healthy upstream".to_vec();
    assert_eq!(map_reply(&replies, &exchange.record(), &mut head, &mut body, 0), "text/plain");
    assert_eq!(body, b"no healthy upstream");
    let parts =
        vec![Part::Operator(Operator::ResponseCode, None), Part::Operator(Operator::LocalReplyBody, None)];
    let format = LogFormat::Text(Template(parts));
    replies.body = Some(ReplyBody { format, content_type: "text/x".into() });
    assert_eq!(map_reply(&replies, &exchange.record(), &mut head, &mut body, 0), "text/x");
    assert_eq!(body, b"503no healthy upstream");
}

proptest! {
    #[test]
    fn json_lines_are_utf8_whatever_came(value in proptest::collection::vec(any::<u8>(), 0..50), most in 0u32..60) {
        let mut exchange = Exchange::new();
        exchange.request.headers.set_name(b"x-a", &value);
        let format = JsonFormat::Template(Template(vec![Part::Operator(req("x-a"), Some(most))]));
        let fields = vec![("v".to_owned(), format), ("m".to_owned(), mixed())];
        let mut out = Vec::new();
        line(&LogFormat::Json { fields, omit_empty: true, sort: true }, &exchange.record(), &mut out);
        prop_assert!(std::str::from_utf8(&out).is_ok());
        prop_assert!(!out[..out.len() - 1].iter().any(|byte| *byte < 0x20));
    }

    #[test]
    fn no_time_format_makes_it_panic(format in "\\PC*", seconds in 0u64..1 << 40, nanos in 0u32..1_000_000_000) {
        format_time(Some(&format), Duration::new(seconds, nanos), &mut Vec::new());
    }

    #[test]
    fn dates_count_up_by_days(days in 0u64..200_000) {
        let at = |days: u64| Civil::of(Duration::from_secs(days * 86_400));
        let (today, tomorrow) = (at(days), at(days + 1));
        prop_assert_eq!((today.weekday + 1) % 7, tomorrow.weekday);
        let is_next = tomorrow.day == today.day + 1 || (tomorrow.day == 1 && today.day >= 28);
        prop_assert!(is_next);
    }
}

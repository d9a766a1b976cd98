//! Header changes, hosts, cookies, hashing.
use super::super::*;
use super::*;
use crate::http::{HeaderId, ResponseHead};
use crate::record::{ConnectionInfo, DynamicMetadata, Record};
use proptest::prelude::*;

fn add(name: &str, value: &str, action: AppendAction) -> HeaderAdd {
    let part = match value.strip_prefix('%') {
        Some(name) => Part::Operator(Operator::Req(bytes(name), None), None),
        None => Part::Literal(value.into()),
    };
    HeaderAdd { name: bytes(name), value: Template(vec![part]), action, keep_empty: name == "x-keep" }
}

/// What each level does in these tests; `level` names it.
fn changes(level: &str) -> HeaderChanges {
    use AppendAction::*;
    HeaderChanges {
        remove: vec![bytes(&format!("x-rm-{level}"))],
        add: vec![
            add("x-o", level, OverwriteIfExistsOrAdd),
            add("x-add", level, AppendIfExistsOrAdd),
            add("x-abs", level, AddIfAbsent),
            add("x-oe", level, OverwriteIfExists),
            add("x-sees", "%x-o", AppendIfExistsOrAdd),
            add("x-empty", "%x-none", AppendIfExistsOrAdd),
            add("x-keep", "%x-none", AppendIfExistsOrAdd),
        ],
    }
}

fn leveled(most_specific_wins: bool) -> (RouteConfig, WeightedCluster) {
    let mut made = route("r", route_match(PathMatch::Prefix(bytes("/"))), direct());
    made.request_headers = changes("route");
    made.response_headers = changes("route");
    let host = VirtualHost {
        request_headers: changes("vh"),
        response_headers: changes("vh"),
        ..super::virtual_host("v", vec![made])
    };
    let config = RouteConfig {
        request_headers: changes("rc"),
        response_headers: changes("rc"),
        most_specific_wins,
        ..config(host)
    };
    (config, WeightedCluster { request_headers: changes("wc"), ..weighted("c", 1) })
}

fn values(headers: &crate::http::Headers, name: &str) -> Vec<String> {
    headers.get_all_name(name.as_bytes()).map(show).collect()
}

#[test]
fn levels_change_a_request_from_the_most_to_the_least_specific() {
    let (connection, dynamic) = (ConnectionInfo::default(), DynamicMetadata::default());
    for (most_specific_wins, last, order) in
        [(false, "rc", ["wc", "route", "vh", "rc"]), (true, "route", ["wc", "rc", "vh", "route"])]
    {
        let (config, cluster) = leveled(most_specific_wins);
        let fields = [("x-o", "c"), ("x-add", "c"), ("x-rm-vh", "1"), ("x-rm-route", "1"), ("x-oe", "c")];
        let mut head = request("h", "/", &fields);
        let copy = head.clone();
        let found = find_route(&config, &copy, 0).unwrap();
        let mut scratch = b"left over".to_vec();
        apply_request(&mut head, &found, Some(&cluster), &Record::new(&connection, &dynamic), &mut scratch);
        let got = |name| values(&head.headers, name);
        assert_eq!(got("x-o"), [last]);
        assert_eq!(got("x-add"), [&["c"], &order[..]].concat());
        assert_eq!(got("x-abs"), ["wc"]);
        assert_eq!(got("x-oe"), [last]);
        assert_eq!(got("x-sees"), ["c", order[0], order[1], order[2]]);
        assert!(got("x-empty").is_empty() && got("x-rm-vh").is_empty() && got("x-rm-route").is_empty());
        assert_eq!(got("x-keep"), ["", "", "", ""]);
    }
}

#[test]
fn a_field_that_is_not_there_is_not_overwritten_unless_it_may_be_added() {
    let (connection, dynamic) = (ConnectionInfo::default(), DynamicMetadata::default());
    let mut head = request("h", "/", &[]);
    apply_changes(&mut head, &changes("one"), &Record::new(&connection, &dynamic), &mut Vec::new());
    assert_eq!(values(&head.headers, "x-o"), ["one"]);
    assert!(values(&head.headers, "x-oe").is_empty());
}

#[test]
fn responses_are_changed_in_the_same_order() {
    let (connection, dynamic) = (ConnectionInfo::default(), DynamicMetadata::default());
    let (config, cluster) = leveled(false);
    let head = request("h", "/", &[("x-o", "of the request")]);
    let found = find_route(&config, &head, 0).unwrap();
    let mut answer = ResponseHead { status: 200, ..ResponseHead::default() };
    answer.headers.push(b"x-rm-rc", b"1");
    let seen = Record { request: Some(&head), ..Record::new(&connection, &dynamic) };
    apply_response(&mut answer, &found, Some(&cluster), &seen, &mut Vec::new());
    assert_eq!(values(&answer.headers, "x-add"), ["route", "vh", "rc"]);
    assert_eq!(values(&answer.headers, "x-sees"), ["of the request"; 3]);
    assert!(values(&answer.headers, "x-rm-rc").is_empty());
}

#[test]
fn the_host_is_rewritten_by_the_route_before_the_weighted_cluster() {
    let literal =
        Forward { host_rewrite: Some(bytes("new.example")), append_forwarded_host: true, ..to_cluster("c") };
    let by_header = Forward { host_rewrite_header: Some(bytes("x-host")), ..to_cluster("c") };
    let cluster = WeightedCluster { host_rewrite: Some(bytes("wc.example")), ..weighted("c", 1) };
    let fields = [("x-host", "fromheader"), ("x-forwarded-host", "old.example")];
    for (forward, weighted, host, list) in [
        (&literal, None, "new.example", "old.example,a.example:80"),
        (&literal, Some(&cluster), "new.example", "old.example,wc.example"),
        (&by_header, None, "fromheader", "old.example"),
        (&to_cluster("c"), Some(&cluster), "wc.example", "old.example"),
        (&to_cluster("c"), None, "a.example:80", "old.example"),
    ] {
        let mut head = request("a.example:80", "/", &fields);
        rewrite_host(forward, weighted, &mut head, false);
        assert_eq!(show(head.authority()), host);
        assert_eq!(values(&head.headers, "x-forwarded-host"), [list]);
        assert!(values(&head.headers, "x-envoy-original-host").is_empty());
    }
}

#[test]
fn the_host_that_was_is_told_and_listed_once() {
    let forward = Forward { auto_host_rewrite: true, append_forwarded_host: true, ..to_cluster("c") };
    let mut head = request("a.example", "/", &[]);
    host_of_endpoint(&forward, &mut head, "", true);
    assert_eq!(show(head.authority()), "a.example");
    host_of_endpoint(&forward, &mut head, "ep.example", true);
    assert_eq!(show(head.authority()), "ep.example");
    assert_eq!(values(&head.headers, "x-envoy-original-host"), ["a.example"]);
    head.set_authority(b"a.example");
    host_of_endpoint(&forward, &mut head, "ep.example", true);
    assert_eq!(values(&head.headers, "x-forwarded-host"), ["a.example"]);
}

#[test]
fn cookies_are_found_among_others() {
    let head = request("h", "/", &[("cookie", "a=1; b=\"2 \"; bad; =x;c=3=4"), ("cookie", "a=9;  d=")]);
    let value = |name: &str| cookie_value(&head.headers, name.as_bytes()).map(show);
    assert_eq!(value("a").as_deref(), Some("9"));
    assert_eq!(value("b").as_deref(), Some("2 "));
    assert_eq!(value("c").as_deref(), Some("3=4"));
    assert_eq!(value("d").as_deref(), Some(""));
    assert_eq!([value("bad"), value("e")], [None, None]);
}

fn policy(kind: HashKey, terminal: bool) -> HashPolicy {
    HashPolicy { kind, terminal }
}

fn hash(policies: &[HashPolicy], head: &crate::http::RequestHead) -> Hashed {
    let connection = ConnectionInfo {
        remote: "[::ffff:127.0.0.1]:58504".parse().unwrap(),
        local: "127.0.0.1:24007".parse().unwrap(),
        ..ConnectionInfo::default()
    };
    hash_request(policies, head, "127.0.0.1".parse().unwrap(), &connection)
}

fn xxh64(text: &str) -> u64 {
    twox_hash::XxHash64::oneshot(0, text.as_bytes())
}

#[test]
fn what_is_hashed_is_the_value_alone() {
    let head =
        request("h", "/?q=7&q=8", &[("x-u", "bob"), ("x-two", "b"), ("x-two", "a"), ("cookie", "k=v")]);
    let cookie = |ttl| HashKey::Cookie { name: bytes("k"), path: bytes("/"), ttl };
    for (kind, wanted) in [
        (HashKey::Header(bytes("x-u")), Some(xxh64("bob"))),
        (HashKey::Header(bytes("x-two")), Some(xxh64("ab"))),
        (HashKey::Header(bytes(":authority")), Some(xxh64("h"))),
        (HashKey::Header(bytes("x-none")), None),
        (HashKey::SourceIp, Some(xxh64("127.0.0.1"))),
        (HashKey::Query(bytes("q")), Some(xxh64("7"))),
        (HashKey::Query(bytes("r")), None),
        (cookie(None), Some(xxh64("v"))),
        (cookie(Some(Duration::ZERO)), Some(xxh64("v"))),
    ] {
        let name = format!("{kind:?}");
        let hashed = hash(&[policy(kind, false)], &head);
        assert_eq!((hashed.hash, hashed.cookies.len()), (wanted, 0), "{name}");
    }
}

#[test]
fn hashes_are_rotated_and_mixed_until_a_terminal_one() {
    let head = request("h", "/?q=7", &[("x-u", "bob")]);
    let kinds =
        || [HashKey::Header(bytes("x-none")), HashKey::Header(bytes("x-u")), HashKey::Query(bytes("q"))];
    let all = kinds().map(|kind| policy(kind, false));
    assert_eq!(hash(&all, &head).hash, Some(xxh64("bob").rotate_left(1) ^ xxh64("7")));
    let first = kinds().map(|kind| policy(kind, true));
    assert_eq!(hash(&first, &head).hash, Some(xxh64("bob")));
    assert_eq!(hash(&[], &head), Hashed::default());
}

#[test]
fn a_missing_cookie_is_made_from_the_connection() {
    let kind = HashKey::Cookie { name: bytes("hc"), path: bytes("/x"), ttl: Some(Duration::from_secs(60)) };
    let hashed = hash(&[policy(kind, false)], &request("h", "/", &[]));
    assert_eq!(hashed.hash, Some(xxh64("9233b9101f71f10c")));
    let cookies: Vec<_> = hashed.cookies.iter().map(|cookie| show(cookie)).collect();
    assert_eq!(cookies, ["hc=\"9233b9101f71f10c\"; Max-Age=60; Path=/x; HttpOnly"]);
}

proptest! {
    #[test]
    fn a_hash_does_not_depend_on_the_order_of_values(mut values in proptest::collection::vec("[a-c]{0,3}", 1..6)) {
        let hashed = |values: &[String]| {
            let fields: Vec<_> = values.iter().map(|value| ("x-v", value.as_str())).collect();
            hash(&[policy(HashKey::Header(bytes("x-v")), false)], &request("h", "/", &fields))
        };
        let first = hashed(&values);
        values.reverse();
        prop_assert_eq!(first, hashed(&values));
    }

    #[test]
    fn no_cookie_field_makes_it_panic(value in proptest::collection::vec(any::<u8>(), 0..40)) {
        let mut head = request("h", "/", &[]);
        head.headers.push(HeaderId::Cookie.name().as_bytes(), &value);
        let _ = cookie_value(&head.headers, b"a");
    }
}

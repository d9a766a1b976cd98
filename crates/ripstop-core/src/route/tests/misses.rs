//! What is said of a route that does not match is why it does not.
use super::*;
use crate::http::HeaderId;
use crate::route::{find_route, first_miss};
use proptest::prelude::*;

fn text(kind: StringMatch) -> StringMatcher {
    StringMatcher { kind, ignore_case: false }
}

fn header(name: &str, value: &str) -> HeaderMatcher {
    let kind = HeaderMatch::Text(text(StringMatch::Exact(bytes(value))));
    let id = HeaderId::of(name.as_bytes());
    HeaderMatcher { name: bytes(name), id, kind, invert: false, missing_is_empty: false }
}

fn parameter(name: &str, value: &str) -> QueryMatcher {
    QueryMatcher { name: bytes(name), value: Some(text(StringMatch::Exact(bytes(value)))) }
}

fn told(wanted: &RouteMatch, head: &RequestHead) -> String {
    let Some(miss) = first_miss(wanted, head, 0) else { return "matches".to_owned() };
    let found = miss.found.as_deref().unwrap_or("nothing");
    format!("{} {}: {}, found {found}", miss.part, miss.name, miss.wanted)
}

#[test]
fn the_first_condition_that_does_not_hold_is_told_with_what_was_found() {
    let head = request("shop", "/cart?page=2", &[("x-user", "7")]);
    let on = |path: PathMatch| route_match(path);
    let root = || on(PathMatch::Prefix(bytes("/")));
    for (wanted, expected) in [
        (root(), "matches"),
        (on(PathMatch::Exact(bytes("/x"))), "path : \"/x\", found /cart"),
        (on(PathMatch::Separated(bytes("/c"))), "path : prefix \"/c\" by whole elements, found /cart"),
        (on(PathMatch::Connect), "path : CONNECT, found /cart"),
        (RouteMatch { headers: vec![header("x-user", "8")], ..root() }, "header x-user: \"8\", found 7"),
        (RouteMatch { headers: vec![header("x-a", "8")], ..root() }, "header x-a: \"8\", found nothing"),
        (
            RouteMatch { headers: vec![header(":method", "PUT")], ..root() },
            "header :method: \"PUT\", found GET",
        ),
        (RouteMatch { query: vec![parameter("page", "1")], ..root() }, "query page: \"1\", found 2"),
        (RouteMatch { only_grpc: true, ..root() }, "grpc content-type: application/grpc, found nothing"),
        (RouteMatch { fraction: Some(Millionths(0)), ..root() }, "share : 0 % of requests, found nothing"),
    ] {
        assert_eq!(told(&wanted, &head), expected);
    }
}

fn any_path() -> impl Strategy<Value = PathMatch> {
    prop_oneof![
        "/[ab]{0,2}".prop_map(|path| PathMatch::Prefix(bytes(&path))),
        "/[ab]{0,2}".prop_map(|path| PathMatch::Exact(bytes(&path))),
        "/[ab]{1,2}".prop_map(|path| PathMatch::Separated(bytes(&path))),
        Just(PathMatch::Connect),
    ]
}

fn any_match() -> impl Strategy<Value = RouteMatch> {
    let headers = proptest::collection::vec("[xy]".prop_map(|value| header("x-a", &value)), 0..2);
    let query = proptest::collection::vec("[xy]".prop_map(|value| parameter("q", &value)), 0..2);
    (any_path(), any::<bool>(), headers, query, proptest::option::of(0u32..1_000_000)).prop_map(
        |(path, case_sensitive, headers, query, share)| RouteMatch {
            path,
            case_sensitive,
            headers,
            query,
            fraction: share.map(Millionths),
            only_grpc: false,
        },
    )
}

proptest! {
    #[test]
    fn a_route_has_a_miss_exactly_when_it_is_not_chosen_alone(
        wanted in any_match(),
        path in "/[abAB/]{0,3}(\\?q=[xyz])?",
        value in "[xyz]",
        random in any::<u64>(),
    ) {
        let head = request("shop", &path, &[("x-a", &value)]);
        let miss = first_miss(&wanted, &head, random);
        let alone = config(super::virtual_host("v", vec![route("r", wanted, direct())]));
        prop_assert_eq!(miss.is_none(), find_route(&alone, &head, random).is_ok());
    }
}

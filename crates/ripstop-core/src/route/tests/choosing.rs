//! Filter chains, virtual hosts, routes, clusters, filters' configurations, scopes.
use super::super::*;
use super::*;
use crate::http::RequestHead;
use proptest::prelude::*;
use regex::bytes::Regex;

const DOMAINS: [&str; 12] = [
    "a.example",
    "*.a.example",
    "*a.example",
    "*.example",
    "www.*",
    "www.b*",
    "b.example:8080",
    "*",
    "c.example",
    "*-x.example",
    "[::1]:80",
    "[::1]",
];

/// Each domain gets a virtual host of its name, as `decode` would make it.
fn by_domains(list: &[&str], ignores_port: bool) -> RouteConfig {
    let mut domains = Domains::default();
    for (index, domain) in (0..).zip(list) {
        match (domain.strip_prefix('*'), domain.strip_suffix('*')) {
            (Some(""), _) => domains.any = Some(index),
            (Some(end), _) => domains.suffixes.push((bytes(end), index)),
            (_, Some(start)) => domains.prefixes.push((bytes(start), index)),
            _ => drop(domains.exact.insert(bytes(domain), index)),
        }
    }
    domains.suffixes.sort_by_key(|(end, _)| std::cmp::Reverse(end.len()));
    domains.prefixes.sort_by_key(|(start, _)| std::cmp::Reverse(start.len()));
    let virtual_hosts = list.iter().map(|name| Arc::new(super::virtual_host(name, Vec::new()))).collect();
    RouteConfig { virtual_hosts, domains, ignores_port, ..RouteConfig::default() }
}

fn host_of(config: &RouteConfig, authority: &str) -> String {
    super::super::virtual_host(config, authority.as_bytes())
        .map_or(String::new(), |host| host.name.to_string())
}

#[test]
fn the_most_specific_domain_is_taken() {
    let (whole, portless) = (by_domains(&DOMAINS, false), by_domains(&DOMAINS, true));
    for (authority, wanted, without_port) in [
        ("a.example", "a.example", "a.example"),
        ("A.Example", "a.example", "a.example"),
        ("x.a.example", "*.a.example", "*.a.example"),
        ("xa.example", "*a.example", "*a.example"),
        ("y.x.a.example", "*.a.example", "*.a.example"),
        (".a.example", "*a.example", "*a.example"),
        ("q.example", "*.example", "*.example"),
        ("www.z", "www.*", "www.*"),
        ("www.bz", "www.b*", "www.b*"),
        ("www.", "*", "*"),
        ("b.example:8080", "b.example:8080", "*.example"),
        ("b.example", "*.example", "*.example"),
        ("b.example:81", "*", "*.example"),
        ("zzz", "*", "*"),
        ("c.EXAMPLE", "c.example", "c.example"),
        ("a.example:80", "*", "a.example"),
        ("y-x.example", "*-x.example", "*-x.example"),
        ("[::1]:80", "[::1]:80", "[::1]"),
        ("[::1]", "[::1]", "[::1]"),
        ("[::1]:81", "*", "[::1]"),
        ("a.example.", "*", "*"),
        ("www.a.example", "*.a.example", "*.a.example"),
        ("example", "*", "*"),
        ("", "*", "*"),
    ] {
        assert_eq!(host_of(&whole, authority), wanted, "{authority}");
        assert_eq!(host_of(&portless, authority), without_port, "{authority} without port");
    }
}

fn names(config: &RouteConfig, head: &RequestHead, random: u64) -> Option<String> {
    find_route(config, head, random).ok().map(|found| found.route.name.to_string())
}

fn only(matches: RouteMatch) -> RouteConfig {
    config(super::virtual_host("v", vec![route("yes", matches, direct())]))
}

#[test]
fn paths_match_by_prefix_whole_element_or_pattern() {
    let any_case = |path| RouteMatch { case_sensitive: false, ..route_match(path) };
    let prefix = || PathMatch::Prefix(bytes("/ab"));
    let exact = || PathMatch::Exact(bytes("/ab"));
    let separated = || PathMatch::Separated(bytes("/ab"));
    let pattern = PathMatch::Regex(Regex::new("^(?:/a[bc])$").unwrap());
    let paths = ["/ab", "/ab/", "/abc", "/ab?x", "/AB", "/a", "/ac", "/ab;x", "/ab/c?d", "/aB/c", "/ab#x"];
    for (matches, wanted) in [
        (route_match(prefix()), [1, 1, 1, 1, 0, 0, 0, 1, 1, 0, 1]),
        (route_match(exact()), [1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1]),
        (route_match(separated()), [1, 1, 0, 1, 0, 0, 0, 0, 1, 0, 1]),
        (route_match(pattern), [1, 0, 0, 1, 0, 0, 1, 0, 0, 0, 1]),
        (any_case(prefix()), [1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1]),
        (any_case(exact()), [1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 1]),
        (any_case(separated()), [1, 1, 0, 1, 1, 0, 0, 0, 1, 1, 1]),
    ] {
        let kind = format!("{matches:?}");
        let config = only(matches);
        let found = paths.map(|path| i32::from(names(&config, &request("h", path, &[]), 0).is_some()));
        assert_eq!(found, wanted, "{kind}");
    }
}

#[test]
fn a_request_without_a_path_takes_a_connect_route_only() {
    let routes = vec![
        route("any", route_match(PathMatch::Prefix(bytes(""))), direct()),
        route("connect", route_match(PathMatch::Connect), direct()),
    ];
    let config = config(super::virtual_host("v", routes));
    let mut head = request("h:443", "", &[]);
    head.set_method(b"CONNECT");
    assert_eq!(names(&config, &head, 0).as_deref(), Some("connect"));
    assert_eq!(names(&config, &request("h", "/", &[]), 0).as_deref(), Some("any"));
    assert_eq!(names(&only(route_match(PathMatch::Connect)), &request("h", "/", &[]), 0), None);
}

#[test]
fn all_conditions_of_a_route_must_hold() {
    let prefix = || route_match(PathMatch::Prefix(bytes("/")));
    let query = QueryMatcher { name: bytes("a"), value: None };
    let grpc = RouteMatch { only_grpc: true, ..prefix() };
    let half = RouteMatch { fraction: Some(Millionths(500_000)), ..prefix() };
    let with_query = RouteMatch { query: vec![query], ..prefix() };
    let is_grpc = [("content-type", "application/grpc+proto")];
    for (matches, path, fields, random, wanted) in [
        (grpc.clone(), "/", &is_grpc[..], 0, true),
        (grpc, "/", &[("content-type", "application/grpc-web")], 0, false),
        (half.clone(), "/", &[], 499_999, true),
        (half, "/", &[], 3_500_000, false),
        (with_query.clone(), "/?b&a=2", &[], 0, true),
        (with_query, "/", &[], 0, false),
    ] {
        assert_eq!(names(&only(matches), &request("h", path, fields), random).is_some(), wanted, "{path}");
    }
}

#[test]
fn the_reason_is_told_when_there_is_no_route() {
    let head = request("h", "/x", &[]);
    assert!(matches!(find_route(&RouteConfig::default(), &head, 0), Err(Missed::NoVirtualHost)));
    let config = only(route_match(PathMatch::Prefix(bytes("/y"))));
    assert!(matches!(find_route(&config, &head, 0), Err(Missed::NoRoute(_))));
}

#[test]
fn tls_is_asked_for_where_it_is_required() {
    let requiring = |require_tls| {
        let host =
            super::virtual_host("v", vec![route("r", route_match(PathMatch::Prefix(bytes("/"))), direct())]);
        config(VirtualHost { require_tls, ..host })
    };
    let (all, external) = (requiring(Some(true)), requiring(Some(false)));
    let by_tls = request("h", "/", &[("x-forwarded-proto", "https")]);
    let inside = request("h", "/", &[("x-envoy-internal", "true")]);
    let is_refused = |config, head| matches!(find_route(config, head, 0), Err(Missed::NeedsTls(_)));
    assert_eq!([is_refused(&all, &by_tls), is_refused(&all, &inside)], [false, true]);
    assert_eq!([is_refused(&external, &by_tls), is_refused(&external, &inside)], [false, false]);
    assert!(is_refused(&external, &request("h", "/", &[])));
}

#[test]
fn clusters_are_chosen_by_name_header_or_weight() {
    let head = request("h", "/", &[("x-cluster", "by-header")]);
    let by_name = to_cluster("c");
    let by_header = forward(Destination::Header(bytes("x-cluster")));
    let missing = forward(Destination::Header(bytes("x-none")));
    assert_eq!(choose_cluster(&by_name, &head, 0).name, "c");
    assert_eq!(choose_cluster(&by_header, &head, 0).name, "by-header");
    assert_eq!(choose_cluster(&missing, &head, 0).name, "");
    let clusters = vec![weighted("a", 1), weighted("b", 0), weighted("c", 3)];
    let split = forward(Destination::Weighted(clusters, 4));
    let chosen: Vec<_> = (0..8).map(|random| choose_cluster(&split, &head, random).name).collect();
    assert_eq!(chosen, ["a", "c", "c", "c", "a", "c", "c", "c"]);
    let nothing = forward(Destination::Weighted(Vec::new(), 0));
    assert_eq!(choose_cluster(&nothing, &head, 5).name, "");
}

#[test]
fn the_most_specific_level_speaks_for_a_filter() {
    let off = |name: &str| vec![(Arc::from(name), PerFilter::Disabled)];
    let mut made = route("r", route_match(PathMatch::Prefix(bytes("/"))), direct());
    made.per_filter = off("route");
    let host = VirtualHost { per_filter: off("host"), ..super::virtual_host("v", vec![made]) };
    let mut config = config(host);
    config.per_filter = [off("host"), off("config")].concat();
    config.per_filter[0].1 = PerFilter::Rbac(None);
    let cluster =
        WeightedCluster { per_filter: vec![("route".into(), PerFilter::Rbac(None))], ..weighted("c", 1) };
    let found = find_route(&config, &request("h", "/", &[]), 0).unwrap();
    let is_off =
        |name, weighted| per_filter(name, &found, weighted).map(|f| matches!(f, PerFilter::Disabled));
    assert_eq!([is_off("route", None), is_off("route", Some(&cluster))], [Some(true), Some(false)]);
    assert_eq!(
        [is_off("host", None), is_off("config", None), is_off("other", None)],
        [Some(true), Some(true), None]
    );
}

#[test]
fn scopes_are_found_by_an_element_of_a_header() {
    let scoped = |header: &str, separator: &str, index| RouteSource::Scoped {
        header: bytes(header),
        separator: bytes(separator),
        index,
    };
    let head = request("shop.example:8080", "/", &[("x-s", "a;b;c")]);
    let key = |source: &RouteSource| scope_key(source, &head).map(show);
    assert_eq!(key(&scoped(":authority", ":", 0)).as_deref(), Some("shop.example"));
    assert_eq!(key(&scoped("x-s", ";", 2)).as_deref(), Some("c"));
    assert_eq!(key(&scoped("x-s", ";", 3)), None);
    assert_eq!(key(&scoped("x-s", "", 0)).as_deref(), Some("a;b;c"));
    assert_eq!(key(&scoped("x-none", ";", 0)), None);
    assert_eq!(key(&RouteSource::Rds("r".into())), None);
}

fn chain(name: &str, matches: ChainMatch) -> Arc<FilterChain> {
    let tcp = TcpProxy {
        stat_prefix: "t".into(),
        clusters: Vec::new(),
        total_weight: 0,
        by_sni: false,
        idle_timeout: Duration::ZERO,
        max_duration: Duration::ZERO,
        max_connect_attempts: 1,
        hash_source_ip: false,
        access_logs: Vec::new(),
    };
    Arc::new(FilterChain {
        name: name.into(),
        matches,
        tls: None,
        handshake_timeout: Duration::ZERO,
        rbac: Vec::new(),
        terminal: Terminal::Tcp(Arc::new(tcp)),
    })
}

fn listener(chains: Vec<(&str, ChainMatch)>) -> Listener {
    Listener {
        name: "l".into(),
        address: Address::Socket("127.0.0.1:80".parse().unwrap()),
        filter_chains: chains.into_iter().map(|(name, matches)| chain(name, matches)).collect(),
        default_chain: Some(chain("default", ChainMatch::default())),
        inspects_tls: true,
        proxy_protocol: false,
        listener_filters_timeout: Duration::ZERO,
        continues_on_timeout: false,
        direction: Direction::Unspecified,
        stat_prefix: "l".into(),
        buffer_limit: 0,
        backlog: 0,
        version: 0,
    }
}

fn arriving<'a>(server_name: &'a str, is_tls: bool, alpn: &'a [&'a [u8]]) -> ChainInput<'a> {
    ChainInput {
        local: "10.0.0.1:443".parse().unwrap(),
        remote: "192.0.2.1:5000".parse().unwrap(),
        direct_remote: "198.51.100.1:5000".parse().unwrap(),
        server_name,
        is_tls,
        alpn,
    }
}

fn chosen(listener: &Listener, input: &ChainInput<'_>) -> String {
    choose_chain(listener, input).map_or(String::new(), |chain| chain.name.to_string())
}

fn named(names: &[&str]) -> ChainMatch {
    ChainMatch {
        server_names: names.iter().map(|name| (*name).to_owned()).collect(),
        ..ChainMatch::default()
    }
}

#[test]
fn chains_are_told_apart_by_server_name() {
    let listener = listener(vec![
        ("exact", named(&["a.example"])),
        ("wide", named(&["*.example"])),
        ("narrow", named(&["*.b.example"])),
        ("tls", ChainMatch { transport_protocol: "tls".into(), ..ChainMatch::default() }),
    ]);
    for (name, is_tls, wanted) in [
        ("a.example", true, "exact"),
        ("x.b.example", true, "narrow"),
        ("b.example", true, "wide"),
        ("example", true, "tls"),
        ("", true, "tls"),
        ("", false, "default"),
    ] {
        assert_eq!(chosen(&listener, &arriving(name, is_tls, &[])), wanted, "{name}");
    }
}

#[test]
fn an_earlier_criterion_is_not_taken_back_when_a_later_one_fails() {
    let on_port = ChainMatch { destination_port: Some(443), ..named(&["a.example"]) };
    let listener = listener(vec![("port", on_port), ("any", ChainMatch::default())]);
    assert_eq!(chosen(&listener, &arriving("a.example", true, &[])), "port");
    assert_eq!(chosen(&listener, &arriving("b.example", true, &[])), "default");
    let elsewhere = ChainInput { local: "10.0.0.1:80".parse().unwrap(), ..arriving("b.example", true, &[]) };
    assert_eq!(chosen(&listener, &elsewhere), "any");
}

#[test]
fn addresses_ports_and_protocols_choose_too() {
    let nets = |text: &str| vec![text.parse().unwrap()];
    let none = ChainMatch::default;
    let listener = listener(vec![
        ("alpn", ChainMatch { application_protocols: vec!["h2".into()], ..none() }),
        ("alpn1", ChainMatch { application_protocols: vec!["http/1.1".into()], ..none() }),
        ("wide", ChainMatch { destination_prefixes: nets("10.1.0.0/16"), ..none() }),
        ("narrow", ChainMatch { destination_prefixes: nets("10.1.2.0/24"), ..none() }),
        ("direct", ChainMatch { direct_source_prefixes: nets("203.0.113.0/24"), ..none() }),
        ("near", ChainMatch { source_type: SourceType::SameIpOrLoopback, ..none() }),
        ("source", ChainMatch { source_prefixes: nets("192.0.3.0/24"), ..none() }),
        ("port", ChainMatch { source_ports: vec![7], ..none() }),
    ]);
    let plain = arriving("", false, &[]);
    let at = |text: &str| text.parse().unwrap();
    for (input, wanted) in [
        (arriving("", true, &[b"http/1.1", b"h2"]), "alpn1"),
        (arriving("", true, &[b"x", b"h2"]), "alpn"),
        (ChainInput { local: at("10.1.2.3:443"), ..plain }, "narrow"),
        (ChainInput { local: at("[::ffff:10.1.9.9]:443"), ..plain }, "wide"),
        (ChainInput { direct_remote: at("203.0.113.9:1"), ..plain }, "direct"),
        (ChainInput { remote: at("127.0.0.1:1"), ..plain }, "near"),
        (ChainInput { remote: at("10.0.0.1:1"), ..plain }, "near"),
        (ChainInput { remote: at("192.0.3.4:7"), ..plain }, "source"),
        (ChainInput { remote: at("192.0.3.4:8"), ..plain }, "source"),
        (ChainInput { remote: at("192.0.2.4:7"), ..plain }, "port"),
        (plain, "default"),
    ] {
        assert_eq!(chosen(&listener, &input), wanted, "{input:?}");
    }
}

fn class(domain: &str) -> usize {
    match (domain, domain.starts_with('*'), domain.ends_with('*')) {
        ("*", ..) => 3,
        (_, true, _) => 1,
        (_, _, true) => 2,
        _ => 0,
    }
}

fn fits(domain: &str, host: &str) -> bool {
    match (domain.strip_prefix('*'), domain.strip_suffix('*')) {
        (Some(""), _) => true,
        (Some(end), _) => host.len() > end.len() && host.ends_with(end),
        (_, Some(start)) => host.len() > start.len() && host.starts_with(start),
        _ => domain == host,
    }
}

proptest! {
    #[test]
    fn no_later_class_of_domains_wins_while_an_earlier_one_fits(
        domains in proptest::collection::btree_set("\\*?[ab.]{1,3}|[ab.]{1,3}\\*|\\*", 1..8),
        host in "[ab.]{1,5}",
    ) {
        let list: Vec<&str> = domains.iter().map(String::as_str).collect();
        let found = host_of(&by_domains(&list, false), &host);
        let best = list.iter().filter(|domain| fits(domain, &host)).map(|domain| (class(domain), std::cmp::Reverse(domain.len()))).min();
        let chosen = (!found.is_empty()).then(|| (class(&found), std::cmp::Reverse(found.len())));
        prop_assert_eq!(chosen, best);
    }

    #[test]
    fn no_request_makes_choosing_panic(
        authority in proptest::collection::vec(any::<u8>(), 0..20),
        path in proptest::collection::vec(any::<u8>(), 0..20),
        random in any::<u64>(),
    ) {
        let mut head = RequestHead::default();
        head.set_authority(&authority);
        head.set_path(&path);
        let mut config = by_domains(&DOMAINS, true);
        let matches = [PathMatch::Separated(bytes("/a")), PathMatch::Prefix(bytes(""))];
        let routes = matches.map(|path| route("r", RouteMatch { case_sensitive: false, ..route_match(path) }, direct()));
        let host = Arc::new(super::virtual_host("v", routes.into()));
        config.virtual_hosts = std::iter::repeat_n(host, DOMAINS.len()).collect();
        let _ = find_route(&config, &head, random);
        let scoped = RouteSource::Scoped { header: bytes(":authority"), separator: bytes("."), index: 1 };
        let _ = scope_key(&scoped, &head);
    }
}

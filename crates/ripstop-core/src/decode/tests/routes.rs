//! RouteConfigurations, routes, retries, header changes, scopes, per-filter configurations.
use super::*;
use crate::snapshot::{AppendAction, Destination, Forward, PerFilter, RouteAction, RouteConfig};
use prost_types::value::Kind;
use ripstop_xds::envoy::extensions::filters::http::rbac::v3::RbacPerRoute;
use ripstop_xds::envoy::r#type::matcher::v3 as matcher;
use std::time::Duration;

fn read(message: &route::RouteConfiguration) -> Result<RouteConfig, Refused> {
    route_configuration(&message.encode_to_vec())
}

/// The configuration with its one route changed.
fn changed(change: impl FnOnce(&mut route::Route)) -> route::RouteConfiguration {
    let mut made = routes();
    change(&mut made.virtual_hosts[0].routes[0]);
    made
}

fn forwarding(change: impl FnOnce(&mut route::RouteAction)) -> route::RouteConfiguration {
    let mut action = to_cluster("service");
    change(&mut action);
    changed(|route| route.action = Some(route::route::Action::Route(action)))
}

fn forward_of(config: &RouteConfig) -> &Forward {
    match &config.virtual_hosts[0].routes[0].action {
        RouteAction::Forward(forward) => forward,
        other => panic!("a route that forwards was expected: {other:?}"),
    }
}

#[test]
fn a_route_has_the_defaults_of_envoy() {
    let made = read(&routes()).unwrap();
    let forward = forward_of(&made);
    assert_eq!(forward.timeout, Duration::from_secs(15));
    assert_eq!((forward.idle_timeout, forward.not_found_status), (None, 503));
    assert!(made.virtual_hosts[0].routes[0].matches.case_sensitive);
    assert_eq!(made.domains.any, Some(0));
}

#[test]
fn what_is_not_done_is_refused_by_its_path() {
    type Change = fn(&mut route::RouteAction);
    let table: [(&str, Change); 15] = [
        ("internal_redirect_policy", |a| a.internal_redirect_policy = Some(Default::default())),
        ("internal_redirect_action", |a| a.internal_redirect_action = 1),
        ("hedge_policy", |a| a.hedge_policy = Some(Default::default())),
        ("cors", |a| a.cors = Some(Default::default())),
        ("path_rewrite_policy", |a| a.path_rewrite_policy = Some(Default::default())),
        ("max_grpc_timeout", |a| a.max_grpc_timeout = seconds(1)),
        ("priority", |a| a.priority = 9),
        ("timeout", |a| a.timeout = seconds(-1)),
        ("cluster", |a| *a = to_cluster("")),
        ("hash_policy[0].filter_state", |a| {
            use route::route_action::{HashPolicy, hash_policy::PolicySpecifier};
            let policy_specifier = Some(PolicySpecifier::FilterState(Default::default()));
            a.hash_policy = vec![HashPolicy { policy_specifier, ..Default::default() }];
        }),
        ("retry_policy.retry_priority", |a| {
            a.retry_policy =
                Some(route::RetryPolicy { retry_priority: Some(Default::default()), ..Default::default() });
        }),
        ("retry_policy.retry_on", |a| {
            a.retry_policy =
                Some(route::RetryPolicy { retry_on: "5xx,tpyo".to_owned(), ..Default::default() });
        }),
        ("request_mirror_policies[0].cluster_header", |a| {
            a.request_mirror_policies = vec![route::route_action::RequestMirrorPolicy {
                cluster: "copy".to_owned(),
                cluster_header: "x-copy".to_owned(),
                ..Default::default()
            }];
        }),
        ("host_rewrite_path_regex", |a| {
            a.host_rewrite_specifier =
                Some(route::route_action::HostRewriteSpecifier::HostRewritePathRegex(Default::default()));
        }),
        ("regex_rewrite.substitution", |a| {
            let pattern = Some(matcher::RegexMatcher { regex: "/(a)".to_owned(), ..Default::default() });
            a.regex_rewrite =
                Some(matcher::RegexMatchAndSubstitute { pattern, substitution: "\\2".to_owned() });
        }),
    ];
    for (path, change) in table {
        let found = paths(read(&forwarding(change)));
        assert_eq!(found, [format!("virtual_hosts[0].routes[0].route.{path}")]);
    }
}

#[test]
fn matches_that_cannot_be_made_are_refused() {
    use route::route_match::PathSpecifier;
    let table: [(&str, PathSpecifier); 4] = [
        ("path_match_policy", PathSpecifier::PathMatchPolicy(Default::default())),
        ("path_separated_prefix", PathSpecifier::PathSeparatedPrefix("/a/".to_owned())),
        (
            "safe_regex.regex",
            PathSpecifier::SafeRegex(matcher::RegexMatcher {
                regex: "a)|(?:b".to_owned(),
                ..Default::default()
            }),
        ),
        (
            "safe_regex.regex",
            PathSpecifier::SafeRegex(matcher::RegexMatcher {
                regex: "(?:x{1000}){1000}".to_owned(),
                ..Default::default()
            }),
        ),
    ];
    for (path, specifier) in table {
        let made = changed(|route| {
            let path_specifier = Some(specifier);
            route.r#match = Some(route::RouteMatch { path_specifier, ..Default::default() });
        });
        assert_eq!(paths(read(&made)), [format!("virtual_hosts[0].routes[0].match.{path}")]);
    }
}

#[test]
fn a_domain_belongs_to_one_virtual_host() {
    let mut made = routes();
    let mut host = |domains: &[&str]| {
        let domains = domains.iter().map(|domain| (*domain).to_owned()).collect();
        made.virtual_hosts.push(route::VirtualHost {
            name: "more".to_owned(),
            domains,
            ..Default::default()
        });
    };
    host(&["*.Example.com", "*.a.example.com", "www.*"]);
    host(&["x.example.com:80"]);
    let found = read(&made).unwrap().domains;
    assert_eq!(
        found.suffixes,
        [(Box::from(&b".a.example.com"[..]), 1), (Box::from(&b".example.com"[..]), 1)]
    );
    assert_eq!(found.prefixes, [(Box::from(&b"www."[..]), 1)]);
    assert_eq!(found.exact.get(&b"x.example.com:80"[..]), Some(&2));

    let mut host = |domains: &[&str]| {
        let domains = domains.iter().map(|domain| (*domain).to_owned()).collect();
        made.virtual_hosts.push(route::VirtualHost {
            name: "more".to_owned(),
            domains,
            ..Default::default()
        });
    };
    host(&["WWW.*", "a.*.com", ""]);
    host(&[]);
    assert_eq!(
        paths(read(&made)),
        [
            "virtual_hosts[3].domains[0]",
            "virtual_hosts[3].domains[1]",
            "virtual_hosts[3].domains[2]",
            "virtual_hosts[4].domains"
        ]
    );
}

#[test]
fn weights_are_there_and_do_not_add_up_to_nothing() {
    use route::route_action::ClusterSpecifier;
    use route::weighted_cluster::ClusterWeight;
    let made = |weights: &[Option<u32>]| {
        let clusters = weights.iter().map(|weight| ClusterWeight {
            name: "a".to_owned(),
            weight: *weight,
            ..Default::default()
        });
        let clusters = route::WeightedCluster { clusters: clusters.collect(), ..Default::default() };
        forwarding(|action| action.cluster_specifier = Some(ClusterSpecifier::WeightedClusters(clusters)))
    };
    let found = read(&made(&[Some(0), Some(3)])).unwrap();
    assert!(
        matches!(&forward_of(&found).destination, Destination::Weighted(clusters, 3) if clusters.len() == 2)
    );
    let at = "virtual_hosts[0].routes[0].route.weighted_clusters.clusters";
    assert_eq!(paths(read(&made(&[Some(0)]))), [at]);
    assert_eq!(paths(read(&made(&[Some(1), None]))), [format!("{at}[1].weight")]);
    assert_eq!(paths(read(&made(&[Some(u32::MAX), Some(1)]))), [at]);
}

#[test]
fn a_retry_policy_has_the_defaults_of_envoy() {
    let policy =
        route::RetryPolicy { retry_on: "connect-failure, 5xx,unavailable".to_owned(), ..Default::default() };
    let made = read(&forwarding(|action| action.retry_policy = Some(policy))).unwrap();
    let retry = forward_of(&made).retry.as_ref().unwrap();
    assert!(
        retry.on.connect_failure && retry.on.server_error && retry.on.grpc_unavailable && !retry.on.reset
    );
    assert_eq!((retry.num_retries, retry.host_picks_max), (1, 1));
    assert_eq!(retry.base_interval, Duration::from_millis(25));
    assert_eq!(retry.max_interval, Duration::from_millis(250));
}

#[test]
fn header_changes_leave_the_host_and_pseudo_headers_alone() {
    let option = |key: &str, value: &str, append: Option<bool>| core::HeaderValueOption {
        header: Some(core::HeaderValue {
            key: key.to_owned(),
            value: value.to_owned(),
            ..Default::default()
        }),
        append,
        ..Default::default()
    };
    let made = changed(|route| {
        route.request_headers_to_add = vec![option("X-Own", "%REQ(:path)%", Some(false))];
        route.response_headers_to_remove = vec!["Server".to_owned()];
    });
    let found = read(&made).unwrap();
    let route = &found.virtual_hosts[0].routes[0];
    assert_eq!(&*route.request_headers.add[0].name, b"x-own");
    assert_eq!(route.request_headers.add[0].action, AppendAction::OverwriteIfExistsOrAdd);
    assert_eq!(route.response_headers.remove, [Box::from(&b"server"[..])]);

    let made = changed(|route| {
        route.request_headers_to_add =
            vec![option("Host", "a", None), option("x-a", "%NOPE%", None), option("x b", "a\r\nb: c", None)];
        route.request_headers_to_remove = vec![":path".to_owned()];
    });
    let found = paths(read(&made));
    let at = "virtual_hosts[0].routes[0].request_headers_to";
    assert_eq!(
        found,
        [
            format!("{at}_add[0].header"),
            format!("{at}_add[1].header.value"),
            format!("{at}_add[2].header.key"),
            format!("{at}_add[2].header.value"),
            format!("{at}_remove[0]")
        ]
    );
}

#[test]
fn a_filter_may_be_told_otherwise_or_turned_off_by_a_route() {
    let off = route::FilterConfig { disabled: true, ..Default::default() };
    let made = changed(|route| {
        route.typed_per_filter_config.insert("limit".to_owned(), packed(&off));
        route.typed_per_filter_config.insert("rbac".to_owned(), packed(&RbacPerRoute::default()));
    });
    let found = read(&made).unwrap();
    let configs = &found.virtual_hosts[0].routes[0].per_filter;
    assert!(matches!(configs[0].1, PerFilter::Disabled));
    assert!(matches!(configs[1].1, PerFilter::Rbac(None)));

    let made = changed(|route| {
        let config = foreign("envoy.extensions.filters.http.lua.v3.LuaPerRoute");
        let optional =
            route::FilterConfig { config: Some(config.clone()), is_optional: true, ..Default::default() };
        route.typed_per_filter_config.insert("a".to_owned(), packed(&optional));
        route.typed_per_filter_config.insert("b".to_owned(), config);
    });
    assert_eq!(paths(read(&made)), ["virtual_hosts[0].routes[0].typed_per_filter_config[b]"]);
}

#[test]
fn a_direct_response_is_bounded() {
    let made = |length: usize| {
        let specifier = Some(core::data_source::Specifier::InlineBytes(vec![b'x'; length]));
        let body = Some(core::DataSource { specifier, ..Default::default() });
        let direct = route::DirectResponseAction { status: 200, body, ..Default::default() };
        changed(|route| route.action = Some(route::route::Action::DirectResponse(direct)))
    };
    assert!(read(&made(4096)).is_ok());
    assert_eq!(paths(read(&made(4097))), ["virtual_hosts[0].routes[0].direct_response.body"]);
}

// --- what is Ripstop's own ---

fn value(kind: Kind) -> prost_types::Value {
    prost_types::Value { kind: Some(kind) }
}

fn text(text: &str) -> prost_types::Value {
    value(Kind::StringValue(text.to_owned()))
}

fn structure(fields: &[(&str, prost_types::Value)]) -> prost_types::Struct {
    let fields = fields.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    prost_types::Struct { fields }
}

fn list(values: Vec<prost_types::Value>) -> prost_types::Value {
    value(Kind::ListValue(prost_types::ListValue { values }))
}

fn native(fields: &[(&str, prost_types::Value)]) -> route::RouteConfiguration {
    let metadata = core::Metadata {
        filter_metadata: [("ripstop.native".to_owned(), structure(fields))].into(),
        ..Default::default()
    };
    changed(|route| route.metadata = Some(metadata))
}

fn hop(on: &[(&str, prost_types::Value)]) -> prost_types::Value {
    let on = value(Kind::StructValue(structure(on)));
    value(Kind::StructValue(structure(&[
        ("cluster", text("spare")),
        ("service", text("ns/spare")),
        ("on", on),
    ])))
}

#[test]
fn fallbacks_come_from_metadata() {
    let statuses = list(vec![text("5xx"), text("429"), text("404-410")]);
    let on = [("noHealthy", value(Kind::BoolValue(true))), ("status", statuses)];
    let made = read(&native(&[
        ("fallbacks", list(vec![hop(&on)])),
        ("retryWithKey", value(Kind::BoolValue(true))),
        ("primary", text("main")),
    ]))
    .unwrap();
    let extras = &forward_of(&made).extras;
    assert!(extras.retry_with_key && extras.fallbacks[0].on.no_healthy && !extras.fallbacks[0].on.timeout);
    assert_eq!(extras.fallbacks[0].on.status, [(500, 599), (429, 429), (404, 410)]);
    let named: Vec<_> = references(&made).clusters.into_iter().collect();
    assert_eq!(named, ["main".into(), "service".into(), "spare".into()]);
}

#[test]
fn extras_that_are_malformed_are_faults() {
    let on = [("status", list(vec![text("6xx")])), ("always", value(Kind::BoolValue(true)))];
    let found = paths(read(&native(&[
        ("fallbacks", list(vec![hop(&on), text("x")])),
        ("retryWithKey", text("yes")),
        ("typo", text("")),
    ])));
    let at = "virtual_hosts[0].routes[0].metadata.filter_metadata[ripstop.native]";
    assert_eq!(
        found,
        [
            format!("{at}.typo"),
            format!("{at}.fallbacks[0].on.always"),
            format!("{at}.fallbacks[0].on.status[0]"),
            format!("{at}.fallbacks[1]"),
            format!("{at}.retryWithKey")
        ]
    );
}

#[test]
fn a_scope_leads_a_host_to_a_route_configuration() {
    use route::scoped_route_configuration::{Key, key::Fragment, key::fragment::Type};
    let fragment = Fragment { r#type: Some(Type::StringKey("reviews".to_owned())) };
    let mut scope = route::ScopedRouteConfiguration {
        name: "scope".to_owned(),
        route_configuration_name: "routes".to_owned(),
        key: Some(Key { fragments: vec![fragment.clone()] }),
        ..Default::default()
    };
    let found = scoped_route(&scope.encode_to_vec()).unwrap();
    assert_eq!(found, ("reviews".into(), "routes".into(), "scope".into()));
    scope.on_demand = true;
    scope.key.as_mut().unwrap().fragments.push(fragment);
    assert_eq!(paths(scoped_route(&scope.encode_to_vec())), ["on_demand", "key.fragments"]);
}

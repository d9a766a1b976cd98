//! Keys and results were seen at Envoy 1.40 with the same rules.
use super::*;
use crate::http::HeaderId;
use crate::record::{PeerCertificate, TlsInfo};
use crate::snapshot::*;
use proptest::prelude::*;

fn text(kind: StringMatch) -> StringMatcher {
    StringMatcher { kind, ignore_case: false }
}

fn exact(value: &str) -> StringMatcher {
    text(StringMatch::Exact(value.as_bytes().into()))
}

fn policy(permission: Permission, principal: Principal) -> RbacPolicy {
    RbacPolicy { permissions: vec![permission], principals: vec![principal] }
}

fn rules(action: RbacAction, policies: Vec<(&str, RbacPolicy)>) -> Arc<Rbac> {
    let policies = policies.into_iter().map(|(name, policy)| (name.into(), policy)).collect();
    Arc::new(Rbac { action, policies })
}

fn on_path(path: &str) -> RbacPolicy {
    policy(Permission::UrlPath(exact(path)), Principal::Any)
}

fn request(path: &str) -> RequestHead {
    let mut head = RequestHead::default();
    head.set_method(b"GET");
    head.set_authority(b"shop.example");
    head.set_path(path.as_bytes());
    head
}

fn caller(uri: &str) -> ConnectionInfo {
    let peer = PeerCertificate {
        uris: vec![uri.into()],
        dns_names: vec!["a.example".into()],
        subject: "CN=a".into(),
        fingerprint: String::new(),
    };
    ConnectionInfo {
        remote: "10.0.0.9:1234".parse().unwrap(),
        direct_remote: "10.0.0.8:1234".parse().unwrap(),
        local: "[::ffff:10.0.0.1]:8080".parse().unwrap(),
        tls: Some(Arc::new(TlsInfo { peer: Some(peer), ..TlsInfo::default() })),
        server_name: "shop.example".into(),
        ..ConnectionInfo::default()
    }
}

fn ask(rbac: &HttpRbac, path: &str) -> Verdict {
    let connection = caller("spiffe://mesh/a");
    check_http(rbac, &connection, "192.0.2.7".parse().unwrap(), &request(path))
}

fn enforced(rules: Arc<Rbac>) -> HttpRbac {
    HttpRbac { rules: Some(rules), ..HttpRbac::default() }
}

#[test]
fn allow_needs_a_policy_and_deny_needs_none() {
    let allow = enforced(rules(RbacAction::Allow, vec![("a", on_path("/ok"))]));
    let deny = enforced(rules(RbacAction::Deny, vec![("a", on_path("/bad")), ("b b", on_path("/bad"))]));
    let log = enforced(rules(RbacAction::Log, vec![("a", on_path("/ok"))]));
    assert!(ask(&allow, "/ok?x").allowed());
    assert!(!ask(&allow, "/other").allowed());
    assert_eq!(ask(&allow, "/other").details(), "rbac_access_denied_matched_policy[none]");
    assert!(!ask(&deny, "/bad").allowed());
    assert_eq!(ask(&deny, "/bad").details(), "rbac_access_denied_matched_policy[a]");
    assert!(ask(&deny, "/ok").allowed());
    assert!(ask(&log, "/other").allowed());
    assert!(ask(&HttpRbac::default(), "/").allowed());
}

#[test]
fn an_empty_allow_denies_all_and_an_empty_deny_nothing() {
    assert!(!ask(&enforced(rules(RbacAction::Allow, vec![])), "/").allowed());
    assert!(ask(&enforced(rules(RbacAction::Deny, vec![])), "/").allowed());
}

#[test]
fn details_have_no_spaces() {
    let deny = enforced(rules(RbacAction::Deny, vec![("b pol", on_path("/bad"))]));
    assert_eq!(ask(&deny, "/bad").details(), "rbac_access_denied_matched_policy[b_pol]");
}

fn told(rbac: &HttpRbac, path: &str) -> Vec<String> {
    let mut metadata = DynamicMetadata::default();
    tell(&ask(rbac, path), rbac, &mut metadata);
    let value = |value: &Told| match value {
        Told::Word(word) => word.to_string(),
        Told::Value(other) => format!("{other:?}"),
    };
    let shown = |filter: &'static str| {
        let line = move |(key, found)| format!("{filter}:{key}={}", value(found));
        metadata.of(filter).map(line).collect::<Vec<_>>()
    };
    [shown("envoy.common"), shown(METADATA)].concat()
}

#[test]
fn metadata_tells_what_was_decided() {
    let shadow = HttpRbac {
        shadow_rules: Some(rules(RbacAction::Deny, vec![("p", on_path("/bad"))])),
        shadow_prefix: "deny_".into(),
        ..HttpRbac::default()
    };
    let f = METADATA;
    assert_eq!(
        told(&shadow, "/bad"),
        [format!("{f}:deny_shadow_effective_policy_id=p"), format!("{f}:deny_shadow_engine_result=denied")]
    );
    assert_eq!(told(&shadow, "/ok"), [format!("{f}:deny_shadow_engine_result=allowed")]);
    let allow = HttpRbac {
        rules_prefix: "p_".into(),
        ..enforced(rules(RbacAction::Allow, vec![("a", on_path("/ok"))]))
    };
    assert_eq!(
        told(&allow, "/ok"),
        [format!("{f}:p_enforced_effective_policy_id=a"), format!("{f}:p_enforced_engine_result=allowed")]
    );
    assert_eq!(told(&allow, "/x"), [format!("{f}:p_enforced_engine_result=denied")]);
    let log = enforced(rules(RbacAction::Log, vec![("a", on_path("/ok"))]));
    assert_eq!(
        told(&log, "/x"),
        [
            "envoy.common:access_log_hint=Bool(false)".to_owned(),
            format!("{f}:enforced_engine_result=allowed")
        ]
    );
    assert!(told(&HttpRbac::default(), "/").is_empty());
}

fn allows(permission: Permission, principal: Principal) -> bool {
    let allow = enforced(rules(RbacAction::Allow, vec![("a", policy(permission, principal))]));
    ask(&allow, "/cart?x=1").allowed()
}

fn net(text: &str) -> ipnet::IpNet {
    text.parse().unwrap()
}

fn method(value: &str) -> HeaderMatcher {
    HeaderMatcher {
        name: b":method".as_slice().into(),
        id: HeaderId::Other,
        kind: HeaderMatch::Text(exact(value)),
        invert: false,
        missing_is_empty: false,
    }
}

#[test]
fn permissions_look_at_the_request_and_our_end() {
    let not = |permission| Permission::Not(Box::new(permission));
    for (permission, wanted) in [
        (Permission::Any, true),
        (not(Permission::Any), false),
        (Permission::And(vec![]), true),
        (Permission::Or(vec![]), false),
        (Permission::And(vec![Permission::Any, not(Permission::Any)]), false),
        (Permission::Or(vec![not(Permission::Any), Permission::Any]), true),
        (Permission::Header(method("GET")), true),
        (Permission::Header(method("PUT")), false),
        (Permission::UrlPath(exact("/cart")), true),
        (Permission::UrlPath(exact("/cart?x=1")), false),
        (Permission::DestinationIp(net("10.0.0.0/30")), true),
        (Permission::DestinationIp(net("10.0.1.0/30")), false),
        (Permission::DestinationPort(8080), true),
        (Permission::DestinationPortRange(8080, 8081), true),
        (Permission::DestinationPortRange(8000, 8080), false),
        (Permission::RequestedServerName(exact("shop.example")), true),
    ] {
        let name = format!("{permission:?}");
        assert_eq!(allows(permission, Principal::Any), wanted, "{name}");
    }
}

#[test]
fn principals_look_at_the_peer() {
    for (principal, wanted) in [
        (Principal::Any, true),
        (Principal::Not(Box::new(Principal::Any)), false),
        (Principal::Authenticated(None), true),
        (Principal::Authenticated(Some(exact("spiffe://mesh/a"))), true),
        (Principal::Authenticated(Some(exact("a.example"))), true),
        (Principal::Authenticated(Some(exact("CN=a"))), true),
        (Principal::Authenticated(Some(exact("spiffe://mesh/b"))), false),
        (Principal::SourceIp(net("10.0.0.9/32")), true),
        (Principal::DirectRemoteIp(net("10.0.0.8/32")), true),
        (Principal::RemoteIp(net("192.0.2.7/32")), true),
        (Principal::RemoteIp(net("10.0.0.9/32")), false),
        (Principal::Header(method("GET")), true),
        (Principal::UrlPath(exact("/cart")), true),
        (Principal::And(vec![Principal::Any, Principal::UrlPath(exact("/"))]), false),
        (Principal::Or(vec![Principal::Any, Principal::UrlPath(exact("/"))]), true),
    ] {
        let name = format!("{principal:?}");
        assert_eq!(allows(Permission::Any, principal), wanted, "{name}");
    }
}

#[test]
fn without_a_certificate_nobody_is_authenticated() {
    let any = rules(RbacAction::Allow, vec![("a", policy(Permission::Any, Principal::Authenticated(None)))]);
    let network = NetworkRbac {
        rules: Some(any),
        shadow_rules: None,
        shadow_prefix: String::new(),
        stat_prefix: String::new(),
    };
    let tls = Some(Arc::new(TlsInfo::default()));
    for connection in [ConnectionInfo::default(), ConnectionInfo { tls, ..ConnectionInfo::default() }] {
        assert!(!check_network(&network, &connection).allowed());
    }
    assert!(check_network(&network, &caller("spiffe://mesh/a")).allowed());
}

#[test]
fn a_connection_has_no_headers_and_no_path() {
    let absent = HeaderMatcher { kind: HeaderMatch::Present(false), ..method("") };
    for (permission, wanted) in [
        (Permission::Header(method("GET")), false),
        (Permission::Header(absent), true),
        (Permission::UrlPath(text(StringMatch::Prefix(b"".as_slice().into()))), false),
        (Permission::DestinationPort(8080), true),
    ] {
        let name = format!("{permission:?}");
        let network = NetworkRbac {
            rules: Some(rules(RbacAction::Allow, vec![("a", policy(permission, Principal::Any))])),
            shadow_rules: None,
            shadow_prefix: String::new(),
            stat_prefix: String::new(),
        };
        assert_eq!(check_network(&network, &caller("x")).allowed(), wanted, "{name}");
    }
}

fn principal(uri: &str) -> Principal {
    Principal::Authenticated(Some(exact(uri)))
}

fn reasoned(policies: Vec<(&str, RbacPolicy)>, path: &str) -> Reasoned {
    let rules = rules(RbacAction::Allow, policies);
    reason_http(&rules, &caller("spiffe://mesh/a"), "192.0.2.7".parse().unwrap(), &request(path))
}

fn lacks(near: &Near) -> String {
    let unmet: Vec<String> = near
        .unmet
        .iter()
        .map(|m| format!("{} {} found {}", m.part, m.wanted, m.found.as_deref().unwrap_or("nothing")))
        .collect();
    format!("{}[{}] {}", near.policy, near.rule, unmet.join("; "))
}

#[test]
fn the_rule_with_the_fewest_conditions_that_do_not_hold_is_the_closest() {
    let both = Principal::And(vec![principal("spiffe://mesh/b"), Principal::UrlPath(exact("/y"))]);
    let one = Principal::And(vec![
        Principal::Or(vec![principal("spiffe://mesh/a"), principal("spiffe://mesh/c")]),
        Principal::UrlPath(exact("/y")),
    ]);
    let rule = RbacPolicy { permissions: vec![Permission::Any], principals: vec![both, one] };
    let found = reasoned(vec![("shop/web", rule)], "/x");
    assert!(!found.decision.allowed && found.rule.is_none());
    assert_eq!(lacks(&found.closest.unwrap()), "shop/web[1] path \"/y\" found /x");
}

#[test]
fn of_two_rules_that_lack_as_much_the_one_for_this_caller_is_closer() {
    let of = |uri: &str, path: &str| Principal::And(vec![principal(uri), Principal::UrlPath(exact(path))]);
    let principals = vec![of("spiffe://mesh/b", "/x"), of("spiffe://mesh/a", "/y")];
    let found = reasoned(vec![("p", RbacPolicy { permissions: vec![Permission::Any], principals })], "/x");
    assert_eq!(lacks(&found.closest.unwrap()), "p[1] path \"/y\" found /x");
}

#[test]
fn alternatives_of_one_thing_are_told_as_one_and_what_must_not_be_as_not() {
    for (rule, expected) in [
        (
            Principal::Or(vec![principal("spiffe://mesh/b"), principal("spiffe://mesh/c")]),
            "p[0] principal \"spiffe://mesh/b\" or \"spiffe://mesh/c\" found spiffe://mesh/a",
        ),
        (
            Principal::Not(Box::new(Principal::Or(vec![principal("spiffe://mesh/a"), principal("x")]))),
            "p[0] principal not \"spiffe://mesh/a\" or \"x\" found spiffe://mesh/a",
        ),
    ] {
        let found = reasoned(vec![("p", policy(Permission::Any, rule))], "/x");
        assert_eq!(lacks(&found.closest.unwrap()), expected);
    }
}

#[test]
fn the_rule_that_matches_is_told() {
    let principals = vec![principal("spiffe://mesh/b"), principal("spiffe://mesh/a")];
    let rule = RbacPolicy { permissions: vec![Permission::Any], principals };
    let found = reasoned(vec![("p", rule)], "/x");
    assert_eq!((found.decision.policy.as_deref(), found.rule, found.closest), (Some("p"), Some(1), None));
}

proptest! {
    #[test]
    fn allow_and_deny_are_opposites(path in "/[ab]{0,2}", policies in proptest::collection::vec("/[ab]{0,2}", 0..4)) {
        let made = |action| {
            let policies = policies.iter().map(|path| ("p", on_path(path))).collect();
            enforced(rules(action, policies))
        };
        let (allow, deny) = (ask(&made(RbacAction::Allow), &path), ask(&made(RbacAction::Deny), &path));
        prop_assert_ne!(allow.allowed(), deny.allowed());
        prop_assert_eq!(allow.allowed(), policies.contains(&path));
    }

    #[test]
    fn a_closest_rule_lacks_something_and_only_what_was_denied_has_one(
        path in "/[ab]{0,2}", policies in proptest::collection::vec("/[ab]{0,2}", 0..4),
    ) {
        let found = reasoned(policies.iter().map(|path| ("p", on_path(path))).collect(), &path);
        prop_assert_eq!(found.closest.is_some(), !found.decision.allowed && !policies.is_empty());
        prop_assert!(found.closest.is_none_or(|near| !near.unmet.is_empty()));
    }
}

//! HTTP filters: what each is told, through the manager that holds it.
use super::*;
use crate::snapshot::{
    FaultAbort, FilterKind, HttpFilter, Millionths, Permission, Principal, SessionState, Terminal,
};
use ripstop_xds::envoy::config::rbac::v3 as rbac;
use ripstop_xds::envoy::extensions::filters::common::fault::v3 as fault_common;
use ripstop_xds::envoy::extensions::filters::http as filters;
use ripstop_xds::envoy::extensions::http::stateful_session::cookie::v3::CookieBasedSessionState;
use ripstop_xds::envoy::r#type::http::v3::Cookie;
use ripstop_xds::envoy::r#type::v3 as kinds;
use std::time::Duration;

/// The first filter of a manager that has `config` before its router.
fn read(config: Any) -> Result<HttpFilter, Refused> {
    let mut manager = manager();
    manager.http_filters.insert(0, http_filter("own", config));
    let made = listener(&listeners::with(&manager).encode_to_vec(), &NoFiles)?;
    match &made.filter_chains[0].terminal {
        Terminal::Http(manager) => Ok(manager.filters[0].clone()),
        Terminal::Tcp(_) => panic!("a connection manager was expected"),
    }
}

fn at(path: &str) -> String {
    format!("filter_chains[0].filters[0].typed_config.http_filters[0].typed_config.{path}")
}

fn percent(numerator: u32) -> Option<kinds::FractionalPercent> {
    Some(kinds::FractionalPercent { numerator, denominator: 0 })
}

#[test]
fn a_local_rate_limit_does_nothing_until_it_is_enabled() {
    use filters::local_ratelimit::v3::LocalRateLimit;
    let bucket = kinds::TokenBucket { max_tokens: 5, tokens_per_fill: None, fill_interval: seconds(1) };
    let config =
        LocalRateLimit { stat_prefix: "limit".to_owned(), token_bucket: Some(bucket), ..Default::default() };
    let FilterKind::LocalRateLimit(limit) = read(packed(&config)).unwrap().kind else {
        panic!("a rate limit was expected")
    };
    assert_eq!((limit.status, limit.enabled, limit.enforced), (429, Millionths(0), Millionths(0)));
    assert_eq!(limit.bucket.unwrap().tokens_per_fill, 1);

    let bucket = kinds::TokenBucket { max_tokens: 0, tokens_per_fill: Some(0), fill_interval: None };
    let config =
        LocalRateLimit { token_bucket: Some(bucket), descriptors: vec![Default::default()], ..config };
    let wrong = [
        "descriptors",
        "token_bucket.fill_interval",
        "token_bucket.max_tokens",
        "token_bucket.tokens_per_fill",
    ];
    assert_eq!(paths(read(packed(&config))), wrong.map(at));
}

#[test]
fn equal_limits_in_different_places_have_different_buckets() {
    use filters::local_ratelimit::v3::LocalRateLimit;
    let config = packed(&LocalRateLimit { stat_prefix: "limit".to_owned(), ..Default::default() });
    let mut manager = manager();
    manager.http_filters.insert(0, http_filter("a", config.clone()));
    manager.http_filters.insert(0, http_filter("b", config));
    let bytes = listeners::with(&manager).encode_to_vec();
    let keys = || {
        let made = listener(&bytes, &NoFiles).unwrap();
        let Terminal::Http(manager) = &made.filter_chains[0].terminal else { panic!("HTTP was expected") };
        let key = |filter: &HttpFilter| match &filter.kind {
            FilterKind::LocalRateLimit(limit) => limit.key,
            _ => 0,
        };
        [key(&manager.filters[0]), key(&manager.filters[1])]
    };
    assert_ne!(keys()[0], keys()[1]);
    assert_eq!(keys(), keys());
}

#[test]
fn a_fault_delays_and_aborts_by_chance() {
    use fault_common::fault_delay::FaultDelaySecifier;
    use filters::fault::v3::{FaultAbort as Abort, HttpFault, fault_abort::ErrorType};
    let delay = fault_common::FaultDelay {
        percentage: percent(10),
        fault_delay_secifier: seconds(2).map(FaultDelaySecifier::FixedDelay),
    };
    let abort = Abort { percentage: percent(200), error_type: Some(ErrorType::HttpStatus(503)) };
    let config = HttpFault { delay: Some(delay), abort: Some(abort), ..Default::default() };
    let FilterKind::Fault(Some(fault)) = read(packed(&config)).unwrap().kind else {
        panic!("a fault was expected")
    };
    assert_eq!(fault.delay, Some((Duration::from_secs(2), Millionths(100_000))));
    assert_eq!(fault.abort, Some((FaultAbort::Http(503), Millionths::ALL)));
    assert!(matches!(read(packed(&HttpFault::default())).unwrap().kind, FilterKind::Fault(None)));

    let abort = Abort { percentage: percent(1), error_type: Some(ErrorType::HttpStatus(99)) };
    let config =
        HttpFault { abort: Some(abort), response_rate_limit: Some(Default::default()), ..Default::default() };
    assert_eq!(paths(read(packed(&config))), ["response_rate_limit", "abort.http_status"].map(at));
}

#[test]
fn rbac_keeps_all_of_a_set_or_is_refused() {
    use filters::rbac::v3::Rbac;
    use rbac::{permission::Rule, principal::Identifier};
    let permit = |rule: Rule| rbac::Permission { rule: Some(rule) };
    let principal = |identifier| rbac::Principal { identifier: Some(identifier) };
    let rules = |permission: rbac::Permission| {
        let policy = rbac::Policy {
            permissions: vec![permission],
            principals: vec![principal(Identifier::Any(true))],
            ..Default::default()
        };
        let rules = rbac::Rbac { policies: [("p".to_owned(), policy)].into(), ..Default::default() };
        packed(&Rbac { rules: Some(rules), ..Default::default() })
    };
    let set = |rule: Rule| {
        let rules = vec![permit(Rule::DestinationPort(80)), permit(rule)];
        rules_of_both(rules)
    };
    let FilterKind::Rbac(made) = read(rules(set(Rule::Any(true)))).unwrap().kind else {
        panic!("RBAC was expected")
    };
    let (_, policy) = &made.rules.as_ref().unwrap().policies[0];
    assert!(matches!(&policy.permissions[0], Permission::And(both) if both.len() == 2));
    assert!(matches!(policy.principals[0], Principal::Any));
    let found = paths(read(rules(set(Rule::Metadata(Default::default())))));
    assert_eq!(found, [at("rules.policies[p].permissions[0].and_rules.rules[1]")]);
}

fn rules_of_both(rules: Vec<rbac::Permission>) -> rbac::Permission {
    rbac::Permission { rule: Some(rbac::permission::Rule::AndRules(rbac::permission::Set { rules })) }
}

#[test]
fn a_session_is_kept_in_a_cookie() {
    use filters::stateful_session::v3::StatefulSession;
    let state = |name: &str| {
        let cookie = Cookie { name: name.to_owned(), path: "/".to_owned(), ..Default::default() };
        let config = packed(&CookieBasedSessionState { cookie: Some(cookie) });
        let extension = core::TypedExtensionConfig { name: "cookie".to_owned(), typed_config: Some(config) };
        packed(&StatefulSession { session_state: Some(extension), ..Default::default() })
    };
    let FilterKind::StatefulSession(Some(session)) = read(state("where")).unwrap().kind else {
        panic!("a session was expected")
    };
    assert!(
        matches!(&session.state, SessionState::Cookie { name, ttl, .. } if &**name == b"where" && ttl.is_zero())
    );
    assert_eq!(paths(read(state("a b"))), [at("session_state.typed_config.cookie.name")]);
}

#[test]
fn a_removal_takes_what_was_added_before_it() {
    use filters::header_mutation::v3::{HeaderMutation, Mutations};
    use ripstop_xds::envoy::config::common::mutation_rules::v3::{self as rules, header_mutation::Action};
    let append = |key: &str| {
        let header = core::HeaderValue { key: key.to_owned(), value: "1".to_owned(), ..Default::default() };
        Action::Append(core::HeaderValueOption { header: Some(header), ..Default::default() })
    };
    let actions = [append("x-a"), append("x-b"), Action::Remove("X-A".to_owned())];
    let mutations = actions.map(|action| rules::HeaderMutation { action: Some(action) });
    let mutations = Mutations { request_mutations: mutations.to_vec(), ..Default::default() };
    let config = HeaderMutation { mutations: Some(mutations), ..Default::default() };
    let FilterKind::HeaderMutation(made) = read(packed(&config)).unwrap().kind else {
        panic!("mutations were expected")
    };
    assert_eq!(made.request.remove, [Box::from(&b"x-a"[..])]);
    assert_eq!(made.request.add.iter().map(|add| &*add.name).collect::<Vec<_>>(), [b"x-b"]);
}

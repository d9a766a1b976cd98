//! Which rule decided, and the one that came closest when none matched.
//!
//! A rule is a principal of a policy: the control plane writes one for each rule of a document, permissions are `any`.
use super::matching::Subject;
use super::{Decision, decide};
use crate::http::RequestHead;
use crate::record::ConnectionInfo;
use crate::route::{Miss, header_miss, path_for_matching};
use crate::snapshot::{HeaderMatcher, Permission, Principal, Rbac, RbacPolicy, StringMatcher};
use std::net::IpAddr;
use std::sync::Arc;

/// What rules say, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Reasoned {
    /// What they say.
    pub decision: Decision,
    /// The first principal of the matching policy that matches.
    pub rule: Option<usize>,
    /// Where no policy matches: the rule with the fewest conditions that do not hold; of several, one for this principal.
    pub closest: Option<Near>,
}

/// A rule that did not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Near {
    /// Its policy.
    pub policy: Arc<str>,
    /// Its place among the policy's principals.
    pub rule: usize,
    /// The conditions that did not hold. Parts are those of `Miss`, and `principal`, `address`, `port`, `sni`, `any`
    /// (one of several conditions), `none` (what must not hold).
    pub unmet: Vec<Miss>,
}

/// What rules say about a request, and why.
pub fn reason_http(
    rules: &Rbac,
    connection: &ConnectionInfo,
    remote: IpAddr,
    head: &RequestHead,
) -> Reasoned {
    reason(rules, &Subject::request(connection, remote, head))
}

/// What rules say about a connection, and why.
pub fn reason_network(rules: &Rbac, connection: &ConnectionInfo) -> Reasoned {
    reason(rules, &Subject::connection(connection))
}

fn reason(rules: &Rbac, subject: &Subject<'_>) -> Reasoned {
    let decision = decide(rules, subject);
    let matching = rules.policies.iter().find(|(name, _)| Some(name) == decision.policy.as_ref());
    let rule = matching.and_then(|(_, policy)| policy.principals.iter().position(|p| subject.is(p)));
    let closest = if decision.policy.is_none() { closest(rules, subject) } else { None };
    Reasoned { decision, rule, closest }
}

fn closest(rules: &Rbac, subject: &Subject<'_>) -> Option<Near> {
    let near = rules.policies.iter().flat_map(|(name, policy)| {
        let permissions =
            fewest(policy.permissions.iter().map(|permission| unpermitted(subject, permission)));
        rules_of(policy, subject).map(move |(rule, mut unmet)| {
            unmet.extend(permissions.iter().flatten().cloned());
            Near { policy: name.clone(), rule, unmet }
        })
    });
    // Of two that lack as much, the one that is about this caller is of more use.
    near.min_by_key(|near| {
        (near.unmet.len(), near.unmet.iter().filter(|unmet| unmet.part == "principal").count())
    })
}

fn rules_of<'a>(
    policy: &'a RbacPolicy,
    subject: &'a Subject<'_>,
) -> impl Iterator<Item = (usize, Vec<Miss>)> {
    policy.principals.iter().map(|principal| unmatched(subject, principal)).enumerate()
}

fn fewest(all: impl Iterator<Item = Vec<Miss>>) -> Option<Vec<Miss>> {
    all.min_by_key(Vec::len)
}

fn unmatched(subject: &Subject<'_>, principal: &Principal) -> Vec<Miss> {
    if subject.is(principal) {
        return Vec::new();
    }
    match principal {
        Principal::And(all) => all.iter().flat_map(|part| unmatched(subject, part)).collect(),
        Principal::Or(any) => alternatives(any.iter().map(|part| unmatched(subject, part))),
        Principal::Not(other) => vec![none(principal_condition(subject, other))],
        other => vec![principal_condition(subject, other)],
    }
}

fn unpermitted(subject: &Subject<'_>, permission: &Permission) -> Vec<Miss> {
    if subject.may(permission) {
        return Vec::new();
    }
    match permission {
        Permission::And(all) => all.iter().flat_map(|part| unpermitted(subject, part)).collect(),
        Permission::Or(any) => alternatives(any.iter().map(|part| unpermitted(subject, part))),
        Permission::Not(other) => vec![none(permission_condition(subject, other))],
        other => vec![permission_condition(subject, other)],
    }
}

/// Alternatives of one condition each about one thing are one condition; else the one that lacks least is told.
fn alternatives(all: impl Iterator<Item = Vec<Miss>>) -> Vec<Miss> {
    let all: Vec<Vec<Miss>> = all.collect();
    let are_single = all.iter().all(|misses| misses.len() == 1);
    let mut singles = all.iter().flatten();
    let Some(first) = singles.next().filter(|_| are_single) else {
        return fewest(all.into_iter()).unwrap_or_default();
    };
    if all.iter().flatten().any(|miss| (miss.part, &miss.name) != (first.part, &first.name)) {
        return fewest(all.into_iter()).unwrap_or_default();
    }
    let mut joined = first.clone();
    for other in singles {
        joined.wanted.push_str(" or ");
        joined.wanted.push_str(&other.wanted);
    }
    vec![joined]
}

/// What must not be, and is.
fn none(mut condition: Miss) -> Miss {
    condition.wanted = format!("not {}", condition.wanted);
    condition
}

fn miss(part: &'static str, wanted: String, found: Option<String>) -> Miss {
    Miss { part, name: String::new(), wanted, found }
}

fn principal_condition(subject: &Subject<'_>, principal: &Principal) -> Miss {
    let address = |wanted: String, found: IpAddr| miss("address", wanted, Some(found.to_string()));
    match principal {
        Principal::Authenticated(wanted) => {
            let wanted = wanted.as_ref().map_or("any certificate".to_owned(), ToString::to_string);
            miss("principal", wanted, subject.peer_name())
        }
        Principal::Header(wanted) => header(subject, wanted),
        Principal::UrlPath(wanted) => path(subject, wanted),
        Principal::SourceIp(net) => address(net.to_string(), subject.connection.remote.ip()),
        Principal::DirectRemoteIp(net) => address(net.to_string(), subject.connection.direct_remote.ip()),
        Principal::RemoteIp(net) => address(net.to_string(), subject.remote),
        Principal::Any => miss("any", "anybody".to_owned(), None),
        Principal::And(parts) => joined("all", parts.iter().map(|part| principal_condition(subject, part))),
        Principal::Or(parts) => joined("any", parts.iter().map(|part| principal_condition(subject, part))),
        Principal::Not(other) => none(principal_condition(subject, other)),
    }
}

fn permission_condition(subject: &Subject<'_>, permission: &Permission) -> Miss {
    let local = subject.connection.local;
    let port = |wanted: String| miss("port", wanted, Some(local.port().to_string()));
    match permission {
        Permission::Header(wanted) => header(subject, wanted),
        Permission::UrlPath(wanted) => path(subject, wanted),
        Permission::DestinationIp(net) => miss("address", net.to_string(), Some(local.ip().to_string())),
        Permission::DestinationPort(wanted) => port(wanted.to_string()),
        Permission::DestinationPortRange(start, end) => port(format!("{start} up to but without {end}")),
        Permission::RequestedServerName(wanted) => {
            miss("sni", wanted.to_string(), Some(subject.connection.server_name.to_string()))
        }
        Permission::Any => miss("any", "anything".to_owned(), None),
        Permission::And(parts) => joined("all", parts.iter().map(|part| permission_condition(subject, part))),
        Permission::Or(parts) => joined("any", parts.iter().map(|part| permission_condition(subject, part))),
        Permission::Not(other) => none(permission_condition(subject, other)),
    }
}

/// Several conditions as one: that of the same thing where it is one, else each with its part.
fn joined(part: &'static str, parts: impl Iterator<Item = Miss>) -> Miss {
    let parts: Vec<Miss> = parts.collect();
    let word = if part == "all" { " and " } else { " or " };
    let Some(first) = parts.first() else { return miss(part, "nothing".to_owned(), None) };
    if parts.iter().all(|other| (other.part, &other.name) == (first.part, &first.name)) {
        let wanted: Vec<&str> = parts.iter().map(|part| &*part.wanted).collect();
        return Miss { wanted: wanted.join(word), ..first.clone() };
    }
    let told = |miss: &Miss| match miss.name.is_empty() {
        true => format!("{} {}", miss.part, miss.wanted),
        false => format!("{} {} {}", miss.part, miss.name, miss.wanted),
    };
    miss(part, parts.iter().map(told).collect::<Vec<_>>().join(word), None)
}

fn header(subject: &Subject<'_>, wanted: &HeaderMatcher) -> Miss {
    match subject.head {
        Some(head) => header_miss(wanted, head),
        None => header_miss(wanted, &RequestHead::default()),
    }
}

fn path(subject: &Subject<'_>, wanted: &StringMatcher) -> Miss {
    let found = subject.head.map(|head| path_for_matching(head.path()));
    miss("path", wanted.to_string(), found.map(|path| String::from_utf8_lossy(path).into_owned()))
}

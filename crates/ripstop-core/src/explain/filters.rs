//! The HTTP filters of a connection manager on a request, as the worker runs them, with reasons.
use super::walk::rules_of;
use super::{Outcome, Question};
use crate::authorization::{self, Near, Reasoned};
use crate::http::RequestHead;
use crate::policies::cors;
use crate::record::{ConnectionInfo, DynamicMetadata, Record};
use crate::route::{self, Level, Matched};
use crate::snapshot::*;

/// What a filter does to the request.
#[derive(Clone, Debug, Default)]
pub struct FilterStep {
    /// Its name in the chain.
    pub name: String,
    /// `cors`, `fault`, `rbac`, `local_rate_limit`, `stateful_session`, `header_mutation`, `grpc_stats`.
    pub kind: &'static str,
    /// Whose word counts: `listener`, `route_configuration`, `virtual_host`, `route`, `weighted_cluster`.
    pub set_by: &'static str,
    /// False: it does nothing here.
    pub is_on: bool,
    /// What it does, in words; what chance decides is told with its share.
    pub does: String,
    /// Of `rbac`: shadow rules first, as they are evaluated.
    pub rules: Vec<RulesStep>,
}

/// What RBAC rules say.
#[derive(Clone, Debug)]
pub struct RulesStep {
    /// `ALLOW`, `DENY` or `LOG`.
    pub action: String,
    /// They are told only, not enforced.
    pub is_shadow: bool,
    /// What they say.
    pub allowed: bool,
    /// The policy that matched.
    pub policy: Option<String>,
    /// Which of its rules.
    pub rule: Option<usize>,
    /// Where none matched: the one that came closest.
    pub closest: Option<Near>,
}

impl RulesStep {
    pub(super) fn of(action: RbacAction, is_shadow: bool, reasoned: Reasoned) -> RulesStep {
        let Reasoned { decision, rule, closest } = reasoned;
        let policy = decision.policy.map(|name| name.to_string());
        let allowed = decision.allowed;
        RulesStep { action: action.to_string(), is_shadow, allowed, policy, rule, closest }
    }
}

/// A filter answers the request.
pub(super) struct Ended {
    pub outcome: Outcome,
    pub status: u16,
    pub details: String,
}

/// What a network filter's rules say of a connection.
pub(super) fn connection_rules(rbac: &NetworkRbac, connection: &ConnectionInfo) -> Vec<RulesStep> {
    let reason = |rules: &Rbac| authorization::reason_network(rules, connection);
    rules_of(rbac.rules.as_ref(), rbac.shadow_rules.as_ref(), reason)
}

/// Run all filters; how the request ends, if one answers it.
pub(super) fn run(
    question: &Question,
    manager: &HttpManager,
    matched: &Matched<'_>,
    head: &mut RequestHead,
    steps: &mut Vec<FilterStep>,
) -> Option<Ended> {
    let weighted = match &matched.route.action {
        RouteAction::Forward(forward) => {
            route::choose_cluster(forward, &question.request, question.random).weighted
        }
        _ => None,
    };
    for filter in &manager.filters {
        let own = route::leveled_filter(&filter.name, matched, weighted);
        let mut step = FilterStep {
            name: filter.name.to_string(),
            kind: kind_of(&filter.kind),
            set_by: own.map_or("listener", |(level, _)| level_word(level)),
            ..FilterStep::default()
        };
        let own = own.map(|(_, config)| config);
        let is_off = matches!(own, Some(PerFilter::Disabled)) || (own.is_none() && filter.disabled);
        let ended =
            if is_off { None } else { run_one(question, &filter.kind, own, head, matched, &mut step) };
        steps.push(step);
        if ended.is_some() {
            return ended;
        }
    }
    None
}

fn run_one(
    question: &Question,
    kind: &FilterKind,
    own: Option<&PerFilter>,
    head: &mut RequestHead,
    matched: &Matched<'_>,
    step: &mut FilterStep,
) -> Option<Ended> {
    match (kind, own) {
        (FilterKind::Cors, Some(PerFilter::Cors(policy))) => cross_origin(question, policy, head, step),
        (FilterKind::Fault(_), Some(PerFilter::Fault(policy))) | (FilterKind::Fault(Some(policy)), _) => {
            fault(policy, step)
        }
        (FilterKind::Rbac(_), Some(PerFilter::Rbac(None))) => None,
        (FilterKind::Rbac(_), Some(PerFilter::Rbac(Some(rbac)))) | (FilterKind::Rbac(rbac), _) => {
            rules(question, rbac, head, step)
        }
        (FilterKind::LocalRateLimit(_), Some(PerFilter::LocalRateLimit(limit)))
        | (FilterKind::LocalRateLimit(limit), _) => rate_limit(limit, step),
        (FilterKind::StatefulSession(_), Some(PerFilter::StatefulSession(own))) => {
            session(own.as_deref(), step)
        }
        (FilterKind::StatefulSession(all), _) => session(all.as_deref(), step),
        (FilterKind::HeaderMutation(_), Some(PerFilter::HeaderMutation(mutation)))
        | (FilterKind::HeaderMutation(mutation), _) => mutate(question, mutation, matched, head, step),
        _ => None,
    }
}

fn does(step: &mut FilterStep, what: String) -> Option<Ended> {
    (step.is_on, step.does) = (true, what);
    None
}

fn ends(outcome: Outcome, status: u16, details: &str) -> Option<Ended> {
    Some(Ended { outcome, status, details: details.to_owned() })
}

fn cross_origin(
    question: &Question,
    policy: &Cors,
    head: &RequestHead,
    step: &mut FilterStep,
) -> Option<Ended> {
    let mut answer = crate::http::ResponseHead::default();
    if cors::preflight(policy, head, question.random, &mut answer) {
        does(step, "answers the preflight".to_owned());
        return ends(Outcome::Answered, 200, "cors_response");
    }
    does(step, "adds what the browser needs to the answer".to_owned())
}

/// Chance decides: what is certain ends the request, what is not is told only.
fn fault(policy: &Fault, step: &mut FilterStep) -> Option<Ended> {
    let share = |share: Millionths| format!("{} % of requests", f64::from(share.0) / 10_000.0);
    let delay = policy.delay.map(|(time, of)| format!("delays {} by {} ms", share(of), time.as_millis()));
    let abort = policy.abort.map(|(abort, of)| match abort {
        FaultAbort::Http(status) => format!("aborts {} with {status}", share(of)),
        FaultAbort::Grpc(status) => format!("aborts {} with gRPC status {status}", share(of)),
    });
    let said: Vec<String> = delay.into_iter().chain(abort).collect();
    if said.is_empty() { None } else { does(step, said.join(", ")) }
}

fn rules(question: &Question, rbac: &HttpRbac, head: &RequestHead, step: &mut FilterStep) -> Option<Ended> {
    if rbac.rules.is_none() && rbac.shadow_rules.is_none() {
        return None;
    }
    let connection = &question.connection;
    let remote = connection.remote.ip();
    let reason = |rules: &Rbac| authorization::reason_http(rules, connection, remote, head);
    step.rules = rules_of(rbac.rules.as_ref(), rbac.shadow_rules.as_ref(), reason);
    let verdict = authorization::check_http(rbac, connection, remote, head);
    does(step, if verdict.allowed() { "lets it pass" } else { "denies it" }.to_owned());
    if verdict.allowed() { None } else { ends(Outcome::Denied, 403, &verdict.details()) }
}

fn rate_limit(limit: &LocalRateLimit, step: &mut FilterStep) -> Option<Ended> {
    let bucket = limit.bucket?;
    let interval = bucket.fill_interval.as_secs_f64();
    let (fill, most) = (bucket.tokens_per_fill, bucket.max_tokens);
    does(step, format!("lets {fill} requests pass every {interval} s, {most} at once; else {}", limit.status))
}

fn session(state: Option<&StatefulSession>, step: &mut FilterStep) -> Option<Ended> {
    let by = match &state?.state {
        SessionState::Cookie { name, .. } => format!("cookie {}", super::walk::text(name)),
        SessionState::Header(name) => format!("header {}", super::walk::text(name)),
    };
    does(step, format!("keeps to one endpoint by {by}"))
}

fn mutate(
    question: &Question,
    mutation: &HeaderMutation,
    matched: &Matched<'_>,
    head: &mut RequestHead,
    step: &mut FilterStep,
) -> Option<Ended> {
    let before = head.clone();
    let dynamic = DynamicMetadata::default();
    let record = record(question, matched, &before, &dynamic);
    route::apply_changes(head, &mutation.request, &record, &mut Vec::new());
    does(step, "changes headers".to_owned())
}

/// What header templates may ask of a request that was not sent.
pub(super) fn record<'a>(
    question: &'a Question,
    matched: &Matched<'a>,
    head: &'a RequestHead,
    dynamic: &'a DynamicMetadata,
) -> Record<'a> {
    Record {
        request: Some(head),
        protocol: Some(head.version),
        route: Some(matched.route),
        virtual_host: &matched.virtual_host.name,
        ..Record::new(&question.connection, dynamic)
    }
}

const fn level_word(level: Level) -> &'static str {
    match level {
        Level::WeightedCluster => "weighted_cluster",
        Level::Route => "route",
        Level::VirtualHost => "virtual_host",
        Level::RouteConfiguration => "route_configuration",
    }
}

const fn kind_of(kind: &FilterKind) -> &'static str {
    match kind {
        FilterKind::Cors => "cors",
        FilterKind::Fault(_) => "fault",
        FilterKind::Rbac(_) => "rbac",
        FilterKind::LocalRateLimit(_) => "local_rate_limit",
        FilterKind::StatefulSession(_) => "stateful_session",
        FilterKind::HeaderMutation(_) => "header_mutation",
        FilterKind::GrpcStats => "grpc_stats",
    }
}

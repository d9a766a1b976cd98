//! Where a request is sent and how: cluster, head, time, retries, fallbacks.
use super::walk::text;
use super::{Question, World, filters};
use crate::http::{HeaderId, Method, RequestHead};
use crate::record::{ConnectionInfo, DynamicMetadata};
use crate::resilience;
use crate::route::{self, Matched};
use crate::snapshot::*;

/// Where a request is sent, and how.
#[derive(Clone, Debug, Default)]
pub struct ForwardStep {
    /// The cluster; empty when a header should have named it and did not.
    pub cluster: String,
    /// Whether the snapshot has it.
    pub is_known: bool,
    /// All clusters of the route with their weights; one has weight 1.
    pub shares: Vec<(String, u64)>,
    /// The members of an aggregate cluster, in order.
    pub members: Vec<String>,
    /// Method, authority and path as they are sent.
    pub method: String,
    #[allow(missing_docs)]
    pub authority: String,
    #[allow(missing_docs)]
    pub path: String,
    /// The fields as they are sent.
    pub headers: Vec<(String, String)>,
    /// For the whole request, in seconds; 0 means none.
    pub timeout_s: f64,
    /// Of the stream, in seconds; None means the listener's.
    pub idle_timeout_s: Option<f64>,
    /// In seconds; None means the listener's.
    pub max_stream_s: Option<f64>,
    /// None: what fails is not repeated.
    pub retry: Option<RetryStep>,
    /// Of the route's hash policies; None: by chance, or nothing that is hashed was there.
    pub hash: Option<u64>,
    /// `metadata_match`: only endpoints with these.
    pub subset: Vec<(String, String)>,
    /// Clusters that get a copy, each with its share in percent.
    pub mirrors: Vec<(String, f64)>,
    /// Whom else to ask, in order.
    pub fallbacks: Vec<FallbackStep>,
    /// `priority: HIGH`, which has limits of its own.
    pub is_high_priority: bool,
}

/// When a request is repeated.
#[derive(Clone, Debug, Default)]
pub struct RetryStep {
    /// The words of `retry_on`.
    pub on: Vec<String>,
    /// Of `retriable-status-codes`.
    pub statuses: Vec<u16>,
    /// At most so many times.
    pub num_retries: u32,
    /// In seconds; 0 means none.
    pub per_try_timeout_s: f64,
    /// Only because the request has an `Idempotency-Key`, which makes every failure repeatable.
    pub by_key: bool,
}

/// One hop of a fallback chain.
#[derive(Clone, Debug, Default)]
pub struct FallbackStep {
    /// The cluster.
    pub cluster: String,
    /// The service's name as documents say it.
    pub service: String,
    /// Triggers, as documents say them.
    pub on: Vec<String>,
}

/// TCP: which cluster, and nothing else.
pub(super) fn tcp(world: &World, proxy: &TcpProxy, connection: &ConnectionInfo, random: u64) -> ForwardStep {
    let chosen = route::tcp_cluster(proxy, &connection.server_name, random);
    let cluster = chosen.map(ToString::to_string).unwrap_or_default();
    let shares = proxy.clusters.iter().map(|(name, weight)| (name.to_string(), u64::from(*weight)));
    ForwardStep {
        is_known: world.snapshot.clusters.contains_key(&*cluster),
        members: members(world, &cluster),
        shares: if proxy.by_sni { vec![(cluster.clone(), 1)] } else { shares.collect() },
        cluster,
        idle_timeout_s: Some(proxy.idle_timeout.as_secs_f64()),
        ..ForwardStep::default()
    }
}

/// HTTP: `head` becomes what is sent.
pub(super) fn http(
    world: &World,
    question: &Question,
    manager: &HttpManager,
    matched: &Matched<'_>,
    action: &Forward,
    head: &mut RequestHead,
) -> ForwardStep {
    let before = head.clone();
    let chosen = route::choose_cluster(action, &before, question.random);
    let connection = &question.connection;
    let hash = route::hash_request(&action.hash, head, connection.remote.ip(), connection).hash;
    if head.method() != Method::Connect {
        change(question, manager, matched, action, &before, head);
    }
    ForwardStep {
        cluster: chosen.name.to_owned(),
        is_known: world.snapshot.clusters.contains_key(chosen.name),
        shares: shares(action, chosen.name),
        members: members(world, chosen.name),
        method: text(head.method_text()),
        authority: text(head.authority()),
        path: text(head.path()),
        headers: head.headers.iter().map(|field| (text(field.name), text(field.value))).collect(),
        timeout_s: action.timeout.as_secs_f64(),
        idle_timeout_s: action.idle_timeout.map(|idle| idle.as_secs_f64()),
        max_stream_s: action.max_stream_duration.map(|most| most.as_secs_f64()),
        retry: retry(matched, action, head),
        hash: hash.filter(|_| !action.hash.is_empty()),
        subset: action.subset.clone(),
        mirrors: mirrors(action),
        fallbacks: fallbacks(action),
        is_high_priority: action.is_high_priority,
    }
}

/// In the worker's order: header changes, the path, the host.
fn change(
    question: &Question,
    manager: &HttpManager,
    matched: &Matched<'_>,
    action: &Forward,
    before: &RequestHead,
    head: &mut RequestHead,
) {
    let weighted = route::choose_cluster(action, before, question.random).weighted;
    let dynamic = DynamicMetadata::default();
    let record = filters::record(question, matched, before, &dynamic);
    route::apply_request(head, matched, weighted, &record, &mut Vec::new());
    let tells_original = !manager.suppress_envoy_headers;
    route::rewrite_path(action, matched.route, head, tells_original);
    route::rewrite_host(action, weighted, head, tells_original);
}

fn shares(action: &Forward, chosen: &str) -> Vec<(String, u64)> {
    match &action.destination {
        Destination::Weighted(clusters, _) => {
            clusters.iter().map(|cluster| (cluster.name.to_string(), u64::from(cluster.weight))).collect()
        }
        _ => vec![(chosen.to_owned(), 1)],
    }
}

fn members(world: &World, cluster: &str) -> Vec<String> {
    match world.snapshot.clusters.get(cluster).map(|cluster| &cluster.discovery) {
        Some(Discovery::Aggregate(members)) => members.iter().map(|name| name.to_string()).collect(),
        _ => Vec::new(),
    }
}

/// None also where the policy does not hold for this request.
fn retry(matched: &Matched<'_>, action: &Forward, head: &RequestHead) -> Option<RetryStep> {
    let policy = action.retry.as_ref().or(matched.virtual_host.retry.as_ref())?;
    let has_key = action.extras.retry_with_key && head.headers.has(HeaderId::IdempotencyKey);
    if !resilience::may_retry(policy, head, has_key) {
        return None;
    }
    Some(RetryStep {
        on: policy.on.words().into_iter().map(str::to_owned).collect(),
        statuses: policy.statuses.clone(),
        num_retries: policy.num_retries,
        per_try_timeout_s: policy.per_try_timeout.as_secs_f64(),
        by_key: has_key,
    })
}

fn mirrors(action: &Forward) -> Vec<(String, f64)> {
    let share = |fraction: Millionths| f64::from(fraction.0) / 10_000.0;
    action.mirrors.iter().map(|mirror| (mirror.cluster.to_string(), share(mirror.fraction))).collect()
}

fn fallbacks(action: &Forward) -> Vec<FallbackStep> {
    let hop = |hop: &FallbackHop| FallbackStep {
        cluster: hop.cluster.to_string(),
        service: hop.service.to_string(),
        on: hop.on.words(),
    };
    action.extras.fallbacks.iter().map(hop).collect()
}

//! All workers summed, as samples.
use super::block::{Block, ClusterBlock, ListenerBlock, ManagerBlock, Stat};
use super::histogram::HistogramSum;
use super::mesh::{MeshSum, MeshSums, SEPARATOR};
use super::sample::{Sample, Scope, Value, label_name, metric_name};
use super::{Scopes, WorkerStats};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Everything that workers count, summed; in no particular order.
pub fn samples(workers: &[Arc<WorkerStats>]) -> Vec<Sample> {
    let mut samples = Vec::new();
    clusters(workers, &mut samples);
    managers(workers, &mut samples);
    listeners(workers, &mut samples);
    plain(workers, |w| &w.tcp, |name| vec![(tcp_scope(name), 0..usize::MAX)], &mut samples);
    plain(workers, |w| &w.rbac, rbac_scopes, &mut samples);
    plain(workers, |w| &w.rate_limits, |name| vec![(rate_limit_scope(name), 0..usize::MAX)], &mut samples);
    mesh(workers, &mut samples);
    samples
}

#[derive(Default)]
struct Sums {
    values: Vec<u64>,
    codes: BTreeMap<u16, u64>,
    histograms: [HistogramSum; 3],
}

type ByName = HashMap<Arc<str>, Sums>;

fn sum<B: Default>(
    workers: &[Arc<WorkerStats>],
    scopes: impl Fn(&WorkerStats) -> &Scopes<B>,
    mut add: impl FnMut(&B, &mut Sums),
) -> ByName {
    let mut found = ByName::new();
    for worker in workers {
        scopes(worker).each(|name, block| add(block, found.entry(name.clone()).or_default()));
    }
    found
}

fn push<S: Stat>(scope: &Scope, sums: &Sums, range: std::ops::Range<usize>, samples: &mut Vec<Sample>) {
    let is_used = sums.values.iter().any(|value| *value > 0);
    for (index, (entry, value)) in S::TABLE.iter().zip(&sums.values).enumerate() {
        if range.contains(&index) {
            samples.push(Sample::of(scope, *entry, *value, is_used));
        }
    }
}

fn clusters(workers: &[Arc<WorkerStats>], samples: &mut Vec<Sample>) {
    let add = |block: &ClusterBlock, sums: &mut Sums| {
        block.block.add_to(&mut sums.values);
        for (code, count) in block.codes.iter() {
            *sums.codes.entry(code).or_default() += count;
        }
        for (histogram, sum) in
            [&block.rq_time, &block.cx_connect, &block.cx_length].iter().zip(&mut sums.histograms)
        {
            histogram.add_to(sum);
        }
    };
    for (name, sums) in sum(workers, |w| &w.clusters, add) {
        let scope = Scope::cluster(&name);
        push::<super::ClusterStat>(&scope, &sums, 0..usize::MAX, samples);
        samples
            .extend(sums.codes.iter().map(|(c, n)| Sample::counter(&scope, &format!("upstream_rq_{c}"), *n)));
        let names = ["upstream_rq_time", "upstream_cx_connect_ms", "upstream_cx_length_ms"];
        for (stat, histogram) in names.into_iter().zip(sums.histograms) {
            samples.push(Sample::histogram(&scope, stat, histogram));
        }
    }
}

fn managers(workers: &[Arc<WorkerStats>], samples: &mut Vec<Sample>) {
    let add = |block: &ManagerBlock, sums: &mut Sums| {
        block.block.add_to(&mut sums.values);
        for (histogram, sum) in [&block.rq_time, &block.cx_length].iter().zip(&mut sums.histograms) {
            histogram.add_to(sum);
        }
    };
    for (name, sums) in sum(workers, |w| &w.managers, add) {
        let scope = Scope::named("http", "envoy_http_conn_manager_prefix", &name);
        push::<super::ManagerStat>(&scope, &sums, 0..usize::MAX, samples);
        for (stat, histogram) in
            ["downstream_rq_time", "downstream_cx_length_ms"].into_iter().zip(sums.histograms)
        {
            samples.push(Sample::histogram(&scope, stat, histogram));
        }
    }
}

fn listeners(workers: &[Arc<WorkerStats>], samples: &mut Vec<Sample>) {
    let add = |block: &ListenerBlock, sums: &mut Sums| {
        block.block.add_to(&mut sums.values);
        block.cx_length.add_to(&mut sums.histograms[0]);
    };
    for (name, sums) in sum(workers, |w| &w.listeners, add) {
        let scope = Scope::named("listener", "envoy_listener_address", &name.replace(':', "_"));
        push::<super::ListenerStat>(&scope, &sums, 0..usize::MAX, samples);
        let [histogram, ..] = sums.histograms;
        samples.push(Sample::histogram(&scope, "downstream_cx_length_ms", histogram));
    }
}

fn plain<S: Stat>(
    workers: &[Arc<WorkerStats>],
    scopes: impl Fn(&WorkerStats) -> &Scopes<Block<S>>,
    split: impl Fn(&str) -> Vec<(Scope, std::ops::Range<usize>)>,
    samples: &mut Vec<Sample>,
) {
    for (name, sums) in sum(workers, scopes, |block, sums| block.add_to(&mut sums.values)) {
        for (scope, range) in split(&name) {
            push::<S>(&scope, &sums, range, samples);
        }
    }
}

fn tcp_scope(name: &str) -> Scope {
    Scope::named("tcp", "envoy_tcp_prefix", name)
}

fn rate_limit_scope(name: &str) -> Scope {
    Scope {
        text: format!("{name}.http_local_rate_limit."),
        metric: "http_local_rate_limit.".to_owned(),
        labels: vec![("envoy_local_http_ratelimit_prefix".to_owned(), name.to_owned())],
    }
}

// --- RBAC: one block has up to two prefixes, one for what is enforced and one for shadow rules ---

const BETWEEN: char = '\u{1f}';

pub(super) fn http_rbac_name(manager: &str, rules_prefix: &str, shadow_prefix: &str) -> String {
    format!("h{BETWEEN}{manager}{BETWEEN}{rules_prefix}{BETWEEN}{shadow_prefix}")
}

pub(super) fn network_rbac_name(stat_prefix: &str, shadow_prefix: &str) -> String {
    format!("n{BETWEEN}{stat_prefix}{BETWEEN}{BETWEEN}{shadow_prefix}")
}

fn rbac_scopes(name: &str) -> Vec<(Scope, std::ops::Range<usize>)> {
    let mut parts = name.split(BETWEEN);
    let (Some(kind), Some(owner), Some(rules), Some(shadow)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Vec::new();
    };
    let scope =
        |prefix| if kind == "h" { http_rbac_scope(owner, prefix) } else { network_rbac_scope(owner, prefix) };
    vec![(scope(rules), 0..2), (scope(shadow), 2..4)]
}

fn http_rbac_scope(manager: &str, prefix: &str) -> Scope {
    let prefix = prefix.trim_end_matches('.');
    let mut labels = vec![("envoy_http_conn_manager_prefix".to_owned(), manager.to_owned())];
    let mut text = format!("http.{manager}.rbac.");
    if !prefix.is_empty() {
        labels.insert(0, ("envoy_rbac_http_prefix".to_owned(), prefix.to_owned()));
        text = format!("{text}{prefix}.");
    }
    Scope { text, metric: "http.rbac.".to_owned(), labels }
}

fn network_rbac_scope(stat_prefix: &str, prefix: &str) -> Scope {
    let owner = stat_prefix.trim_end_matches('.');
    let prefix = prefix.trim_end_matches('.');
    let inner = if prefix.is_empty() { String::new() } else { format!("{prefix}.") };
    Scope {
        text: format!("{owner}.rbac.{inner}"),
        metric: format!("rbac.{inner}"),
        labels: vec![("envoy_rbac_prefix".to_owned(), owner.to_owned())],
    }
}

// --- statistics logs ---

fn mesh(workers: &[Arc<WorkerStats>], samples: &mut Vec<Sample>) {
    let mut sums = MeshSums::default();
    for worker in workers {
        worker.mesh.add_to(&mut sums);
    }
    for ((metric, tags), sum) in sums {
        let mut name = metric.name.clone();
        let mut labels = Vec::new();
        for (tag, value) in metric.tags.iter().zip(tags.split(|byte| *byte == SEPARATOR)) {
            let value = String::from_utf8_lossy(value);
            name.extend([".", tag, ".", &value]);
            labels.push((label_name(tag), value.into_owned()));
        }
        let value = match sum {
            MeshSum::Counter(count) => Value::Counter(count),
            MeshSum::Histogram(histogram) => Value::Histogram(histogram),
        };
        samples.push(Sample { name, metric: metric_name(&metric.name), labels, value, is_used: true });
    }
}

use super::*;
use std::time::Duration;

fn worker() -> (Shard, Arc<WorkerStats>) {
    let shared = Arc::new(WorkerStats::default());
    (Shard::new(shared.clone()), shared)
}

fn lines(workers: &[Arc<WorkerStats>]) -> String {
    let mut samples: Vec<Sample> = samples(workers).into_iter().filter(|sample| sample.is_used).collect();
    text(&mut samples)
}

fn scrape(workers: &[Arc<WorkerStats>]) -> String {
    let mut samples: Vec<Sample> = samples(workers).into_iter().filter(|sample| sample.is_used).collect();
    prometheus(&mut samples)
}

#[test]
fn all_workers_are_summed() {
    let (mut one, shared_one) = worker();
    let (mut two, shared_two) = worker();
    let id = one.cluster_id("reviews");
    one.cluster(id).inc(ClusterStat::RqTotal);
    let id = two.cluster_id("reviews");
    two.cluster(id).add(ClusterStat::RqTotal, 2);
    assert!(lines(&[shared_one, shared_two]).contains("cluster.reviews.upstream_rq_total: 3\n"));
}

#[test]
fn a_gauge_raised_by_one_worker_may_be_lowered_by_another() {
    let (mut one, shared_one) = worker();
    let (mut two, shared_two) = worker();
    let id = one.manager_id("inbound");
    one.manager(id).inc(ManagerStat::RqActive);
    one.manager(id).inc(ManagerStat::RqTotal);
    let id = two.manager_id("inbound");
    two.manager(id).dec(ManagerStat::RqActive);
    assert!(lines(&[shared_one, shared_two]).contains("http.inbound.downstream_rq_active: 0\n"));
}

#[test]
fn status_codes_become_labels_for_prometheus() {
    let (mut shard, shared) = worker();
    let id = shard.cluster_id("reviews");
    shard.cluster(id).status(503);
    let text = scrape(&[shared]);
    assert!(text.contains(
        "# TYPE envoy_cluster_upstream_rq counter\n\
         envoy_cluster_upstream_rq{envoy_response_code=\"503\",envoy_cluster_name=\"reviews\"} 1\n"
    ));
    assert!(text.contains(
        "envoy_cluster_upstream_rq_xx{envoy_response_code_class=\"5\",envoy_cluster_name=\"reviews\"} 1\n"
    ));
    assert!(text.contains("envoy_cluster_upstream_rq_completed{envoy_cluster_name=\"reviews\"} 1\n"));
}

#[test]
fn the_bounds_of_histograms_are_envoys() {
    let (mut shard, shared) = worker();
    let id = shard.manager_id("inbound");
    shard.manager(id).rq_time.record(Duration::from_micros(4200));
    shard.manager(id).rq_time.record(Duration::from_secs(7200));
    let text = scrape(&[shared]);
    let bucket = |le: &str, n: u64| {
        format!(
            "envoy_http_downstream_rq_time_bucket{{envoy_http_conn_manager_prefix=\"inbound\",le=\"{le}\"}} {n}\n"
        )
    };
    assert!(text.contains("# TYPE envoy_http_downstream_rq_time histogram\n"));
    for (le, n) in [("0.5", 0), ("1", 0), ("5", 1), ("2500", 1), ("3600000", 1), ("+Inf", 2)] {
        assert!(text.contains(&bucket(le, n)), "{le}: {text}");
    }
    assert!(text.contains(
        "envoy_http_downstream_rq_time_sum{envoy_http_conn_manager_prefix=\"inbound\"} 7200004.2\n"
    ));
}

#[test]
fn records_of_a_statistics_log_are_counted_by_their_tags() {
    let (mut shard, shared) = worker();
    let requests = shard.mesh_id("mesh", "requests", ["direction", "code"], false);
    let duration = shard.mesh_id("mesh", "duration_ms", ["direction"], true);
    for code in ["200", "200", "503"] {
        shard.mesh(requests, format!("inbound\u{1f}{code}\u{1f}").as_bytes(), 1);
        shard.mesh(duration, b"inbound\x1f", 3);
    }
    let workers = [shared];
    assert!(lines(&workers).contains("mesh.requests.direction.inbound.code.200: 2\n"));
    let text = scrape(&workers);
    assert!(text.contains("envoy_mesh_requests{direction=\"inbound\",code=\"503\"} 1\n"));
    assert!(text.contains("envoy_mesh_duration_ms_bucket{direction=\"inbound\",le=\"5\"} 3\n"));
    assert!(text.contains("envoy_mesh_duration_ms_count{direction=\"inbound\"} 3\n"));
}

#[test]
fn a_peer_that_makes_up_tags_cannot_take_all_memory() {
    let (mut shard, shared) = worker();
    let id = shard.mesh_id("mesh", "requests", ["source"], false);
    for number in 0..MAX_SERIES + 100 {
        shard.mesh(id, format!("{number}\u{1f}").as_bytes(), 1);
    }
    assert_eq!(lines(&[shared]).lines().count(), MAX_SERIES);
}

#[test]
fn rbac_rules_and_shadow_rules_have_their_own_prefixes() {
    let (mut shard, shared) = worker();
    let http = shard.http_rbac_id("inbound", "rp", "sp.");
    shard.rbac(http).inc(RbacStat::Allowed);
    shard.rbac(http).inc(RbacStat::ShadowDenied);
    let network = shard.network_rbac_id("nr.", "");
    shard.rbac(network).inc(RbacStat::Denied);
    let workers = [shared];
    let text = lines(&workers);
    assert!(text.contains("http.inbound.rbac.rp.allowed: 1\n"));
    assert!(text.contains("http.inbound.rbac.sp.shadow_denied: 1\n"));
    assert!(text.contains("nr.rbac.denied: 1\n"));
    let text = scrape(&workers);
    assert!(text.contains(
        "envoy_http_rbac_allowed{envoy_rbac_http_prefix=\"rp\",envoy_http_conn_manager_prefix=\"inbound\"} 1\n"
    ));
    assert!(text.contains("envoy_rbac_denied{envoy_rbac_prefix=\"nr\"} 1\n"));
}

#[test]
fn a_cluster_that_comes_back_begins_at_zero() {
    let (mut shard, shared) = worker();
    let id = shard.cluster_id("reviews");
    shard.cluster(id).inc(ClusterStat::RqTotal);
    shard.forget_cluster("reviews");
    shard.cluster(id).inc(ClusterStat::RqTotal);
    let id = shard.cluster_id("reviews");
    shard.cluster(id).inc(ClusterStat::RqTotal);
    assert!(lines(&[shared]).contains("cluster.reviews.upstream_rq_total: 1\n"));
}

#[test]
fn quantiles_lie_within_their_buckets() {
    let (mut shard, shared) = worker();
    let id = shard.cluster_id("reviews");
    for _ in 0..100 {
        shard.cluster(id).rq_time.record(Duration::from_millis(7));
    }
    let found = samples(&[shared]);
    let sample = found.iter().find(|s| s.name.ends_with("upstream_rq_time")).expect("it is there");
    let Value::Histogram(sum) = &sample.value else { panic!("a histogram") };
    let median = sum.quantile(0.5).expect("something was recorded");
    assert!((5.0..=10.0).contains(&median));
}

use super::*;
use crate::balance::{Class, ClusterState, Host, HostSet, flag};
use crate::http::{RequestHead, ResponseHead};
use crate::rng::Rng;
use crate::snapshot::*;
use crate::time::Time;
use proptest::prelude::*;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

fn policy(on: RetryOn) -> RetryPolicy {
    RetryPolicy {
        on,
        num_retries: 2,
        per_try_timeout: Duration::ZERO,
        per_try_idle_timeout: Duration::ZERO,
        statuses: vec![418],
        retriable_headers: Vec::new(),
        retriable_request_headers: Vec::new(),
        base_interval: Duration::from_millis(25),
        max_interval: Duration::from_millis(250),
        avoids_previous_hosts: false,
        host_picks_max: 1,
        reset_headers: Vec::new(),
        reset_max: Duration::from_secs(300),
    }
}

fn response(status: u16, fields: &[(&str, &str)]) -> ResponseHead {
    let mut head = ResponseHead { status, ..ResponseHead::default() };
    for (name, value) in fields {
        head.headers.push(name.as_bytes(), value.as_bytes());
    }
    head
}

macro_rules! on {
    ($($word:ident),*) => { RetryOn { $($word: true,)* ..RetryOn::default() } };
}

#[test]
fn each_word_of_retry_on_holds_for_its_responses() {
    let request = RequestHead::default();
    for (on, retried, not) in [
        (on!(server_error), &[500, 502, 599][..], &[404, 409, 200][..]),
        (on!(gateway_error), &[502, 503, 504], &[500, 501, 505]),
        (on!(retriable_4xx), &[409], &[404, 429, 500]),
        (on!(retriable_status_codes), &[418], &[500]),
        (on!(reset, connect_failure, refused_stream), &[], &[500, 503]),
    ] {
        let policy = policy(on);
        for status in retried {
            assert!(decide_head(&policy, &request, &response(*status, &[]), false), "{status}");
        }
        for status in not {
            assert!(!decide_head(&policy, &request, &response(*status, &[]), false), "{status}");
        }
    }
}

#[test]
fn grpc_statuses_in_the_head_count() {
    let request = RequestHead::default();
    for (on, status) in [
        (on!(grpc_cancelled), "1"),
        (on!(grpc_deadline_exceeded), "4"),
        (on!(grpc_resource_exhausted), "8"),
        (on!(grpc_internal), "13"),
        (on!(grpc_unavailable), "14"),
    ] {
        let policy = policy(on);
        for told in ["0", "1", "4", "8", "13", "14", "x"] {
            let answer = decide_head(&policy, &request, &response(200, &[("grpc-status", told)]), false);
            assert_eq!(answer, told == status, "{status} {told}");
        }
    }
}

#[test]
fn a_rate_limited_answer_is_repeated_only_where_that_is_asked_for() {
    let limited = response(503, &[("x-envoy-ratelimited", "true")]);
    let request = RequestHead::default();
    assert!(!decide_head(&policy(on!(server_error)), &request, &limited, false));
    assert!(decide_head(&policy(on!(envoy_ratelimited)), &request, &limited, false));
}

#[test]
fn headers_of_the_response_and_of_the_request_decide() {
    let matcher = |name: &str, kind| HeaderMatcher {
        name: name.as_bytes().into(),
        id: crate::http::HeaderId::of(name.as_bytes()),
        kind,
        invert: false,
        missing_is_empty: false,
    };
    let mut policy = policy(on!(retriable_headers));
    policy.retriable_headers = vec![matcher("x-again", HeaderMatch::Present(true))];
    let again = response(200, &[("x-again", "1")]);
    let mut request = RequestHead::default();
    assert!(decide_head(&policy, &request, &again, false));
    assert!(!decide_head(&policy, &request, &response(200, &[]), false));
    let exact = StringMatcher { kind: StringMatch::Exact(b"GET"[..].into()), ignore_case: false };
    policy.retriable_request_headers = vec![matcher(":method", HeaderMatch::Text(exact))];
    request.set_method(b"POST");
    assert!(!decide_head(&policy, &request, &again, false));
    assert!(decide_head(&policy, &request, &again, true), "the client's key makes it safe");
    request.set_method(b"GET");
    assert!(decide_head(&policy, &request, &again, false));
}

#[test]
fn each_word_of_retry_on_holds_for_its_failures() {
    use AttemptFailure::*;
    let all = [ConnectFailure, Refused, ResetBeforeRequest, Reset, PerTryTimeout, Overflow, NoHost, Timeout];
    for (on, retried) in [
        (on!(connect_failure), &[ConnectFailure][..]),
        (on!(refused_stream), &[Refused]),
        (on!(reset_before_request), &[ConnectFailure, ResetBeforeRequest]),
        (on!(reset), &all[..5]),
        (on!(server_error), &all[..5]),
        (on!(gateway_error), &all[..5]),
        (on!(retriable_4xx, grpc_unavailable), &[]),
    ] {
        for failure in all {
            let found = decide_failure(&policy(on), failure, &RequestHead::default(), false);
            assert_eq!(found, retried.contains(&failure), "{on:?} {failure:?}");
        }
    }
}

#[test]
fn waits_double_up_to_the_longest_and_heed_what_a_response_asks_for() {
    let mut policy = policy(on!(reset));
    let mut rng = Rng::new(5);
    let mut longest = |policy: &RetryPolicy, retry, head: Option<&ResponseHead>| {
        (0..2000).map(|_| backoff(policy, retry, &mut rng, head, Duration::from_secs(1000))).max().unwrap()
    };
    for (retry, millis) in [(1, 25), (2, 50), (3, 100), (4, 200), (5, 250), (40, 250)] {
        let found = longest(&policy, retry, None);
        assert!(found < Duration::from_millis(millis) && found > Duration::from_millis(millis * 9 / 10));
    }
    policy.reset_headers = vec![(b"retry-after"[..].into(), true), (b"x-reset"[..].into(), false)];
    for (name, value, least, most) in
        [("retry-after", "2", 2000, 3000), ("x-reset", "1004", 4000, 6000), ("retry-after", "301", 0, 25)]
    {
        let found = longest(&policy, 1, Some(&response(503, &[(name, value)]))).as_millis();
        assert!((least..most).contains(&found), "{name}: {found}");
    }
}

#[test]
fn only_idempotent_requests_and_those_with_a_key_are_safe() {
    use crate::http::Method::*;
    assert!(is_safe(Get, false) && is_safe(Put, false) && is_safe(Post, true));
    assert!(!is_safe(Post, false) && !is_safe(Patch, false) && !is_safe(Other, false));
}

fn outlier() -> Outlier {
    Outlier { max_ejection_percent: 50, ..Outlier::default() }
}

fn set_of(hosts: u16, outlier: Outlier) -> (Cluster, HostSet) {
    let mut cluster = crate::balance::tests::cluster(Balancer::Random);
    cluster.outlier = Some(outlier);
    let set = HostSet::build(&cluster, &crate::balance::tests::even(u32::from(hosts)), None, Time(1));
    (cluster, set)
}

fn tell(set: &HostSet, cluster: &Cluster, number: usize, kind: ReportKind, now: Time) -> Option<Ejection> {
    let outlier = cluster.outlier.as_ref().unwrap();
    report(&set.hosts()[number].host, outlier, set, Report::new(kind), now, &mut Rng::new(1))
}

fn is_out(set: &HostSet, number: usize) -> bool {
    set.hosts()[number].host.has(flag::EJECTED)
}

#[test]
fn five_failures_in_a_row_eject_and_time_brings_back() {
    let (cluster, set) = set_of(4, outlier());
    for kind in
        [ReportKind::Http(500), ReportKind::Timeout, ReportKind::Http(200), ReportKind::ConnectFailure]
    {
        assert_eq!(tell(&set, &cluster, 0, kind, Time(1)), None);
    }
    for _ in 0..3 {
        assert_eq!(tell(&set, &cluster, 0, ReportKind::Http(503), Time(1)), None);
    }
    let ejection = tell(&set, &cluster, 0, ReportKind::Reset, Time(1)).unwrap();
    assert_eq!(ejection, Ejection { kind: EjectionKind::Consecutive5xx, enforced: true });
    assert!(is_out(&set, 0) && set.is_stale());
    let mut rng = Rng::new(1);
    assert!(sweep(&set, &cluster, Time::from_millis(29_000), &mut rng).is_empty());
    let changes = sweep(&set, &cluster, Time::from_millis(31_000), &mut rng);
    assert!(matches!(changes[..], [Change::Unejected(_)]) && !is_out(&set, 0));
}

#[test]
fn each_ejection_is_longer_and_good_intervals_shorten_the_next() {
    let (cluster, set) = set_of(4, outlier());
    let mut now = Time::from_millis(1);
    let mut rng = Rng::new(1);
    let host = &set.hosts()[0].host;
    let eject = |now: Time| {
        (0..5).for_each(|_| _ = tell(&set, &cluster, 0, ReportKind::Http(500), now));
        let (_, at, until) = host.ejections();
        until.unwrap().since(at.unwrap()).as_secs()
    };
    for (round, secs) in [30, 60, 90].into_iter().enumerate() {
        assert_eq!(eject(now), secs, "{round}");
        now = now.after(Duration::from_secs(secs));
        sweep(&set, &cluster, now, &mut rng);
    }
    for _ in 0..2 {
        now = now.after(Duration::from_secs(10));
        sweep(&set, &cluster, now, &mut rng);
    }
    assert_eq!(eject(now), 60);
}

#[test]
fn success_rate_far_below_the_others_ejects() {
    let (cluster, set) = set_of(10, outlier());
    for number in 0..10 {
        for request in 0..200 {
            let is_bad = number == 3 && request % 2 == 0;
            tell(&set, &cluster, number, ReportKind::Http(if is_bad { 500 } else { 200 }), Time(1));
        }
    }
    let changes = sweep(&set, &cluster, Time(2), &mut Rng::new(1));
    assert!(
        matches!(&changes[..], [Change::Ejected(_, e)] if e.kind == EjectionKind::SuccessRate && e.enforced)
    );
    assert!(is_out(&set, 3));
    assert_eq!(set.hosts()[3].host.success_rate(), Some(50.0));
}

#[test]
fn local_failures_are_apart_where_asked_for() {
    let (cluster, set) = set_of(4, Outlier { split_external_local_origin: true, ..outlier() });
    for _ in 0..4 {
        assert_eq!(tell(&set, &cluster, 0, ReportKind::ConnectFailure, Time(1)), None);
        assert_eq!(tell(&set, &cluster, 0, ReportKind::Http(500), Time(1)), None);
    }
    let kind = tell(&set, &cluster, 0, ReportKind::ConnectFailure, Time(1)).unwrap().kind;
    assert_eq!(kind, EjectionKind::ConsecutiveLocalOriginFailure);
}

#[test]
fn half_open_lets_one_request_through_and_then_a_ramp() {
    let (mut cluster, set) = set_of(2, outlier());
    cluster.extras = ClusterExtras { half_open: true, ramp: Duration::from_secs(10), ..Default::default() };
    let mut rng = Rng::new(1);
    (0..5).for_each(|_| _ = tell(&set, &cluster, 0, ReportKind::Http(500), Time(1)));
    let now = Time::from_millis(31_000);
    assert!(matches!(sweep(&set, &cluster, now, &mut rng)[..], [Change::Probing(_)]));
    let mut picker = crate::balance::Picker::new(&cluster);
    let state = ClusterState::default();
    let context = crate::balance::PickContext { now, ..Default::default() };
    let mut probes = |rng: &mut Rng| {
        let first = |_| picker.pick(&set, &state, &context, rng).unwrap().host.id == set.hosts()[0].host.id;
        (0..200).map(first).filter(|is_first| *is_first).count()
    };
    assert_eq!(probes(&mut rng), 1);
    let failed = tell(&set, &cluster, 0, ReportKind::Timeout, now).unwrap();
    assert_eq!(failed.kind, EjectionKind::Probe);
    assert_eq!(probes(&mut rng), 0);
    let later = now.after(Duration::from_secs(61));
    sweep(&set, &cluster, later, &mut rng);
    assert_eq!(probes(&mut rng), 1);
    tell(&set, &cluster, 0, ReportKind::Http(200), now);
    let share = probes(&mut rng);
    assert!((10..90).contains(&share), "back, but not with its full share: {share}");
}

#[test]
fn fallbacks_are_taken_in_order_by_what_each_says() {
    let hop =
        |on| FallbackHop { cluster: Arc::from("b"), service: Arc::from("b"), authority: Arc::from(""), on };
    let hops = [
        hop(FallbackTriggers { no_healthy: true, status: vec![(500, 503)], ..Default::default() }),
        hop(FallbackTriggers { timeout: true, ..Default::default() }),
    ];
    assert!(next_hop(&hops, 0, Trigger::NoHealthy).is_some());
    assert!(next_hop(&hops, 0, Trigger::Status(503)).is_some());
    assert!(next_hop(&hops, 0, Trigger::Status(504)).is_none());
    assert!(next_hop(&hops, 1, Trigger::NoHealthy).is_none());
    assert_eq!(next_hop(&hops, 1, Trigger::Timeout), Some(1));
    assert!(next_hop(&hops, 2, Trigger::Timeout).is_none());
}

#[test]
fn the_first_check_decides_alone_and_later_ones_by_threshold() {
    let (mut cluster, _) = set_of(1, outlier());
    let check = crate::balance::tests::check();
    cluster.health_checks = vec![check.clone()];
    let set = HostSet::build(&cluster, &crate::balance::tests::even(1), None, Time(1));
    let host: &Host = &set.hosts()[0].host;
    assert!(host.has(flag::FAILED_ACTIVE));
    let mut health = ActiveHealth::default();
    let mut tell = |result| health.on_result(host, &set, &cluster, &check, result, Time(5));
    for (result, transition) in [
        (CheckResult::Passed, Transition::Healthy),
        (CheckResult::NetworkFailure, Transition::Pending),
        (CheckResult::Passed, Transition::Unchanged),
        (CheckResult::NetworkFailure, Transition::Pending),
        (CheckResult::NetworkFailure, Transition::Unhealthy),
        (CheckResult::Passed, Transition::Pending),
        (CheckResult::Passed, Transition::Healthy),
        (CheckResult::Refused, Transition::Unhealthy),
    ] {
        assert_eq!(tell(result), transition, "{result:?}");
    }
}

#[test]
fn addresses_are_kept_as_sockets() {
    let (_, set) = set_of(1, outlier());
    assert_eq!(set.hosts()[0].host.socket(), Some(SocketAddr::from(([10, 0, 0, 0], 8080))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn never_more_than_the_percentage_is_out(
        hosts in 1u16..20, percent in 0u32..101, events in proptest::collection::vec((0usize..20, any::<bool>()), 0..400),
    ) {
        let (cluster, set) = set_of(hosts, Outlier { max_ejection_percent: percent, ..Outlier::default() });
        for (number, is_good) in events {
            let kind = if is_good { ReportKind::Success } else { ReportKind::Http(500) };
            tell(&set, &cluster, number % hosts as usize, kind, Time(1));
        }
        let out = (0..hosts as usize).filter(|n| is_out(&set, *n)).count();
        prop_assert!(out * 100 <= percent as usize * hosts as usize);
    }

    #[test]
    fn the_budget_is_never_exceeded(steps in proptest::collection::vec(0u8..4, 0..300)) {
        let breaker = Breaker { retry_budget: Some((20.0, 3)), ..Breaker::default() };
        let (state, class) = (ClusterState::default(), Class::Default);
        let (mut requests, mut retries) = (0u32, 0u32);
        for step in steps {
            match step {
                0 | 1 => requests += u32::from(state.try_request(class, &breaker)),
                2 if state.try_retry(class, &breaker) => {
                    retries += 1;
                    prop_assert!(retries <= (requests / 5).max(3));
                }
                3 if retries > 0 => {
                    state.release_retry(class);
                    retries -= 1;
                }
                _ => {}
            }
        }
    }
}

//! What is used when: make before break.
use super::*;
use crate::snapshot::RouteAction;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;

const PATIENCE: Time = Time(INITIAL_FETCH_TIMEOUT.as_nanos() as u64);

fn names<T>(map: &crate::snapshot::Named<T>) -> Vec<String> {
    let mut names: Vec<String> = map.keys().map(ToString::to_string).collect();
    names.sort();
    names
}

#[test]
fn a_cluster_is_used_once_its_endpoints_are_there() {
    let mut store = Store::default();
    put(&mut store, Kind::Cluster, vec![eds_cluster("a", 1)]);
    assert!(settled(&mut store).clusters.is_empty());
    put(&mut store, Kind::Endpoint, vec![endpoints("a", 1)]);
    let settled = store.settle(Time(0));
    assert_eq!(names(&settled.snapshot.unwrap().clusters), ["a"]);
    assert_eq!(settled.endpoints.len(), 1);
    assert_eq!(settled.next, None);
}

#[test]
fn endpoints_that_never_come_are_waited_for_15_seconds() {
    let mut store = Store::default();
    put(&mut store, Kind::Cluster, vec![eds_cluster("a", 1)]);
    assert_eq!(store.settle(Time(0)).next, Some(PATIENCE));
    let settled = store.settle(PATIENCE);
    assert_eq!(names(&settled.snapshot.unwrap().clusters), ["a"]);
    assert!(settled.endpoints[0].1.localities.is_empty());
}

#[test]
fn a_cluster_that_changed_stays_as_it_was_until_its_secret_is_there() {
    let mut store = Store::default();
    put(&mut store, Kind::Cluster, vec![eds_cluster("a", 1)]);
    put(&mut store, Kind::Endpoint, vec![endpoints("a", 1)]);
    settled(&mut store);
    put(&mut store, Kind::Cluster, vec![tls_cluster("a", "key")]);
    assert!(settled(&mut store).clusters["a"].tls.is_none());
    assert!(store.wanted(Kind::Secret).names.contains("key"));
    assert!(store.wanted(Kind::Endpoint).names.contains("a"), "what is in use needs them still");
    put(&mut store, Kind::Secret, vec![secret("key")]);
    assert!(settled(&mut store).clusters["a"].tls.is_some());
    settled(&mut store);
    assert!(store.wanted(Kind::Endpoint).names.is_empty());
}

#[test]
fn a_refused_update_leaves_what_there_was() {
    let mut store = Store::default();
    put(&mut store, Kind::Cluster, vec![tls_cluster("a", "key")]);
    put(&mut store, Kind::Secret, vec![secret("key")]);
    let before = settled(&mut store);
    let bad = cluster::Cluster { name: "a".to_owned(), connect_timeout: seconds(-1), ..Default::default() };
    let outcome = put(&mut store, Kind::Cluster, vec![resource("a", &bad)]);
    assert_eq!(outcome.refused.len(), 1);
    assert!(Arc::ptr_eq(&before, &settled(&mut store)));
}

#[test]
fn endpoints_alone_make_no_new_snapshot() {
    let mut store = Store::default();
    put(&mut store, Kind::Cluster, vec![eds_cluster("a", 1)]);
    put(&mut store, Kind::Endpoint, vec![endpoints("a", 1)]);
    settled(&mut store);
    put(&mut store, Kind::Endpoint, vec![endpoints("a", 2)]);
    let settled = store.settle(Time(0));
    assert!(settled.snapshot.is_none());
    assert_eq!(settled.endpoints.len(), 1);
    put(&mut store, Kind::Endpoint, vec![endpoints("a", 2)]);
    assert!(store.settle(Time(0)).endpoints.is_empty(), "the same once more changes nothing");
}

#[test]
fn a_listener_waits_for_its_routes_and_they_for_clusters_that_are_coming() {
    let mut store = Store::default();
    put(&mut store, Kind::Cluster, vec![eds_cluster("a", 1)]);
    put(&mut store, Kind::Listener, vec![rds_listener("in", "r")]);
    put(&mut store, Kind::Route, vec![routes("r", "a")]);
    assert!(settled(&mut store).listeners.is_empty());
    put(&mut store, Kind::Endpoint, vec![endpoints("a", 1)]);
    let snapshot = settled(&mut store);
    assert_eq!((names(&snapshot.listeners), names(&snapshot.routes)), (vec!["in".into()], vec!["r".into()]));
}

#[test]
fn routes_keep_their_old_cluster_until_the_new_one_can_be_used() {
    let mut store = Store::default();
    put(&mut store, Kind::Cluster, vec![eds_cluster("old", 1)]);
    put(&mut store, Kind::Endpoint, vec![endpoints("old", 1)]);
    put(&mut store, Kind::Listener, vec![rds_listener("in", "r")]);
    put(&mut store, Kind::Route, vec![routes("r", "old")]);
    settled(&mut store);
    put(&mut store, Kind::Cluster, vec![eds_cluster("new", 1)]);
    put(&mut store, Kind::Route, vec![routes("r", "new")]);
    assert_eq!(destinations(&settled(&mut store)), BTreeSet::from(["old".to_owned()]));
    put(&mut store, Kind::Endpoint, vec![endpoints("new", 1)]);
    assert_eq!(destinations(&settled(&mut store)), BTreeSet::from(["new".to_owned()]));
}

#[test]
fn an_aggregate_waits_for_its_members() {
    let mut store = Store::default();
    put(
        &mut store,
        Kind::Cluster,
        vec![aggregate("all", &["a", "b"]), eds_cluster("a", 1), eds_cluster("b", 1)],
    );
    put(&mut store, Kind::Endpoint, vec![endpoints("a", 1)]);
    assert_eq!(names(&settled(&mut store).clusters), ["a"]);
    put(&mut store, Kind::Endpoint, vec![endpoints("b", 1)]);
    assert_eq!(names(&settled(&mut store).clusters), ["a", "all", "b"]);
}

#[test]
fn scopes_are_asked_for_by_whoever_uses_them_and_lead_to_routes_that_are_there() {
    let mut store = Store::default();
    assert!(!store.wanted(Kind::ScopedRoute).is_open);
    put(&mut store, Kind::Listener, vec![scoped_listener("out")]);
    assert!(store.wanted(Kind::ScopedRoute).is_open);
    put(&mut store, Kind::ScopedRoute, vec![scope("s", "reviews", "r")]);
    assert!(settled(&mut store).listeners.is_empty());
    assert!(store.wanted(Kind::Route).names.contains("r"));
    put(&mut store, Kind::Route, vec![routes("r", "nobody")]);
    let snapshot = settled(&mut store);
    assert_eq!(snapshot.scopes.get("reviews").map(|name| &**name), Some("r"));
    assert_eq!(names(&snapshot.listeners), ["out"]);
    // A scope that comes later does not take the listener away.
    put(&mut store, Kind::ScopedRoute, vec![scope("t", "ratings", "q")]);
    let snapshot = settled(&mut store);
    assert_eq!((names(&snapshot.listeners).len(), snapshot.scopes.len()), (1, 1));
    remove(&mut store, Kind::ScopedRoute, "s");
    remove(&mut store, Kind::ScopedRoute, "t");
    let snapshot = settled(&mut store);
    assert!(snapshot.scopes.is_empty() && settled(&mut store).routes.is_empty());
}

#[test]
fn routes_and_endpoints_in_use_stay_whatever_the_server_says() {
    let mut store = Store::default();
    put(&mut store, Kind::Listener, vec![rds_listener("in", "r")]);
    put(&mut store, Kind::Route, vec![routes("r", "nobody")]);
    settled(&mut store);
    remove(&mut store, Kind::Route, "r");
    assert_eq!(names(&settled(&mut store).routes), ["r"]);
    remove(&mut store, Kind::Listener, "in");
    settled(&mut store);
    assert!(settled(&mut store).routes.is_empty(), "nobody uses them any more");
}

#[test]
fn what_is_kept_on_disk_has_no_secrets_and_gives_the_same_again() {
    let mut store = Store::default();
    put(&mut store, Kind::Cluster, vec![eds_cluster("a", 1), tls_cluster("t", "key")]);
    put(&mut store, Kind::Endpoint, vec![endpoints("a", 1)]);
    put(&mut store, Kind::Secret, vec![secret("key")]);
    put(&mut store, Kind::Listener, vec![rds_listener("in", "r")]);
    put(&mut store, Kind::Route, vec![routes("r", "a")]);
    let before = settled(&mut store);
    let saved = store.saved();
    assert!(saved.iter().all(|saved| saved.kind != Kind::Secret));
    let mut again = Store::default();
    for saved in saved {
        put(&mut again, saved.kind, vec![saved.resource]);
    }
    put(&mut again, Kind::Secret, vec![secret("key")]);
    assert_eq!(shape(&settled(&mut again)), shape(&before));
}

// --- any order of arrival ---

fn destinations(snapshot: &Snapshot) -> BTreeSet<String> {
    let routes = snapshot.routes.values().flat_map(|r| &r.virtual_hosts).flat_map(|host| &host.routes);
    routes
        .filter_map(|route| match &route.action {
            RouteAction::Forward(forward) => match &forward.destination {
                crate::snapshot::Destination::Cluster(name) => Some(name.to_string()),
                _ => None,
            },
            _ => None,
        })
        .collect()
}

/// What can be told of a snapshot without regard to how it came about.
#[allow(clippy::type_complexity)]
fn shape(
    snapshot: &Snapshot,
) -> (Vec<(String, u64)>, Vec<(String, u64)>, Vec<String>, BTreeSet<String>, Vec<String>) {
    let mut clusters: Vec<_> = snapshot.clusters.values().map(|c| (c.name.to_string(), c.version)).collect();
    let mut listeners: Vec<_> =
        snapshot.listeners.values().map(|l| (l.name.to_string(), l.version)).collect();
    clusters.sort();
    listeners.sort();
    let mut scopes: Vec<_> = snapshot.scopes.iter().map(|(key, routes)| format!("{key} {routes}")).collect();
    scopes.sort();
    (clusters, listeners, names(&snapshot.routes), destinations(snapshot), scopes)
}

/// All there is to come.
fn world() -> Vec<(Kind, RawResource)> {
    vec![
        (Kind::Cluster, eds_cluster("a", 1)),
        (Kind::Cluster, eds_cluster("a", 2)),
        (Kind::Cluster, eds_cluster("b", 1)),
        (Kind::Cluster, tls_cluster("t", "key")),
        (Kind::Cluster, aggregate("all", &["a", "b"])),
        (Kind::Secret, secret("key")),
        (Kind::Endpoint, endpoints("a", 1)),
        (Kind::Endpoint, endpoints("b", 1)),
        (Kind::Listener, rds_listener("in", "r")),
        (Kind::Listener, scoped_listener("out")),
        (Kind::ScopedRoute, scope("s1", "reviews", "r")),
        (Kind::ScopedRoute, scope("s2", "ratings", "q")),
        (Kind::Route, routes("r", "all")),
        (Kind::Route, routes("q", "t")),
        (Kind::Route, routes("q", "b")),
    ]
}

/// The positions of what may come next: nothing before it is asked for, and nothing before an older version of itself.
fn possible(left: &[(Kind, RawResource)], store: &Store) -> Vec<usize> {
    let is_asked_for = |kind: Kind, name: &str| {
        let wanted = store.wanted(kind);
        wanted.is_open && (kind.is_wildcard() || wanted.names.contains(name))
    };
    let is_first = |index: usize| {
        let (kind, resource) = &left[index];
        !left[..index].iter().any(|(k, r)| k == kind && r.name == resource.name)
    };
    (0..left.len())
        .filter(|index| is_asked_for(left[*index].0, &left[*index].1.name) && is_first(*index))
        .collect()
}

proptest! {
    #[test]
    fn in_whatever_order_resources_come_the_same_is_used_in_the_end(choices in prop::collection::vec(any::<prop::sample::Index>(), 15)) {
        let mut store = Store::default();
        let mut left = world();
        for choice in choices {
            let possible = possible(&left, &store);
            prop_assert!(!possible.is_empty(), "something is always asked for: {left:?}");
            let (kind, resource) = left.remove(possible[choice.index(possible.len())]);
            put(&mut store, kind, vec![resource]);
            let before = destinations(store.snapshot());
            store.settle(Time(0));
            let snapshot = store.snapshot();
            // Routes may come before anybody has told of their clusters; those are no worse off once somebody has.
            for name in destinations(snapshot).difference(&before) {
                prop_assert!(
                    snapshot.clusters.contains_key(&**name) || !store.clusters.contains_key(&**name),
                    "routes lead to {name}, which is not in use yet"
                );
            }
            for routes in snapshot.scopes.values() {
                prop_assert!(snapshot.routes.contains_key(routes));
            }
        }
        let mut straight = Store::default();
        for (kind, resource) in world() {
            put(&mut straight, kind, vec![resource]);
        }
        straight.settle(Time(0));
        prop_assert_eq!(shape(store.snapshot()), shape(straight.snapshot()));
        prop_assert!(store.warming().is_empty());
    }
}

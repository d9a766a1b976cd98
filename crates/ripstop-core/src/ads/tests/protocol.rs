//! What is said on a stream.
use super::*;
use crate::rng::Rng;
use ripstop_xds::envoy::service::discovery::v3 as discovery;
use std::sync::Arc;
use std::time::Duration;

struct Conversation {
    client: Client,
    store: Store,
    rng: Rng,
    sent: Vec<Vec<u8>>,
    reconnects: Vec<Duration>,
    broken: Vec<String>,
}

impl Conversation {
    fn new(mode: Mode) -> Conversation {
        let node = core::Node { id: "node".to_owned(), ..Default::default() };
        let mut made = Conversation {
            client: Client::new(node, mode),
            store: Store::default(),
            rng: Rng::new(1),
            sent: Vec::new(),
            reconnects: Vec::new(),
            broken: Vec::new(),
        };
        made.want();
        made
    }

    fn step(&mut self, event: Event) {
        for action in self.client.step(event, &mut self.rng) {
            match action {
                Action::Send(bytes) => self.sent.push(bytes),
                Action::Apply(apply) => {
                    let kind = apply.kind;
                    let outcome = self.store.apply(apply, &mut Strict, Time(0));
                    self.step(Event::Applied(kind, outcome));
                    self.store.settle(Time(0));
                    self.want();
                }
                Action::Reconnect(wait) => self.reconnects.push(wait),
                Action::Disconnect(why) => self.broken.push(why),
            }
        }
    }

    fn want(&mut self) {
        for kind in Kind::ALL {
            let wanted = self.store.wanted(kind);
            self.step(Event::Wanted(kind, wanted));
        }
    }

    fn requests(&mut self) -> Vec<discovery::DeltaDiscoveryRequest> {
        self.sent.drain(..).map(|bytes| Message::decode(&*bytes).unwrap()).collect()
    }

    fn sotw_requests(&mut self) -> Vec<discovery::DiscoveryRequest> {
        self.sent.drain(..).map(|bytes| Message::decode(&*bytes).unwrap()).collect()
    }

    fn hear(&mut self, kind: Kind, nonce: &str, resources: Vec<RawResource>, removed: &[&str]) {
        let wrap = |r: RawResource| discovery::Resource {
            name: r.name,
            version: r.version,
            resource: Some(Any { type_url: kind.url(), value: r.bytes }),
            ..Default::default()
        };
        let response = discovery::DeltaDiscoveryResponse {
            type_url: kind.url(),
            nonce: nonce.to_owned(),
            resources: resources.into_iter().map(wrap).collect(),
            removed_resources: removed.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        };
        self.step(Event::Response(&response.encode_to_vec()));
    }

    fn hear_sotw(&mut self, kind: Kind, version: &str, resources: Vec<RawResource>) {
        let wrap = |r: RawResource| Any { type_url: kind.url(), value: r.bytes };
        let response = discovery::DiscoveryResponse {
            type_url: kind.url(),
            nonce: format!("n{version}"),
            version_info: version.to_owned(),
            resources: resources.into_iter().map(wrap).collect(),
            ..Default::default()
        };
        self.step(Event::Response(&response.encode_to_vec()));
    }
}

/// A cluster that cannot be taken.
fn bad_cluster(name: &str) -> RawResource {
    let timeout = Some(prost_types::Duration { seconds: -1, nanos: 0 });
    resource(
        name,
        &cluster::Cluster { name: name.to_owned(), connect_timeout: timeout, ..Default::default() },
    )
}

#[test]
fn the_first_request_alone_says_who_we_are() {
    let mut talk = Conversation::new(Mode::Delta);
    talk.step(Event::Connected);
    let requests = talk.requests();
    let kinds: Vec<_> = requests.iter().map(|r| Kind::of(&r.type_url)).collect();
    assert_eq!(kinds, [Some(Kind::Cluster), Some(Kind::Listener)]);
    assert_eq!(requests[0].node.as_ref().map(|node| &*node.id), Some("node"));
    assert!(requests[1].node.is_none());
}

#[test]
fn what_a_cluster_needs_is_asked_for_right_after_its_ack() {
    let mut talk = Conversation::new(Mode::Delta);
    talk.step(Event::Connected);
    talk.sent.clear();
    talk.hear(Kind::Cluster, "1", vec![eds_cluster("a", 1), eds_cluster("b", 1)], &[]);
    let requests = talk.requests();
    assert_eq!((&*requests[0].response_nonce, &requests[0].error_detail), ("1", &None));
    assert_eq!(Kind::of(&requests[1].type_url), Some(Kind::Endpoint));
    assert_eq!(requests[1].resource_names_subscribe, ["a", "b"]);
    talk.hear(Kind::Cluster, "2", vec![eds_cluster("c", 1)], &["a"]);
    let requests = talk.requests();
    assert_eq!(requests[1].resource_names_subscribe, ["c"]);
    assert_eq!(requests[1].resource_names_unsubscribe, ["a"]);
}

#[test]
fn the_good_part_of_a_response_is_used_and_the_bad_is_named() {
    let mut talk = Conversation::new(Mode::Delta);
    talk.step(Event::Connected);
    talk.sent.clear();
    talk.hear(Kind::Cluster, "1", vec![eds_cluster("good", 1), bad_cluster("broken")], &[]);
    let requests = talk.requests();
    let error = requests[0].error_detail.as_ref().expect("a NACK");
    assert!(error.message.contains("cannot use broken: "), "{}", error.message);
    assert!(error.message.contains("load_assignment"), "{}", error.message);
    assert!(!error.message.contains("good"), "{}", error.message);
    assert_eq!(requests[1].resource_names_subscribe, ["good"]);
}

#[test]
fn a_new_stream_is_told_what_is_held_already() {
    let mut talk = Conversation::new(Mode::Delta);
    talk.step(Event::Connected);
    talk.hear(Kind::Cluster, "1", vec![eds_cluster("a", 1), bad_cluster("broken")], &[]);
    talk.hear(Kind::Endpoint, "2", vec![endpoints("a", 1)], &[]);
    talk.step(Event::Closed);
    talk.sent.clear();
    talk.step(Event::Connected);
    let requests = talk.requests();
    let told: Vec<_> = requests
        .iter()
        .map(|r| {
            (Kind::of(&r.type_url).unwrap(), r.initial_resource_versions.keys().cloned().collect::<Vec<_>>())
        })
        .collect();
    let a = || vec!["a".to_owned()];
    assert_eq!(told, [(Kind::Cluster, a()), (Kind::Endpoint, a()), (Kind::Listener, Vec::new())]);
    assert_eq!(requests[1].resource_names_subscribe, ["a"]);
    assert!(requests.iter().all(|request| request.response_nonce.is_empty()));
    assert_eq!(requests.iter().filter(|request| request.node.is_some()).count(), 1);
}

#[test]
fn what_is_recalled_from_disk_is_told_and_not_acknowledged() {
    let mut talk = Conversation::new(Mode::Delta);
    let outcome = put(&mut talk.store, Kind::Cluster, vec![eds_cluster("a", 1)]);
    talk.step(Event::Applied(Kind::Cluster, outcome));
    talk.step(Event::Connected);
    let requests = talk.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].initial_resource_versions.get("a").map(String::as_str), Some("1"));
}

#[test]
fn state_of_the_world_says_the_newest_version_that_was_taken() {
    let mut talk = Conversation::new(Mode::Sotw);
    talk.step(Event::Connected);
    talk.sent.clear();
    talk.hear_sotw(Kind::Cluster, "1", vec![eds_cluster("a", 1), eds_cluster("b", 1)]);
    let requests = talk.sotw_requests();
    assert_eq!((&*requests[0].version_info, &*requests[0].response_nonce), ("1", "n1"));
    assert_eq!(requests[1].resource_names, ["a", "b"]);
    talk.hear_sotw(Kind::Cluster, "2", vec![eds_cluster("a", 1), bad_cluster("b")]);
    let requests = talk.sotw_requests();
    assert_eq!((&*requests[0].version_info, &*requests[0].response_nonce), ("1", "n2"));
    assert!(requests[0].error_detail.is_some());
    assert_eq!(talk.store.wanted(Kind::Endpoint).names.len(), 2, "the former version of b is held");
    talk.hear_sotw(Kind::Cluster, "3", vec![eds_cluster("a", 1)]);
    let requests = talk.sotw_requests();
    assert_eq!(&*requests[0].version_info, "3");
    assert_eq!(requests[1].resource_names, ["a"], "what the whole set lacks is gone");
}

#[test]
fn attempts_become_rarer_and_begin_anew_after_a_stream_that_worked() {
    let mut talk = Conversation::new(Mode::Delta);
    for _ in 0..20 {
        talk.step(Event::Closed);
    }
    let within = |wait: &Duration, most: u64| {
        *wait >= Duration::from_millis(most / 2) && *wait <= Duration::from_millis(most)
    };
    assert!(within(&talk.reconnects[0], 100) && within(&talk.reconnects[1], 200));
    assert!(talk.reconnects[10..].iter().all(|wait| within(wait, 10_000)));
    talk.step(Event::Connected);
    talk.hear(Kind::Cluster, "1", vec![], &[]);
    talk.step(Event::Closed);
    assert!(within(talk.reconnects.last().unwrap(), 100));
}

#[test]
fn a_peer_that_talks_nonsense_is_left() {
    let mut talk = Conversation::new(Mode::Delta);
    talk.step(Event::Connected);
    talk.step(Event::Response(&[0xff; 9]));
    assert_eq!(talk.broken.len(), 1);
}

#[test]
fn types_that_nobody_asked_for_are_passed_over() {
    let mut talk = Conversation::new(Mode::Delta);
    talk.step(Event::Connected);
    talk.sent.clear();
    talk.hear(Kind::Route, "1", vec![routes("r", "a")], &[]);
    assert!(talk.sent.is_empty() && talk.store.snapshot().routes.is_empty());
    let response = discovery::DeltaDiscoveryResponse { type_url: "x/y".to_owned(), ..Default::default() };
    talk.step(Event::Response(&response.encode_to_vec()));
    assert!(talk.sent.is_empty() && talk.broken.is_empty());
}

#[test]
fn a_resource_that_calls_itself_otherwise_is_refused() {
    let mut store = Store::default();
    let outcome =
        put(&mut store, Kind::Cluster, vec![RawResource { name: "b".to_owned(), ..eds_cluster("a", 1) }]);
    assert_eq!(outcome.refused, [("b".to_owned(), "calls itself a".to_owned())]);
    assert_eq!(store.wanted(Kind::Endpoint).names, std::collections::BTreeSet::<Arc<str>>::new());
}

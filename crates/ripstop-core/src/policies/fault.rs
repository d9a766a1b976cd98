//! Faults on purpose (`filters.http.fault`).
use crate::http::RequestHead;
use crate::rng::Rng;
use crate::snapshot::{Fault, FaultAbort};
use std::time::Duration;

/// What is to be done to a request: first the delay, then the abort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Injected {
    /// How long it waits (flag DI, details of an abort after it `fault_filter_abort`).
    pub delay: Option<Duration>,
    /// How it is answered then (flag FI; HTTP body `fault filter abort`).
    pub abort: Option<FaultAbort>,
}

/// What a fault does to a request for `cluster`.
pub fn decide(fault: &Fault, head: &RequestHead, cluster: &str, rng: &mut Rng) -> Injected {
    if !is_meant(fault, head, cluster) {
        return Injected::default();
    }
    let delay =
        fault.delay.filter(|(time, share)| !time.is_zero() && rng.chance(share.0)).map(|(time, _)| time);
    let abort = fault.abort.filter(|(_, share)| rng.chance(share.0)).map(|(abort, _)| abort);
    Injected { delay, abort }
}

fn is_meant(fault: &Fault, head: &RequestHead, cluster: &str) -> bool {
    (fault.upstream_cluster.is_empty() || fault.upstream_cluster == cluster)
        && fault.headers.iter().all(|wanted| wanted.matches(head))
        && (fault.downstream_nodes.is_empty() || is_from(&fault.downstream_nodes, head))
}

fn is_from(nodes: &[String], head: &RequestHead) -> bool {
    let node = head.headers.get_name(b"x-envoy-downstream-service-node");
    node.is_some_and(|node| nodes.iter().any(|wanted| wanted.as_bytes() == node))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Millionths;

    fn always() -> Fault {
        Fault {
            delay: Some((Duration::from_secs(1), Millionths::ALL)),
            abort: Some((FaultAbort::Http(503), Millionths::ALL)),
            headers: Vec::new(),
            upstream_cluster: "shop".into(),
            downstream_nodes: Vec::new(),
        }
    }

    #[test]
    fn a_fault_hits_its_cluster_alone() {
        let (head, mut rng) = (RequestHead::default(), Rng::new(1));
        let hit = Injected { delay: Some(Duration::from_secs(1)), abort: Some(FaultAbort::Http(503)) };
        assert_eq!(decide(&always(), &head, "shop", &mut rng), hit);
        assert_eq!(decide(&always(), &head, "other", &mut rng), Injected::default());
    }

    #[test]
    fn callers_are_told_by_their_node() {
        let fault = Fault { downstream_nodes: vec!["a".into()], ..always() };
        let (mut head, mut rng) = (RequestHead::default(), Rng::new(1));
        assert_eq!(decide(&fault, &head, "shop", &mut rng), Injected::default());
        head.headers.push(b"x-envoy-downstream-service-node", b"a");
        assert!(decide(&fault, &head, "shop", &mut rng).abort.is_some());
    }

    #[test]
    fn a_share_of_requests_is_hit() {
        let half = Some((FaultAbort::Grpc(14), Millionths(500_000)));
        let fault = Fault { delay: None, abort: half, ..always() };
        let (head, mut rng) = (RequestHead::default(), Rng::new(7));
        let hits = (0..2000).filter(|_| decide(&fault, &head, "shop", &mut rng).abort.is_some()).count();
        assert!((900..1100).contains(&hits), "{hits}");
    }
}

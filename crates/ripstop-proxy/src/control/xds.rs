//! Streams of xDS: the aggregated one, and one of secrets for each cluster that has some.
use super::dial::Peer;
use super::grpc::{StreamEvent, run_stream};
use super::plane::Event;
use ripstop_core::ads::{Client, Mode};
use ripstop_core::time::Time;
use ripstop_xds::envoy::config::core::v3::Node;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Which stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StreamId {
    /// Everything but secrets, and some of those.
    Ads,
    /// Secrets at a cluster.
    Sds(Arc<str>),
}

/// A stream, or the wish to have one.
#[derive(Debug)]
pub struct XdsStream {
    /// What is said on it.
    pub client: Client,
    /// Where it goes.
    pub cluster: Arc<str>,
    path: &'static str,
    /// When to try next; [`Time::NEVER`] while there is a stream, or an attempt.
    pub retry_at: Time,
    /// Attempts so far; another endpoint each time.
    pub attempts: usize,
    outgoing: Option<mpsc::UnboundedSender<Vec<u8>>>,
    task: Option<JoinHandle<()>>,
}

impl Drop for XdsStream {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl XdsStream {
    /// The aggregated stream.
    pub fn ads(node: Node, cluster: Arc<str>, is_delta: bool) -> XdsStream {
        let (mode, path) = match is_delta {
            true => (
                Mode::Delta,
                "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
            ),
            false => (
                Mode::Sotw,
                "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
            ),
        };
        XdsStream::new(Client::new(node, mode), cluster, path)
    }

    /// Secrets, state of the world.
    pub fn sds(node: Node, cluster: Arc<str>) -> XdsStream {
        let path = "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets";
        XdsStream::new(Client::new(node, Mode::Sotw), cluster, path)
    }

    fn new(client: Client, cluster: Arc<str>, path: &'static str) -> XdsStream {
        let (outgoing, task) = (None, None);
        XdsStream { client, cluster, path, retry_at: Time(0), attempts: 0, outgoing, task }
    }

    /// Connect. What happens is told as [`Event::Stream`] with `attempts` as it is now.
    pub fn start(&mut self, id: StreamId, peer: Peer, events: mpsc::UnboundedSender<Event>) {
        self.attempts += 1;
        self.retry_at = Time::NEVER;
        let attempt = self.attempts;
        let (sender, outgoing) = mpsc::unbounded_channel();
        self.outgoing = Some(sender);
        let tell = move |event: StreamEvent| {
            let _ = events.send(Event::Stream(id.clone(), attempt, event));
        };
        if let Some(before) = self.task.replace(tokio::spawn(run_stream(peer, self.path, outgoing, tell))) {
            before.abort();
        }
    }

    /// Send a request. Lost when the stream has just ended, which will be told.
    pub fn send(&self, request: Vec<u8>) {
        if let Some(outgoing) = &self.outgoing {
            let _ = outgoing.send(request);
        }
    }

    /// End the stream without waiting for the peer.
    pub fn stop(&mut self) {
        self.outgoing = None;
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

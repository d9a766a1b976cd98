//! Streams of xDS, and what is wanted on them.
use super::Plane;
use crate::control::decoder::Reader;
use crate::control::dial;
use crate::control::grpc::StreamEvent;
use crate::control::log::log;
use crate::control::xds::{StreamId, XdsStream};
use crate::tls::ConfigFault;
use ripstop_core::ads::{Action, Apply, Event as AdsEvent, Kind, Outcome, Wanted};
use ripstop_core::snapshot::SdsSource;
use ripstop_core::time::Time;
use std::time::Duration;

/// How long a stream waits whose secrets or addresses are missing.
const WAIT_FOR_PEER: Duration = Duration::from_millis(50);
/// How often what is on disk may change.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

impl Plane {
    pub(super) fn start_streams(&mut self, now: Time) {
        let due: Vec<StreamId> = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.retry_at <= now)
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            let Some(stream) = self.streams.get(&id) else { continue };
            let peer = self.peer_of(stream);
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            match peer {
                Ok(Some(peer)) => stream.start(id, peer, self.events.clone()),
                // Its cluster has no endpoint yet, or secrets are on their way.
                Ok(None) => stream.retry_at = now.after(WAIT_FOR_PEER),
                Err(why) => {
                    log!(Error, "{}: {why}", stream.cluster);
                    stream.retry_at = now.after(Duration::from_secs(1));
                }
            }
        }
    }

    fn peer_of(&self, stream: &XdsStream) -> Result<Option<dial::Peer>, String> {
        let Some(run) = self.endpoints.get(&stream.cluster) else { return Ok(None) };
        let Some(host) = dial::choose(run, stream.attempts) else { return Ok(None) };
        match dial::peer(&run.config, &host, 0, &self.store.snapshot().secrets) {
            Ok(peer) => Ok(Some(peer)),
            Err(ConfigFault::Missing(_)) => Ok(None),
            Err(fault) => Err(fault.to_string()),
        }
    }

    pub(super) fn stream_event(&mut self, id: &StreamId, attempt: usize, event: StreamEvent) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        if stream.attempts != attempt {
            return; // of a stream that was given up
        }
        let actions = match event {
            StreamEvent::Open => stream.client.step(AdsEvent::Connected, &mut self.rng),
            StreamEvent::Message(bytes) => stream.client.step(AdsEvent::Response(&bytes), &mut self.rng),
            StreamEvent::Closed(why) => {
                let what =
                    if stream.client.has_answered() { "the stream ended" } else { "there is no stream" };
                log!(Warning, "{}: {what}: {why}", stream.cluster);
                stream.client.step(AdsEvent::Closed, &mut self.rng)
            }
        };
        self.perform(id, actions);
    }

    fn perform(&mut self, id: &StreamId, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(request) => {
                    if let Some(stream) = self.streams.get(id) {
                        stream.send(request);
                    }
                }
                Action::Apply(apply) => self.apply(id, apply),
                Action::Disconnect(why) => {
                    let Some(stream) = self.streams.get_mut(id) else { return };
                    log!(Error, "{}: {why}", stream.cluster);
                    stream.stop();
                    let actions = stream.client.step(AdsEvent::Closed, &mut self.rng);
                    self.perform(id, actions);
                }
                Action::Reconnect(wait) => {
                    let at = self.now().after(wait);
                    if let Some(stream) = self.streams.get_mut(id) {
                        stream.retry_at = at;
                    }
                }
            }
        }
    }

    pub(super) fn apply(&mut self, id: &StreamId, apply: Apply) {
        let kind = apply.kind;
        let outcome = self.put(apply);
        let updates = &mut self.updates[kind as usize];
        updates.attempts += 1;
        if outcome.refused.is_empty() {
            updates.successes += 1;
        } else {
            updates.rejections += 1;
        }
        for (name, why) in &outcome.refused {
            log!(Error, "{}: {name} is refused: {why}", kind.short());
        }
        if kind != Kind::Secret && self.save_at == Time::NEVER && self.options.snapshot.is_some() {
            self.save_at = self.now().after(SAVE_INTERVAL);
        }
        let Some(stream) = self.streams.get_mut(id) else { return };
        let actions = stream.client.step(AdsEvent::Applied(kind, outcome), &mut self.rng);
        self.perform(id, actions);
        self.tell_wanted();
    }

    fn put(&mut self, apply: Apply) -> Outcome {
        let now = self.now();
        self.is_unsettled = true;
        self.store.apply(apply, &mut Reader { sockets: &mut self.sockets }, now)
    }

    /// Tell each stream what is wanted now.
    pub(super) fn tell_wanted(&mut self) {
        if self.streams.contains_key(&StreamId::Ads) {
            for kind in Kind::ALL {
                let mut wanted = self.store.wanted(kind);
                wanted.is_open &= match kind {
                    Kind::Listener => self.bootstrap.lds_by_ads,
                    Kind::Cluster => self.bootstrap.cds_by_ads,
                    _ => true,
                };
                self.want(&StreamId::Ads, kind, wanted);
            }
        }
        let sources = self.store.secret_sources();
        self.streams.retain(|id, _| match id {
            StreamId::Ads => true,
            StreamId::Sds(cluster) => sources.contains(cluster),
        });
        for cluster in sources {
            let id = StreamId::Sds(cluster.clone());
            let node = &self.bootstrap.node.raw;
            self.streams.entry(id.clone()).or_insert_with(|| XdsStream::sds(node.clone(), cluster.clone()));
            let names = self.store.wanted_secrets(&SdsSource::Cluster(cluster));
            self.want(&id, Kind::Secret, Wanted { is_open: !names.is_empty(), names });
        }
    }

    fn want(&mut self, id: &StreamId, kind: Kind, wanted: Wanted) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let actions = stream.client.step(AdsEvent::Wanted(kind, wanted), &mut self.rng);
        self.perform(id, actions);
    }

    /// Whether there is a stream to the control plane that has answered.
    pub(in crate::control) fn is_connected(&self) -> bool {
        self.streams.get(&StreamId::Ads).is_some_and(|stream| stream.client.has_answered())
    }
}

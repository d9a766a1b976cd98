//! What is said on an aggregated stream: subscriptions, ACKs and NACKs, and when to try again.
//!
//! Source: Envoy's xDS protocol page. The node is said in the first request only; a NACK names what is bad, and what is
//! good of the same response is used all the same; after a reconnect the versions that are held are told
//! (`initial_resource_versions`), so that what did not change is not sent again.
use super::wire::{self, Received, Request};
use super::{Action, Event, Kind, Outcome, Wanted};
use crate::rng::Rng;
use ripstop_xds::envoy::config::core::v3::Node;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The first wait before a new attempt; doubles up to the longest.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// The longest wait between attempts.
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// Which of the two protocols is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// State of the world: `StreamAggregatedResources`.
    Sotw,
    /// Incremental: `DeltaAggregatedResources`.
    Delta,
}

/// One kind on the present stream, and what outlives streams.
#[derive(Debug, Default)]
struct Talk {
    wanted: Wanted,
    /// Names that were said on this stream; None: nothing was said yet.
    said: Option<BTreeSet<Arc<str>>>,
    /// Of the newest response on this stream.
    nonce: String,
    /// State of the world: of the newest response, and of the newest that was accepted.
    version: String,
    accepted_version: String,
    /// What is held, and in which version.
    versions: BTreeMap<Arc<str>, String>,
}

/// The client.
#[derive(Debug)]
pub struct Client {
    node: Node,
    mode: Mode,
    talks: [Talk; Kind::ALL.len()],
    is_connected: bool,
    node_is_said: bool,
    /// Whether this stream ever answered.
    has_answered: bool,
    attempts: u32,
}

impl Client {
    /// A client that has said nothing yet.
    pub fn new(node: Node, mode: Mode) -> Client {
        Client {
            node,
            mode,
            talks: Default::default(),
            is_connected: false,
            node_is_said: false,
            has_answered: false,
            attempts: 0,
        }
    }

    /// Which protocol it speaks.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether there is a stream.
    pub fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// Whether the present stream has answered anything: the control plane is there and knows us.
    pub fn has_answered(&self) -> bool {
        self.is_connected && self.has_answered
    }

    /// Take an event; what is to be done about it, in order.
    pub fn step(&mut self, event: Event, rng: &mut Rng) -> Vec<Action> {
        match event {
            Event::Connected => self.connected(),
            Event::Response(bytes) => self.response(bytes),
            Event::Closed => self.closed(rng),
            Event::Applied(kind, outcome) => self.applied(kind, outcome),
            Event::Wanted(kind, wanted) => self.wanted(kind, wanted),
        }
    }

    fn connected(&mut self) -> Vec<Action> {
        self.is_connected = true;
        self.node_is_said = false;
        self.has_answered = false;
        for talk in &mut self.talks {
            talk.said = None;
            talk.nonce.clear();
            talk.version.clear();
        }
        Kind::ALL.into_iter().filter_map(|kind| self.say_wanted(kind)).collect()
    }

    fn closed(&mut self, rng: &mut Rng) -> Vec<Action> {
        if std::mem::take(&mut self.has_answered) {
            self.attempts = 0; // a stream that worked and ended is no failure
        }
        self.is_connected = false;
        let most = FIRST_BACKOFF.saturating_mul(1 << self.attempts.min(16)).min(LONGEST_BACKOFF);
        self.attempts += 1;
        // From a half up to all of it, so that many that lost one server do not come back at once.
        vec![Action::Reconnect(most.mul_f64(0.5 + rng.unit() / 2.0))]
    }

    fn response(&mut self, bytes: &[u8]) -> Vec<Action> {
        let read = match self.mode {
            Mode::Delta => wire::delta_response(bytes),
            Mode::Sotw => wire::sotw_response(bytes),
        };
        self.has_answered = true;
        match read {
            Ok(Some(Received { nonce, version, apply })) => {
                let talk = &mut self.talks[apply.kind.index()];
                if talk.said.is_none() {
                    return Vec::new(); // never asked for
                }
                (talk.nonce, talk.version) = (nonce, version);
                vec![Action::Apply(apply)]
            }
            Ok(None) => Vec::new(),
            Err(error) => vec![Action::Disconnect(format!("a response cannot be read: {error}"))],
        }
    }

    /// ACK, or NACK with the faults of what was refused.
    fn applied(&mut self, kind: Kind, outcome: Outcome) -> Vec<Action> {
        let talk = &mut self.talks[kind.index()];
        for name in &outcome.removed {
            talk.versions.remove(name);
        }
        talk.versions.extend(outcome.accepted);
        if !self.is_connected || talk.said.is_none() || talk.nonce.is_empty() {
            return Vec::new(); // recalled from a disk, not from this stream: there is nothing to answer
        }
        let error = (!outcome.refused.is_empty()).then(|| explain(&outcome.refused));
        if error.is_none() {
            talk.accepted_version.clone_from(&talk.version);
        }
        let talk = &self.talks[kind.index()];
        let (nonce, said) = (talk.nonce.clone(), talk.said.clone().unwrap_or_default());
        let request = Request { node: None, kind, nonce: &nonce, error: error.as_deref() };
        vec![Action::Send(match self.mode {
            Mode::Delta => wire::delta_request(&request, [], [], BTreeMap::new()),
            Mode::Sotw => wire::sotw_request(&request, &said, &talk.accepted_version),
        })]
    }

    fn wanted(&mut self, kind: Kind, wanted: Wanted) -> Vec<Action> {
        let talk = &mut self.talks[kind.index()];
        if talk.wanted == wanted {
            return Vec::new();
        }
        if !kind.is_wildcard() {
            talk.versions.retain(|name, _| wanted.names.contains(name));
        }
        talk.wanted = wanted;
        self.say_wanted(kind).into_iter().collect()
    }

    /// Say what is wanted, if the server does not know yet.
    fn say_wanted(&mut self, kind: Kind) -> Option<Action> {
        let talk = &self.talks[kind.index()];
        let now = &talk.wanted.names;
        let is_news = match &talk.said {
            None => talk.wanted.is_open,
            Some(said) => said != now,
        };
        if !self.is_connected || !is_news {
            return None;
        }
        let node = (!std::mem::replace(&mut self.node_is_said, true)).then_some(&self.node);
        let talk = &self.talks[kind.index()];
        let bytes = match self.mode {
            Mode::Delta => {
                let before = talk.said.clone().unwrap_or_default();
                let request = Request { node, kind, nonce: "", error: None };
                let initial = if talk.said.is_none() { initial_versions(talk) } else { BTreeMap::new() };
                let (more, less) = (now.difference(&before).cloned(), before.difference(now).cloned());
                wire::delta_request(&request, more, less, initial)
            }
            Mode::Sotw => {
                let request = Request { node, kind, nonce: &talk.nonce, error: None };
                wire::sotw_request(&request, now, &talk.accepted_version)
            }
        };
        let names = now.clone();
        self.talks[kind.index()].said = Some(names);
        Some(Action::Send(bytes))
    }
}

fn initial_versions(talk: &Talk) -> BTreeMap<String, String> {
    talk.versions.iter().map(|(name, version)| (name.to_string(), version.clone())).collect()
}

/// The text of a NACK: each refused resource with its own faults, one a line.
fn explain(refused: &[(String, String)]) -> String {
    let lines: Vec<String> = refused.iter().map(|(name, why)| format!("cannot use {name}: {why}")).collect();
    lines.join("\n")
}

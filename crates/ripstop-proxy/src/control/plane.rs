//! The control thread's state, and what each event changes about it.
use super::decoder::Reader;
use super::dial;
use super::dns;
use super::endpoints::{Answers, Endpoints};
use super::grpc::StreamEvent;
use super::health::{CheckId, Checks};
use super::listeners::Sockets;
use super::log::log;
use super::mailbox::{ToWorker, WorkerHandle};
use super::options::Options;
use super::saved;
use super::xds::{StreamId, XdsStream};
use crate::tls::ConfigFault;
use ripstop_core::ads::{Action, Apply, Event as AdsEvent, Kind, Outcome, Settled, Static, Store, Wanted};
use ripstop_core::decode::Bootstrap;
use ripstop_core::resilience::CheckResult;
use ripstop_core::rng::Rng;
use ripstop_core::snapshot::{Listener, Snapshot};
use ripstop_core::time::Time;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// How long ADS may take before what is on disk is used.
const DISK_AFTER: Duration = Duration::from_secs(2);
/// How often what is on disk may change.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);
/// How often changes of health that data threads found are looked for.
const TICK: Duration = Duration::from_millis(250);
/// How long a stream waits whose secrets or addresses are missing.
const WAIT_FOR_PEER: Duration = Duration::from_millis(100);
/// Initialisation takes no longer than this, whatever is missing (Envoy: `initial_fetch_timeout`).
const INITIALISATION: Duration = Duration::from_secs(15);

/// Something happened.
#[derive(Debug)]
pub enum Event {
    /// To a stream, in one of its attempts.
    Stream(StreamId, usize, StreamEvent),
    /// Names of a cluster were looked up.
    Answers(Arc<str>, Answers),
    /// A health check ended.
    Checked(CheckId, CheckResult),
    /// Somebody asks the admin interface.
    Admin(super::admin::Query, oneshot::Sender<super::admin::Reply>),
    /// Resources were written to disk, or not.
    Saved(Result<(), String>),
}

/// What was made of responses, by kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Updates {
    /// Responses.
    pub attempts: u64,
    /// Those without fault.
    pub successes: u64,
    /// Those with some.
    pub rejections: u64,
}

/// Everything that the control thread knows.
pub struct Plane {
    pub(super) options: Options,
    pub(super) bootstrap: Bootstrap,
    pub(super) epoch: Instant,
    pub(super) store: Store,
    pub(super) endpoints: Endpoints,
    pub(super) workers: Vec<WorkerHandle>,
    pub(super) listening: BTreeMap<Arc<str>, Arc<Listener>>,
    pub(super) updates: [Updates; Kind::ALL.len()],
    pub(super) listener_failures: u64,
    pub(super) is_live: bool,
    pub(super) is_draining: bool,
    /// Whether somebody asked by the admin interface that the process end.
    pub is_asked_to_quit: bool,
    sockets: Sockets,
    streams: HashMap<StreamId, XdsStream>,
    dns: dns::Schedule,
    checks: Checks,
    rng: Rng,
    events: mpsc::UnboundedSender<Event>,
    /// Something changed that may change the snapshot.
    is_unsettled: bool,
    settle_at: Time,
    tick_at: Time,
    load_at: Time,
    save_at: Time,
    is_saving: bool,
}

impl Plane {
    /// A plane that has told nothing to anybody.
    pub fn new(
        bootstrap: Bootstrap,
        options: Options,
        workers: Vec<WorkerHandle>,
        epoch: Instant,
        seed: u64,
        events: mpsc::UnboundedSender<Event>,
    ) -> Plane {
        let fixed = Static {
            clusters: bootstrap.static_clusters.clone(),
            listeners: bootstrap.static_listeners.clone(),
            secrets: bootstrap.static_secrets.clone(),
        };
        let mut streams = HashMap::new();
        if let Some(ads) = &bootstrap.ads {
            let stream = XdsStream::ads(bootstrap.node.raw.clone(), ads.cluster.clone(), ads.delta);
            streams.insert(StreamId::Ads, stream);
        }
        let load_at = match (&options.snapshot, &bootstrap.ads) {
            (Some(_), Some(_)) => Time(0).after(DISK_AFTER),
            _ => Time::NEVER,
        };
        Plane {
            sockets: Sockets::new(workers.len()),
            store: Store::new(fixed),
            options,
            bootstrap,
            epoch,
            endpoints: Endpoints::default(),
            workers,
            listening: BTreeMap::new(),
            updates: [Updates::default(); Kind::ALL.len()],
            listener_failures: 0,
            is_live: false,
            is_draining: false,
            is_asked_to_quit: false,
            streams,
            dns: dns::Schedule::default(),
            checks: Checks::default(),
            rng: Rng::new(seed),
            events,
            is_unsettled: true,
            settle_at: Time::NEVER,
            tick_at: Time(0),
            load_at,
            save_at: Time::NEVER,
            is_saving: false,
        }
    }

    /// The time now.
    pub fn now(&self) -> Time {
        Time(u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Reserve what the bootstrap listens on.
    ///
    /// # Errors
    /// An address cannot be had.
    pub fn reserve_static(&mut self) -> Result<(), String> {
        for listener in &self.bootstrap.static_listeners {
            self.sockets.reserve(listener).map_err(|why| format!("listener {}: {why}", listener.name))?;
        }
        Ok(())
    }

    /// Take an event. Call [`Plane::turn`] once there is none left.
    pub fn handle(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Stream(id, attempt, event) => self.stream_event(&id, attempt, event),
            Event::Answers(cluster, answers) => {
                self.dns.answered(&cluster, now);
                self.store.note_resolved(&cluster);
                if self.endpoints.answered(&cluster, answers, now) {
                    self.tell_endpoints(&[cluster]);
                }
                self.is_unsettled = true;
            }
            Event::Checked(id, result) => {
                let change = self.checks.ended(id, result, &self.endpoints, now, &mut self.rng);
                if let Some((host, transition)) = change {
                    log!(Info, "health check: {} is now {transition:?}", host.address_text);
                    self.tick_at = now;
                }
            }
            Event::Admin(query, reply) => {
                let _ = reply.send(self.answer(&query));
            }
            Event::Saved(result) => {
                self.is_saving = false;
                if let Err(why) = result {
                    log!(Warning, "accepted resources cannot be kept: {why}");
                }
            }
        }
    }

    /// When [`Plane::turn`] has something to do although nothing happened.
    pub fn next(&self) -> Time {
        let retries = self.streams.values().map(|stream| stream.retry_at).min().unwrap_or(Time::NEVER);
        let save_at = if self.is_saving { Time::NEVER } else { self.save_at };
        let times = [
            self.settle_at,
            self.tick_at,
            self.load_at,
            save_at,
            retries,
            self.dns.next(),
            self.checks.next(),
        ];
        times.into_iter().min().unwrap_or(Time::NEVER)
    }

    /// Do what is due.
    pub fn turn(&mut self) {
        let now = self.now();
        if now >= self.load_at {
            self.load();
        }
        if self.is_unsettled || now >= self.settle_at {
            self.settle(now);
        }
        if now >= self.tick_at {
            self.tick(now);
        }
        self.start_streams(now);
        for cluster in self.dns.take_due(now) {
            let events = self.events.clone();
            tokio::spawn(async move {
                let answers = dns::look_up(&cluster).await;
                let _ = events.send(Event::Answers(cluster.name.clone(), answers));
            });
        }
        for check in self.checks.take_due(&self.endpoints, &self.store.snapshot().secrets, now) {
            let events = self.events.clone();
            tokio::spawn(async move {
                let result = check.run().await;
                let _ = events.send(Event::Checked(check.id, result));
            });
        }
        if now >= self.save_at && !self.is_saving {
            self.save();
        }
    }

    // --- streams ---

    fn start_streams(&mut self, now: Time) {
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

    fn stream_event(&mut self, id: &StreamId, attempt: usize, event: StreamEvent) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        if stream.attempts != attempt {
            return; // of a stream that was given up
        }
        let actions = match event {
            StreamEvent::Open => stream.client.step(AdsEvent::Connected, &mut self.rng),
            StreamEvent::Message(bytes) => stream.client.step(AdsEvent::Response(&bytes), &mut self.rng),
            StreamEvent::Closed(why) => {
                let level = if stream.client.has_answered() { "was" } else { "is" };
                log!(Warning, "{}: the stream {level} not to be had: {why}", stream.cluster);
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

    fn apply(&mut self, id: &StreamId, apply: Apply) {
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
    fn tell_wanted(&mut self) {
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
            let names = self.store.wanted_secrets(&ripstop_core::snapshot::SdsSource::Cluster(cluster));
            self.want(&id, Kind::Secret, Wanted { is_open: !names.is_empty(), names });
        }
    }

    fn want(&mut self, id: &StreamId, kind: Kind, wanted: Wanted) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let actions = stream.client.step(AdsEvent::Wanted(kind, wanted), &mut self.rng);
        self.perform(id, actions);
    }

    /// Whether there is a stream to the control plane that has answered.
    pub(super) fn is_connected(&self) -> bool {
        self.streams.get(&StreamId::Ads).is_some_and(|stream| stream.client.has_answered())
    }

    // --- snapshots ---

    fn settle(&mut self, now: Time) {
        self.is_unsettled = false;
        let before = self.store.snapshot().clone();
        let Settled { snapshot, endpoints, next } = self.store.settle(now);
        self.settle_at = next.unwrap_or(Time::NEVER);
        if let Some(snapshot) = &snapshot {
            self.tell_snapshot(&before, snapshot, endpoints, now);
        } else {
            let names: Vec<Arc<str>> = endpoints.iter().map(|(name, _)| name.clone()).collect();
            for (name, assignment) in endpoints {
                self.endpoints.assigned(&name, assignment, now);
            }
            self.tell_endpoints(&names);
        }
        self.tell_wanted();
        let known = self.endpoints.iter().map(|(_, run)| run.config.clone());
        let clusters: Vec<_> = known.chain(self.store.unresolved().cloned()).collect();
        self.dns.set(clusters.into_iter(), now);
        self.checks.set(&self.endpoints, now, &mut self.rng);
        self.check_live(now);
    }

    /// New clusters first, then their endpoints, then what leads to them, then listeners; what is gone last.
    fn tell_snapshot(
        &mut self,
        before: &Snapshot,
        snapshot: &Arc<Snapshot>,
        endpoints: Vec<(Arc<str>, Arc<ripstop_core::snapshot::LoadAssignment>)>,
        now: Time,
    ) {
        let has_new = snapshot.clusters.keys().any(|name| !before.clusters.contains_key(name));
        if has_new {
            let mut clusters = before.clusters.clone();
            clusters.extend(snapshot.clusters.iter().map(|(name, cluster)| (name.clone(), cluster.clone())));
            let between = Snapshot { clusters, secrets: snapshot.secrets.clone(), ..before.clone() };
            self.tell(|| ToWorker::Snapshot(Arc::new(between.clone())));
        }
        let mut changed = self.endpoints.update(snapshot, now);
        for (name, assignment) in endpoints {
            self.endpoints.assigned(&name, assignment, now);
            changed.sets.push(name);
        }
        self.tell_endpoints(&changed.sets);
        self.tell(|| ToWorker::Snapshot(snapshot.clone()));
        self.tell_listeners(snapshot);
        for name in &changed.gone {
            self.tell(|| ToWorker::ClusterGone(name.clone()));
        }
        log!(Info, "snapshot {} is in use", snapshot.generation);
    }

    fn tell_listeners(&mut self, snapshot: &Snapshot) {
        for (name, listener) in &snapshot.listeners {
            if self.listening.get(name).is_some_and(|known| Arc::ptr_eq(known, listener)) {
                continue;
            }
            match self.sockets.activate(listener) {
                Ok(sockets) => {
                    for (worker, sockets) in self.workers.iter().zip(sockets) {
                        let (name, config) = (name.clone(), listener.clone());
                        worker.tell(ToWorker::Listener { name, config, sockets });
                    }
                    self.listening.insert(name.clone(), listener.clone());
                }
                Err(why) => {
                    self.listener_failures += 1;
                    log!(Error, "listener {name}: {why}");
                }
            }
        }
        let gone: Vec<Arc<str>> =
            self.listening.keys().filter(|name| !snapshot.listeners.contains_key(*name)).cloned().collect();
        for name in gone {
            self.listening.remove(&name);
            self.sockets.forget(&name);
            let drain = self.options.drain;
            self.tell(|| ToWorker::ListenerGone { name: name.clone(), drain });
        }
        let store = &self.store;
        let listening = &self.listening;
        self.sockets.retain(|name| listening.contains_key(name) || store.has_listener(name));
    }

    fn tell_endpoints(&self, names: &[Arc<str>]) {
        for name in names {
            for worker in &self.workers {
                if let Some(message) = self.endpoints.message(name) {
                    worker.tell(message);
                }
            }
        }
    }

    pub(super) fn tell(&self, message: impl Fn() -> ToWorker) {
        for worker in &self.workers {
            worker.tell(message());
        }
    }

    /// Initialisation is over once the first listeners and clusters have come and have warmed, or after long enough.
    fn check_live(&mut self, now: Time) {
        let has_come = |kind: Kind, is_wanted: bool| !is_wanted || self.updates[kind as usize].attempts > 0;
        let came = has_come(Kind::Listener, self.bootstrap.lds_by_ads)
            && has_come(Kind::Cluster, self.bootstrap.cds_by_ads)
            && self.store.warming().is_empty();
        if !self.is_live && (came || now >= Time(0).after(INITIALISATION)) {
            self.is_live = true;
            log!(
                Info,
                "ready: {} listeners, {} clusters",
                self.listening.len(),
                self.store.snapshot().clusters.len()
            );
        }
        if !self.is_live {
            self.settle_at = self.settle_at.min(Time(0).after(INITIALISATION));
        }
    }

    fn tick(&mut self, now: Time) {
        self.tick_at = now.after(TICK);
        let changed = self.endpoints.tick(now, &mut self.rng, |cluster, change| {
            log!(Info, "outlier detection: {cluster}: {change:?}");
        });
        self.tick_at = self.tick_at.min(self.endpoints.next_sweep());
        self.tell_endpoints(&changed);
    }

    // --- disk ---

    fn load(&mut self) {
        self.load_at = Time::NEVER;
        if self.is_connected() {
            return;
        }
        let Some(path) = self.options.snapshot.clone() else { return };
        let read = std::fs::read(&path).map_err(|error| error.to_string());
        match read.and_then(|bytes| saved::decode(&bytes)) {
            Ok(applies) => {
                log!(Warning, "the control plane is away: starting with what {} has", path.display());
                for apply in applies {
                    self.apply(&StreamId::Ads, apply);
                }
                self.save_at = Time::NEVER;
            }
            Err(why) => log!(Warning, "the control plane is away, and {}: {why}", path.display()),
        }
    }

    fn save(&mut self) {
        self.save_at = Time::NEVER;
        let Some(path) = self.options.snapshot.clone() else { return };
        self.is_saving = true;
        let content = saved::encode(self.store.saved());
        let events = self.events.clone();
        tokio::task::spawn_blocking(move || {
            let result =
                saved::write(&path, &content).map_err(|error| format!("{}: {error}", path.display()));
            let _ = events.send(Event::Saved(result));
        });
    }
}

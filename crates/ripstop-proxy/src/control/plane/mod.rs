//! The control thread's state, and what each event changes about it.
mod disk;
mod streams;
mod telling;

use super::dns;
use super::endpoints::{Answers, Endpoints};
use super::grpc::StreamEvent;
use super::hand_over::{Given, Predecessor};
use super::health::{CheckId, Checks};
use super::listeners::Sockets;
use super::log::log;
use super::mailbox::WorkerHandle;
use super::options::Options;
use super::xds::{StreamId, XdsStream};
use crate::memory::{Memory, Pressure};
use ripstop_core::ads::{Kind, Static, Store};
use ripstop_core::decode::Bootstrap;
use ripstop_core::policies::rate_limit::Buckets;
use ripstop_core::resilience::CheckResult;
use ripstop_core::rng::Rng;
use ripstop_core::snapshot::Listener;
use ripstop_core::time::Time;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// How long ADS may take before what is on disk is used.
const DISK_AFTER: Duration = Duration::from_secs(2);

/// What we call ourselves to control planes.
const USER_AGENT: &str = "ripstop";

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
    /// A process that comes after us wants something.
    HandOver(Predecessor),
    /// The process before us has let go.
    TookOver,
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
    /// While connections are asked to go: when their listeners close, and whether only those of inbound ones.
    pub(super) drain_end: Option<(Time, bool)>,
    /// The sockets of a process before us are not put to use before everything is here that leads on from them.
    pub(super) is_holding: bool,
    /// The process before us has let go.
    pub(super) took_over: bool,
    /// A process after us serves; it is told once nothing is accepted here.
    pub(super) relieved: Option<std::sync::mpsc::Sender<()>>,
    /// The admin interface's socket, for the process that comes after us.
    pub(super) admin_socket: Option<Given>,
    /// Whether somebody asked by the admin interface that the process end.
    pub is_asked_to_quit: bool,
    /// Token buckets of local rate limits, shared with the data threads.
    pub buckets: Arc<Buckets>,
    /// The bound of memory, shared with the data threads.
    pub memory: Arc<Memory>,
    pub(super) sockets: Sockets,
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
    told_pressure: Pressure,
}

impl Plane {
    /// A plane that has told nothing to anybody.
    pub fn new(
        mut bootstrap: Bootstrap,
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
        let node = &mut bootstrap.node.raw;
        if node.user_agent_name.is_empty() {
            node.user_agent_name = USER_AGENT.to_owned();
        }
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
            drain_end: None,
            is_holding: false,
            took_over: false,
            relieved: None,
            admin_socket: None,
            is_asked_to_quit: false,
            buckets: Arc::default(),
            memory: Arc::default(),
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
            told_pressure: Pressure::None,
        }
    }

    /// The time now.
    pub fn now(&self) -> Time {
        Time(u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Use the sockets of the process before us, once everything is here that leads on from them.
    pub fn inherit(&mut self, sockets: Vec<Given>) {
        self.is_holding = true;
        self.sockets.inherit(sockets);
    }

    /// Everything that is listened on, for the process that comes after us.
    fn give(&self) -> std::io::Result<Vec<Given>> {
        let mut all = self.sockets.give()?;
        if let Some(Given { purpose, name, address, socket }) = &self.admin_socket {
            let (purpose, name, address) = (*purpose, name.clone(), address.clone());
            all.push(Given { purpose, name, address, socket: socket.try_clone()? });
        }
        Ok(all)
    }

    /// End all streams: nothing is learnt any more.
    pub fn close_streams(&mut self) {
        self.streams.clear();
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
            Event::HandOver(Predecessor::Asked(reply)) => match self.give() {
                Ok(sockets) => drop(reply.send(sockets)),
                Err(error) => log!(Error, "sockets cannot be handed over: {error}"),
            },
            Event::HandOver(Predecessor::Relieved(done)) => self.relieved = Some(done),
            Event::TookOver => self.took_over = true,
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
        let drain_end = self.drain_end.map_or(Time::NEVER, |(end, _)| end);
        let times = [
            drain_end,
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
        if let Some((end, inbound_only)) = self.drain_end
            && now >= end
        {
            self.drain_end = Some((Time::NEVER, inbound_only)); // it drains for ever
            self.close_listeners(inbound_only);
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
}

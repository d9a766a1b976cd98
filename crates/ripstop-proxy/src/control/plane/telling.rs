//! Snapshots, endpoints and listeners: what the data threads are told, in which order.
use super::Plane;
use crate::control::log::log;
use crate::control::mailbox::ToWorker;
use ripstop_core::ads::{Kind, Settled};
use ripstop_core::snapshot::{LoadAssignment, Snapshot};
use ripstop_core::time::Time;
use std::sync::Arc;
use std::time::Duration;

/// How often changes of health that data threads found are looked for.
const TICK: Duration = Duration::from_millis(250);
/// Initialisation takes no longer than this, whatever is missing (Envoy: `initial_fetch_timeout`).
const INITIALISATION: Duration = Duration::from_secs(15);

impl Plane {
    pub(super) fn settle(&mut self, now: Time) {
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
        endpoints: Vec<(Arc<str>, Arc<LoadAssignment>)>,
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
        // Those that went with the snapshot before this one; the data threads have let go of them by now.
        self.buckets.forget_unused();
        log!(Info, "snapshot {} is in use", snapshot.generation);
    }

    fn tell_listeners(&mut self, snapshot: &Snapshot) {
        if self.is_holding {
            return;
        }
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

    pub(super) fn tell_endpoints(&self, names: &[Arc<str>]) {
        for name in names {
            for worker in &self.workers {
                if let Some(message) = self.endpoints.message(name) {
                    worker.tell(message);
                }
            }
        }
    }

    pub(in crate::control) fn tell(&self, message: impl Fn() -> ToWorker) {
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
        if came && self.is_holding {
            self.is_holding = false;
            let snapshot = self.store.snapshot().clone();
            self.tell_listeners(&snapshot);
            self.sockets.disclaim();
        }
        if !self.is_live && (came || (now >= Time(0).after(INITIALISATION) && !self.is_holding)) {
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

    /// Whether the sockets of the process before us were held back for so long that they are left to it.
    pub(in crate::control) fn is_too_late_to_take_over(&self) -> bool {
        self.is_holding && self.now() >= Time(0).after(INITIALISATION)
    }

    /// Data threads look for themselves while bytes come; this is for what grows otherwise, and for the log.
    fn watch_memory(&mut self) {
        let before = self.memory.pressure();
        let pressure = self.memory.measure();
        let told = std::mem::replace(&mut self.told_pressure, pressure.max(before));
        if told != self.told_pressure {
            let mib = |bytes: u64| bytes / (1024 * 1024);
            let (used, limit) = (mib(self.memory.used()), mib(self.memory.limit()));
            log!(Warning, "memory: {used} of {limit} MiB are in use: {:?}", self.told_pressure);
        }
    }

    pub(super) fn tick(&mut self, now: Time) {
        self.tick_at = now.after(TICK);
        self.watch_memory();
        let changed = self.endpoints.tick(now, &mut self.rng, |cluster, change| {
            log!(Info, "outlier detection: {cluster}: {change:?}");
        });
        self.tick_at = self.tick_at.min(self.endpoints.next_sweep());
        self.tell_endpoints(&changed);
    }
}

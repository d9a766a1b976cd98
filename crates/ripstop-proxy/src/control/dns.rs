//! Looking names up, again and again, by the system's resolver.
use super::endpoints::{Answers, names, of_family};
use ripstop_core::snapshot::{Cluster, Discovery};
use ripstop_core::time::Time;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// A look-up that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(5);
/// The shortest time between two look-ups of one cluster.
const SHORTEST: Duration = Duration::from_millis(100);

/// When which cluster is looked up.
#[derive(Debug, Default)]
pub struct Schedule {
    due: HashMap<Arc<str>, (Arc<Cluster>, Time)>,
}

impl Schedule {
    /// These are the clusters by DNS that there are; new and changed ones are due at once.
    pub fn set(&mut self, clusters: impl Iterator<Item = Arc<Cluster>>, now: Time) {
        let mut before = std::mem::take(&mut self.due);
        for cluster in clusters.filter(|cluster| matches!(cluster.discovery, Discovery::Dns { .. })) {
            let entry = match before.remove(&cluster.name) {
                Some((known, at)) if Arc::ptr_eq(&known, &cluster) => (known, at),
                _ => (cluster.clone(), now),
            };
            self.due.insert(cluster.name.clone(), entry);
        }
    }

    /// The clusters to be looked up now; each is due again when its answer came.
    pub fn take_due(&mut self, now: Time) -> Vec<Arc<Cluster>> {
        let mut due = Vec::new();
        for (cluster, at) in self.due.values_mut().filter(|(_, at)| *at <= now) {
            *at = Time::NEVER;
            due.push(cluster.clone());
        }
        due
    }

    /// An answer came, or none.
    pub fn answered(&mut self, cluster: &str, now: Time) {
        if let Some((config, at)) = self.due.get_mut(cluster)
            && let Discovery::Dns { refresh, .. } = &config.discovery
        {
            *at = now.after((*refresh).max(SHORTEST));
        }
    }

    /// When something is due next.
    pub fn next(&self) -> Time {
        self.due.values().map(|(_, at)| *at).min().unwrap_or(Time::NEVER)
    }
}

/// Look up all names of a cluster. A name without an answer has an empty one.
pub async fn look_up(cluster: &Cluster) -> Answers {
    let Discovery::Dns { family, .. } = cluster.discovery else { return Answers::new() };
    let mut answers = Answers::new();
    for name in names(cluster) {
        let found = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((&*name, 0))).await;
        let addresses = match found {
            Ok(Ok(found)) => of_family(family, found.map(|address| address.ip()).collect()),
            Ok(Err(error)) => {
                super::log::log!(Warning, "{name}: {error}");
                Vec::new()
            }
            Err(_) => {
                super::log::log!(Warning, "{name}: no answer in {} s", PATIENCE.as_secs());
                Vec::new()
            }
        };
        answers.insert(name.clone(), addresses);
    }
    answers
}

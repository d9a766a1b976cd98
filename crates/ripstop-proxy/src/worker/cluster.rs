//! Clusters as this thread uses them: the newest configuration and endpoints, its balancer, its connections.
use super::exchange::Exchange;
use super::pool::Pool;
use super::slots::Key;
use super::{Map, Worker};
use crate::tls::ClientTls;
use ripstop_core::balance::{AggregatePicker, Availability, ClusterState, HostId, HostSet, Picker};
use ripstop_core::snapshot::{Cluster, Discovery, UpstreamProtocol};
use std::sync::Arc;

/// What is spoken on an upstream connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Spoken {
    H1,
    H2,
    /// HTTP by ALPN; known once the handshake is done.
    Auto,
    /// Bytes as they are; never shared.
    Raw,
}

/// A cluster of this thread. It outlives updates by its name.
pub(crate) struct ThreadCluster {
    pub config: Arc<Cluster>,
    pub set: Option<Arc<HostSet>>,
    pub state: Arc<ClusterState>,
    pub picker: Picker,
    pub aggregate: Option<AggregatePicker>,
    pub tls: Option<Arc<ClientTls>>,
    /// TLS is wanted and cannot be had: secrets are missing or broken.
    pub tls_fault: Option<String>,
    pub pools: Map<(HostId, Spoken), Pool>,
    pub stats: super::stats::ClusterId,
}

impl ThreadCluster {
    pub fn spoken(&self, ex: &Exchange) -> Spoken {
        match &self.config.protocol {
            UpstreamProtocol::Http1(_) => Spoken::H1,
            UpstreamProtocol::Http2(_) => Spoken::H2,
            UpstreamProtocol::Auto(..) if self.config.tls.is_some() => Spoken::Auto,
            UpstreamProtocol::Auto(..) => Spoken::H1,
            UpstreamProtocol::AsDownstream(..) => match ex.request.version {
                ripstop_core::http::Version::Http2 => Spoken::H2,
                _ => Spoken::H1,
            },
        }
    }
}

/// The cluster that an attempt goes to, and what an aggregate chose already.
#[derive(Clone, Copy)]
pub(crate) struct Resolved {
    pub cluster: Key,
    pub level: Option<(u32, Availability)>,
}

impl Worker {
    /// The snapshot changed: take over what is new in clusters.
    pub(crate) fn update_clusters(&mut self, secrets_changed: bool) {
        let snapshot = self.snapshot.clone();
        for (name, config) in &snapshot.clusters {
            match self.cluster_names.get(name) {
                Some(&key) => self.update_cluster(key, config, secrets_changed),
                None => self.add_cluster(name, config),
            }
        }
        let gone: Vec<Arc<str>> = self
            .cluster_names
            .keys()
            .filter(|name| !snapshot.clusters.contains_key(*name))
            .cloned()
            .collect();
        for name in gone {
            self.drop_cluster(&name);
        }
    }

    fn add_cluster(&mut self, name: &Arc<str>, config: &Arc<Cluster>) {
        let stats = self.stats.cluster(&config.stat_name);
        let mut made = ThreadCluster {
            config: config.clone(),
            set: None,
            state: Arc::default(),
            picker: Picker::new(config),
            aggregate: aggregate_of(config),
            tls: None,
            tls_fault: None,
            pools: Map::default(),
            stats,
        };
        self.prepare_tls(&mut made);
        let key = self.clusters.insert(Box::new(made));
        self.cluster_names.insert(name.clone(), key);
    }

    fn update_cluster(&mut self, key: Key, config: &Arc<Cluster>, secrets_changed: bool) {
        let Some(mut cluster) = self.clusters.take(key) else { return };
        let is_same = Arc::ptr_eq(&cluster.config, config) || cluster.config.version == config.version;
        if !is_same {
            cluster.config = config.clone();
            cluster.picker = Picker::new(config);
            cluster.aggregate = aggregate_of(config);
        }
        let old_tls = cluster.tls.clone();
        if !is_same || secrets_changed || cluster.tls_fault.is_some() {
            self.prepare_tls(&mut cluster);
        }
        let new_identity = match (&old_tls, &cluster.tls) {
            (Some(old), Some(new)) => !Arc::ptr_eq(old, new),
            (None, None) => false,
            _ => true,
        };
        self.clusters.put_back(key, cluster);
        if new_identity {
            self.retire_pools(key, |_| true); // new requests prove the new identity
        }
    }

    fn prepare_tls(&self, cluster: &mut ThreadCluster) {
        let Some(tls) = &cluster.config.tls else {
            (cluster.tls, cluster.tls_fault) = (None, None);
            return;
        };
        match self.tls_cache.client(tls, &self.snapshot.secrets) {
            Ok(made) => (cluster.tls, cluster.tls_fault) = (Some(made), None),
            // What was good before is good still: a secret that cannot be read ends nothing.
            Err(fault) if cluster.tls.is_none() => cluster.tls_fault = Some(fault.to_string()),
            Err(_) => {}
        }
    }

    pub(crate) fn take_endpoints(&mut self, name: &str, set: Arc<HostSet>, state: Arc<ClusterState>) {
        let Some(&key) = self.cluster_names.get(name) else { return };
        let Some(cluster) = self.clusters.get_mut(key) else { return };
        cluster.set = Some(set.clone());
        cluster.state = state;
        self.retire_pools(key, |host| !set.hosts().iter().any(|entry| entry.host.id == host));
    }

    pub(crate) fn drop_cluster(&mut self, name: &str) {
        let Some(key) = self.cluster_names.remove(name) else { return };
        self.retire_pools(key, |_| true);
        if let Some(cluster) = self.clusters.remove(key) {
            self.stats.forget_cluster(&cluster.config.stat_name);
        }
    }

    /// The cluster by name, through an aggregate to one of its members.
    pub(crate) fn resolve_cluster(&mut self, name: &str) -> Option<Resolved> {
        let key = *self.cluster_names.get(name)?;
        let cluster = self.clusters.get(key)?;
        let Discovery::Aggregate(members) = &cluster.config.discovery else {
            return Some(Resolved { cluster: key, level: None });
        };
        let members = members.clone();
        let keys: Vec<Option<Key>> = members.iter().map(|m| self.cluster_names.get(m).copied()).collect();
        let sets: Vec<Option<Arc<HostSet>>> = keys
            .iter()
            .map(|key| key.and_then(|key| self.clusters.get(key)).and_then(|cluster| cluster.set.clone()))
            .collect();
        let borrowed: Vec<Option<&HostSet>> = sets.iter().map(Option::as_deref).collect();
        let (now, rng) = (self.now, &mut self.rng);
        let aggregate = self.clusters.get_mut(key)?.aggregate.as_mut()?;
        match aggregate.choose(&borrowed, now, rng) {
            Some(member) => {
                Some(Resolved { cluster: keys.get(member.index).copied()??, level: Some(member.level) })
            }
            None => keys.into_iter().flatten().next().map(|cluster| Resolved { cluster, level: None }),
        }
    }
}

fn aggregate_of(config: &Arc<Cluster>) -> Option<AggregatePicker> {
    matches!(config.discovery, Discovery::Aggregate(_)).then(|| AggregatePicker::new(config))
}

//! `Snapshot`: the resources of one node, and what becomes of a request by them.
use crate::check::OfTheNode;
use crate::plain::{Plain, Show, plain};
use crate::told::{FlatPicks, Match, Picks};
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyDict;
use ripstop_core::balance::{Simulation, simulate, simulate_aggregate};
use ripstop_core::decode::{self, Refused};
use ripstop_core::explain::{Question, World, explain};
use ripstop_core::http::RequestHead;
use ripstop_core::record::{ConnectionInfo, PeerCertificate, TlsInfo};
use ripstop_core::snapshot::{Cluster, Discovery, LoadAssignment};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A fault with the resource that has it.
pub struct Found {
    type_url: String,
    resource: String,
    path: String,
    problem: String,
}

plain! {
    /// What is wrong with a resource.
    Fault from Found { type_url: String, resource: String, path: String, problem: String }
}

/// The resources of one node.
#[pyclass(frozen, module = "ripstop._core")]
pub struct Snapshot {
    world: World,
    faults: Vec<Fault>,
}

#[pymethods]
impl Snapshot {
    #[new]
    fn new(py: Python<'_>, resources: Vec<(String, PyBackedBytes)>) -> PyResult<Snapshot> {
        py.detach(|| built(&resources))
    }

    /// What is wrong with resources that are not taken, and so left out.
    #[getter]
    fn faults(&self) -> Vec<Fault> {
        self.faults.clone()
    }

    /// The way of a request.
    #[pyo3(signature = (listener, method = "GET", authority = "", path = "/", headers = vec![], *,
        principals = vec![], remote = "127.0.0.1:1", local = "127.0.0.1:0", server_name = "", alpn = vec![],
        is_tls = None, random = 0))]
    #[allow(clippy::too_many_arguments)] // keywords of Python
    fn r#match(
        &self,
        py: Python<'_>,
        listener: &str,
        method: &str,
        authority: &str,
        path: &str,
        headers: Vec<(String, String)>,
        principals: Vec<String>,
        remote: &str,
        local: &str,
        server_name: &str,
        alpn: Vec<String>,
        is_tls: Option<bool>,
        random: u64,
    ) -> PyResult<Match> {
        let is_tls = is_tls.unwrap_or(!principals.is_empty() || !server_name.is_empty() || !alpn.is_empty());
        let peer = (!principals.is_empty()).then(|| PeerCertificate {
            uris: principals.iter().map(|uri| Arc::from(&**uri)).collect(),
            ..PeerCertificate::default()
        });
        let (remote, local) = (address(remote)?, address(local)?);
        let question = Question {
            listener: listener.to_owned(),
            connection: ConnectionInfo {
                remote,
                direct_remote: remote,
                local,
                tls: is_tls.then(|| Arc::new(TlsInfo { peer, ..TlsInfo::default() })),
                server_name: server_name.to_ascii_lowercase().into(),
                ..ConnectionInfo::default()
            },
            is_tls,
            alpn,
            request: head(method, authority, path, &headers)?,
            random,
        };
        Ok(py.detach(|| explain(&self.world, &question)).plain())
    }

    /// Where so many requests to a cluster would go.
    #[pyo3(signature = (cluster, requests, seed = 0, hash = None, *, in_flight = 0, unhealthy = vec![],
        ejected = vec![], latency_s = HashMap::new(), keys = vec![], subset = vec![]))]
    #[allow(clippy::too_many_arguments)] // keywords of Python
    fn pick(
        &self,
        py: Python<'_>,
        cluster: &str,
        requests: u32,
        seed: u64,
        hash: Option<u64>,
        in_flight: usize,
        unhealthy: Vec<String>,
        ejected: Vec<String>,
        latency_s: HashMap<String, f64>,
        keys: Vec<String>,
        subset: Vec<(String, String)>,
    ) -> PyResult<Picks> {
        let known = self.world.snapshot.clusters.get(cluster);
        let known = known.ok_or_else(|| PyKeyError::new_err(format!("there is no cluster {cluster}")))?;
        let latency = latency_s
            .into_iter()
            .map(|(address, seconds)| Some((address, Duration::try_from_secs_f64(seconds).ok()?)))
            .collect::<Option<HashMap<_, _>>>()
            .ok_or_else(|| PyValueError::new_err("a latency is no number of seconds"))?;
        let what = Simulation { requests, seed, in_flight, unhealthy, ejected, latency, hash, keys, subset };
        Ok(py.detach(|| FlatPicks::from(self.simulated(known, &what))).plain())
    }

    /// The names of resources of a kind that are there: clusters.
    #[getter]
    fn clusters(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.world.snapshot.clusters.keys().map(|name| name.to_string()).collect();
        names.sort();
        names
    }
}

impl Snapshot {
    fn simulated(&self, cluster: &Arc<Cluster>, what: &Simulation) -> ripstop_core::balance::Simulated {
        let none = Arc::new(LoadAssignment::default());
        let Discovery::Aggregate(names) = &cluster.discovery else {
            return simulate(cluster, self.assignment(cluster).unwrap_or(&none), what);
        };
        let members: Vec<&Arc<Cluster>> =
            names.iter().filter_map(|name| self.world.snapshot.clusters.get(name)).collect();
        let members: Vec<(&Cluster, &LoadAssignment)> =
            members.into_iter().map(|m| (&**m, &**self.assignment(m).unwrap_or(&none))).collect();
        simulate_aggregate(cluster, &members, what)
    }

    /// Names of DNS clusters are taken for addresses.
    fn assignment<'a>(&'a self, cluster: &'a Cluster) -> Option<&'a Arc<LoadAssignment>> {
        match &cluster.discovery {
            Discovery::Static(assignment) | Discovery::Dns { assignment, .. } => Some(assignment),
            Discovery::Eds(name) => self.world.assignments.get(name),
            Discovery::Aggregate(_) | Discovery::OriginalDst => None,
        }
    }
}

fn built(resources: &[(String, PyBackedBytes)]) -> PyResult<Snapshot> {
    let mut made = Snapshot { world: World::default(), faults: Vec::new() };
    for (type_url, body) in resources {
        match take(&mut made.world, type_url, body) {
            Some(Ok(())) => {}
            Some(Err(refused)) => made.faults.extend(faults(type_url, refused)),
            None => return Err(PyValueError::new_err(format!("{type_url} is no type of resource here"))),
        }
    }
    Ok(made)
}

fn faults(type_url: &str, refused: Refused) -> impl Iterator<Item = Fault> {
    let Refused { resource, faults } = refused;
    faults.into_iter().map(move |fault| {
        let (type_url, resource) = (type_url.to_owned(), resource.clone());
        Found { type_url, resource, path: fault.path, problem: fault.problem }.plain()
    })
}

/// None: a type that is not known.
fn take(world: &mut World, type_url: &str, body: &[u8]) -> Option<Result<(), Refused>> {
    let snapshot = &mut world.snapshot;
    Some(match type_url.rsplit('/').next().unwrap_or_default() {
        "envoy.config.listener.v3.Listener" => decode::listener(body, &OfTheNode)
            .map(|it| drop(snapshot.listeners.insert(it.name.clone(), Arc::new(it)))),
        "envoy.config.route.v3.RouteConfiguration" => decode::route_configuration(body)
            .map(|it| drop(snapshot.routes.insert(it.name.clone(), Arc::new(it)))),
        "envoy.config.route.v3.ScopedRouteConfiguration" => {
            decode::scoped_route(body).map(|(key, route, _)| drop(snapshot.scopes.insert(key, route)))
        }
        "envoy.config.cluster.v3.Cluster" => decode::cluster(body, &OfTheNode)
            .map(|it| drop(snapshot.clusters.insert(it.name.clone(), Arc::new(it)))),
        "envoy.config.endpoint.v3.ClusterLoadAssignment" => decode::load_assignment(body)
            .map(|it| drop(world.assignments.insert(it.name.clone(), Arc::new(it)))),
        "envoy.extensions.transport_sockets.tls.v3.Secret" => decode::secret(body, &OfTheNode)
            .map(|(name, it)| drop(snapshot.secrets.insert(name, Arc::new(it)))),
        _ => return None,
    })
}

fn address(text: &str) -> PyResult<SocketAddr> {
    text.parse().map_err(|_| PyValueError::new_err(format!("{text} is no address and port")))
}

fn head(method: &str, authority: &str, path: &str, headers: &[(String, String)]) -> PyResult<RequestHead> {
    let mut head = RequestHead::default();
    head.set_method(method.as_bytes());
    head.set_authority(authority.as_bytes());
    head.set_path(if method == "CONNECT" { b"" } else { path.as_bytes() });
    for (name, value) in headers {
        if name.is_empty()
            || !name.bytes().all(is_token)
            || value.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0))
        {
            return Err(PyValueError::new_err(format!("{name}: {value} is no header field")));
        }
        let name = name.to_ascii_lowercase();
        match &*name {
            "host" => head.set_authority(value.as_bytes()),
            _ => head.headers.push(name.as_bytes(), value.as_bytes()),
        }
    }
    Ok(head)
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

//! Whether the native data plane would take a resource, asked before it is sent.
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use ripstop_core::decode::{self, Files, Refused};

/// Files and variables are the node's: what is in them is not known here, and not asked.
pub(crate) struct OfTheNode;

impl Files for OfTheNode {
    fn read(&self, _: &str) -> Result<Vec<u8>, String> {
        Ok(Vec::new())
    }

    fn environment(&self, _: &str) -> Result<String, String> {
        Ok(String::new())
    }
}

/// Every fault that the native data plane finds in a resource, as (path, problem); empty when it takes it.
///
/// Files that it names are taken to be there. A type of resource that it does not know is a ValueError.
#[pyfunction]
pub fn check(py: Python<'_>, type_url: &str, body: &[u8]) -> PyResult<Vec<(String, String)>> {
    let found = py.detach(|| faults(type_url, body));
    found.ok_or_else(|| PyValueError::new_err(format!("{type_url} is no type of resource here")))
}

fn faults(type_url: &str, body: &[u8]) -> Option<Vec<(String, String)>> {
    let name = type_url.rsplit('/').next().unwrap_or_default();
    let refused = match name {
        "envoy.config.listener.v3.Listener" => refusal(decode::listener(body, &OfTheNode)),
        "envoy.config.route.v3.RouteConfiguration" => refusal(decode::route_configuration(body)),
        "envoy.config.route.v3.ScopedRouteConfiguration" => refusal(decode::scoped_route(body)),
        "envoy.config.cluster.v3.Cluster" => refusal(decode::cluster(body, &OfTheNode)),
        "envoy.config.endpoint.v3.ClusterLoadAssignment" => refusal(decode::load_assignment(body)),
        "envoy.extensions.transport_sockets.tls.v3.Secret" => refusal(decode::secret(body, &OfTheNode)),
        "envoy.config.bootstrap.v3.Bootstrap" => refusal(decode::bootstrap(body, &OfTheNode)),
        _ => return None,
    };
    let faults = refused.map(|refused| refused.faults).unwrap_or_default();
    Some(faults.into_iter().map(|fault| (fault.path, fault.problem)).collect())
}

fn refusal<T>(result: Result<T, Refused>) -> Option<Refused> {
    result.err()
}

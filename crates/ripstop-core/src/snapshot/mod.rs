//! What a data plane runs: resources as decisions need them, checked, with everything resolved that can be beforehand.
//!
//! `decode` makes these from xDS messages; nothing here knows protobuf. All are immutable and shared by `Arc`.
mod access_log;
mod cluster;
mod filters;
mod http_manager;
mod listener;
mod matcher;
mod route;
mod tls;
mod words;

pub use access_log::*;
pub use cluster::*;
pub use filters::*;
pub use http_manager::*;
pub use listener::*;
pub use matcher::*;
pub use route::*;
pub use tls::*;

use std::collections::HashMap;
use std::sync::Arc;

/// Names to shared resources.
pub type Named<T> = HashMap<Arc<str>, Arc<T>, foldhash::fast::RandomState>;

/// A consistent set of resources. Endpoints are apart: each cluster's set is its own swap point (`balance::HostSet`).
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Counts up with each change.
    pub generation: u64,
    /// Listeners by name.
    pub listeners: Named<Listener>,
    /// RouteConfigurations that came by RDS, by name.
    pub routes: Named<RouteConfig>,
    /// ScopedRouteConfigurations: scope key (host) to the name of a RouteConfiguration.
    pub scopes: HashMap<Arc<str>, Arc<str>, foldhash::fast::RandomState>,
    /// Clusters by name.
    pub clusters: Named<Cluster>,
    /// Secrets by name, whatever source they came from.
    pub secrets: Named<Secret>,
}

/// A place to listen on or connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IP address and port.
    Socket(std::net::SocketAddr),
    /// A name that is looked up, and a port.
    Name(Arc<str>, u16),
    /// A unix socket's path; one that begins with `@` is abstract.
    Pipe(Arc<str>),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Socket(address) => write!(f, "{address}"),
            Address::Name(name, port) => write!(f, "{name}:{port}"),
            Address::Pipe(path) => write!(f, "{path}"),
        }
    }
}

/// A share in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Millionths(pub u32);

impl Millionths {
    /// Always.
    pub const ALL: Millionths = Millionths(1_000_000);
}

/// `filter_metadata`: filter name, then key, to text, numbers and lists as JSON.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata(pub HashMap<String, HashMap<String, MetadataValue>>);

impl Metadata {
    /// The value under a filter's name and a path of keys.
    pub fn get(&self, filter: &str, path: &[impl AsRef<str>]) -> Option<&MetadataValue> {
        let (first, rest) = path.split_first()?;
        let mut value = self.0.get(filter)?.get(first.as_ref())?;
        for key in rest {
            let MetadataValue::Struct(fields) = value else { return None };
            value = fields.get(key.as_ref())?;
        }
        Some(value)
    }
}

/// A `google.protobuf.Value`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum MetadataValue {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<MetadataValue>),
    Struct(HashMap<String, MetadataValue>),
}

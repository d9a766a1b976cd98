//! xDS messages to the model in `snapshot`: checked by hand, every fault at once, nothing passed over in silence.
//!
//! Each message is taken apart field by field, without `..`: a field is used, or ignored for a reason that stands beside
//! it, or refused with its path when it is set, so that nobody believes in a setting that does nothing. Envoy's
//! defaults are filled in here. Fields that a newer Envoy has and these messages do not know are passed over, as Envoy
//! does with dynamic resources (`reject_unknown_dynamic_fields` is off).
#![allow(deprecated)] // Older forms of fields are read too; prost marks them.
#[macro_use]
mod reader;

mod access_log;
mod balancing;
mod basic;
mod bootstrap;
mod cluster;
mod endpoint;
mod extras;
mod filters;
mod health;
mod http_manager;
mod http_options;
mod listener;
mod local_reply;
mod matching;
mod missing;
mod mutation;
mod pattern;
mod policies;
mod rbac;
mod references;
mod retry;
mod route;
mod route_action;
mod secret;
mod tcp_proxy;
mod template;
#[cfg(test)]
mod tests;
mod tls;
mod upstream_http;
mod validation;
mod virtual_host;

pub use bootstrap::{AdsConfig, Bootstrap, NodeIdentity};
pub use references::{References, Refers, references};
pub use template::parse as template;

use crate::snapshot::{Cluster, Listener, LoadAssignment, RouteConfig, Secret};
use reader::Reader;
use ripstop_xds::envoy::config as proto;
use ripstop_xds::envoy::extensions::transport_sockets::tls::v3::Secret as SecretMessage;
use std::sync::Arc;

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where, from the resource down: `filter_chains[0].filters[1].typed_config.stat_prefix`.
    pub path: String,
    /// What, and where it helps what to do.
    pub problem: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.path.is_empty() {
            return f.write_str(&self.problem);
        }
        write!(f, "{}: {}", self.path, self.problem)
    }
}

/// A resource that is not taken, with all its faults. Shown, it is what a NACK says in `error_detail`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The resource's name as far as it could be read.
    pub resource: String,
    /// At least one.
    pub faults: Vec<Fault>,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ", self.resource)?;
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refused {}

/// What a `DataSource` may name outside of the message. The core does no I/O; the rim gives this.
pub trait Files {
    /// The content of a file, or why it cannot be read.
    fn read(&self, path: &str) -> Result<Vec<u8>, String>;

    /// The value of an environment variable, or why there is none.
    fn environment(&self, name: &str) -> Result<String, String> {
        Err(format!("the environment variable {name} cannot be read here"))
    }
}

/// No files at all: for resources that have no business with them.
pub struct NoFiles;

impl Files for NoFiles {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        Err(format!("the file {path} cannot be read here"))
    }
}

/// Hash of a resource's bytes: equal content, equal version.
pub(crate) fn version_of(bytes: &[u8]) -> u64 {
    twox_hash::XxHash64::oneshot(0, bytes)
}

/// A `config.listener.v3.Listener`.
pub fn listener(bytes: &[u8], files: &dyn Files) -> Result<Listener, Refused> {
    Reader::resource(
        bytes,
        files,
        |message: &proto::listener::v3::Listener| &*message.name,
        listener::listener,
    )
}

/// A `config.route.v3.RouteConfiguration`.
pub fn route_configuration(bytes: &[u8]) -> Result<RouteConfig, Refused> {
    Reader::resource(
        bytes,
        &NoFiles,
        |message: &proto::route::v3::RouteConfiguration| &*message.name,
        |reader, message, _| virtual_host::named_configuration(reader, message),
    )
}

/// Key, name of the RouteConfiguration, name of the resource.
pub type Scope = (Arc<str>, Arc<str>, Arc<str>);

/// A `config.route.v3.ScopedRouteConfiguration`: its key, the RouteConfiguration it leads to, its own name.
pub fn scoped_route(bytes: &[u8]) -> Result<Scope, Refused> {
    Reader::resource(
        bytes,
        &NoFiles,
        |message: &proto::route::v3::ScopedRouteConfiguration| &*message.name,
        |reader, message, _| virtual_host::scope(reader, message),
    )
}

/// A `config.cluster.v3.Cluster`.
pub fn cluster(bytes: &[u8], files: &dyn Files) -> Result<Cluster, Refused> {
    Reader::resource(bytes, files, |message: &proto::cluster::v3::Cluster| &*message.name, cluster::cluster)
}

/// A `config.endpoint.v3.ClusterLoadAssignment`.
pub fn load_assignment(bytes: &[u8]) -> Result<LoadAssignment, Refused> {
    Reader::resource(
        bytes,
        &NoFiles,
        |message: &proto::endpoint::v3::ClusterLoadAssignment| &*message.cluster_name,
        |reader, message, version| endpoint::assignment(reader, message, version, endpoint::Names::Refused),
    )
}

/// A `transport_sockets.tls.v3.Secret` and its name.
pub fn secret(bytes: &[u8], files: &dyn Files) -> Result<(Arc<str>, Secret), Refused> {
    Reader::resource(
        bytes,
        files,
        |message: &SecretMessage| &*message.name,
        |reader, message, _| secret::secret(reader, message),
    )
}

/// A `config.bootstrap.v3.Bootstrap`. Its static resources are read like dynamic ones, and any fault refuses the whole.
pub fn bootstrap(bytes: &[u8], files: &dyn Files) -> Result<Bootstrap, Refused> {
    Reader::resource(
        bytes,
        files,
        |_| "bootstrap",
        |reader, message, _| bootstrap::bootstrap(reader, message),
    )
}

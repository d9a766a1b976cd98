//! The types of resources.

/// A type of resource, in the order in which they are made: what is referred to comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Kind {
    Secret,
    Cluster,
    Endpoint,
    Listener,
    ScopedRoute,
    Route,
}

const PREFIX: &str = "type.googleapis.com/";

impl Kind {
    /// All of them, in order.
    pub const ALL: [Kind; 6] =
        [Kind::Secret, Kind::Cluster, Kind::Endpoint, Kind::Listener, Kind::ScopedRoute, Kind::Route];

    /// The message's full name.
    pub const fn message(self) -> &'static str {
        match self {
            Kind::Secret => "envoy.extensions.transport_sockets.tls.v3.Secret",
            Kind::Cluster => "envoy.config.cluster.v3.Cluster",
            Kind::Endpoint => "envoy.config.endpoint.v3.ClusterLoadAssignment",
            Kind::Listener => "envoy.config.listener.v3.Listener",
            Kind::ScopedRoute => "envoy.config.route.v3.ScopedRouteConfiguration",
            Kind::Route => "envoy.config.route.v3.RouteConfiguration",
        }
    }

    /// The type URL.
    pub fn url(self) -> String {
        format!("{PREFIX}{}", self.message())
    }

    /// The kind of a type URL.
    pub fn of(url: &str) -> Option<Kind> {
        let name = url.strip_prefix(PREFIX)?;
        Kind::ALL.into_iter().find(|kind| kind.message() == name)
    }

    /// Whether all there are are asked for, instead of some by name (Envoy's LDS, CDS and SRDS).
    pub const fn is_wildcard(self) -> bool {
        matches!(self, Kind::Cluster | Kind::Listener | Kind::ScopedRoute)
    }

    /// `CDS` and the like.
    pub const fn short(self) -> &'static str {
        match self {
            Kind::Secret => "SDS",
            Kind::Cluster => "CDS",
            Kind::Endpoint => "EDS",
            Kind::Listener => "LDS",
            Kind::ScopedRoute => "SRDS",
            Kind::Route => "RDS",
        }
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

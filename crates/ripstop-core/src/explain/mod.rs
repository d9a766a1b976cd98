//! Why a request goes where it goes: the worker's decisions taken once more by the same functions, each with its reason.
//!
//! Nothing is sent and nobody's state is looked at: breakers, budgets, buckets and ejections are not known here. Left out
//! of the head are what only the wire can tell: request ids, `x-forwarded-client-cert`, `via`.
mod filters;
mod forward;
mod walk;

pub use filters::{FilterStep, RulesStep};
pub use forward::{FallbackStep, ForwardStep, RetryStep};
pub use walk::explain;

use crate::http::RequestHead;
use crate::record::ConnectionInfo;
use crate::route::Miss;
use crate::snapshot::{LoadAssignment, Metadata, Named, Snapshot};

/// What a node runs, endpoints included.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Everything but endpoints.
    pub snapshot: Snapshot,
    /// By the name that clusters have for them in EDS.
    pub assignments: Named<LoadAssignment>,
}

/// A request as it arrives.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// The name of the listener.
    pub listener: String,
    /// Who asks, from where, at which address.
    pub connection: ConnectionInfo,
    /// The first bytes are a ClientHello.
    pub is_tls: bool,
    /// What the client offers, its favourite first.
    pub alpn: Vec<String>,
    /// The request; TCP looks at nothing of it.
    pub request: RequestHead,
    /// Decides shares: the worker's random number of an exchange.
    pub random: u64,
}

/// How it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// Sent to a cluster.
    Forwarded,
    /// Bytes are passed on to a cluster.
    Tunnelled,
    /// Answered by the route or a filter.
    Answered,
    /// A rule forbids it.
    Denied,
    /// Nothing takes it.
    #[default]
    NotFound,
    /// The request itself is at fault.
    Refused,
}

impl Outcome {
    /// `forwarded`, `tunnelled`, `answered`, `denied`, `not_found`, `refused`.
    pub const fn word(self) -> &'static str {
        match self {
            Outcome::Forwarded => "forwarded",
            Outcome::Tunnelled => "tunnelled",
            Outcome::Answered => "answered",
            Outcome::Denied => "denied",
            Outcome::NotFound => "not_found",
            Outcome::Refused => "refused",
        }
    }
}

/// The way of a request, as far as it came.
#[derive(Clone, Debug, Default)]
pub struct Explained {
    /// How it ends.
    pub outcome: Outcome,
    /// Of an answer made here; 0 when there is none.
    pub status: u16,
    /// `response_code_details`, or why the connection is closed; empty for what is sent on.
    pub details: String,
    /// `Location` of a redirect.
    pub location: String,
    /// The listener, if there is one of the name.
    pub listener: Option<String>,
    /// The filter chain, which may have an empty name.
    pub filter_chain: Option<String>,
    /// Network RBAC, until one denied it.
    pub connection_rules: Vec<RulesStep>,
    /// The key of the scope that was looked for.
    pub scope: Option<String>,
    /// The RouteConfiguration.
    pub route_configuration: Option<String>,
    /// The path that routes see.
    pub path: String,
    /// The virtual host of the authority.
    pub virtual_host: Option<String>,
    /// Its routes up to the one that matched and [`AFTER`] more; all when none matched.
    pub candidates: Vec<Candidate>,
    /// The place of the route that matched.
    pub route: Option<usize>,
    /// HTTP filters in order, until one answered.
    pub filters: Vec<FilterStep>,
    /// Where to, of `Forwarded` and `Tunnelled`.
    pub forward: Option<ForwardStep>,
}

/// So many routes after the one that matched are told of.
pub const AFTER: usize = 3;

/// A route that was looked at, or would have been next.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its place in the virtual host.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// Where it leads: a cluster, several, or the status it answers with.
    pub target: String,
    /// Its metadata: `ripstop` has `source`, the document line, and `service`.
    pub metadata: Metadata,
    /// The first condition that does not hold; None: it matches (an earlier route is first all the same).
    pub miss: Option<Miss>,
}

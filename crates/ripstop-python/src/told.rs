//! What the core tells of a request and of picks, as Python has it. Documented in `src/ripstop/_core.pyi`.
use crate::plain::{Meta, Plain, Show, plain};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use ripstop_core::authorization::Near;
use ripstop_core::balance::{Availability, Share, Simulated};
use ripstop_core::explain::{
    Candidate, Explained, FallbackStep, FilterStep, ForwardStep, Outcome, RetryStep, RulesStep,
};
use ripstop_core::route::Miss;

plain! {
    /// A condition that did not hold.
    Unmet from Miss { part: String, name: String, wanted: String, found: Option<String> }
}

plain! {
    /// The rule that came closest.
    NearRule from Near { policy: String, rule: usize, unmet: Vec<Unmet> }
}

plain! {
    /// What authorization rules say.
    Rules from RulesStep {
        action: String,
        is_shadow: bool,
        allowed: bool,
        policy: Option<String>,
        rule: Option<usize>,
        closest: Option<NearRule>,
    }
}

plain! {
    /// What a filter does.
    Filter from FilterStep {
        name: String,
        kind: String,
        set_by: String,
        is_on: bool,
        does: String,
        rules: Vec<Rules>,
    }
}

plain! {
    /// A route that was looked at.
    Route from Candidate {
        index: usize,
        name: String,
        target: String,
        metadata: Meta,
        miss: Option<Unmet>,
    }
}

plain! {
    /// When a request is repeated.
    Retry from RetryStep {
        on: Vec<String>,
        statuses: Vec<u16>,
        num_retries: u32,
        per_try_timeout_s: f64,
        by_key: bool,
    }
}

plain! {
    /// One hop of a fallback chain.
    Fallback from FallbackStep { cluster: String, service: String, on: Vec<String> }
}

plain! {
    /// Where a request is sent, and how.
    Forward from ForwardStep {
        cluster: String,
        is_known: bool,
        shares: Vec<(String, u64)>,
        members: Vec<String>,
        method: String,
        authority: String,
        path: String,
        headers: Vec<(String, String)>,
        timeout_s: f64,
        idle_timeout_s: Option<f64>,
        max_stream_s: Option<f64>,
        retry: Option<Retry>,
        hash: Option<u64>,
        subset: Vec<(String, String)>,
        mirrors: Vec<(String, f64)>,
        fallbacks: Vec<Fallback>,
        is_high_priority: bool,
    }
}

plain! {
    /// The way of a request.
    Match from Explained {
        outcome: String,
        status: u16,
        details: String,
        location: String,
        listener: Option<String>,
        filter_chain: Option<String>,
        connection_rules: Vec<Rules>,
        scope: Option<String>,
        route_configuration: Option<String>,
        path: String,
        virtual_host: Option<String>,
        candidates: Vec<Route>,
        route: Option<usize>,
        filters: Vec<Filter>,
        forward: Option<Forward>,
    }
}

/// An endpoint's part, flat.
pub struct FlatShare {
    cluster: String,
    address: String,
    zone: String,
    priority: u32,
    availability: &'static str,
    requests: u32,
}

impl From<Share> for FlatShare {
    fn from(share: Share) -> FlatShare {
        FlatShare {
            cluster: share.cluster.to_string(),
            address: share.address.to_string(),
            zone: share.locality.zone.to_string(),
            priority: share.priority,
            availability: match share.availability {
                Availability::Healthy => "healthy",
                Availability::Degraded => "degraded",
                Availability::Unhealthy => "unhealthy",
            },
            requests: share.requests,
        }
    }
}

plain! {
    /// What one endpoint got.
    EndpointShare from FlatShare {
        cluster: String,
        address: String,
        zone: String,
        priority: u32,
        availability: String,
        requests: u32,
    }
}

/// A simulation, flat.
pub struct FlatPicks {
    shares: Vec<FlatShare>,
    healthy_percent: Vec<u32>,
    without_host: u32,
    dropped: u32,
}

impl From<Simulated> for FlatPicks {
    fn from(made: Simulated) -> FlatPicks {
        FlatPicks {
            shares: made.shares.into_iter().map(FlatShare::from).collect(),
            healthy_percent: made.loads.healthy,
            without_host: made.without_host,
            dropped: made.dropped,
        }
    }
}

plain! {
    /// Where simulated requests went.
    Picks from FlatPicks {
        shares: Vec<EndpointShare>,
        healthy_percent: Vec<u32>,
        without_host: u32,
        dropped: u32,
    }
}

impl Plain for Outcome {
    type Out = String;
    fn plain(self) -> String {
        self.word().to_owned()
    }
}

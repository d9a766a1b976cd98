//! Routing: which filter chain, virtual host, route and cluster a request takes, and how its head changes on the way.
//!
//! Everything here is a pure function of a snapshot's parts and a head; behaviour is Envoy 1.40's.
mod arrival;
mod chain;
mod changes;
mod cookie;
mod domain;
mod hash;
mod matcher;
mod miss;
mod normalize;
mod redirect;
mod rewrite;
mod select;
#[cfg(test)]
mod tests;

pub use arrival::set_scheme;
pub use chain::{ChainInput, choose_chain};
pub(crate) use changes::add_headers;
pub use changes::{Changeable, apply_changes, apply_request, apply_response};
pub use cookie::{cookie_value, set_cookie};
pub use domain::{virtual_host, without_port};
pub use hash::{Hashed, hash_request};
pub use matcher::query_value;
pub(crate) use miss::header_miss;
pub use miss::{Miss, first_miss};
pub use normalize::{PathChange, PathRefused, normalize_path};
pub use redirect::{location, redirect, to_tls};
pub use rewrite::{host_of_endpoint, rewrite_host, rewrite_path};
pub(crate) use select::path_for_matching;
pub use select::{
    Chosen, Level, Matched, Missed, choose_cluster, find_route, is_in_share, leveled_filter, per_filter,
    scope_key, tcp_cluster,
};

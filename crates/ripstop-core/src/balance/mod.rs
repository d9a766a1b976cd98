//! Which endpoint gets a request. Behaves as Envoy's load balancers do, with peak EWMA and half-open ejection added.
//!
//! The control thread builds a [`HostSet`] for each change; every data thread has a [`Picker`] for each cluster, which
//! keeps a view of the set by health and renews it when the set or some host's health changed.
mod aggregate;
mod choose;
mod edf;
mod hashing;
mod host;
mod host_set;
mod latency;
mod picker;
mod priority;
mod simulate;
mod state;
#[cfg(test)]
pub(crate) mod tests;
mod view;

pub use aggregate::{AggregatePicker, Member};
pub(crate) use host::Detector;
pub use host::{Availability, Host, HostCounters, HostId, flag};
pub use host_set::{ClusterHealth, HostEntry, HostSet, LocalityInfo, resolved};
pub use latency::Latency;
pub use picker::{NoHost, PickContext, Picker};
pub use priority::{LevelHealth, Loads};
pub use simulate::{Share, Simulated, Simulation, simulate, simulate_aggregate};
pub use state::{Class, ClassState, ClusterCounters, ClusterState, Remaining};

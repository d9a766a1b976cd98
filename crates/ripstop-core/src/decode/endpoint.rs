//! `ClusterLoadAssignment`.
use super::basic;
use super::reader::Reader;
use crate::snapshot::{ConfiguredHealth, EndpointConfig, LoadAssignment, LocalityEndpoints};
use ripstop_xds::envoy::config::core::v3 as core;
use ripstop_xds::envoy::config::endpoint::v3 as proto;
use std::sync::Arc;

const OVERPROVISIONING: u32 = 140;
const MAX_PRIORITY: u32 = 128;

/// Whether hosts may be names that have to be looked up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// Of STRICT_DNS and LOGICAL_DNS clusters.
    LookedUp,
    /// Of all others.
    Refused,
}

/// A `ClusterLoadAssignment`.
pub(super) fn assignment(
    reader: &mut Reader,
    assignment: proto::ClusterLoadAssignment,
    version: u64,
    names: Names,
) -> Option<LoadAssignment> {
    let proto::ClusterLoadAssignment { cluster_name, endpoints, named_endpoints, policy } = assignment;
    refuse!(reader, named_endpoints);
    reader.text("cluster_name", &cluster_name);
    let mut made = LoadAssignment {
        name: cluster_name.into(),
        localities: reader.each("endpoints", endpoints, |reader, place| locality(reader, place, names)),
        overprovisioning: OVERPROVISIONING,
        version,
        ..LoadAssignment::default()
    };
    if let Some(policy) = policy {
        reader.at("policy", |reader| read_policy(reader, policy, &mut made));
    }
    sums_fit(reader, &made);
    Some(made)
}

fn read_policy(
    reader: &mut Reader,
    policy: proto::cluster_load_assignment::Policy,
    made: &mut LoadAssignment,
) {
    use proto::cluster_load_assignment::policy::DropOverload;
    let proto::cluster_load_assignment::Policy {
        drop_overloads,
        overprovisioning_factor,
        endpoint_stale_after,
        weighted_priority_health,
    } = policy;
    refuse!(reader, endpoint_stale_after);
    made.overprovisioning = reader.within(
        "overprovisioning_factor",
        overprovisioning_factor.unwrap_or(OVERPROVISIONING),
        1,
        u32::MAX,
    );
    made.drops = reader.each("drop_overloads", drop_overloads, |reader, drop| {
        let DropOverload { category, drop_percentage } = drop;
        reader.text("category", &category);
        let share = reader.required("drop_percentage", drop_percentage, |reader, share| {
            Some(basic::fraction(reader, share))
        })?;
        Some((category, share))
    });
    made.weighted_priority_health = weighted_priority_health;
}

fn locality(
    reader: &mut Reader,
    place: proto::LocalityLbEndpoints,
    names: Names,
) -> Option<LocalityEndpoints> {
    use proto::locality_lb_endpoints::{LbConfig, LbEndpointList};
    let proto::LocalityLbEndpoints {
        locality,
        metadata,
        lb_endpoints,
        load_balancing_weight,
        priority,
        proximity,
        lb_config,
    } = place;
    refuse!(reader, proximity);
    ignore!("subsets are by the metadata of endpoints", metadata);
    let mut endpoints =
        reader.each("lb_endpoints", lb_endpoints, |reader, host| endpoint(reader, host, names));
    match lb_config {
        None => {}
        Some(LbConfig::LoadBalancerEndpoints(LbEndpointList { lb_endpoints })) => {
            endpoints.extend(reader.at("load_balancer_endpoints", |reader| {
                reader.each("lb_endpoints", lb_endpoints, |reader, host| endpoint(reader, host, names))
            }));
        }
        Some(LbConfig::LedsClusterLocalityConfig(_)) => {
            reader.fault_at("leds_cluster_locality_config", "is not supported");
        }
    }
    Some(LocalityEndpoints {
        locality: locality.map(basic::locality).unwrap_or_default(),
        weight: load_balancing_weight
            .map(|weight| reader.within("load_balancing_weight", weight, 1, u32::MAX)),
        priority: reader.within("priority", priority, 0, MAX_PRIORITY),
        endpoints,
    })
}

fn endpoint(reader: &mut Reader, host: proto::LbEndpoint, names: Names) -> Option<EndpointConfig> {
    use proto::lb_endpoint::HostIdentifier;
    let proto::LbEndpoint { health_status, metadata, load_balancing_weight, host_identifier } = host;
    let weight = reader.within("load_balancing_weight", load_balancing_weight.unwrap_or(1), 1, u32::MAX);
    let health = health(reader, health_status);
    let endpoint = match host_identifier {
        Some(HostIdentifier::Endpoint(endpoint)) => endpoint,
        Some(HostIdentifier::EndpointName(_)) => {
            reader.fault_at("endpoint_name", "is not supported");
            return None;
        }
        None => {
            reader.fault_at("endpoint", "is required");
            return None;
        }
    };
    reader.at("endpoint", |reader| {
        let proto::Endpoint { address, health_check_config, hostname, additional_addresses } = endpoint;
        refuse!(reader, additional_addresses);
        let health_port = health_check_config.map_or(0, |config| health_port(reader, config));
        let address = reader.required("address", address, |reader, address| match names {
            Names::LookedUp => basic::any_address(reader, address),
            Names::Refused => basic::resolved_address(reader, address),
        })?;
        Some(EndpointConfig {
            address,
            hostname: hostname.into(),
            weight,
            health,
            metadata: Arc::new(basic::metadata(metadata)),
            health_port,
        })
    })
}

fn health_port(reader: &mut Reader, config: proto::endpoint::HealthCheckConfig) -> u16 {
    let proto::endpoint::HealthCheckConfig { port_value, hostname, address, disable_active_health_check } =
        config;
    reader.at("health_check_config", |reader| {
        refuse!(reader, hostname, address, disable_active_health_check);
        reader.port("port_value", port_value)
    })
}

fn health(reader: &mut Reader, status: i32) -> ConfiguredHealth {
    match reader.choice("health_status", status) {
        core::HealthStatus::Unknown | core::HealthStatus::Healthy => ConfiguredHealth::Healthy,
        core::HealthStatus::Unhealthy => ConfiguredHealth::Unhealthy,
        core::HealthStatus::Draining => ConfiguredHealth::Draining,
        core::HealthStatus::Timeout => ConfiguredHealth::Timeout,
        core::HealthStatus::Degraded => ConfiguredHealth::Degraded,
    }
}

/// Weights of the localities of a priority, and of the endpoints of a locality, add up to 32 bits.
fn sums_fit(reader: &mut Reader, made: &LoadAssignment) {
    let mut by_priority = std::collections::BTreeMap::<u32, u64>::new();
    for (index, place) in made.localities.iter().enumerate() {
        *by_priority.entry(place.priority).or_default() += u64::from(place.weight.unwrap_or(0));
        let sum: u64 = place.endpoints.iter().map(|host| u64::from(host.weight)).sum();
        if sum > u64::from(u32::MAX) {
            reader.fault_at(&format!("endpoints[{index}]"), "the weights of its endpoints are too large");
        }
    }
    if by_priority.values().any(|sum| *sum > u64::from(u32::MAX)) {
        reader.fault_at("endpoints", "the weights of a priority's localities are too large");
    }
}

//! Load balancing policies: by extension, or by the older `lb_policy` with its own messages.
use super::basic;
use super::reader::{Reader, type_name};
use crate::snapshot::{Balancer, SlowStart};
use prost_types::Any;
use ripstop_xds::envoy::config::cluster::v3 as proto;
use ripstop_xds::envoy::config::core::v3 as core;
use ripstop_xds::envoy::extensions::load_balancing_policies as policies;
use ripstop_xds::envoy::r#type::v3 as kinds;
use std::time::Duration;

const RING_SIZE_MIN: u64 = 1024;
const RING_SIZE_MAX: u64 = 8 << 20;
const TABLE_SIZE: u64 = 65_537;
const TABLE_SIZE_MAX: u64 = 5_000_011;

/// A balancer, and whether localities are weighted before it.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) balancer: Balancer,
    pub(super) by_locality: bool,
}

impl From<Balancer> for Chosen {
    fn from(balancer: Balancer) -> Chosen {
        Chosen { balancer, by_locality: false }
    }
}

// --- by extension ---

/// `load_balancing_policy`: the first that is known here.
pub(super) fn by_extension(reader: &mut Reader, policy: proto::LoadBalancingPolicy) -> Option<Chosen> {
    first_known(reader, policy, true)
}

fn first_known(reader: &mut Reader, policy: proto::LoadBalancingPolicy, may_nest: bool) -> Option<Chosen> {
    let proto::LoadBalancingPolicy { policies } = policy;
    let configs: Vec<Option<Any>> = policies
        .into_iter()
        .map(|policy| policy.typed_extension_config.and_then(|extension| extension.typed_config))
        .collect();
    let known = |any: &Any| is_known(type_name(any), may_nest);
    let found = configs.iter().position(|config| config.as_ref().is_some_and(known));
    let Some((index, any)) = found.and_then(|index| Some((index, configs.get(index)?.as_ref()?))) else {
        let names: Vec<&str> = configs.iter().flatten().map(type_name).collect();
        reader.fault_at("policies", format!("none is supported here: {}", names.join(", ")));
        return None;
    };
    reader.at(&format!("policies[{index}].typed_extension_config.typed_config"), |reader| chosen(reader, any))
}

fn is_known(name: &str, may_nest: bool) -> bool {
    let Some(name) = name.strip_prefix("envoy.extensions.load_balancing_policies.") else { return false };
    match name {
        "round_robin.v3.RoundRobin"
        | "least_request.v3.LeastRequest"
        | "random.v3.Random"
        | "ring_hash.v3.RingHash"
        | "maglev.v3.Maglev"
        | "cluster_provided.v3.ClusterProvided" => true,
        "wrr_locality.v3.WrrLocality" => may_nest,
        _ => false,
    }
}

fn chosen(reader: &mut Reader, any: &Any) -> Option<Chosen> {
    match type_name(any).rsplit('.').next()? {
        "RoundRobin" => {
            let policies::round_robin::v3::RoundRobin { slow_start_config, locality_lb_config } =
                reader.unpack(any)?;
            let slow_start = reader.optional("slow_start_config", slow_start_config, slow_start);
            Some(Chosen {
                balancer: Balancer::RoundRobin { slow_start },
                by_locality: by_locality(reader, locality_lb_config),
            })
        }
        "LeastRequest" => {
            let config = reader.unpack(any)?;
            Some(least_request(reader, config))
        }
        "Random" => {
            let policies::random::v3::Random { locality_lb_config } = reader.unpack(any)?;
            Some(Chosen { balancer: Balancer::Random, by_locality: by_locality(reader, locality_lb_config) })
        }
        "RingHash" => {
            let config = reader.unpack(any)?;
            Some(ring_hash(reader, config))
        }
        "Maglev" => {
            let config = reader.unpack(any)?;
            Some(maglev(reader, config))
        }
        "ClusterProvided" => Some(Balancer::ClusterProvided.into()),
        // Localities by weight, then the policy within; one within another is not known.
        _ => {
            let policies::wrr_locality::v3::WrrLocality { endpoint_picking_policy } = reader.unpack(any)?;
            let inner =
                reader.required("endpoint_picking_policy", endpoint_picking_policy, |reader, policy| {
                    first_known(reader, policy, false)
                })?;
            Some(Chosen { balancer: inner.balancer, by_locality: true })
        }
    }
}

fn by_locality(reader: &mut Reader, config: Option<policies::common::v3::LocalityLbConfig>) -> bool {
    use policies::common::v3::locality_lb_config::LocalityConfigSpecifier as Specifier;
    match config.and_then(|config| config.locality_config_specifier) {
        Some(Specifier::LocalityWeightedLbConfig(_)) => true,
        Some(Specifier::ZoneAwareLbConfig(zones)) => {
            ignore!("zone awareness needs a local cluster, which a bootstrap is refused for", zones);
            let _ = reader;
            false
        }
        None => false,
    }
}

fn slow_start(reader: &mut Reader, config: policies::common::v3::SlowStartConfig) -> Option<SlowStart> {
    let policies::common::v3::SlowStartConfig { slow_start_window, aggression, min_weight_percent } = config;
    Some(slow_start_of(reader, slow_start_window, aggression, min_weight_percent))
}

fn slow_start_of(
    reader: &mut Reader,
    window: Option<prost_types::Duration>,
    aggression: Option<core::RuntimeDouble>,
    min_weight: Option<kinds::Percent>,
) -> SlowStart {
    let window = reader.required("slow_start_window", window, |_, span| Some(span));
    SlowStart {
        window: reader.positive_span_or("slow_start_window", window, Duration::ZERO),
        aggression: reader.within(
            "aggression",
            basic::runtime_double_or(aggression, 1.0),
            f64::MIN_POSITIVE,
            f64::MAX,
        ),
        min_weight_percent: basic::percent_or(reader, "min_weight_percent", min_weight, 10.0),
    }
}

fn least_request(reader: &mut Reader, config: policies::least_request::v3::LeastRequest) -> Chosen {
    use policies::least_request::v3::least_request::SelectionMethod;
    let policies::least_request::v3::LeastRequest {
        choice_count,
        active_request_bias,
        slow_start_config,
        locality_lb_config,
        enable_full_scan,
        selection_method,
    } = config;
    let method = reader.choice::<SelectionMethod>("selection_method", selection_method);
    let balancer = Balancer::LeastRequest {
        choices: reader.within("choice_count", choice_count.unwrap_or(2), 2, u32::MAX),
        slow_start: reader.optional("slow_start_config", slow_start_config, slow_start),
        active_bias: bias(reader, active_request_bias),
        full_scan: enable_full_scan.unwrap_or(false) || method == SelectionMethod::FullScan,
    };
    Chosen { balancer, by_locality: by_locality(reader, locality_lb_config) }
}

fn bias(reader: &mut Reader, value: Option<core::RuntimeDouble>) -> f64 {
    reader.within("active_request_bias", basic::runtime_double_or(value, 1.0), 0.0, f64::MAX)
}

fn ring_hash(reader: &mut Reader, config: policies::ring_hash::v3::RingHash) -> Chosen {
    use policies::ring_hash::v3::ring_hash::HashFunction;
    let policies::ring_hash::v3::RingHash {
        hash_function,
        minimum_ring_size,
        maximum_ring_size,
        use_hostname_for_hashing,
        hash_balance_factor,
        consistent_hashing_lb_config,
        locality_weighted_lb_config,
    } = config;
    refuse!(reader, hash_balance_factor);
    if reader.choice::<HashFunction>("hash_function", hash_function) == HashFunction::MurmurHash2 {
        reader.fault_at("hash_function", "MURMUR_HASH_2 is not supported");
    }
    let use_hostname = use_hostname_for_hashing | consistent(reader, consistent_hashing_lb_config);
    let balancer = ring(reader, minimum_ring_size, maximum_ring_size, use_hostname);
    Chosen { balancer, by_locality: locality_weighted_lb_config.is_some() }
}

/// `ConsistentHashingLbConfig`: whether host names are hashed instead of addresses.
fn consistent(reader: &mut Reader, config: Option<policies::common::v3::ConsistentHashingLbConfig>) -> bool {
    let Some(config) = config else { return false };
    let policies::common::v3::ConsistentHashingLbConfig {
        use_hostname_for_hashing,
        hash_balance_factor,
        hash_policy,
    } = config;
    reader.at("consistent_hashing_lb_config", |reader| refuse!(reader, hash_balance_factor, hash_policy));
    use_hostname_for_hashing
}

fn ring(reader: &mut Reader, min: Option<u64>, max: Option<u64>, use_hostname: bool) -> Balancer {
    let min_size = reader.within("minimum_ring_size", min.unwrap_or(RING_SIZE_MIN), 1, RING_SIZE_MAX);
    let max_size = reader.within("maximum_ring_size", max.unwrap_or(RING_SIZE_MAX), 1, RING_SIZE_MAX);
    if min_size > max_size {
        reader.fault_at("minimum_ring_size", "is larger than maximum_ring_size");
    }
    Balancer::RingHash { min_size, max_size, use_hostname }
}

fn maglev(reader: &mut Reader, config: policies::maglev::v3::Maglev) -> Chosen {
    let policies::maglev::v3::Maglev {
        table_size,
        consistent_hashing_lb_config,
        locality_weighted_lb_config,
    } = config;
    let use_hostname = consistent(reader, consistent_hashing_lb_config);
    let balancer = table(reader, table_size, use_hostname);
    Chosen { balancer, by_locality: locality_weighted_lb_config.is_some() }
}

fn table(reader: &mut Reader, size: Option<u64>, use_hostname: bool) -> Balancer {
    let table_size = reader.within("table_size", size.unwrap_or(TABLE_SIZE), 2, TABLE_SIZE_MAX);
    if !is_prime(table_size) {
        reader.fault_at("table_size", format!("{table_size} is not a prime number"));
    }
    Balancer::Maglev { table_size, use_hostname }
}

/// By trial; the largest table has a root of 2,237.
fn is_prime(number: u64) -> bool {
    number >= 2
        && (2..)
            .take_while(|divisor| divisor * divisor <= number)
            .all(|divisor| !number.is_multiple_of(divisor))
}

// --- by enum ---

/// `lb_policy` with its `*_lb_config`.
pub(super) fn by_enum(
    reader: &mut Reader,
    policy: i32,
    config: Option<proto::cluster::LbConfig>,
    use_hostname: bool,
) -> Option<Chosen> {
    use proto::cluster::{LbConfig, LbPolicy, OriginalDstLbConfig};
    let policy = reader.choice::<LbPolicy>("lb_policy", policy);
    let balancer = match (policy, config) {
        (LbPolicy::RoundRobin, None) => Balancer::RoundRobin { slow_start: None },
        (LbPolicy::RoundRobin, Some(LbConfig::RoundRobinLbConfig(config))) => {
            let proto::cluster::RoundRobinLbConfig { slow_start_config } = config;
            let slow_start =
                reader.at("round_robin_lb_config", |reader| old_slow_start(reader, slow_start_config));
            Balancer::RoundRobin { slow_start }
        }
        (LbPolicy::LeastRequest, config @ (None | Some(LbConfig::LeastRequestLbConfig(_)))) => {
            let config = match config {
                Some(LbConfig::LeastRequestLbConfig(config)) => config,
                _ => proto::cluster::LeastRequestLbConfig::default(),
            };
            reader.at("least_request_lb_config", |reader| old_least_request(reader, config))
        }
        (LbPolicy::Random, None) => Balancer::Random,
        (LbPolicy::RingHash, config @ (None | Some(LbConfig::RingHashLbConfig(_)))) => {
            let config = match config {
                Some(LbConfig::RingHashLbConfig(config)) => config,
                _ => proto::cluster::RingHashLbConfig::default(),
            };
            reader.at("ring_hash_lb_config", |reader| old_ring_hash(reader, config, use_hostname))
        }
        (LbPolicy::Maglev, config @ (None | Some(LbConfig::MaglevLbConfig(_)))) => {
            let size = match config {
                Some(LbConfig::MaglevLbConfig(proto::cluster::MaglevLbConfig { table_size })) => table_size,
                _ => None,
            };
            reader.at("maglev_lb_config", |reader| table(reader, size, use_hostname))
        }
        (LbPolicy::ClusterProvided, None) => Balancer::ClusterProvided,
        (LbPolicy::ClusterProvided, Some(LbConfig::OriginalDstLbConfig(config))) => {
            let OriginalDstLbConfig {
                use_http_header,
                http_header_name,
                upstream_port_override,
                metadata_key,
            } = config;
            reader.at("original_dst_lb_config", |reader| {
                refuse!(reader, use_http_header, http_header_name, upstream_port_override, metadata_key);
            });
            Balancer::ClusterProvided
        }
        (LbPolicy::LoadBalancingPolicyConfig, _) => {
            reader.fault_at("load_balancing_policy", "is required");
            return None;
        }
        (_, Some(_)) => {
            reader.fault_at("lb_policy", "the lb_config given is another policy's");
            return None;
        }
    };
    Some(balancer.into())
}

fn old_slow_start(reader: &mut Reader, config: Option<proto::cluster::SlowStartConfig>) -> Option<SlowStart> {
    reader.optional("slow_start_config", config, |reader, config| {
        let proto::cluster::SlowStartConfig { slow_start_window, aggression, min_weight_percent } = config;
        Some(slow_start_of(reader, slow_start_window, aggression, min_weight_percent))
    })
}

fn old_least_request(reader: &mut Reader, config: proto::cluster::LeastRequestLbConfig) -> Balancer {
    let proto::cluster::LeastRequestLbConfig { choice_count, active_request_bias, slow_start_config } =
        config;
    Balancer::LeastRequest {
        choices: reader.within("choice_count", choice_count.unwrap_or(2), 2, u32::MAX),
        slow_start: old_slow_start(reader, slow_start_config),
        active_bias: bias(reader, active_request_bias),
        full_scan: false,
    }
}

fn old_ring_hash(
    reader: &mut Reader,
    config: proto::cluster::RingHashLbConfig,
    use_hostname: bool,
) -> Balancer {
    use proto::cluster::ring_hash_lb_config::HashFunction;
    let proto::cluster::RingHashLbConfig { minimum_ring_size, hash_function, maximum_ring_size } = config;
    if reader.choice::<HashFunction>("hash_function", hash_function) == HashFunction::MurmurHash2 {
        reader.fault_at("hash_function", "MURMUR_HASH_2 is not supported");
    }
    ring(reader, minimum_ring_size, maximum_ring_size, use_hostname)
}

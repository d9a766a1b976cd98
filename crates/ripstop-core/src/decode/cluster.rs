//! `Cluster`.
use super::balancing::{self, Chosen};
use super::basic;
use super::endpoint::{self, Names};
use super::extras::cluster_extras;
use super::health;
use super::listener::BUFFER_LIMIT;
use super::reader::Reader;
use super::tls::upstream_socket;
use super::upstream_http::{self, OldOptions};
use crate::snapshot::{Balancer, Cluster, Discovery, DnsFamily, LoadAssignment};
use ripstop_xds::envoy::config::cluster::v3 as proto;
use ripstop_xds::envoy::config::core::v3 as core;
use ripstop_xds::envoy::config::endpoint::v3::ClusterLoadAssignment;
use ripstop_xds::envoy::extensions::clusters::aggregate::v3 as aggregate;
use std::sync::Arc;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const DNS_REFRESH: Duration = Duration::from_secs(5);
const PANIC_THRESHOLD: f64 = 50.0;
/// What Linux does where `tcp_keepalive` does not say.
const KEEPALIVE_TIME_S: u32 = 7200;

/// A `Cluster` with Envoy's defaults.
pub(super) fn cluster(reader: &mut Reader, cluster: proto::Cluster, version: u64) -> Option<Cluster> {
    let proto::Cluster {
        transport_socket_matches,
        transport_socket_matcher,
        name,
        alt_stat_name,
        eds_cluster_config,
        connect_timeout,
        per_connection_buffer_limit_bytes,
        lb_policy,
        load_assignment,
        health_checks,
        max_requests_per_connection,
        circuit_breakers,
        upstream_http_protocol_options,
        common_http_protocol_options,
        http_protocol_options,
        http2_protocol_options,
        typed_extension_protocol_options,
        dns_refresh_rate,
        dns_jitter,
        dns_failure_refresh_rate,
        respect_dns_ttl,
        dns_lookup_family,
        dns_resolvers,
        use_tcp_for_dns_lookups,
        dns_resolution_config,
        typed_dns_resolver_config,
        wait_for_warm_on_init,
        outlier_detection,
        cleanup_interval,
        upstream_bind_config,
        lb_subset_config,
        common_lb_config,
        transport_socket,
        metadata,
        protocol_selection,
        upstream_connection_options,
        close_connections_on_host_health_failure,
        ignore_health_on_host_removal,
        filters,
        load_balancing_policy,
        lrs_server,
        lrs_report_endpoint_metrics,
        track_timeout_budgets,
        upstream_config,
        track_cluster_stats,
        preconnect_policy,
        connection_pool_per_downstream_connection,
        cluster_discovery_type,
        lb_config,
    } = cluster;
    refuse!(
        reader,
        transport_socket_matches,
        transport_socket_matcher,
        dns_failure_refresh_rate,
        dns_resolvers
    );
    refuse!(reader, use_tcp_for_dns_lookups, dns_resolution_config, typed_dns_resolver_config);
    refuse!(reader, close_connections_on_host_health_failure);
    refuse!(reader, upstream_bind_config, filters, lrs_server, upstream_config, preconnect_policy);
    refuse!(reader, connection_pool_per_downstream_connection);
    ignore!("it only spreads look-ups in time", dns_jitter);
    ignore!("statistics", lrs_report_endpoint_metrics, track_timeout_budgets, track_cluster_stats);
    ignore!("a cluster is warm or not used", wait_for_warm_on_init);
    ignore!("what is no longer named is forgotten at once", cleanup_interval);
    reader.text("name", &name);
    if let Some(options) = upstream_http_protocol_options {
        reader.at("upstream_http_protocol_options", |reader| upstream_http::automatic_sni(reader, options));
    }

    let lb = common_lb(reader, common_lb_config);
    let chosen = match load_balancing_policy {
        Some(policy) => {
            ignore!("load_balancing_policy wins over them", lb_policy, lb_config);
            reader.at("load_balancing_policy", |reader| balancing::by_extension(reader, policy))
        }
        None => balancing::by_enum(reader, lb_policy, lb_config, lb.use_hostname),
    };
    let dns = Dns {
        refresh: reader.positive_span_or("dns_refresh_rate", dns_refresh_rate, DNS_REFRESH),
        respects_ttl: respect_dns_ttl,
        family: dns_family(reader, dns_lookup_family),
    };
    let places = Places { name: &name, assignment: load_assignment, eds: eds_cluster_config, dns };
    let discovery = discovery(reader, cluster_discovery_type, places, version);
    let old = OldOptions {
        common: common_http_protocol_options,
        http1: http_protocol_options,
        http2: http2_protocol_options,
        selection: protocol_selection,
    };
    let http = upstream_http::http(reader, typed_extension_protocol_options, old);
    let metadata = basic::metadata(metadata);
    let extras = reader.at("metadata", |reader| cluster_extras(reader, &metadata));
    let tls = reader.optional("transport_socket", transport_socket, upstream_socket);
    if !http.common.max_stream_duration.is_zero() {
        let field = "common_http_protocol_options.max_stream_duration";
        reader.fault_at(field, "is not supported; give it to routes");
    }
    let max_requests = match http.common.max_requests_per_connection {
        0 => max_requests_per_connection.unwrap_or(0),
        given => given,
    };
    let Chosen { balancer, by_locality } = chosen?;
    let discovery = discovery?;
    fits(reader, &balancer, &discovery);
    Some(Cluster {
        stat_name: if alt_stat_name.is_empty() { name.as_str().into() } else { alt_stat_name.into() },
        discovery,
        connect_timeout: reader.positive_span_or("connect_timeout", connect_timeout, CONNECT_TIMEOUT),
        balancer,
        panic_threshold: lb.panic_threshold,
        locality_weighted: lb.by_locality || by_locality,
        breakers: health::breakers(reader, circuit_breakers),
        outlier: reader.optional("outlier_detection", outlier_detection, health::outlier),
        health_checks: reader.each("health_checks", health_checks, health::health_check),
        tls,
        protocol: http.protocol,
        idle_timeout: http.common.idle_timeout,
        max_connection_duration: http.common.max_connection_duration,
        max_requests_per_connection: max_requests,
        ignores_health_on_removal: ignore_health_on_host_removal,
        buffer_limit: per_connection_buffer_limit_bytes.unwrap_or(BUFFER_LIMIT),
        tcp_keepalive: keepalive(reader, upstream_connection_options),
        subset_keys: subsets(reader, lb_subset_config),
        metadata,
        extras,
        version,
        name: name.into(),
    })
}

// --- where endpoints come from ---

struct Dns {
    refresh: Duration,
    respects_ttl: bool,
    family: DnsFamily,
}

struct Places<'a> {
    name: &'a str,
    assignment: Option<ClusterLoadAssignment>,
    eds: Option<proto::cluster::EdsClusterConfig>,
    dns: Dns,
}

fn dns_family(reader: &mut Reader, family: i32) -> DnsFamily {
    use proto::cluster::DnsLookupFamily;
    match reader.choice("dns_lookup_family", family) {
        DnsLookupFamily::Auto => DnsFamily::Auto,
        DnsLookupFamily::V4Only => DnsFamily::V4Only,
        DnsLookupFamily::V6Only => DnsFamily::V6Only,
        DnsLookupFamily::V4Preferred => DnsFamily::V4Preferred,
        DnsLookupFamily::All => DnsFamily::All,
    }
}

fn discovery(
    reader: &mut Reader,
    kind: Option<proto::cluster::ClusterDiscoveryType>,
    places: Places,
    version: u64,
) -> Option<Discovery> {
    use proto::cluster::{ClusterDiscoveryType, DiscoveryType};
    let kind = match kind {
        Some(ClusterDiscoveryType::ClusterType(custom)) => {
            return reader.at("cluster_type", |reader| custom_type(reader, custom));
        }
        Some(ClusterDiscoveryType::Type(kind)) => reader.choice::<DiscoveryType>("type", kind),
        None => DiscoveryType::Static,
    };
    let Places { name, assignment, eds, dns } = places;
    if eds.is_some() && kind != DiscoveryType::Eds {
        reader.fault_at("eds_cluster_config", "is of EDS clusters alone");
    }
    match kind {
        DiscoveryType::Static => {
            let assignment = in_place(reader, assignment, version, Names::Refused)?;
            Some(Discovery::Static(assignment))
        }
        DiscoveryType::StrictDns | DiscoveryType::LogicalDns => {
            let assignment = in_place(reader, assignment, version, Names::LookedUp)?;
            let logical = kind == DiscoveryType::LogicalDns;
            let count: usize = assignment.localities.iter().map(|place| place.endpoints.len()).sum();
            if logical && count != 1 {
                reader.fault_at("load_assignment", "a LOGICAL_DNS cluster has exactly one endpoint");
            }
            let Dns { refresh, respects_ttl, family } = dns;
            Some(Discovery::Dns { assignment, refresh, logical, respects_ttl, family })
        }
        DiscoveryType::Eds => {
            if assignment.is_some() {
                reader.fault_at("load_assignment", "an EDS cluster has none");
            }
            reader.required("eds_cluster_config", eds, |reader, config| {
                let proto::cluster::EdsClusterConfig { eds_config, service_name } = config;
                reader.required("eds_config", eds_config, basic::by_ads)?;
                Some(Discovery::Eds(if service_name.is_empty() { name.into() } else { service_name.into() }))
            })
        }
        DiscoveryType::OriginalDst => {
            if assignment.is_some() {
                reader.fault_at("load_assignment", "an ORIGINAL_DST cluster has none");
            }
            Some(Discovery::OriginalDst)
        }
    }
}

fn in_place(
    reader: &mut Reader,
    assignment: Option<ClusterLoadAssignment>,
    version: u64,
    names: Names,
) -> Option<Arc<LoadAssignment>> {
    reader.required("load_assignment", assignment, |reader, found| {
        endpoint::assignment(reader, found, version, names).map(Arc::new)
    })
}

fn custom_type(reader: &mut Reader, custom: proto::cluster::CustomClusterType) -> Option<Discovery> {
    let proto::cluster::CustomClusterType { name, typed_config } = custom;
    ignore!("the type says what it is", name);
    reader.required("typed_config", typed_config, |reader, any| {
        let aggregate::ClusterConfig { clusters } = reader.unpack_only(&any)?;
        if clusters.is_empty() {
            reader.fault_at("clusters", "must not be empty");
        }
        Some(Discovery::Aggregate(clusters.into_iter().map(Arc::from).collect()))
    })
}

/// Aggregates and original destinations choose by themselves, and nothing else does.
fn fits(reader: &mut Reader, balancer: &Balancer, discovery: &Discovery) {
    let by_cluster = matches!(discovery, Discovery::Aggregate(_) | Discovery::OriginalDst);
    if by_cluster != matches!(balancer, Balancer::ClusterProvided) {
        reader.fault_at(
            "lb_policy",
            match by_cluster {
                true => "must be CLUSTER_PROVIDED for a cluster of this type",
                false => "CLUSTER_PROVIDED is of aggregate and original destination clusters alone",
            },
        );
    }
}

// --- how they are shared out ---

struct CommonLb {
    panic_threshold: f64,
    by_locality: bool,
    use_hostname: bool,
}

fn common_lb(reader: &mut Reader, config: Option<proto::cluster::CommonLbConfig>) -> CommonLb {
    use proto::cluster::common_lb_config::{ConsistentHashingLbConfig, LocalityConfigSpecifier as Specifier};
    let proto::cluster::CommonLbConfig {
        healthy_panic_threshold,
        update_merge_window,
        ignore_new_hosts_until_first_hc,
        close_connections_on_host_set_change,
        consistent_hashing_lb_config,
        override_host_status,
        locality_config_specifier,
    } = config.unwrap_or_default();
    reader.at("common_lb_config", |reader| {
        refuse!(reader, ignore_new_hosts_until_first_hc, close_connections_on_host_set_change);
        refuse!(reader, override_host_status);
        ignore!("updates are taken at once", update_merge_window);
        let ConsistentHashingLbConfig { use_hostname_for_hashing, hash_balance_factor } =
            consistent_hashing_lb_config.unwrap_or_default();
        reader.at("consistent_hashing_lb_config", |reader| refuse!(reader, hash_balance_factor));
        CommonLb {
            panic_threshold: basic::percent_or(
                reader,
                "healthy_panic_threshold",
                healthy_panic_threshold,
                PANIC_THRESHOLD,
            ),
            // Zone awareness needs a local cluster, which a bootstrap is refused for.
            by_locality: matches!(locality_config_specifier, Some(Specifier::LocalityWeightedLbConfig(_))),
            use_hostname: use_hostname_for_hashing,
        }
    })
}

fn subsets(reader: &mut Reader, config: Option<proto::cluster::LbSubsetConfig>) -> Vec<Vec<String>> {
    use proto::cluster::lb_subset_config::{LbSubsetFallbackPolicy as Fallback, LbSubsetSelector};
    let Some(config) = config else { return Vec::new() };
    let proto::cluster::LbSubsetConfig {
        fallback_policy,
        default_subset,
        subset_selectors,
        locality_weight_aware,
        scale_locality_weight,
        panic_mode_any,
        list_as_any,
        metadata_fallback_policy,
    } = config;
    reader.at("lb_subset_config", |reader| {
        refuse!(reader, locality_weight_aware, scale_locality_weight, panic_mode_any, list_as_any);
        refuse!(reader, metadata_fallback_policy);
        ignore!("of the fallback policy DEFAULT_SUBSET, which is refused", default_subset);
        if reader.choice::<Fallback>("fallback_policy", fallback_policy) != Fallback::NoFallback {
            reader.fault_at("fallback_policy", "only NO_FALLBACK is supported");
        }
        reader.each("subset_selectors", subset_selectors, |reader, selector| {
            let LbSubsetSelector { mut keys, single_host_per_subset, fallback_policy, fallback_keys_subset } =
                selector;
            refuse!(reader, single_host_per_subset, fallback_policy, fallback_keys_subset);
            if keys.is_empty() {
                reader.fault_at("keys", "must not be empty");
            }
            keys.sort();
            keys.dedup();
            Some(keys)
        })
    })
}

fn keepalive(reader: &mut Reader, options: Option<proto::UpstreamConnectionOptions>) -> Option<Duration> {
    let proto::UpstreamConnectionOptions {
        tcp_keepalive,
        set_local_interface_name_on_upstream_connections,
        happy_eyeballs_config,
    } = options?;
    reader.at("upstream_connection_options", |reader| {
        refuse!(reader, set_local_interface_name_on_upstream_connections);
        ignore!("an endpoint has one address here; others are refused", happy_eyeballs_config);
        let core::TcpKeepalive { keepalive_probes, keepalive_time, keepalive_interval } = tcp_keepalive?;
        reader.at("tcp_keepalive", |reader| refuse!(reader, keepalive_probes, keepalive_interval));
        Some(Duration::from_secs(u64::from(keepalive_time.unwrap_or(KEEPALIVE_TIME_S))))
    })
}

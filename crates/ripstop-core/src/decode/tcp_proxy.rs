//! `TcpProxy`.
use super::access_log::access_logs;
use super::reader::Reader;
use crate::snapshot::TcpProxy;
use ripstop_xds::envoy::extensions::filters::network::tcp_proxy::v3 as tcp;
use ripstop_xds::envoy::r#type::v3 as kinds;
use std::sync::Arc;
use std::time::Duration;

const IDLE: Duration = Duration::from_secs(3600);

/// A `TcpProxy`; `by_sni` when `sni_cluster` came before it.
pub(super) fn tcp_proxy(reader: &mut Reader, config: tcp::TcpProxy, by_sni: bool) -> TcpProxy {
    let tcp::TcpProxy {
        stat_prefix,
        on_demand,
        metadata_match,
        idle_timeout,
        downstream_idle_timeout,
        upstream_idle_timeout,
        access_log,
        max_connect_attempts,
        backoff_options,
        hash_policy,
        tunneling_config,
        max_downstream_connection_duration,
        max_downstream_connection_duration_jitter_percentage,
        access_log_flush_interval,
        flush_access_log_on_connected,
        access_log_options,
        proxy_protocol_tlvs,
        upstream_connect_mode,
        max_early_data_bytes,
        cluster_specifier,
    } = config;
    refuse!(
        reader,
        on_demand,
        metadata_match,
        downstream_idle_timeout,
        upstream_idle_timeout,
        backoff_options
    );
    refuse!(reader, tunneling_config, max_downstream_connection_duration_jitter_percentage);
    refuse!(reader, access_log_flush_interval, flush_access_log_on_connected, access_log_options);
    refuse!(reader, proxy_protocol_tlvs, max_early_data_bytes);
    if reader.choice::<tcp::UpstreamConnectMode>("upstream_connect_mode", upstream_connect_mode)
        != tcp::UpstreamConnectMode::Immediate
    {
        reader.fault_at("upstream_connect_mode", "only IMMEDIATE is supported");
    }
    reader.text("stat_prefix", &stat_prefix);
    let (clusters, total_weight) = clusters(reader, cluster_specifier);
    TcpProxy {
        clusters,
        total_weight,
        by_sni,
        idle_timeout: reader.span_or("idle_timeout", idle_timeout, IDLE),
        max_duration: reader.span_or(
            "max_downstream_connection_duration",
            max_downstream_connection_duration,
            Duration::ZERO,
        ),
        max_connect_attempts: reader.within(
            "max_connect_attempts",
            max_connect_attempts.unwrap_or(1),
            1,
            u32::MAX,
        ),
        hash_source_ip: hashes_source_ip(reader, hash_policy),
        access_logs: access_logs(reader, access_log),
        stat_prefix: stat_prefix.into(),
    }
}

fn clusters(
    reader: &mut Reader,
    specifier: Option<tcp::tcp_proxy::ClusterSpecifier>,
) -> (Vec<(Arc<str>, u32)>, u64) {
    use tcp::tcp_proxy::{ClusterSpecifier, WeightedCluster, weighted_cluster::ClusterWeight};
    let clusters = match specifier {
        Some(ClusterSpecifier::Cluster(name)) => {
            reader.text("cluster", &name);
            vec![(Arc::from(name), 1)]
        }
        Some(ClusterSpecifier::WeightedClusters(WeightedCluster { clusters })) => {
            reader.at("weighted_clusters", |reader| {
                reader.each("clusters", clusters, |reader, cluster| {
                    let ClusterWeight { name, weight, metadata_match } = cluster;
                    refuse!(reader, metadata_match);
                    reader.text("name", &name);
                    Some((Arc::from(name), reader.within("weight", weight, 1, u32::MAX)))
                })
            })
        }
        None => Vec::new(),
    };
    let total = clusters.iter().map(|(_, weight)| u64::from(*weight)).sum();
    if total == 0 || total > u64::from(u32::MAX) {
        reader.fault(format!("has no cluster, or a sum of weights ({total}) beyond {}", u32::MAX));
    }
    (clusters, total)
}

fn hashes_source_ip(reader: &mut Reader, policies: Vec<kinds::HashPolicy>) -> bool {
    use kinds::hash_policy::{PolicySpecifier, SourceIp};
    if policies.len() > 1 {
        reader.fault_at("hash_policy", "at most one is possible");
    }
    let found = reader.each("hash_policy", policies, |reader, policy| match policy.policy_specifier {
        Some(PolicySpecifier::SourceIp(SourceIp {})) => Some(()),
        Some(PolicySpecifier::FilterState(_)) => {
            reader.fault_at("filter_state", "is not supported");
            None
        }
        None => {
            reader.fault("is empty");
            None
        }
    });
    !found.is_empty()
}

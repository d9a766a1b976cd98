//! `RouteAction`: where a request goes and how.
use super::basic;
use super::filters::per_filter;
use super::matching::looked_up_name;
use super::mutation;
use super::pattern;
use super::policies::cookie_name;
use super::reader::Reader;
use super::retry::retry_policy;
use super::route::header_value;
use super::virtual_host::Inherited;
use crate::snapshot::{
    Destination, Forward, HashKey, HashPolicy, MetadataValue, Millionths, Mirror, RouteExtras,
    WeightedCluster,
};
use ripstop_xds::envoy::config::core::v3 as core;
use ripstop_xds::envoy::config::route::v3 as proto;
use std::time::Duration;

/// Envoy's default for a request with all its retries.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A `RouteAction`; its extras are set by the route, whose metadata they are in.
pub(super) fn forward(
    reader: &mut Reader,
    action: proto::RouteAction,
    inherited: &Inherited,
) -> Option<Forward> {
    use proto::route_action::{ClusterNotFoundResponseCode as Code, InternalRedirectAction};
    let proto::RouteAction {
        cluster_not_found_response_code,
        metadata_match,
        prefix_rewrite,
        regex_rewrite,
        path_rewrite_policy,
        path_rewrite,
        append_x_forwarded_host,
        timeout,
        idle_timeout,
        flush_timeout,
        early_data_policy,
        retry_policy: retry,
        retry_policy_typed_config,
        request_mirror_policies,
        priority,
        rate_limits,
        include_vh_rate_limits,
        hash_policy: hash,
        cors,
        max_grpc_timeout,
        grpc_timeout_offset,
        upgrade_configs,
        internal_redirect_policy,
        internal_redirect_action,
        max_internal_redirects,
        hedge_policy,
        max_stream_duration,
        cluster_specifier,
        host_rewrite_specifier,
    } = action;
    refuse!(reader, path_rewrite_policy, path_rewrite, flush_timeout, retry_policy_typed_config, cors);
    refuse!(reader, max_grpc_timeout, grpc_timeout_offset, internal_redirect_policy, hedge_policy);
    ignore!("early data is never sent", early_data_policy);
    ignore!("of rate limit filters with descriptors, which are refused", rate_limits, include_vh_rate_limits);
    ignore!("of internal redirects, which are refused", max_internal_redirects);
    if reader.choice::<InternalRedirectAction>("internal_redirect_action", internal_redirect_action)
        == InternalRedirectAction::HandleInternalRedirect
    {
        reader.fault_at("internal_redirect_action", "is not supported");
    }
    if !prefix_rewrite.is_empty() && regex_rewrite.is_some() {
        reader.fault("prefix_rewrite and regex_rewrite are both set");
    }
    let not_found_status =
        match reader.choice("cluster_not_found_response_code", cluster_not_found_response_code) {
            Code::ServiceUnavailable => 503,
            Code::NotFound => 404,
            Code::InternalServerError => 500,
        };
    let host = host_rewrite(reader, host_rewrite_specifier);
    let limits = stream_limits(reader, max_stream_duration);
    let mirrored = mirrors(reader, request_mirror_policies);
    let upgrades = upgrades(reader, upgrade_configs);
    Some(Forward {
        not_found_status,
        prefix_rewrite: header_value(reader, "prefix_rewrite", prefix_rewrite),
        regex_rewrite: reader.optional("regex_rewrite", regex_rewrite, pattern::substitution),
        host_rewrite: host.literal,
        auto_host_rewrite: host.is_automatic,
        host_rewrite_header: host.header,
        append_forwarded_host: append_x_forwarded_host,
        timeout: reader.span_or("timeout", timeout, TIMEOUT),
        idle_timeout: reader.span("idle_timeout", idle_timeout),
        max_stream_duration: limits.longest,
        grpc_timeout_max: limits.grpc_max,
        grpc_timeout_offset: limits.grpc_offset,
        retry: reader.optional("retry_policy", retry, retry_policy),
        hash: reader.each("hash_policy", hash, hash_policy),
        mirrors: if mirrored.is_empty() { inherited.mirrors.clone() } else { mirrored },
        upgrades: upgrades.0,
        terminates_connect: upgrades.1,
        is_high_priority: reader.choice::<core::RoutingPriority>("priority", priority)
            == core::RoutingPriority::High,
        subset: subset(reader, metadata_match),
        extras: RouteExtras::default(),
        destination: destination(reader, cluster_specifier)?,
    })
}

// --- where ---

fn destination(
    reader: &mut Reader,
    specifier: Option<proto::route_action::ClusterSpecifier>,
) -> Option<Destination> {
    use proto::route_action::ClusterSpecifier as Specifier;
    match specifier {
        Some(Specifier::Cluster(name)) => {
            reader.text("cluster", &name);
            Some(Destination::Cluster(name.into()))
        }
        Some(Specifier::ClusterHeader(name)) => {
            Some(Destination::Header(looked_up_name(reader, "cluster_header", &name)))
        }
        Some(Specifier::WeightedClusters(clusters)) => {
            reader.at("weighted_clusters", |reader| weighted(reader, clusters))
        }
        Some(Specifier::ClusterSpecifierPlugin(_)) => {
            reader.fault_at("cluster_specifier_plugin", "is not supported");
            None
        }
        Some(Specifier::InlineClusterSpecifierPlugin(_)) => {
            reader.fault_at("inline_cluster_specifier_plugin", "is not supported");
            None
        }
        None => {
            reader.fault("has no cluster");
            None
        }
    }
}

fn weighted(reader: &mut Reader, clusters: proto::WeightedCluster) -> Option<Destination> {
    let proto::WeightedCluster { clusters, total_weight, runtime_key_prefix, random_value_specifier } =
        clusters;
    refuse!(reader, random_value_specifier);
    ignore!("the sum of weights is what counts", total_weight);
    ignore!("there is no runtime", runtime_key_prefix);
    let clusters = reader.each("clusters", clusters, weighted_cluster);
    let total: u64 = clusters.iter().map(|cluster| u64::from(cluster.weight)).sum();
    if total == 0 || total > u64::from(u32::MAX) {
        reader.fault_at("clusters", format!("the sum of weights is {total}, not between 1 and {}", u32::MAX));
    }
    Some(Destination::Weighted(clusters, total))
}

fn weighted_cluster(
    reader: &mut Reader,
    cluster: proto::weighted_cluster::ClusterWeight,
) -> Option<WeightedCluster> {
    use proto::weighted_cluster::cluster_weight::HostRewriteSpecifier;
    let proto::weighted_cluster::ClusterWeight {
        name,
        cluster_header,
        weight,
        metadata_match,
        request_headers_to_add,
        request_headers_to_remove,
        response_headers_to_add,
        response_headers_to_remove,
        typed_per_filter_config,
        host_rewrite_specifier,
    } = cluster;
    refuse!(reader, cluster_header, metadata_match);
    reader.text("name", &name);
    let weight = reader.required("weight", weight, |_, weight| Some(weight)).unwrap_or(0);
    let host_rewrite = match host_rewrite_specifier {
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => {
            header_value(reader, "host_rewrite_literal", host)
        }
        None => None,
    };
    Some(WeightedCluster {
        name: name.into(),
        weight,
        request_headers: mutation::changes(
            reader,
            "request",
            request_headers_to_add,
            request_headers_to_remove,
        ),
        response_headers: mutation::changes(
            reader,
            "response",
            response_headers_to_add,
            response_headers_to_remove,
        ),
        host_rewrite,
        per_filter: per_filter(reader, typed_per_filter_config),
    })
}

/// `metadata_match` of `envoy.lb`, values as text.
fn subset(reader: &mut Reader, wanted: Option<core::Metadata>) -> Vec<(String, String)> {
    let mut metadata = basic::metadata(wanted);
    let fields = metadata.0.remove("envoy.lb").unwrap_or_default();
    let mut made = Vec::new();
    for (key, value) in fields {
        match value {
            MetadataValue::Text(text) => made.push((key, text)),
            MetadataValue::Number(number) => made.push((key, number.to_string())),
            MetadataValue::Bool(value) => made.push((key, value.to_string())),
            MetadataValue::Null | MetadataValue::List(_) | MetadataValue::Struct(_) => {
                let field = format!("metadata_match.filter_metadata[envoy.lb].{key}");
                reader.fault_at(&field, "only text, numbers and booleans are supported");
            }
        }
    }
    made.sort();
    made
}

/// `request_mirror_policies`
pub(super) fn mirrors(
    reader: &mut Reader,
    policies: Vec<proto::route_action::RequestMirrorPolicy>,
) -> Vec<Mirror> {
    reader.each("request_mirror_policies", policies, |reader, policy| {
        let proto::route_action::RequestMirrorPolicy {
            cluster,
            cluster_header,
            runtime_fraction,
            trace_sampled,
            disable_shadow_host_suffix_append,
            request_headers_mutations,
            host_rewrite_literal,
        } = policy;
        refuse!(reader, cluster_header, request_headers_mutations, host_rewrite_literal);
        ignore!("nothing is traced", trace_sampled);
        reader.text("cluster", &cluster);
        let fraction =
            basic::runtime_fraction_or(reader, "runtime_fraction", runtime_fraction, Millionths::ALL);
        Some(Mirror { cluster: cluster.into(), fraction, keeps_host: disable_shadow_host_suffix_append })
    })
}

// --- how ---

#[derive(Default)]
struct HostRewrite {
    literal: Option<Box<[u8]>>,
    is_automatic: bool,
    header: Option<Box<[u8]>>,
}

fn host_rewrite(
    reader: &mut Reader,
    specifier: Option<proto::route_action::HostRewriteSpecifier>,
) -> HostRewrite {
    use proto::route_action::HostRewriteSpecifier as Specifier;
    let mut made = HostRewrite::default();
    match specifier {
        None => {}
        Some(Specifier::HostRewriteLiteral(host)) => {
            made.literal = header_value(reader, "host_rewrite_literal", host);
        }
        Some(Specifier::AutoHostRewrite(wanted)) => made.is_automatic = wanted,
        Some(Specifier::HostRewriteHeader(name)) => {
            made.header = Some(looked_up_name(reader, "host_rewrite_header", &name));
        }
        Some(Specifier::HostRewritePathRegex(_)) => {
            reader.fault_at("host_rewrite_path_regex", "is not supported");
        }
        Some(Specifier::HostRewrite(_)) => reader.fault_at("host_rewrite", "is not supported"),
    }
    made
}

#[derive(Default)]
struct StreamLimits {
    longest: Option<Duration>,
    grpc_max: Option<Duration>,
    grpc_offset: Duration,
}

fn stream_limits(
    reader: &mut Reader,
    wanted: Option<proto::route_action::MaxStreamDuration>,
) -> StreamLimits {
    let Some(wanted) = wanted else { return StreamLimits::default() };
    let proto::route_action::MaxStreamDuration {
        max_stream_duration,
        grpc_timeout_header_max,
        grpc_timeout_header_offset,
    } = wanted;
    reader.at("max_stream_duration", |reader| StreamLimits {
        longest: reader.span("max_stream_duration", max_stream_duration),
        grpc_max: reader.span("grpc_timeout_header_max", grpc_timeout_header_max),
        grpc_offset: reader.span_or("grpc_timeout_header_offset", grpc_timeout_header_offset, Duration::ZERO),
    })
}

/// `upgrade_configs`: which are turned on or off, and whether CONNECT ends here.
fn upgrades(
    reader: &mut Reader,
    configs: Vec<proto::route_action::UpgradeConfig>,
) -> (Vec<(Box<str>, bool)>, bool) {
    let mut ends_here = false;
    let made: Vec<(Box<str>, bool)> = reader.each("upgrade_configs", configs, |reader, config| {
        let proto::route_action::UpgradeConfig { upgrade_type, enabled, connect_config } = config;
        reader.text("upgrade_type", &upgrade_type);
        let upgrade_type = upgrade_type.to_ascii_lowercase();
        if let Some(config) = connect_config {
            let proto::route_action::upgrade_config::ConnectConfig { proxy_protocol_config, allow_post } =
                config;
            reader.at("connect_config", |reader| refuse!(reader, proxy_protocol_config, allow_post));
            if upgrade_type != "connect" {
                reader.fault_at("connect_config", "is of CONNECT alone");
            }
            ends_here = true;
        }
        Some((upgrade_type.into(), enabled.unwrap_or(true)))
    });
    for (index, (name, _)) in made.iter().enumerate() {
        if made[..index].iter().any(|(other, _)| other == name) {
            reader.fault_at(&format!("upgrade_configs[{index}]"), format!("{name} is given twice"));
        }
    }
    (made, ends_here)
}

fn hash_policy(reader: &mut Reader, policy: proto::route_action::HashPolicy) -> Option<HashPolicy> {
    use proto::route_action::hash_policy::{
        ConnectionProperties, Cookie, Header, PolicySpecifier, QueryParameter,
    };
    let proto::route_action::HashPolicy { terminal, policy_specifier } = policy;
    let kind = match policy_specifier {
        Some(PolicySpecifier::Header(Header { header_name: name, regex_rewrite })) => {
            reader.at("header", |reader| {
                refuse!(reader, regex_rewrite);
                HashKey::Header(looked_up_name(reader, "header_name", &name))
            })
        }
        Some(PolicySpecifier::Cookie(Cookie { name, ttl, path, attributes })) => {
            reader.at("cookie", |reader| {
                refuse!(reader, attributes);
                cookie_name(reader, &name);
                let ttl = reader.span("ttl", ttl);
                HashKey::Cookie { name: name.into_bytes().into(), path: path.into_bytes().into(), ttl }
            })
        }
        Some(PolicySpecifier::QueryParameter(QueryParameter { name })) => {
            reader.at("query_parameter", |reader| reader.text("name", &name));
            HashKey::Query(name.into_bytes().into())
        }
        Some(PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: true })) => {
            HashKey::SourceIp
        }
        // Envoy makes nothing of it either.
        Some(PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: false })) => {
            return None;
        }
        Some(PolicySpecifier::FilterState(_)) => {
            reader.fault_at("filter_state", "is not supported");
            return None;
        }
        None => {
            reader.fault("is empty");
            return None;
        }
    };
    Some(HashPolicy { kind, terminal })
}

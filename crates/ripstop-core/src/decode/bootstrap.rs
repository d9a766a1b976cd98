//! `Bootstrap`: the node, the admin socket, static resources, where ADS is.
use super::basic;
use super::cluster;
use super::listener;
use super::missing::DownstreamConnectionsConfig;
use super::reader::{Reader, type_name};
use super::secret;
use super::version_of;
use crate::snapshot::{Address, Cluster, Listener, Locality, Secret};
use prost::Message;
use ripstop_xds::envoy::config::bootstrap::v3 as proto;
use ripstop_xds::envoy::config::core::v3 as core;
use ripstop_xds::envoy::config::overload::v3 as overload;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// Envoy's `stats_flush_interval`.
const STATS_FLUSH: Duration = Duration::from_secs(5);
const MAX_CONNECTIONS: &str = "overload.global_downstream_max_connections";

/// Who this proxy is.
#[derive(Clone, Debug, Default)]
pub struct NodeIdentity {
    /// `node.id`
    pub id: Arc<str>,
    /// `node.cluster`
    pub cluster: Arc<str>,
    /// `node.locality`
    pub locality: Locality,
    /// The whole node, to be sent on to control planes.
    pub raw: core::Node,
}

/// `ads_config`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdsConfig {
    /// The static cluster that the control plane is behind.
    pub cluster: Arc<str>,
    /// DELTA_GRPC rather than GRPC.
    pub delta: bool,
}

/// A `Bootstrap`.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// Who this is.
    pub node: NodeIdentity,
    /// Where the admin interface is, if there is to be one.
    pub admin: Option<Address>,
    /// Listeners that are there from the start.
    pub static_listeners: Vec<Arc<Listener>>,
    /// Clusters that are there from the start.
    pub static_clusters: Vec<Arc<Cluster>>,
    /// Secrets that are there from the start.
    pub static_secrets: Vec<(Arc<str>, Arc<Secret>)>,
    /// Where everything else comes from.
    pub ads: Option<AdsConfig>,
    /// `lds_config: {ads: {}}`
    pub lds_by_ads: bool,
    /// `cds_config: {ads: {}}`
    pub cds_by_ads: bool,
    /// Downstream connections at a time, of the whole process.
    pub max_connections: Option<u64>,
    /// How often statistics are merged; Envoy's default is 5 s.
    pub stats_flush_interval: Duration,
}

/// A `Bootstrap`.
pub(super) fn bootstrap(reader: &mut Reader, bootstrap: proto::Bootstrap) -> Option<Bootstrap> {
    let proto::Bootstrap {
        node: identity,
        node_context_params,
        static_resources,
        dynamic_resources,
        cluster_manager,
        hds_config,
        flags_path,
        stats_sinks,
        deferred_stat_options,
        stats_config,
        stats_flush_interval,
        watchdog,
        watchdogs,
        tracing,
        layered_runtime,
        admin: wanted_admin,
        overload_manager,
        enable_dispatcher_stats,
        header_prefix,
        stats_server_version_override,
        use_tcp_for_dns_lookups,
        dns_resolution_config,
        typed_dns_resolver_config,
        bootstrap_extensions,
        fatal_actions,
        config_sources,
        default_config_source,
        default_socket_interface,
        certificate_provider_instances,
        inline_headers,
        perf_tracing_file_path,
        default_regex_engine,
        xds_delegate_extension,
        xds_config_tracker_extension,
        listener_manager,
        application_log_config,
        grpc_async_client_manager_config,
        memory_allocator_manager,
        stats_flush,
        stats_eviction,
    } = bootstrap;
    refuse!(reader, node_context_params, hds_config, flags_path, stats_sinks, tracing, header_prefix);
    refuse!(reader, use_tcp_for_dns_lookups, dns_resolution_config, typed_dns_resolver_config);
    refuse!(reader, bootstrap_extensions, fatal_actions, config_sources, default_config_source);
    refuse!(reader, default_socket_interface, certificate_provider_instances, xds_delegate_extension);
    refuse!(reader, xds_config_tracker_extension, listener_manager);
    ignore!("statistics have names and buckets of their own", deferred_stat_options, stats_config);
    ignore!(
        "statistics",
        enable_dispatcher_stats,
        stats_server_version_override,
        stats_flush,
        stats_eviction
    );
    ignore!("there is no watchdog", watchdog, watchdogs);
    ignore!("how Envoy does its work", inline_headers, perf_tracing_file_path, memory_allocator_manager);
    ignore!("how Envoy does its work", grpc_async_client_manager_config);
    ignore!("its own log has a form of its own", application_log_config);
    if let Some(extension) = default_regex_engine {
        reader.at("default_regex_engine", |reader| regex_engine(reader, extension));
    }
    if let Some(manager) = cluster_manager {
        reader.at("cluster_manager", |reader| check_cluster_manager(reader, manager));
    }
    let by_runtime = reader.optional("layered_runtime", layered_runtime, runtime);
    let by_overload = reader.optional("overload_manager", overload_manager, max_connections);
    let mut made = Bootstrap {
        node: identity.map(node).unwrap_or_default(),
        admin: reader.optional("admin", wanted_admin, admin),
        static_listeners: Vec::new(),
        static_clusters: Vec::new(),
        static_secrets: Vec::new(),
        ads: None,
        lds_by_ads: false,
        cds_by_ads: false,
        max_connections: by_overload.or(by_runtime),
        stats_flush_interval: reader.positive_span_or(
            "stats_flush_interval",
            stats_flush_interval,
            STATS_FLUSH,
        ),
    };
    if let Some(resources) = static_resources {
        reader.at("static_resources", |reader| read_static(reader, resources, &mut made));
    }
    if let Some(resources) = dynamic_resources {
        reader.at("dynamic_resources", |reader| read_dynamic(reader, resources, &mut made));
    }
    Some(made)
}

fn node(node: core::Node) -> NodeIdentity {
    NodeIdentity {
        id: node.id.as_str().into(),
        cluster: node.cluster.as_str().into(),
        locality: node.locality.clone().map(basic::locality).unwrap_or_default(),
        raw: node,
    }
}

fn regex_engine(reader: &mut Reader, extension: core::TypedExtensionConfig) {
    let core::TypedExtensionConfig { name, typed_config } = extension;
    ignore!("the type says what it is", name);
    reader.required("typed_config", typed_config, |reader, any| {
        match type_name(&any) {
            "envoy.extensions.regex_engines.v3.GoogleRE2" => reader.only_empty(&any),
            _ => reader.unknown(&any),
        }
        Some(())
    });
}

fn check_cluster_manager(reader: &mut Reader, manager: proto::ClusterManager) {
    let proto::ClusterManager {
        local_cluster_name,
        outlier_detection,
        upstream_bind_config,
        load_stats_config,
        enable_deferred_cluster_creation,
    } = manager;
    refuse!(reader, local_cluster_name, outlier_detection, upstream_bind_config, load_stats_config);
    ignore!("when memory is taken does not show", enable_deferred_cluster_creation);
}

fn admin(reader: &mut Reader, admin: proto::Admin) -> Option<Address> {
    let proto::Admin {
        access_log,
        access_log_path,
        profile_path,
        address,
        socket_options,
        ignore_global_conn_limit,
        allow_paths,
    } = admin;
    refuse!(reader, access_log, socket_options, allow_paths);
    ignore!("there is no profiler, and the limit is the listeners'", profile_path, ignore_global_conn_limit);
    if !matches!(&*access_log_path, "" | "/dev/null") {
        reader.fault_at("access_log_path", "is not supported");
    }
    reader.optional("address", address, basic::resolved_address)
}

// --- resources ---

fn read_static(reader: &mut Reader, resources: proto::bootstrap::StaticResources, made: &mut Bootstrap) {
    let proto::bootstrap::StaticResources { listeners, clusters, secrets } = resources;
    made.static_listeners = reader.each("listeners", listeners, |reader, found| {
        let version = version_of(&found.encode_to_vec());
        listener::any_listener(reader, found, version).map(Arc::new)
    });
    made.static_clusters = reader.each("clusters", clusters, |reader, found| {
        let version = version_of(&found.encode_to_vec());
        cluster::cluster(reader, found, version).map(Arc::new)
    });
    made.static_secrets = reader.each("secrets", secrets, |reader, found| {
        secret::secret(reader, found).map(|(name, secret)| (name, Arc::new(secret)))
    });
    once(reader, "listeners", made.static_listeners.iter().map(|found| &*found.name));
    once(reader, "clusters", made.static_clusters.iter().map(|found| &*found.name));
    once(reader, "secrets", made.static_secrets.iter().map(|(name, _)| &**name));
}

fn once<'a>(reader: &mut Reader, field: &str, names: impl Iterator<Item = &'a str>) {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            reader.fault_at(field, format!("'{name}' is there twice"));
        }
    }
}

fn read_dynamic(reader: &mut Reader, resources: proto::bootstrap::DynamicResources, made: &mut Bootstrap) {
    let proto::bootstrap::DynamicResources {
        lds_config,
        lds_resources_locator,
        cds_config,
        cds_resources_locator,
        ads_config,
    } = resources;
    refuse!(reader, lds_resources_locator, cds_resources_locator);
    made.lds_by_ads = reader.optional("lds_config", lds_config, basic::by_ads).is_some();
    made.cds_by_ads = reader.optional("cds_config", cds_config, basic::by_ads).is_some();
    made.ads = reader.optional("ads_config", ads_config, |reader, api| {
        let basic::Api { cluster, is_delta } = basic::api_source(reader, api)?;
        if !made.static_clusters.iter().any(|found| found.name == cluster) {
            reader.fault(format!("'{cluster}' is not a static cluster"));
        }
        Some(AdsConfig { cluster, delta: is_delta })
    });
    if made.ads.is_none() && (made.lds_by_ads || made.cds_by_ads) {
        reader.fault_at("ads_config", "is required");
    }
}

// --- the limit on connections ---

/// `layered_runtime`: of all keys only the limit on connections has a meaning here. Later layers win.
fn runtime(reader: &mut Reader, runtime: proto::LayeredRuntime) -> Option<u64> {
    use proto::runtime_layer::LayerSpecifier;
    let proto::LayeredRuntime { layers } = runtime;
    let found = reader.each("layers", layers, |reader, layer| {
        let proto::RuntimeLayer { name, layer_specifier } = layer;
        ignore!("it only names the layer", name);
        match layer_specifier {
            Some(LayerSpecifier::StaticLayer(fields)) => {
                let mut limit = None;
                reader.at("static_layer", |reader| runtime_keys(reader, "", fields, &mut limit));
                limit
            }
            // The admin interface cannot set any.
            Some(LayerSpecifier::AdminLayer(_)) => None,
            Some(LayerSpecifier::DiskLayer(_)) => {
                reader.fault_at("disk_layer", "is not supported");
                None
            }
            Some(LayerSpecifier::RtdsLayer(_)) => {
                reader.fault_at("rtds_layer", "is not supported");
                None
            }
            None => {
                reader.fault("is empty");
                None
            }
        }
    });
    found.into_iter().last()
}

/// Keys may be written with dots or as structs within structs.
fn runtime_keys(reader: &mut Reader, before: &str, fields: prost_types::Struct, limit: &mut Option<u64>) {
    use prost_types::value::Kind;
    for (key, value) in fields.fields {
        let key = if before.is_empty() { key } else { format!("{before}.{key}") };
        let number = match value.kind {
            Some(Kind::StructValue(inner)) => {
                runtime_keys(reader, &key, inner, limit);
                continue;
            }
            Some(Kind::NumberValue(number)) => Some(number),
            Some(Kind::StringValue(text)) => text.parse().ok(),
            _ => None,
        };
        match (&*key, number) {
            (MAX_CONNECTIONS, Some(number)) if number >= 1.0 => *limit = Some(number as u64),
            (MAX_CONNECTIONS, _) => reader.fault_at(&key, "is not a number of connections"),
            _ => reader.fault_at(&key, "nothing here reads this key"),
        }
    }
}

/// `overload_manager`: of all monitors, the limit on connections.
fn max_connections(reader: &mut Reader, manager: overload::OverloadManager) -> Option<u64> {
    use overload::resource_monitor::ConfigType;
    let overload::OverloadManager {
        refresh_interval,
        resource_monitors,
        actions,
        loadshed_points,
        buffer_factory_config,
    } = manager;
    refuse!(reader, actions, loadshed_points);
    ignore!("of monitors that are polled, which are refused", refresh_interval, buffer_factory_config);
    let found = reader.each("resource_monitors", resource_monitors, |reader, monitor| {
        let overload::ResourceMonitor { name, config_type } = monitor;
        ignore!("the type says what it is", name);
        reader.required("typed_config", config_type, |reader, ConfigType::TypedConfig(any)| {
            if type_name(&any)
                != "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
            {
                reader.unknown(&any);
                return None;
            }
            let DownstreamConnectionsConfig { max_active_downstream_connections } = reader.unpack(&any)?;
            let limit = reader.within(
                "max_active_downstream_connections",
                max_active_downstream_connections,
                1,
                i64::MAX,
            );
            u64::try_from(limit).ok()
        })
    });
    found.into_iter().last()
}

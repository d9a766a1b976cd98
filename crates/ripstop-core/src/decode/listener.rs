//! `Listener`, its filter chains, its listener filters and network filters.
use super::basic;
use super::http_manager::manager;
use super::matching::cidrs;
use super::rbac::network_rbac;
use super::reader::{Reader, type_name};
use super::tcp_proxy::tcp_proxy;
use super::tls::downstream_socket;
use crate::snapshot::{ChainMatch, Direction, FilterChain, Listener, SourceType, Terminal};
use prost_types::Any;
use ripstop_xds::envoy::config::core::v3 as core;
use ripstop_xds::envoy::config::listener::v3 as proto;
use ripstop_xds::envoy::extensions::filters::listener::tls_inspector::v3 as tls_inspector;
use std::sync::Arc;
use std::time::Duration;

const LISTENER_FILTERS_TIMEOUT: Duration = Duration::from_secs(15);
/// Envoy's default of `per_connection_buffer_limit_bytes`.
pub(super) const BUFFER_LIMIT: u32 = 1 << 20;
const BACKLOG: u32 = 128;

/// A listener that comes by its name.
pub(super) fn listener(reader: &mut Reader, listener: proto::Listener, version: u64) -> Option<Listener> {
    reader.text("name", &listener.name);
    any_listener(reader, listener, version)
}

/// A listener; one of a bootstrap may do without a name, and is called by its address then.
pub(super) fn any_listener(reader: &mut Reader, listener: proto::Listener, version: u64) -> Option<Listener> {
    let proto::Listener {
        name,
        address,
        additional_addresses,
        stat_prefix,
        filter_chains,
        fcds_config,
        filter_chain_matcher,
        use_original_dst,
        default_filter_chain,
        per_connection_buffer_limit_bytes,
        metadata,
        deprecated_v1,
        drain_type,
        listener_filters,
        listener_filters_timeout,
        continue_on_listener_filters_timeout,
        transparent,
        freebind,
        socket_options,
        tcp_fast_open_queue_length,
        traffic_direction,
        udp_listener_config,
        api_listener,
        connection_balance_config,
        reuse_port,
        enable_reuse_port,
        access_log,
        tcp_backlog_size,
        max_connections_to_accept_per_socket_event,
        bind_to_port,
        enable_mptcp,
        ignore_global_conn_limit,
        bypass_overload_manager,
        listener_specifier,
    } = listener;
    refuse_true!(reader, use_original_dst);
    refuse!(reader, additional_addresses, fcds_config, filter_chain_matcher, socket_options);
    refuse!(reader, tcp_fast_open_queue_length, udp_listener_config, api_listener, access_log, enable_mptcp);
    refuse!(reader, ignore_global_conn_limit, bypass_overload_manager, listener_specifier);
    refuse_true!(reader, transparent, freebind);
    ignore!("nothing reads it", metadata);
    ignore!("each thread accepts from a socket of its own", connection_balance_config, reuse_port);
    ignore!("as above", enable_reuse_port, max_connections_to_accept_per_socket_event);
    ignore!("there is no health check that a listener would fail", drain_type);
    let v1_binds = deprecated_v1.and_then(|proto::listener::DeprecatedV1 { bind_to_port }| bind_to_port);
    if v1_binds == Some(false) || bind_to_port == Some(false) {
        reader.fault_at("bind_to_port", "false is not supported");
    }
    let address = reader.required("address", address, basic::resolved_address);
    let filters = inspectors(reader, listener_filters);
    if filter_chains.is_empty() && default_filter_chain.is_none() {
        reader.fault_at("filter_chains", "must not be empty");
    }
    let chains = reader.each("filter_chains", filter_chains, filter_chain);
    distinct(reader, &chains);
    let needs_tls = chains.iter().any(|chain| needs_tls_inspector(&chain.matches));
    let default_chain = reader.optional("default_filter_chain", default_filter_chain, filter_chain);
    let timeout =
        reader.span_or("listener_filters_timeout", listener_filters_timeout, LISTENER_FILTERS_TIMEOUT);
    let direction = match reader.choice("traffic_direction", traffic_direction) {
        core::TrafficDirection::Unspecified => Direction::Unspecified,
        core::TrafficDirection::Inbound => Direction::Inbound,
        core::TrafficDirection::Outbound => Direction::Outbound,
    };
    let address = address?;
    let or_address =
        |text: String| if text.is_empty() { address.to_string().into() } else { Arc::from(text) };
    Some(Listener {
        name: or_address(name),
        stat_prefix: or_address(stat_prefix),
        address,
        filter_chains: chains,
        default_chain,
        inspects_tls: filters.tls || needs_tls,
        proxy_protocol: filters.proxy_protocol,
        listener_filters_timeout: timeout,
        continues_on_timeout: continue_on_listener_filters_timeout,
        direction,
        buffer_limit: per_connection_buffer_limit_bytes.unwrap_or(BUFFER_LIMIT),
        backlog: tcp_backlog_size.unwrap_or(BACKLOG),
        version,
    })
}

/// Envoy adds `tls_inspector` by itself where chains are told apart by what only it can tell.
fn needs_tls_inspector(matches: &ChainMatch) -> bool {
    let by_hello = !matches.server_names.is_empty() || !matches.application_protocols.is_empty();
    matches.transport_protocol == "tls" || (matches.transport_protocol.is_empty() && by_hello)
}

/// Two chains that match the same connections are a mistake.
fn distinct(reader: &mut Reader, chains: &[Arc<FilterChain>]) {
    for (index, chain) in chains.iter().enumerate() {
        if chains[..index].iter().any(|other| other.matches == chain.matches) {
            let problem = "matches the same as another filter chain";
            reader.fault_at(&format!("filter_chains[{index}].filter_chain_match"), problem);
        }
    }
}

// --- listener filters ---

#[derive(Default)]
struct Inspectors {
    tls: bool,
    proxy_protocol: bool,
}

fn inspectors(reader: &mut Reader, filters: Vec<proto::ListenerFilter>) -> Inspectors {
    use proto::listener_filter::ConfigType;
    let mut made = Inspectors::default();
    reader.each("listener_filters", filters, |reader, filter| -> Option<()> {
        let proto::ListenerFilter { name, filter_disabled, config_type } = filter;
        ignore!("the type says what it is", name);
        refuse!(reader, filter_disabled);
        match config_type {
            Some(ConfigType::TypedConfig(any)) => {
                reader.at("typed_config", |reader| inspector(reader, &any, &mut made));
            }
            Some(ConfigType::ConfigDiscovery(_)) => reader.fault_at("config_discovery", "is not supported"),
            None => reader.fault_at("typed_config", "is required"),
        }
        None
    });
    made
}

fn inspector(reader: &mut Reader, any: &Any, made: &mut Inspectors) {
    match type_name(any) {
        "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector" => {
            made.tls = true;
            if let Some(config) = reader.unpack(any) {
                check_tls_inspector(reader, config);
            }
        }
        "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol" => {
            made.proxy_protocol = true;
            reader.only_empty(any);
        }
        "envoy.extensions.filters.listener.original_dst.v3.OriginalDst" => {
            reader.fault("original_dst is not supported: nothing redirects connections here yet");
        }
        // The connection manager tells HTTP versions apart by itself.
        "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector" => reader.only_empty(any),
        _ => reader.unknown(any),
    }
}

fn check_tls_inspector(reader: &mut Reader, config: tls_inspector::TlsInspector) {
    let tls_inspector::TlsInspector {
        enable_ja3_fingerprinting,
        enable_ja4_fingerprinting,
        initial_read_buffer_size,
        close_connection_on_client_hello_parsing_errors,
        max_client_hello_size,
    } = config;
    refuse_true!(reader, enable_ja3_fingerprinting, enable_ja4_fingerprinting);
    refuse!(reader, close_connection_on_client_hello_parsing_errors, max_client_hello_size);
    ignore!("how it is read does not show", initial_read_buffer_size);
}

// --- filter chains ---

fn filter_chain(reader: &mut Reader, chain: proto::FilterChain) -> Option<Arc<FilterChain>> {
    let proto::FilterChain {
        filter_chain_match,
        filters,
        use_proxy_proto,
        metadata,
        transport_socket,
        transport_socket_connect_timeout,
        name,
    } = chain;
    refuse_true!(reader, use_proxy_proto);
    ignore!("nothing reads it", metadata);
    let matches = filter_chain_match.map_or_else(ChainMatch::default, |wanted| {
        reader.at("filter_chain_match", |reader| chain_match(reader, wanted))
    });
    let tls = reader.optional("transport_socket", transport_socket, downstream_socket);
    let handshake_timeout =
        reader.span_or("transport_socket_connect_timeout", transport_socket_connect_timeout, Duration::ZERO);
    let (rbac, terminal) = network_filters(reader, filters);
    let chain = FilterChain { name: name.into(), matches, tls, handshake_timeout, rbac, terminal: terminal? };
    Some(Arc::new(chain))
}

fn chain_match(reader: &mut Reader, wanted: proto::FilterChainMatch) -> ChainMatch {
    use proto::filter_chain_match::ConnectionSourceType;
    let proto::FilterChainMatch {
        destination_port,
        prefix_ranges,
        address_suffix,
        suffix_len,
        direct_source_prefix_ranges,
        source_type,
        source_prefix_ranges,
        source_ports,
        server_names,
        transport_protocol,
        application_protocols,
    } = wanted;
    refuse!(reader, address_suffix, suffix_len);
    if !matches!(&*transport_protocol, "" | "tls" | "raw_buffer") {
        reader
            .fault_at("transport_protocol", format!("'{transport_protocol}' is neither tls nor raw_buffer"));
    }
    ChainMatch {
        destination_port: destination_port.map(|port| reader.port("destination_port", port)),
        destination_prefixes: cidrs(reader, "prefix_ranges", prefix_ranges),
        server_names: reader.each("server_names", server_names, server_name),
        transport_protocol,
        application_protocols,
        source_type: match reader.choice("source_type", source_type) {
            ConnectionSourceType::Any => SourceType::Any,
            ConnectionSourceType::SameIpOrLoopback => SourceType::SameIpOrLoopback,
            ConnectionSourceType::External => SourceType::External,
        },
        source_prefixes: cidrs(reader, "source_prefix_ranges", source_prefix_ranges),
        source_ports: reader.each("source_ports", source_ports, |reader, port| {
            u16::try_from(port).map_err(|_| reader.fault(format!("{port} is not a port"))).ok()
        }),
        direct_source_prefixes: cidrs(reader, "direct_source_prefix_ranges", direct_source_prefix_ranges),
    }
}

/// A name, or a star for one or more labels before one.
fn server_name(reader: &mut Reader, name: String) -> Option<String> {
    let inner = name.strip_prefix("*.").unwrap_or(&name);
    if inner.is_empty() || inner.contains('*') {
        reader.fault(format!("'{name}': a star stands for whole labels at the beginning"));
    }
    Some(name.to_ascii_lowercase())
}

// --- network filters ---

/// RBAC filters in order, and the one at the end.
fn network_filters(
    reader: &mut Reader,
    filters: Vec<proto::Filter>,
) -> (Vec<crate::snapshot::NetworkRbac>, Option<Terminal>) {
    let mut rbac = Vec::new();
    let mut terminal = None;
    let mut by_sni = false;
    let (mut index, last) = (0, filters.len());
    let is_empty = filters.is_empty();
    reader.each("filters", filters, |reader, filter| -> Option<()> {
        index += 1;
        let any = config_of(reader, filter)?;
        reader.at("typed_config", |reader| {
            let is_terminal = match type_name(&any) {
                "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager" => {
                    let config = reader.unpack(&any)?;
                    terminal = manager(reader, config).map(|made| Terminal::Http(Arc::new(made)));
                    true
                }
                "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy" => {
                    let config = reader.unpack(&any)?;
                    terminal = Some(Terminal::Tcp(Arc::new(tcp_proxy(reader, config, by_sni))));
                    true
                }
                "envoy.extensions.filters.network.rbac.v3.RBAC" => {
                    let config = reader.unpack(&any)?;
                    rbac.push(network_rbac(reader, config));
                    false
                }
                "envoy.extensions.filters.network.sni_cluster.v3.SniCluster" => {
                    by_sni = true;
                    false
                }
                _ => {
                    reader.unknown(&any);
                    return None;
                }
            };
            if is_terminal != (index == last) {
                reader.fault(match is_terminal {
                    true => "must be the last filter",
                    false => "must not be the last filter: http_connection_manager or tcp_proxy is",
                });
            }
            None
        })
    });
    if is_empty {
        reader.fault_at("filters", "must end with http_connection_manager or tcp_proxy");
    }
    (rbac, terminal)
}

fn config_of(reader: &mut Reader, filter: proto::Filter) -> Option<Any> {
    use proto::filter::ConfigType;
    let proto::Filter { name, config_type } = filter;
    reader.text("name", &name);
    match config_type {
        Some(ConfigType::TypedConfig(any)) => Some(any),
        Some(ConfigType::ConfigDiscovery(_)) => {
            reader.fault_at("config_discovery", "is not supported");
            None
        }
        None => {
            reader.fault_at("typed_config", "is required");
            None
        }
    }
}

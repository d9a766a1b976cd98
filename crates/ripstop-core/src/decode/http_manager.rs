//! `HttpConnectionManager`.
use super::access_log::access_logs;
use super::basic::by_ads;
use super::filters::http_filters;
use super::http_options;
use super::local_reply::local_replies;
use super::matching::{cidrs, looked_up_name};
use super::reader::{Reader, type_name};
use super::route::header_value;
use super::virtual_host;
use crate::snapshot::{
    ClientCertDetails, Codec, EscapedSlashes, ForwardClientCert, HttpManager, ProxyStatus, RouteSource,
    ServerHeader,
};
use ripstop_xds::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use ripstop_xds::envoy::extensions::request_id::uuid::v3 as uuid;
use std::time::Duration;

const STREAM_IDLE: Duration = Duration::from_secs(300);
const DRAIN: Duration = Duration::from_secs(5);
const DELAYED_CLOSE: Duration = Duration::from_secs(1);
const REQUEST_HEADERS_KB: u32 = 60;
const MAX_REQUEST_HEADERS_KB: u32 = 8192;

/// An `HttpConnectionManager` with Envoy's defaults.
pub(super) fn manager(reader: &mut Reader, config: hcm::HttpConnectionManager) -> Option<HttpManager> {
    let hcm::HttpConnectionManager {
        codec_type,
        stat_prefix,
        http_filters: filters,
        add_user_agent,
        tracing,
        common_http_protocol_options,
        http1_safe_max_connection_duration,
        http_protocol_options,
        http2_protocol_options,
        http3_protocol_options,
        server_name,
        server_header_transformation,
        scheme_header_transformation,
        max_request_headers_kb,
        stream_idle_timeout,
        stream_flush_timeout,
        request_timeout,
        request_headers_timeout,
        drain_timeout,
        delayed_close_timeout,
        access_log,
        access_log_flush_interval,
        flush_access_log_on_new_request,
        access_log_options,
        use_remote_address,
        xff_num_trusted_hops,
        original_ip_detection_extensions,
        early_header_mutation_extensions,
        internal_address_config,
        skip_xff_append,
        via,
        generate_request_id,
        preserve_external_request_id,
        always_set_request_id_in_response,
        forward_client_cert_details,
        set_current_client_cert_details,
        forward_client_cert_matcher,
        proxy_100_continue,
        represent_ipv4_remote_address_as_ipv4_mapped_ipv6,
        upgrade_configs,
        normalize_path,
        merge_slashes,
        path_with_escaped_slashes_action,
        request_id_extension,
        local_reply_config,
        strip_matching_host_port,
        stream_error_on_invalid_http_message,
        path_normalization_options,
        strip_trailing_host_dot,
        proxy_status_config,
        typed_header_validation_config,
        append_x_forwarded_port,
        append_local_overload,
        add_proxy_protocol_connection_state,
        route_specifier,
        strip_port_mode,
    } = config;
    refuse!(reader, tracing, http1_safe_max_connection_duration, http3_protocol_options);
    refuse!(reader, scheme_header_transformation, stream_flush_timeout, access_log_flush_interval);
    refuse!(reader, flush_access_log_on_new_request, access_log_options, original_ip_detection_extensions);
    refuse!(
        reader,
        early_header_mutation_extensions,
        forward_client_cert_matcher,
        path_normalization_options
    );
    refuse!(reader, represent_ipv4_remote_address_as_ipv4_mapped_ipv6);
    refuse!(reader, typed_header_validation_config, append_x_forwarded_port, append_local_overload);
    ignore!("dynamic metadata of PROXY protocol, which nothing reads", add_proxy_protocol_connection_state);
    reader.text("stat_prefix", &stat_prefix);
    request_id(reader, request_id_extension);
    let common = http_options::common(reader, common_http_protocol_options);
    let (filters, router) = http_filters(reader, filters);
    if let Some(hcm::http_connection_manager::StripPortMode::StripAnyHostPort(strips)) = strip_port_mode {
        reader.refuse("strip_any_host_port", &strips);
    }
    refuse!(reader, strip_matching_host_port, strip_trailing_host_dot, xff_num_trusted_hops);
    refuse_true!(reader, add_user_agent);
    let via = header_value(reader, "via", via).unwrap_or_default();
    let server_name = header_value(reader, "server_name", server_name).unwrap_or(Box::from(&b"envoy"[..]));
    let routes = route_source(reader, route_specifier);
    Some(HttpManager {
        codec: codec(reader, codec_type),
        filters,
        access_logs: access_logs(reader, access_log),
        local_replies: local_replies(reader, local_reply_config),
        upgrades: upgrades(reader, upgrade_configs),
        http1: http_options::http1(reader, "http_protocol_options", http_protocol_options),
        http2: http_options::http2(reader, "http2_protocol_options", http2_protocol_options),
        idle_timeout: common.idle_timeout,
        max_connection_duration: common.max_connection_duration,
        max_stream_duration: common.max_stream_duration,
        max_requests_per_connection: common.max_requests_per_connection,
        max_headers_count: common.max_headers_count,
        stream_idle_timeout: reader.span_or("stream_idle_timeout", stream_idle_timeout, STREAM_IDLE),
        request_timeout: reader.span_or("request_timeout", request_timeout, Duration::ZERO),
        request_headers_timeout: reader.span_or(
            "request_headers_timeout",
            request_headers_timeout,
            Duration::ZERO,
        ),
        drain_timeout: reader.span_or("drain_timeout", drain_timeout, DRAIN),
        delayed_close_timeout: reader.span_or("delayed_close_timeout", delayed_close_timeout, DELAYED_CLOSE),
        max_request_headers_kb: reader.within(
            "max_request_headers_kb",
            max_request_headers_kb.unwrap_or(REQUEST_HEADERS_KB),
            1,
            MAX_REQUEST_HEADERS_KB,
        ),
        use_remote_address: use_remote_address.unwrap_or(false),
        skip_xff_append,
        via: String::from_utf8_lossy(&via).into_owned(),
        proxy_status: proxy_status(reader, proxy_status_config, &server_name),
        server_name: String::from_utf8_lossy(&server_name).into_owned(),
        server_header: server_header(reader, server_header_transformation),
        normalize_path: normalize_path.unwrap_or(false),
        merge_slashes,
        escaped_slashes: escaped_slashes(reader, path_with_escaped_slashes_action),
        generate_request_id: generate_request_id.unwrap_or(true),
        preserve_external_request_id,
        always_set_request_id_in_response,
        forward_client_cert: forward_client_cert(reader, forward_client_cert_details),
        client_cert_details: client_cert_details(set_current_client_cert_details),
        stream_error_on_invalid: stream_error_on_invalid_http_message.unwrap_or(false),
        proxy_100_continue,
        suppress_envoy_headers: router.suppress_envoy_headers,
        internal_cidrs: internal_cidrs(reader, internal_address_config),
        stat_prefix: stat_prefix.into(),
        routes: routes?,
    })
}

/// Connection termination details are of network filters, which end no HTTP exchange here: told or not is one.
fn proxy_status(
    reader: &mut Reader,
    config: Option<hcm::http_connection_manager::ProxyStatusConfig>,
    server_name: &[u8],
) -> Option<ProxyStatus> {
    use hcm::http_connection_manager::proxy_status_config::ProxyName;
    let hcm::http_connection_manager::ProxyStatusConfig {
        remove_details,
        remove_connection_termination_details: _,
        remove_response_flags,
        set_recommended_response_code,
        proxy_name,
    } = config?;
    reader.at("proxy_status_config", |reader| {
        refuse!(reader, set_recommended_response_code);
        let name = match proxy_name {
            Some(ProxyName::LiteralProxyName(name)) => name.into(),
            Some(ProxyName::UseNodeId(uses)) => {
                reader.refuse("use_node_id", &uses);
                Box::default()
            }
            None => String::from_utf8_lossy(server_name).into(),
        };
        Some(ProxyStatus { name, tells_details: !remove_details, tells_flags: !remove_response_flags })
    })
}

// --- enums ---

fn codec(reader: &mut Reader, value: i32) -> Codec {
    use hcm::http_connection_manager::CodecType;
    match reader.choice("codec_type", value) {
        CodecType::Auto => Codec::Auto,
        CodecType::Http1 => Codec::Http1,
        CodecType::Http2 => Codec::Http2,
        CodecType::Http3 => {
            reader.fault_at("codec_type", "HTTP3 is not supported");
            Codec::Auto
        }
    }
}

fn server_header(reader: &mut Reader, value: i32) -> ServerHeader {
    use hcm::http_connection_manager::ServerHeaderTransformation as Transformation;
    match reader.choice("server_header_transformation", value) {
        Transformation::Overwrite => ServerHeader::Overwrite,
        Transformation::AppendIfAbsent => ServerHeader::AppendIfAbsent,
        Transformation::PassThrough => ServerHeader::PassThrough,
    }
}

fn escaped_slashes(reader: &mut Reader, value: i32) -> EscapedSlashes {
    use hcm::http_connection_manager::PathWithEscapedSlashesAction as Action;
    match reader.choice("path_with_escaped_slashes_action", value) {
        // Envoy's own default is to keep them.
        Action::ImplementationSpecificDefault | Action::KeepUnchanged => EscapedSlashes::Keep,
        Action::RejectRequest => EscapedSlashes::Reject,
        Action::UnescapeAndRedirect => EscapedSlashes::UnescapeAndRedirect,
        Action::UnescapeAndForward => EscapedSlashes::UnescapeAndForward,
    }
}

fn forward_client_cert(reader: &mut Reader, value: i32) -> ForwardClientCert {
    use hcm::http_connection_manager::ForwardClientCertDetails as Details;
    match reader.choice("forward_client_cert_details", value) {
        Details::Sanitize => ForwardClientCert::Sanitize,
        Details::ForwardOnly => ForwardClientCert::ForwardOnly,
        Details::AppendForward => ForwardClientCert::AppendForward,
        Details::SanitizeSet => ForwardClientCert::SanitizeSet,
        Details::AlwaysForwardOnly => ForwardClientCert::AlwaysForwardOnly,
    }
}

fn client_cert_details(
    wanted: Option<hcm::http_connection_manager::SetCurrentClientCertDetails>,
) -> ClientCertDetails {
    let hcm::http_connection_manager::SetCurrentClientCertDetails { subject, cert, chain, dns, uri } =
        wanted.unwrap_or_default();
    ClientCertDetails { subject: subject.unwrap_or(false), cert, chain, dns, uri }
}

// --- parts ---

fn internal_cidrs(
    reader: &mut Reader,
    config: Option<hcm::http_connection_manager::InternalAddressConfig>,
) -> Vec<ipnet::IpNet> {
    let Some(hcm::http_connection_manager::InternalAddressConfig { unix_sockets, cidr_ranges }) = config
    else {
        return Vec::new();
    };
    reader.at("internal_address_config", |reader| {
        refuse!(reader, unix_sockets);
        cidrs(reader, "cidr_ranges", cidr_ranges)
    })
}

/// `upgrade_configs`: the types that are on, in lower case.
fn upgrades(reader: &mut Reader, configs: Vec<hcm::http_connection_manager::UpgradeConfig>) -> Vec<Box<str>> {
    let made = reader.each("upgrade_configs", configs, |reader, config| {
        let hcm::http_connection_manager::UpgradeConfig { upgrade_type, filters, enabled } = config;
        refuse!(reader, filters);
        reader.text("upgrade_type", &upgrade_type);
        Some((upgrade_type.to_ascii_lowercase().into_boxed_str(), enabled.unwrap_or(true)))
    });
    for (index, (name, _)) in made.iter().enumerate() {
        if made[..index].iter().any(|(other, _)| other == name) {
            reader.fault_at(&format!("upgrade_configs[{index}]"), format!("{name} is given twice"));
        }
    }
    made.into_iter().filter(|(_, enabled)| *enabled).map(|(name, _)| name).collect()
}

/// `request_id_extension`: UUIDs, as without one.
fn request_id(reader: &mut Reader, extension: Option<hcm::RequestIdExtension>) {
    let Some(hcm::RequestIdExtension { typed_config }) = extension else { return };
    reader.at("request_id_extension", |reader| {
        reader.required("typed_config", typed_config, |reader, any| {
            if type_name(&any) != "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig" {
                reader.unknown(&any);
                return None;
            }
            let uuid::UuidRequestIdConfig { pack_trace_reason, use_request_id_for_trace_sampling } =
                reader.unpack(&any)?;
            ignore!("nothing is traced", pack_trace_reason, use_request_id_for_trace_sampling);
            Some(())
        })
    });
}

// --- routes ---

fn route_source(
    reader: &mut Reader,
    specifier: Option<hcm::http_connection_manager::RouteSpecifier>,
) -> Option<RouteSource> {
    use hcm::http_connection_manager::RouteSpecifier;
    match specifier {
        Some(RouteSpecifier::Rds(hcm::Rds { config_source, route_config_name })) => {
            reader.at("rds", |reader| {
                reader.required("config_source", config_source, by_ads);
                reader.text("route_config_name", &route_config_name);
                Some(RouteSource::Rds(route_config_name.into()))
            })
        }
        Some(RouteSpecifier::RouteConfig(config)) => {
            reader.at("route_config", |reader| virtual_host::inline(reader, config)).map(RouteSource::Inline)
        }
        Some(RouteSpecifier::ScopedRoutes(scoped)) => {
            reader.at("scoped_routes", |reader| scoped_routes(reader, scoped))
        }
        None => {
            reader.fault("has neither rds, route_config nor scoped_routes");
            None
        }
    }
}

fn scoped_routes(reader: &mut Reader, scoped: hcm::ScopedRoutes) -> Option<RouteSource> {
    use hcm::scoped_routes::{ConfigSpecifier, ScopeKeyBuilder};
    let hcm::ScopedRoutes { name, scope_key_builder, rds_config_source, config_specifier } = scoped;
    ignore!("statistics", name);
    reader.required("rds_config_source", rds_config_source, by_ads);
    match config_specifier {
        Some(ConfigSpecifier::ScopedRds(scoped)) => reader.at("scoped_rds", |reader| {
            let hcm::ScopedRds { scoped_rds_config_source, srds_resources_locator } = scoped;
            refuse!(reader, srds_resources_locator);
            reader.required("scoped_rds_config_source", scoped_rds_config_source, by_ads);
        }),
        Some(ConfigSpecifier::ScopedRouteConfigurationsList(_)) => {
            reader.fault_at("scoped_route_configurations_list", "is not supported; use scoped_rds");
        }
        None => reader.fault_at("scoped_rds", "is required"),
    }
    reader.required("scope_key_builder", scope_key_builder, |reader, ScopeKeyBuilder { fragments }| {
        if fragments.len() != 1 {
            reader.fault_at("fragments", "exactly one is supported");
        }
        reader.each("fragments", fragments, key_of).into_iter().next()
    })
}

fn key_of(
    reader: &mut Reader,
    fragment: hcm::scoped_routes::scope_key_builder::FragmentBuilder,
) -> Option<RouteSource> {
    use hcm::scoped_routes::scope_key_builder::fragment_builder::{
        HeaderValueExtractor, Type, header_value_extractor::ExtractType,
    };
    let Some(Type::HeaderValueExtractor(extractor)) = fragment.r#type else {
        reader.fault("is empty");
        return None;
    };
    reader.at("header_value_extractor", |reader| {
        let HeaderValueExtractor { name, element_separator, extract_type } = extractor;
        let header = looked_up_name(reader, "name", &name);
        let index = match extract_type {
            Some(ExtractType::Index(index)) => index,
            Some(ExtractType::Element(_)) => {
                reader.fault_at("element", "is not supported; use index");
                0
            }
            None => 0,
        };
        if element_separator.is_empty() && index > 0 {
            reader.fault_at("index", "needs an element_separator");
        }
        Some(RouteSource::Scoped { header, separator: element_separator.into_bytes().into(), index })
    })
}

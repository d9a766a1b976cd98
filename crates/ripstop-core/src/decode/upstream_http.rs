//! How HTTP is spoken to a cluster: `HttpProtocolOptions`, or the fields of `Cluster` that it has taken the place of.
use super::http_options;
use super::reader::{Reader, type_name};
use crate::snapshot::UpstreamProtocol;
use prost_types::Any;
use ripstop_xds::envoy::config::cluster::v3 as proto;
use ripstop_xds::envoy::config::core::v3 as core;
use ripstop_xds::envoy::extensions::upstreams::http::v3 as upstreams;
use std::collections::BTreeMap;

const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// The fields that `HttpProtocolOptions` has taken the place of.
pub(super) struct OldOptions {
    pub(super) common: Option<core::HttpProtocolOptions>,
    pub(super) http1: Option<core::Http1ProtocolOptions>,
    pub(super) http2: Option<core::Http2ProtocolOptions>,
    pub(super) selection: i32,
}

/// What is spoken to the upstream, and how.
pub(super) struct Http {
    pub(super) common: http_options::Common,
    pub(super) protocol: UpstreamProtocol,
}

/// The options of a cluster: those of `HttpProtocolOptions` where they are given, else the older fields.
pub(super) fn http(reader: &mut Reader, mut options: BTreeMap<String, Any>, old: OldOptions) -> Http {
    let found = options.remove(HTTP_OPTIONS);
    for name in options.keys() {
        reader.fault_at(&format!("typed_extension_protocol_options[{name}]"), "is not supported");
    }
    let made = found.and_then(|any| {
        reader.at(&format!("typed_extension_protocol_options[{HTTP_OPTIONS}]"), |reader| {
            if type_name(&any) != HTTP_OPTIONS {
                reader.unknown(&any);
                return None;
            }
            let config = reader.unpack(&any)?;
            Some(typed_options(reader, config))
        })
    });
    made.unwrap_or_else(|| old_options(reader, old))
}

fn old_options(reader: &mut Reader, old: OldOptions) -> Http {
    use proto::cluster::ClusterProtocolSelection as Selection;
    let OldOptions { common, http1, http2, selection } = old;
    let is_http2 = http2.is_some();
    let first = http_options::http1(reader, "http_protocol_options", http1);
    let second = http_options::http2(reader, "http2_protocol_options", http2);
    let protocol = match reader.choice("protocol_selection", selection) {
        Selection::UseDownstreamProtocol => UpstreamProtocol::AsDownstream(first, Box::new(second)),
        Selection::UseConfiguredProtocol if is_http2 => UpstreamProtocol::Http2(Box::new(second)),
        Selection::UseConfiguredProtocol => UpstreamProtocol::Http1(first),
    };
    Http { common: http_options::common(reader, common), protocol }
}

fn typed_options(reader: &mut Reader, options: upstreams::HttpProtocolOptions) -> Http {
    let upstreams::HttpProtocolOptions {
        common_http_protocol_options,
        upstream_http_protocol_options,
        http_filters,
        header_validation_config,
        outlier_detection,
        request_mirror_policies,
        hash_policy,
        retry_policy,
        upstream_protocol_options,
    } = options;
    refuse!(reader, header_validation_config, outlier_detection, request_mirror_policies, hash_policy);
    refuse!(reader, retry_policy);
    upstream_filters(reader, http_filters);
    if let Some(options) = upstream_http_protocol_options {
        reader.at("upstream_http_protocol_options", |reader| automatic_sni(reader, options));
    }
    Http {
        common: http_options::common(reader, common_http_protocol_options),
        protocol: protocol(reader, upstream_protocol_options),
    }
}

/// The codec filter that ends upstream filters in Envoy says nothing; others are refused.
fn upstream_filters(
    reader: &mut Reader,
    filters: Vec<ripstop_xds::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter>,
) {
    use ripstop_xds::envoy::extensions::filters::network::http_connection_manager::v3::http_filter::ConfigType;
    reader.each("http_filters", filters, |reader, filter| -> Option<()> {
        match filter.config_type {
            Some(ConfigType::TypedConfig(any))
                if type_name(&any) == "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec" => {}
            _ => reader.fault("is not supported"),
        }
        None
    });
}

fn protocol(
    reader: &mut Reader,
    options: Option<upstreams::http_protocol_options::UpstreamProtocolOptions>,
) -> UpstreamProtocol {
    use upstreams::http_protocol_options::{
        AutoHttpConfig, ExplicitHttpConfig, UpstreamProtocolOptions as Options, UseDownstreamHttpConfig,
        explicit_http_config::ProtocolConfig,
    };
    match options {
        Some(Options::ExplicitHttpConfig(ExplicitHttpConfig { protocol_config })) => {
            reader.at("explicit_http_config", |reader| match protocol_config {
                Some(ProtocolConfig::HttpProtocolOptions(options)) => UpstreamProtocol::Http1(
                    http_options::http1(reader, "http_protocol_options", Some(options)),
                ),
                Some(ProtocolConfig::Http2ProtocolOptions(options)) => {
                    let options = http_options::http2(reader, "http2_protocol_options", Some(options));
                    UpstreamProtocol::Http2(Box::new(options))
                }
                Some(ProtocolConfig::Http3ProtocolOptions(_)) => {
                    reader.fault_at("http3_protocol_options", "is not supported");
                    UpstreamProtocol::Http1(Default::default())
                }
                None => {
                    reader.fault("is empty");
                    UpstreamProtocol::Http1(Default::default())
                }
            })
        }
        Some(Options::UseDownstreamProtocolConfig(config)) => {
            let UseDownstreamHttpConfig {
                http_protocol_options,
                http2_protocol_options,
                http3_protocol_options,
            } = config;
            reader.at("use_downstream_protocol_config", |reader| {
                refuse!(reader, http3_protocol_options);
                let first = http_options::http1(reader, "http_protocol_options", http_protocol_options);
                let second = http_options::http2(reader, "http2_protocol_options", http2_protocol_options);
                UpstreamProtocol::AsDownstream(first, Box::new(second))
            })
        }
        Some(Options::AutoConfig(config)) => {
            let AutoHttpConfig {
                http_protocol_options,
                http2_protocol_options,
                http3_protocol_options,
                alternate_protocols_cache_options,
            } = config;
            reader.at("auto_config", |reader| {
                refuse!(reader, http3_protocol_options, alternate_protocols_cache_options);
                let first = http_options::http1(reader, "http_protocol_options", http_protocol_options);
                let second = http_options::http2(reader, "http2_protocol_options", http2_protocol_options);
                UpstreamProtocol::Auto(first, Box::new(second))
            })
        }
        None => {
            reader.fault("says neither explicit_http_config, use_downstream_protocol_config nor auto_config");
            UpstreamProtocol::Http1(Default::default())
        }
    }
}

/// `UpstreamHttpProtocolOptions`: SNI by the request's host, which is not done.
pub(super) fn automatic_sni(reader: &mut Reader, options: core::UpstreamHttpProtocolOptions) {
    let core::UpstreamHttpProtocolOptions { auto_sni, auto_san_validation, override_auto_sni_header } =
        options;
    refuse!(reader, auto_sni, auto_san_validation, override_auto_sni_header);
}

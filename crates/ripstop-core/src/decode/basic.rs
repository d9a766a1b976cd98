//! Small messages that many others hold: addresses, shares, data sources, metadata, sources of configuration.
use super::reader::Reader;
use crate::snapshot::{Address, Locality, Metadata, MetadataValue, Millionths};
use ipnet::IpNet;
use ripstop_xds::envoy::config::core::v3 as core;
use ripstop_xds::envoy::r#type::v3 as kinds;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// An address whose host is an IP address, or a socket in the file system.
pub(super) fn resolved_address(reader: &mut Reader, address: core::Address) -> Option<Address> {
    let found = any_address(reader, address)?;
    if let Address::Name(name, _) = &found {
        reader.fault_at("socket_address.address", format!("'{name}' is not an IP address"));
        return None;
    }
    Some(found)
}

/// An address; a host that is no IP address is a name to look up.
pub(super) fn any_address(reader: &mut Reader, address: core::Address) -> Option<Address> {
    let core::Address { address } = address;
    match address {
        Some(core::address::Address::SocketAddress(socket)) => {
            reader.at("socket_address", |reader| socket_address(reader, socket))
        }
        Some(core::address::Address::Pipe(core::Pipe { path, mode })) => {
            ignore!("the mode of a socket that is listened on is the umask's", mode);
            reader.at("pipe", |reader| reader.text("path", &path));
            Some(Address::Pipe(path.into()))
        }
        Some(core::address::Address::EnvoyInternalAddress(_)) => {
            reader.fault_at("envoy_internal_address", "is not supported");
            None
        }
        None => {
            reader.fault("is empty");
            None
        }
    }
}

fn socket_address(reader: &mut Reader, socket: core::SocketAddress) -> Option<Address> {
    use core::socket_address::{PortSpecifier, Protocol};
    let core::SocketAddress {
        protocol,
        address,
        resolver_name,
        ipv4_compat,
        network_namespace_filepath,
        port_specifier,
    } = socket;
    refuse!(reader, resolver_name, ipv4_compat, network_namespace_filepath);
    if reader.choice::<Protocol>("protocol", protocol) != Protocol::Tcp {
        reader.fault_at("protocol", "UDP is not supported");
    }
    reader.text("address", &address);
    let port = match port_specifier {
        Some(PortSpecifier::PortValue(port)) => reader.port("port_value", port),
        Some(PortSpecifier::NamedPort(_)) => {
            reader.fault_at("named_port", "is not supported");
            return None;
        }
        None => {
            reader.fault_at("port_value", "is required");
            return None;
        }
    };
    Some(match address.parse::<IpAddr>() {
        Ok(ip) => Address::Socket(SocketAddr::new(ip, port)),
        Err(_) => Address::Name(address.into(), port),
    })
}

/// A `CidrRange`; bits beyond the prefix do not count.
pub(super) fn cidr(reader: &mut Reader, range: core::CidrRange) -> Option<IpNet> {
    let core::CidrRange { address_prefix, prefix_len } = range;
    let Ok(address) = address_prefix.parse::<IpAddr>() else {
        reader.fault_at("address_prefix", format!("'{address_prefix}' is not an IP address"));
        return None;
    };
    let bits = prefix_len.unwrap_or(0);
    let net = u8::try_from(bits).ok().and_then(|bits| IpNet::new(address, bits).ok());
    if net.is_none() {
        reader.fault_at("prefix_len", format!("{bits} is too long for {address}"));
    }
    net.map(|net| net.trunc())
}

/// A `Percent`.
pub(super) fn percent_or(
    reader: &mut Reader,
    field: &str,
    value: Option<kinds::Percent>,
    default: f64,
) -> f64 {
    match value {
        Some(kinds::Percent { value }) => reader.within(field, value, 0.0, 100.0),
        None => default,
    }
}

/// A `FractionalPercent`; more than everything is everything.
pub(super) fn fraction(reader: &mut Reader, share: kinds::FractionalPercent) -> Millionths {
    use kinds::fractional_percent::DenominatorType;
    let kinds::FractionalPercent { numerator, denominator } = share;
    let scale = match reader.choice("denominator", denominator) {
        DenominatorType::Hundred => 10_000,
        DenominatorType::TenThousand => 100,
        DenominatorType::Million => 1,
    };
    Millionths(numerator.saturating_mul(scale).min(Millionths::ALL.0))
}

/// A `FractionalPercent` that may be missing.
pub(super) fn fraction_or(
    reader: &mut Reader,
    field: &str,
    share: Option<kinds::FractionalPercent>,
    default: Millionths,
) -> Millionths {
    reader.at(field, |reader| share.map_or(default, |share| fraction(reader, share)))
}

/// A `RuntimeFractionalPercent` that may be missing.
pub(super) fn runtime_fraction_or(
    reader: &mut Reader,
    field: &str,
    share: Option<core::RuntimeFractionalPercent>,
    default: Millionths,
) -> Millionths {
    let Some(core::RuntimeFractionalPercent { default_value, runtime_key }) = share else {
        return default;
    };
    ignore!("there is no runtime; the default always holds", runtime_key);
    reader.at(field, |reader| match default_value {
        Some(share) => reader.at("default_value", |reader| fraction(reader, share)),
        None => {
            reader.fault_at("default_value", "is required");
            default
        }
    })
}

/// A `RuntimeDouble` that may be missing.
pub(super) fn runtime_double_or(value: Option<core::RuntimeDouble>, default: f64) -> f64 {
    let Some(core::RuntimeDouble { default_value, runtime_key }) = value else { return default };
    ignore!("there is no runtime; the default always holds", runtime_key);
    default_value
}

/// The bytes of a `DataSource`.
pub(super) fn data(reader: &mut Reader, source: core::DataSource) -> Option<Vec<u8>> {
    use core::data_source::Specifier;
    let core::DataSource { watched_directory, specifier } = source;
    refuse!(reader, watched_directory);
    let read = match specifier {
        Some(Specifier::InlineBytes(bytes)) => return Some(bytes),
        Some(Specifier::InlineString(text)) => return Some(text.into_bytes()),
        Some(Specifier::Filename(path)) => ("filename", reader.files.read(&path)),
        Some(Specifier::EnvironmentVariable(name)) => {
            ("environment_variable", reader.files.environment(&name).map(String::into_bytes))
        }
        None => {
            reader.fault("is empty");
            return None;
        }
    };
    read.1.map_err(|problem| reader.fault_at(read.0, problem)).ok()
}

/// A `DataSource` of text.
pub(super) fn text(reader: &mut Reader, source: core::DataSource) -> Option<String> {
    let bytes = data(reader, source)?;
    String::from_utf8(bytes).map_err(|_| reader.fault("is not UTF-8")).ok()
}

/// A `Locality`.
pub(super) fn locality(place: core::Locality) -> Locality {
    let core::Locality { region, zone, sub_zone } = place;
    Locality { region: region.into(), zone: zone.into(), sub_zone: sub_zone.into() }
}

/// `filter_metadata`.
pub(super) fn metadata(metadata: Option<core::Metadata>) -> Metadata {
    let Some(core::Metadata { filter_metadata, typed_filter_metadata }) = metadata else {
        return Metadata::default();
    };
    ignore!("metadata is for logs and matchers, which look at the untyped one", typed_filter_metadata);
    Metadata(filter_metadata.into_iter().map(|(filter, fields)| (filter, structure(fields))).collect())
}

/// A `google.protobuf.Struct`. How deep it is nested is bounded by the parser of messages (100).
pub(super) fn structure(fields: prost_types::Struct) -> HashMap<String, MetadataValue> {
    let prost_types::Struct { fields } = fields;
    fields.into_iter().map(|(key, value)| (key, value_of(value))).collect()
}

fn value_of(value: prost_types::Value) -> MetadataValue {
    use prost_types::value::Kind;
    match value.kind {
        None | Some(Kind::NullValue(_)) => MetadataValue::Null,
        Some(Kind::BoolValue(value)) => MetadataValue::Bool(value),
        Some(Kind::NumberValue(value)) => MetadataValue::Number(value),
        Some(Kind::StringValue(value)) => MetadataValue::Text(value),
        Some(Kind::ListValue(list)) => MetadataValue::List(list.values.into_iter().map(value_of).collect()),
        Some(Kind::StructValue(fields)) => MetadataValue::Struct(structure(fields)),
    }
}

/// Where configuration comes from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Source {
    /// The aggregated stream.
    Ads,
    /// A gRPC service at this cluster.
    Cluster(Arc<str>),
}

/// A `ConfigSource` that is the aggregated stream.
pub(super) fn by_ads(reader: &mut Reader, source: core::ConfigSource) -> Option<()> {
    match config_source(reader, source)? {
        Source::Ads => Some(()),
        Source::Cluster(_) => {
            reader.fault_at("api_config_source", "is not supported here; use ads");
            None
        }
    }
}

/// A `ConfigSource`.
pub(super) fn config_source(reader: &mut Reader, source: core::ConfigSource) -> Option<Source> {
    use core::config_source::ConfigSourceSpecifier as Specifier;
    let core::ConfigSource {
        authorities,
        initial_fetch_timeout,
        resource_api_version,
        config_source_specifier,
    } = source;
    refuse!(reader, authorities);
    ignore!("what waits for a resource is not used without it; there is no giving up", initial_fetch_timeout);
    api_version(reader, "resource_api_version", resource_api_version);
    match config_source_specifier {
        Some(Specifier::Ads(core::AggregatedConfigSource {})) => Some(Source::Ads),
        Some(Specifier::ApiConfigSource(api)) => reader
            .at("api_config_source", |reader| api_source(reader, api))
            .map(|api| Source::Cluster(api.cluster)),
        Some(Specifier::Path(_)) => not_here(reader, "path"),
        Some(Specifier::PathConfigSource(_)) => not_here(reader, "path_config_source"),
        Some(Specifier::Self_(_)) => not_here(reader, "self"),
        None => {
            reader.fault("is empty");
            None
        }
    }
}

fn not_here(reader: &mut Reader, field: &str) -> Option<Source> {
    reader.fault_at(field, "is not supported");
    None
}

fn api_version(reader: &mut Reader, field: &str, version: i32) {
    if reader.choice::<core::ApiVersion>(field, version) == core::ApiVersion::V2 {
        reader.fault_at(field, "V2 is not supported");
    }
}

/// An `ApiConfigSource`: a gRPC service at a cluster.
pub(super) struct Api {
    pub(super) cluster: Arc<str>,
    pub(super) is_delta: bool,
}

/// A gRPC service at a cluster of the bootstrap.
pub(super) fn api_source(reader: &mut Reader, api: core::ApiConfigSource) -> Option<Api> {
    use core::api_config_source::ApiType;
    let core::ApiConfigSource {
        api_type,
        transport_api_version,
        cluster_names,
        grpc_services,
        refresh_delay,
        request_timeout,
        rate_limit_settings,
        set_node_on_first_message_only,
        config_validators,
    } = api;
    refuse!(reader, cluster_names, config_validators);
    ignore!("of REST only", refresh_delay, request_timeout);
    ignore!("the client is sparing by itself; the node is sent with the first message", rate_limit_settings);
    ignore!("as above", set_node_on_first_message_only);
    api_version(reader, "transport_api_version", transport_api_version);
    let is_delta = match reader.choice("api_type", api_type) {
        ApiType::Grpc | ApiType::AggregatedGrpc => false,
        ApiType::DeltaGrpc | ApiType::AggregatedDeltaGrpc => true,
        ApiType::Rest | ApiType::DeprecatedAndUnavailableDoNotUse => {
            reader.fault_at("api_type", "only GRPC and DELTA_GRPC are supported");
            false
        }
    };
    if grpc_services.len() != 1 {
        reader.fault_at("grpc_services", "exactly one is supported");
    }
    let found = reader.each("grpc_services", grpc_services, grpc_service);
    found.into_iter().next().map(|cluster| Api { cluster, is_delta })
}

fn grpc_service(reader: &mut Reader, service: core::GrpcService) -> Option<Arc<str>> {
    use core::grpc_service::{EnvoyGrpc, TargetSpecifier};
    let core::GrpcService { timeout, initial_metadata, retry_policy, target_specifier } = service;
    refuse!(reader, initial_metadata);
    ignore!("the stream lasts; the client reconnects with a back-off of its own", timeout, retry_policy);
    match target_specifier {
        Some(TargetSpecifier::EnvoyGrpc(grpc)) => reader.at("envoy_grpc", |reader| {
            let EnvoyGrpc {
                cluster_name,
                authority,
                retry_policy,
                max_receive_message_length,
                skip_envoy_headers,
            } = grpc;
            refuse!(reader, authority, max_receive_message_length);
            ignore!(
                "the client has its own back-off, and sends no Envoy headers",
                retry_policy,
                skip_envoy_headers
            );
            reader.text("cluster_name", &cluster_name);
            Some(cluster_name.into())
        }),
        Some(TargetSpecifier::GoogleGrpc(_)) => {
            reader.fault_at("google_grpc", "is not supported; use envoy_grpc");
            None
        }
        None => {
            reader.fault("is empty");
            None
        }
    }
}

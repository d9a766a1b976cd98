//! Tests of the client's side of xDS, with real messages.
mod protocol;
mod warming;

use super::*;
use crate::decode::{self, NoFiles};
use crate::snapshot::Snapshot;
use crate::time::Time;
use prost::{Message, Name};
use prost_types::Any;
use ripstop_xds::envoy::config::cluster::v3 as cluster;
use ripstop_xds::envoy::config::core::v3 as core;
use ripstop_xds::envoy::config::endpoint::v3 as endpoint;
use ripstop_xds::envoy::config::listener::v3 as listener;
use ripstop_xds::envoy::config::route::v3 as route;
use ripstop_xds::envoy::extensions::filters::http::router::v3::Router;
use ripstop_xds::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use ripstop_xds::envoy::extensions::transport_sockets::tls::v3 as tls;

/// Reads by `decode`; refuses whatever is called `bad…`.
struct Strict;

impl Decoder for Strict {
    fn decode(&mut self, kind: Kind, bytes: &[u8]) -> Result<Decoded, (String, String)> {
        let decoded =
            match kind {
                Kind::Secret => {
                    decode::secret(bytes, &NoFiles).map(|(name, secret)| Decoded::Secret(name, secret))
                }
                Kind::Cluster => decode::cluster(bytes, &NoFiles).map(Decoded::Cluster),
                Kind::Endpoint => decode::load_assignment(bytes).map(Decoded::Endpoint),
                Kind::Listener => decode::listener(bytes, &NoFiles).map(Decoded::Listener),
                Kind::Route => decode::route_configuration(bytes).map(Decoded::Route),
                Kind::ScopedRoute => decode::scoped_route(bytes)
                    .map(|(key, route, name)| Decoded::ScopedRoute { name, key, route }),
            };
        decoded.map_err(|refused| (refused.resource.clone(), refused.to_string()))
    }
}

fn resource(name: &str, message: &impl Message) -> RawResource {
    RawResource { name: name.to_owned(), version: "1".to_owned(), bytes: message.encode_to_vec() }
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

fn ads() -> Option<core::ConfigSource> {
    use core::config_source::ConfigSourceSpecifier;
    Some(core::ConfigSource {
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(core::AggregatedConfigSource::default())),
        resource_api_version: core::ApiVersion::V3 as i32,
        ..Default::default()
    })
}

fn packed<M: Message + Name>(message: &M) -> Any {
    Any { type_url: format!("type.googleapis.com/{}", M::full_name()), value: message.encode_to_vec() }
}

/// A cluster by EDS; `connect_s` makes it another than before.
fn eds_cluster(name: &str, connect_s: i64) -> RawResource {
    let eds = cluster::cluster::EdsClusterConfig { eds_config: ads(), service_name: String::new() };
    let made = cluster::Cluster {
        name: name.to_owned(),
        connect_timeout: seconds(connect_s),
        eds_cluster_config: Some(eds),
        cluster_discovery_type: Some(cluster::cluster::ClusterDiscoveryType::Type(
            cluster::cluster::DiscoveryType::Eds as i32,
        )),
        ..Default::default()
    };
    resource(name, &made)
}

/// A cluster whose TLS needs a secret by ADS.
fn tls_cluster(name: &str, secret: &str) -> RawResource {
    let config = tls::SdsSecretConfig { name: secret.to_owned(), sds_config: ads() };
    let context = tls::UpstreamTlsContext {
        common_tls_context: Some(tls::CommonTlsContext {
            tls_certificate_sds_secret_configs: vec![config],
            ..Default::default()
        }),
        ..Default::default()
    };
    let socket = core::TransportSocket {
        name: "tls".to_owned(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(packed(&context))),
    };
    let made = cluster::Cluster {
        name: name.to_owned(),
        transport_socket: Some(socket),
        load_assignment: Some(assignment(name, 1)),
        ..Default::default()
    };
    resource(name, &made)
}

fn aggregate(name: &str, members: &[&str]) -> RawResource {
    use ripstop_xds::envoy::extensions::clusters::aggregate::v3::ClusterConfig;
    let config = ClusterConfig { clusters: members.iter().map(|m| (*m).to_owned()).collect() };
    let custom = cluster::cluster::CustomClusterType {
        name: "envoy.clusters.aggregate".to_owned(),
        typed_config: Some(packed(&config)),
    };
    let made = cluster::Cluster {
        name: name.to_owned(),
        lb_policy: cluster::cluster::LbPolicy::ClusterProvided as i32,
        cluster_discovery_type: Some(cluster::cluster::ClusterDiscoveryType::ClusterType(custom)),
        ..Default::default()
    };
    resource(name, &made)
}

fn address(port: u16) -> Option<core::Address> {
    let socket = core::SocketAddress {
        address: "127.0.0.1".to_owned(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port.into())),
        ..Default::default()
    };
    Some(core::Address { address: Some(core::address::Address::SocketAddress(socket)) })
}

fn assignment(name: &str, port: u16) -> endpoint::ClusterLoadAssignment {
    let one = endpoint::Endpoint { address: address(port), ..Default::default() };
    let one = endpoint::LbEndpoint {
        host_identifier: Some(endpoint::lb_endpoint::HostIdentifier::Endpoint(one)),
        ..Default::default()
    };
    endpoint::ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: vec![endpoint::LocalityLbEndpoints { lb_endpoints: vec![one], ..Default::default() }],
        ..Default::default()
    }
}

fn endpoints(name: &str, port: u16) -> RawResource {
    resource(name, &assignment(name, port))
}

fn secret(name: &str) -> RawResource {
    let data = |text: &str| {
        let text = core::data_source::Specifier::InlineString(text.to_owned());
        Some(core::DataSource { specifier: Some(text), ..Default::default() })
    };
    let pair = tls::TlsCertificate {
        certificate_chain: data("-----BEGIN CERTIFICATE-----"),
        private_key: data("-----BEGIN PRIVATE KEY-----"),
        ..Default::default()
    };
    let made = tls::Secret { name: name.to_owned(), r#type: Some(tls::secret::Type::TlsCertificate(pair)) };
    resource(name, &made)
}

fn manager(routes: hcm::http_connection_manager::RouteSpecifier) -> hcm::HttpConnectionManager {
    let router = hcm::HttpFilter {
        name: "router".to_owned(),
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(packed(&Router::default()))),
        ..Default::default()
    };
    hcm::HttpConnectionManager {
        stat_prefix: "in".to_owned(),
        http_filters: vec![router],
        route_specifier: Some(routes),
        ..Default::default()
    }
}

fn listener_of(name: &str, manager: &hcm::HttpConnectionManager) -> RawResource {
    let filter = listener::Filter {
        name: "http".to_owned(),
        config_type: Some(listener::filter::ConfigType::TypedConfig(packed(manager))),
    };
    let chain = listener::FilterChain { filters: vec![filter], ..Default::default() };
    let made = listener::Listener {
        name: name.to_owned(),
        address: address(8080),
        filter_chains: vec![chain],
        ..Default::default()
    };
    resource(name, &made)
}

fn rds_listener(name: &str, routes: &str) -> RawResource {
    let rds = hcm::Rds { config_source: ads(), route_config_name: routes.to_owned() };
    listener_of(name, &manager(hcm::http_connection_manager::RouteSpecifier::Rds(rds)))
}

fn scoped_listener(name: &str) -> RawResource {
    use hcm::scoped_routes::scope_key_builder::fragment_builder::header_value_extractor as extractor;
    use hcm::scoped_routes::scope_key_builder::{FragmentBuilder, fragment_builder as builder};
    let element = extractor::ExtractType::Index(0);
    let header = builder::HeaderValueExtractor {
        name: ":authority".to_owned(),
        element_separator: ":".to_owned(),
        extract_type: Some(element),
    };
    let fragment = FragmentBuilder { r#type: Some(builder::Type::HeaderValueExtractor(header)) };
    let scoped = hcm::ScopedRoutes {
        name: "scoped".to_owned(),
        scope_key_builder: Some(hcm::scoped_routes::ScopeKeyBuilder { fragments: vec![fragment] }),
        rds_config_source: ads(),
        config_specifier: Some(hcm::scoped_routes::ConfigSpecifier::ScopedRds(hcm::ScopedRds {
            scoped_rds_config_source: ads(),
            ..Default::default()
        })),
    };
    listener_of(name, &manager(hcm::http_connection_manager::RouteSpecifier::ScopedRoutes(scoped)))
}

fn scope(name: &str, key: &str, routes: &str) -> RawResource {
    use route::scoped_route_configuration::{Key, key::Fragment, key::fragment::Type};
    let fragment = Fragment { r#type: Some(Type::StringKey(key.to_owned())) };
    let made = route::ScopedRouteConfiguration {
        name: name.to_owned(),
        route_configuration_name: routes.to_owned(),
        key: Some(Key { fragments: vec![fragment] }),
        ..Default::default()
    };
    resource(name, &made)
}

/// Routes that lead to one cluster.
fn routes(name: &str, to: &str) -> RawResource {
    let action = route::RouteAction {
        cluster_specifier: Some(route::route_action::ClusterSpecifier::Cluster(to.to_owned())),
        ..Default::default()
    };
    let prefix = route::RouteMatch {
        path_specifier: Some(route::route_match::PathSpecifier::Prefix("/".to_owned())),
        ..Default::default()
    };
    let forward = route::Route {
        r#match: Some(prefix),
        action: Some(route::route::Action::Route(action)),
        ..Default::default()
    };
    let host = route::VirtualHost {
        name: "all".to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![forward],
        ..Default::default()
    };
    let made =
        route::RouteConfiguration { name: name.to_owned(), virtual_hosts: vec![host], ..Default::default() };
    resource(name, &made)
}

fn put(store: &mut Store, kind: Kind, resources: Vec<RawResource>) -> Outcome {
    let apply = Apply { kind, resources, removed: Vec::new(), is_whole: false };
    store.apply(apply, &mut Strict, Time(0))
}

fn remove(store: &mut Store, kind: Kind, name: &str) {
    let apply = Apply { kind, resources: Vec::new(), removed: vec![name.to_owned()], is_whole: false };
    store.apply(apply, &mut Strict, Time(0));
}

/// The newest snapshot.
fn settled(store: &mut Store) -> std::sync::Arc<Snapshot> {
    store.settle(Time(0));
    store.snapshot().clone()
}

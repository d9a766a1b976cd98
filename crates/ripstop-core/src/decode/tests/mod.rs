//! Tests of the decoder: what is taken with which defaults, what is refused and how it is named.
mod bootstraps;
mod clusters;
mod filters;
mod hostile;
mod listeners;
mod routes;

use super::*;
use prost::{Message, Name};
use prost_types::Any;
use ripstop_xds::envoy::config::core::v3 as core;
use ripstop_xds::envoy::config::route::v3 as route;
use ripstop_xds::envoy::extensions::filters::http::router::v3::Router;
use ripstop_xds::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;

/// A message as `typed_config`.
fn packed<M: Message + Name>(message: &M) -> Any {
    Any { type_url: format!("type.googleapis.com/{}", M::full_name()), value: message.encode_to_vec() }
}

fn foreign(name: &str) -> Any {
    Any { type_url: format!("type.googleapis.com/{name}"), value: Vec::new() }
}

fn address(host: &str, port: u32) -> core::Address {
    use core::socket_address::PortSpecifier;
    let socket = core::SocketAddress {
        address: host.to_owned(),
        port_specifier: Some(PortSpecifier::PortValue(port)),
        ..Default::default()
    };
    core::Address { address: Some(core::address::Address::SocketAddress(socket)) }
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

fn to_cluster(name: &str) -> route::RouteAction {
    use route::route_action::ClusterSpecifier;
    route::RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(name.to_owned())),
        ..Default::default()
    }
}

fn prefix(prefix: &str) -> Option<route::RouteMatch> {
    use route::route_match::PathSpecifier;
    Some(route::RouteMatch {
        path_specifier: Some(PathSpecifier::Prefix(prefix.to_owned())),
        ..Default::default()
    })
}

/// One virtual host for everything, with one route to `service`.
fn routes() -> route::RouteConfiguration {
    let forward = route::Route {
        r#match: prefix("/"),
        action: Some(route::route::Action::Route(to_cluster("service"))),
        ..Default::default()
    };
    let host = route::VirtualHost {
        name: "all".to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![forward],
        ..Default::default()
    };
    route::RouteConfiguration { name: "routes".to_owned(), virtual_hosts: vec![host], ..Default::default() }
}

fn http_filter(name: &str, config: Any) -> hcm::HttpFilter {
    hcm::HttpFilter {
        name: name.to_owned(),
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}

fn manager() -> hcm::HttpConnectionManager {
    hcm::HttpConnectionManager {
        stat_prefix: "in".to_owned(),
        http_filters: vec![http_filter("router", packed(&Router::default()))],
        route_specifier: Some(hcm::http_connection_manager::RouteSpecifier::RouteConfig(routes())),
        ..Default::default()
    }
}

/// The paths of what was wrong.
fn paths<T: std::fmt::Debug>(result: Result<T, Refused>) -> Vec<String> {
    result.map_or_else(|refused| refused.faults, |_| Vec::new()).into_iter().map(|fault| fault.path).collect()
}

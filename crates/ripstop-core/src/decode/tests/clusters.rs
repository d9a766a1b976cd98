//! Clusters, their endpoints, balancers, health checks.
use super::*;
use crate::snapshot::{Balancer, Cluster, Discovery, HealthCheckKind, UpstreamProtocol};
use ripstop_xds::envoy::config::cluster::v3 as proto;
use ripstop_xds::envoy::config::endpoint::v3 as endpoint;
use ripstop_xds::envoy::extensions::clusters::aggregate::v3::ClusterConfig;
use ripstop_xds::envoy::extensions::load_balancing_policies as policies;
use ripstop_xds::envoy::extensions::upstreams::http::v3 as upstreams;
use std::time::Duration;

fn assignment(host: &str) -> endpoint::ClusterLoadAssignment {
    let one = endpoint::Endpoint { address: Some(address(host, 80)), ..Default::default() };
    let one = endpoint::LbEndpoint {
        host_identifier: Some(endpoint::lb_endpoint::HostIdentifier::Endpoint(one)),
        ..Default::default()
    };
    endpoint::ClusterLoadAssignment {
        cluster_name: "service".to_owned(),
        endpoints: vec![endpoint::LocalityLbEndpoints { lb_endpoints: vec![one], ..Default::default() }],
        ..Default::default()
    }
}

fn cluster_message() -> proto::Cluster {
    proto::Cluster {
        name: "service".to_owned(),
        load_assignment: Some(assignment("127.0.0.1")),
        ..Default::default()
    }
}

fn read(message: &proto::Cluster) -> Result<Cluster, Refused> {
    cluster(&message.encode_to_vec(), &NoFiles)
}

#[test]
fn a_cluster_has_the_defaults_of_envoy() {
    let made = read(&cluster_message()).unwrap();
    assert_eq!(made.connect_timeout, Duration::from_secs(5));
    assert_eq!(made.idle_timeout, Duration::from_secs(3600));
    assert!((made.panic_threshold - 50.0).abs() < f64::EPSILON);
    assert!(matches!(made.balancer, Balancer::RoundRobin { slow_start: None }));
    assert!(matches!(made.protocol, UpstreamProtocol::Http1(_)));
    assert_eq!((made.breakers[0].max_requests, made.breakers[1].max_retries), (1024, 3));
    let Discovery::Static(assignment) = &made.discovery else { panic!("endpoints were expected") };
    assert_eq!((assignment.overprovisioning, assignment.localities[0].endpoints[0].weight), (140, 1));
    assert_eq!(&*made.stat_name, "service");
}

#[test]
fn what_is_not_done_is_refused_by_its_path() {
    type Change = fn(&mut proto::Cluster);
    let table: [(&str, Change); 17] = [
        ("transport_socket_matches", |c| c.transport_socket_matches = vec![Default::default()]),
        ("lrs_server", |c| c.lrs_server = Some(Default::default())),
        ("dns_resolvers", |c| c.dns_resolvers = vec![address("1.1.1.1", 53)]),
        ("connect_timeout", |c| c.connect_timeout = seconds(0)),
        ("lb_policy", |c| c.lb_policy = 4),
        ("lb_policy", |c| c.lb_policy = proto::cluster::LbPolicy::ClusterProvided as i32),
        ("load_balancing_policy", |c| c.lb_policy = 7),
        ("load_assignment", |c| c.load_assignment = None),
        ("load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address", |c| {
            c.load_assignment = Some(assignment("example.com"));
        }),
        ("common_lb_config.override_host_status", |c| {
            c.common_lb_config = Some(proto::cluster::CommonLbConfig {
                override_host_status: Some(Default::default()),
                ..Default::default()
            });
        }),
        ("common_lb_config.healthy_panic_threshold", |c| {
            let healthy_panic_threshold = Some(ripstop_xds::envoy::r#type::v3::Percent { value: f64::NAN });
            c.common_lb_config =
                Some(proto::cluster::CommonLbConfig { healthy_panic_threshold, ..Default::default() });
        }),
        ("lb_subset_config.fallback_policy", |c| {
            c.lb_subset_config =
                Some(proto::cluster::LbSubsetConfig { fallback_policy: 1, ..Default::default() });
        }),
        ("circuit_breakers.per_host_thresholds", |c| {
            c.circuit_breakers = Some(proto::CircuitBreakers {
                per_host_thresholds: vec![Default::default()],
                ..Default::default()
            });
        }),
        ("outlier_detection.max_ejection_time", |c| {
            c.outlier_detection =
                Some(proto::OutlierDetection { max_ejection_time: seconds(1), ..Default::default() });
        }),
        ("upstream_http_protocol_options.auto_sni", |c| {
            c.upstream_http_protocol_options =
                Some(core::UpstreamHttpProtocolOptions { auto_sni: true, ..Default::default() });
        }),
        ("typed_extension_protocol_options[envoy.redis]", |c| {
            c.typed_extension_protocol_options.insert("envoy.redis".to_owned(), Any::default());
        }),
        ("transport_socket.typed_config", |c| {
            let config = foreign("envoy.extensions.transport_sockets.alts.v3.Alts");
            c.transport_socket = Some(core::TransportSocket {
                config_type: Some(core::transport_socket::ConfigType::TypedConfig(config)),
                ..Default::default()
            });
        }),
    ];
    for (path, change) in table {
        let mut changed = cluster_message();
        change(&mut changed);
        assert_eq!(paths(read(&changed)), [path]);
    }
}

fn with_policy(configs: Vec<Any>) -> proto::Cluster {
    let policies = configs.into_iter().map(|config| {
        let extension = core::TypedExtensionConfig { name: "lb".to_owned(), typed_config: Some(config) };
        proto::load_balancing_policy::Policy { typed_extension_config: Some(extension) }
    });
    let policy = proto::LoadBalancingPolicy { policies: policies.collect() };
    proto::Cluster { load_balancing_policy: Some(policy), ..cluster_message() }
}

#[test]
fn the_first_policy_that_is_known_is_taken() {
    let known = packed(&policies::least_request::v3::LeastRequest::default());
    let made =
        read(&with_policy(vec![foreign("envoy.extensions.load_balancing_policies.new.v3.New"), known]))
            .unwrap();
    assert!(matches!(made.balancer, Balancer::LeastRequest { choices: 2, full_scan: false, .. }));
    let unknown =
        with_policy(vec![foreign("envoy.extensions.load_balancing_policies.override_host.v3.OverrideHost")]);
    assert_eq!(paths(read(&unknown)), ["load_balancing_policy.policies"]);
}

#[test]
fn older_and_newer_forms_of_a_balancer_mean_the_same() {
    use proto::cluster::{LbConfig, LbPolicy, RingHashLbConfig};
    let old = proto::Cluster {
        lb_policy: LbPolicy::RingHash as i32,
        lb_config: Some(LbConfig::RingHashLbConfig(RingHashLbConfig {
            minimum_ring_size: Some(64),
            ..Default::default()
        })),
        ..cluster_message()
    };
    let new = policies::ring_hash::v3::RingHash { minimum_ring_size: Some(64), ..Default::default() };
    for made in [read(&old).unwrap(), read(&with_policy(vec![packed(&new)])).unwrap()] {
        let Balancer::RingHash { min_size, max_size, use_hostname } = made.balancer else {
            panic!("a ring was expected")
        };
        assert_eq!((min_size, max_size, use_hostname), (64, 8 << 20, false));
    }
}

#[test]
fn a_maglev_table_has_a_prime_size() {
    let config = policies::maglev::v3::Maglev { table_size: Some(65_536), ..Default::default() };
    let at = "load_balancing_policy.policies[0].typed_extension_config.typed_config.table_size";
    assert_eq!(paths(read(&with_policy(vec![packed(&config)]))), [at]);
    assert!(read(&with_policy(vec![packed(&policies::maglev::v3::Maglev::default())])).is_ok());
}

#[test]
fn an_aggregate_leaves_the_choice_to_its_members() {
    use proto::cluster::{ClusterDiscoveryType, CustomClusterType, LbPolicy};
    let members = ClusterConfig { clusters: vec!["a".to_owned(), "b".to_owned()] };
    let kind = CustomClusterType { name: "aggregate".to_owned(), typed_config: Some(packed(&members)) };
    let mut message = proto::Cluster {
        name: "all".to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::ClusterType(kind)),
        lb_policy: LbPolicy::ClusterProvided as i32,
        ..Default::default()
    };
    let made = read(&message).unwrap();
    assert_eq!(references(&made).clusters.len(), 2);
    message.lb_policy = LbPolicy::Random as i32;
    assert_eq!(paths(read(&message)), ["lb_policy"]);
}

#[test]
fn http2_is_spoken_by_either_form_of_its_options() {
    use upstreams::http_protocol_options::{
        ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config::ProtocolConfig,
    };
    let mut old = cluster_message();
    old.http2_protocol_options = Some(Default::default());
    let explicit = ExplicitHttpConfig {
        protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(Default::default())),
    };
    let options = upstreams::HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(explicit)),
        ..Default::default()
    };
    let mut new = cluster_message();
    let key = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned();
    new.typed_extension_protocol_options.insert(key, packed(&options));
    for message in [old, new] {
        let made = read(&message).unwrap();
        assert!(
            matches!(made.protocol, UpstreamProtocol::Http2(options) if options.max_concurrent_streams == 1024)
        );
    }
}

#[test]
fn endpoints_by_name_are_for_dns_clusters() {
    let mut message = cluster_message();
    message.load_assignment = Some(assignment("example.com"));
    message.cluster_discovery_type =
        Some(proto::cluster::ClusterDiscoveryType::Type(proto::cluster::DiscoveryType::StrictDns as i32));
    let Discovery::Dns { logical, refresh, .. } = read(&message).unwrap().discovery else {
        panic!("names were expected")
    };
    assert_eq!((logical, refresh), (false, Duration::from_secs(5)));
}

#[test]
fn a_health_check_says_how_often_and_how_many() {
    use self::core::health_check::{HealthChecker, HttpHealthCheck};
    let http = HttpHealthCheck { path: "/healthz".to_owned(), ..Default::default() };
    let mut check = core::HealthCheck {
        interval: seconds(5),
        timeout: seconds(1),
        unhealthy_threshold: Some(3),
        healthy_threshold: Some(2),
        health_checker: Some(HealthChecker::HttpHealthCheck(http)),
        ..Default::default()
    };
    let made = read(&proto::Cluster { health_checks: vec![check.clone()], ..cluster_message() }).unwrap();
    let found = &made.health_checks[0];
    assert_eq!(found.unhealthy_interval, Duration::from_secs(5));
    assert_eq!(found.no_traffic_interval, Duration::from_secs(60));
    assert!(matches!(&found.kind, HealthCheckKind::Http { method, .. } if method == "GET"));
    check.timeout = None;
    check.healthy_threshold = None;
    check.alt_port = Some(1);
    assert_eq!(
        paths(read(&proto::Cluster { health_checks: vec![check], ..cluster_message() })),
        ["health_checks[0].alt_port", "health_checks[0].timeout", "health_checks[0].healthy_threshold"]
    );
}

#[test]
fn weights_of_endpoints_add_up_to_32_bits() {
    let mut message = assignment("127.0.0.1");
    message.endpoints[0].lb_endpoints[0].load_balancing_weight = Some(u32::MAX);
    let one = message.endpoints[0].lb_endpoints[0].clone();
    assert!(load_assignment(&message.encode_to_vec()).is_ok());
    message.endpoints[0].lb_endpoints.push(one);
    assert_eq!(paths(load_assignment(&message.encode_to_vec())), ["endpoints[0]"]);
}

//! Bootstraps.
use super::*;
use ripstop_xds::envoy::config::bootstrap::v3 as proto;
use ripstop_xds::envoy::config::cluster::v3::Cluster;
use ripstop_xds::envoy::config::endpoint::v3::ClusterLoadAssignment;

fn read(message: &proto::Bootstrap) -> Result<Bootstrap, Refused> {
    bootstrap(&message.encode_to_vec(), &NoFiles)
}

fn by_ads() -> Option<core::ConfigSource> {
    let ads = core::config_source::ConfigSourceSpecifier::Ads(core::AggregatedConfigSource {});
    Some(core::ConfigSource { config_source_specifier: Some(ads), ..Default::default() })
}

fn with_ads(cluster: &str) -> proto::Bootstrap {
    let grpc = core::grpc_service::EnvoyGrpc { cluster_name: cluster.to_owned(), ..Default::default() };
    let service = core::GrpcService {
        target_specifier: Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(grpc)),
        ..Default::default()
    };
    let api = core::ApiConfigSource {
        api_type: core::api_config_source::ApiType::DeltaGrpc as i32,
        grpc_services: vec![service],
        ..Default::default()
    };
    let control = Cluster {
        name: "control".to_owned(),
        load_assignment: Some(ClusterLoadAssignment {
            cluster_name: "control".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    proto::Bootstrap {
        static_resources: Some(proto::bootstrap::StaticResources {
            clusters: vec![control],
            ..Default::default()
        }),
        dynamic_resources: Some(proto::bootstrap::DynamicResources {
            lds_config: by_ads(),
            cds_config: by_ads(),
            ads_config: Some(api),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn with_runtime(key: &str, value: prost_types::value::Kind) -> proto::Bootstrap {
    let fields = [(key.to_owned(), prost_types::Value { kind: Some(value) })].into();
    let layer = proto::RuntimeLayer {
        layer_specifier: Some(proto::runtime_layer::LayerSpecifier::StaticLayer(prost_types::Struct {
            fields,
        })),
        ..Default::default()
    };
    proto::Bootstrap {
        layered_runtime: Some(proto::LayeredRuntime { layers: vec![layer] }),
        ..Default::default()
    }
}

#[test]
fn a_bootstrap_says_where_the_rest_comes_from() {
    let made = read(&with_ads("control")).unwrap();
    assert!(made.lds_by_ads && made.cds_by_ads);
    assert_eq!(made.ads, Some(AdsConfig { cluster: "control".into(), delta: true }));
    assert_eq!(paths(read(&with_ads("nowhere"))), ["dynamic_resources.ads_config"]);
}

#[test]
fn the_limit_on_connections_is_read_from_the_runtime() {
    use prost_types::value::Kind;
    let key = "overload.global_downstream_max_connections";
    assert_eq!(read(&with_runtime(key, Kind::NumberValue(50.0))).unwrap().max_connections, Some(50));
    assert_eq!(read(&with_runtime(key, Kind::StringValue("7".to_owned()))).unwrap().max_connections, Some(7));
    let inner = prost_types::Value { kind: Some(Kind::NumberValue(9.0)) };
    let inner =
        prost_types::Struct { fields: [("global_downstream_max_connections".to_owned(), inner)].into() };
    let nested = with_runtime("overload", Kind::StructValue(inner));
    assert_eq!(read(&nested).unwrap().max_connections, Some(9));
    let other = with_runtime("health_check.min_interval", Kind::NumberValue(1.0));
    assert_eq!(paths(read(&other)), ["layered_runtime.layers[0].static_layer.health_check.min_interval"]);
}

#[test]
fn a_fault_of_a_static_resource_names_where_it_is() {
    let mut message = with_ads("control");
    let resources = message.static_resources.as_mut().unwrap();
    resources.clusters.push(resources.clusters[0].clone());
    resources.clusters[1].lb_policy = 99;
    assert_eq!(
        paths(read(&message)),
        ["static_resources.clusters[1].lb_policy", "static_resources.clusters"]
    );
}

//! Listeners, connection managers, TCP proxies, TLS contexts.
use super::*;
use crate::snapshot::{Codec, LogFormat, LogSink, RouteSource, SdsSource, SecretRef, Terminal};
use ripstop_xds::envoy::config::accesslog::v3 as accesslog;
use ripstop_xds::envoy::config::listener::v3 as listener;
use ripstop_xds::envoy::extensions::access_loggers::file::v3::FileAccessLog;
use ripstop_xds::envoy::extensions::filters::network::rbac::v3::Rbac;
use ripstop_xds::envoy::extensions::filters::network::tcp_proxy::v3 as tcp;
use ripstop_xds::envoy::extensions::transport_sockets::tls::v3 as tls;
use std::time::Duration;

fn filter(name: &str, config: Any) -> listener::Filter {
    listener::Filter {
        name: name.to_owned(),
        config_type: Some(listener::filter::ConfigType::TypedConfig(config)),
    }
}

fn chain(filters: Vec<listener::Filter>) -> listener::FilterChain {
    listener::FilterChain { filters, ..Default::default() }
}

fn with_chain(chain: listener::FilterChain) -> listener::Listener {
    listener::Listener {
        name: "inbound".to_owned(),
        address: Some(address("127.0.0.1", 8080)),
        filter_chains: vec![chain],
        ..Default::default()
    }
}

pub(super) fn with(manager: &hcm::HttpConnectionManager) -> listener::Listener {
    with_chain(chain(vec![filter("http", packed(manager))]))
}

fn read(message: &listener::Listener) -> Result<crate::snapshot::Listener, Refused> {
    super::super::listener(&message.encode_to_vec(), &NoFiles)
}

fn manager_of(listener: &crate::snapshot::Listener) -> &crate::snapshot::HttpManager {
    match &listener.filter_chains[0].terminal {
        Terminal::Http(manager) => manager,
        Terminal::Tcp(_) => panic!("a connection manager was expected"),
    }
}

#[test]
fn a_connection_manager_has_the_defaults_of_envoy() {
    let made = read(&with(&manager())).unwrap();
    let manager = manager_of(&made);
    assert_eq!(manager.codec, Codec::Auto);
    assert_eq!(manager.idle_timeout, Duration::from_secs(3600));
    assert_eq!(manager.stream_idle_timeout, Duration::from_secs(300));
    assert_eq!(manager.request_timeout, Duration::ZERO);
    assert_eq!(manager.drain_timeout, Duration::from_secs(5));
    assert_eq!((manager.max_request_headers_kb, manager.max_headers_count), (60, 100));
    assert_eq!(manager.server_name, "envoy");
    assert!(manager.generate_request_id && !manager.use_remote_address && !manager.normalize_path);
    assert!(matches!(manager.routes, RouteSource::Inline(_)));
    assert_eq!((made.backlog, made.buffer_limit), (128, 1 << 20));
    assert_eq!(made.listener_filters_timeout, Duration::from_secs(15));
    assert_eq!(&*made.stat_prefix, "127.0.0.1:8080");
}

#[test]
fn what_is_not_done_is_refused_by_its_path() {
    type Change = fn(&mut hcm::HttpConnectionManager);
    let table: [(&str, Change); 20] = [
        ("tracing", |m| m.tracing = Some(Default::default())),
        ("http3_protocol_options", |m| m.http3_protocol_options = Some(Default::default())),
        ("codec_type", |m| m.codec_type = 3),
        ("codec_type", |m| m.codec_type = 77),
        ("append_x_forwarded_port", |m| m.append_x_forwarded_port = true),
        ("strip_matching_host_port", |m| m.strip_matching_host_port = true),
        ("strip_any_host_port", |m| {
            m.strip_port_mode = Some(hcm::http_connection_manager::StripPortMode::StripAnyHostPort(true));
        }),
        ("strip_trailing_host_dot", |m| m.strip_trailing_host_dot = true),
        ("xff_num_trusted_hops", |m| m.xff_num_trusted_hops = 1),
        ("add_user_agent", |m| m.add_user_agent = Some(true)),
        ("http_protocol_options.allow_absolute_url", |m| {
            m.http_protocol_options =
                Some(core::Http1ProtocolOptions { allow_absolute_url: Some(false), ..Default::default() });
        }),
        ("http2_protocol_options.allow_metadata", |m| {
            m.http2_protocol_options =
                Some(core::Http2ProtocolOptions { allow_metadata: true, ..Default::default() });
        }),
        ("http2_protocol_options.initial_stream_window_size", |m| {
            m.http2_protocol_options = Some(core::Http2ProtocolOptions {
                initial_stream_window_size: Some(1),
                ..Default::default()
            });
        }),
        ("http_protocol_options.header_key_format", |m| {
            m.http_protocol_options = Some(core::Http1ProtocolOptions {
                header_key_format: Some(Default::default()),
                ..Default::default()
            });
        }),
        ("common_http_protocol_options.headers_with_underscores_action", |m| {
            m.common_http_protocol_options =
                Some(core::HttpProtocolOptions { headers_with_underscores_action: 1, ..Default::default() });
        }),
        ("stream_idle_timeout", |m| m.stream_idle_timeout = seconds(-1)),
        ("stat_prefix", |m| m.stat_prefix.clear()),
        ("http_filters", |m| m.http_filters.clear()),
        ("http_filters[0].typed_config", |m| {
            m.http_filters
                .insert(0, http_filter("wasm", foreign("envoy.extensions.filters.http.wasm.v3.Wasm")));
        }),
        ("http_filters[0].typed_config.upstream_log", |m| {
            let router = Router { upstream_log: vec![accesslog::AccessLog::default()], ..Default::default() };
            m.http_filters[0] = http_filter("router", packed(&router));
        }),
    ];
    for (path, change) in table {
        let mut changed = manager();
        change(&mut changed);
        assert_eq!(
            paths(read(&with(&changed))),
            [format!("filter_chains[0].filters[0].typed_config.{path}")]
        );
    }
}

#[test]
fn an_optional_filter_that_is_unknown_is_left_out() {
    let mut changed = manager();
    let mut wasm = http_filter("wasm", foreign("envoy.extensions.filters.http.wasm.v3.Wasm"));
    wasm.is_optional = true;
    changed.http_filters.insert(0, wasm);
    assert!(manager_of(&read(&with(&changed)).unwrap()).filters.is_empty());
}

#[test]
fn all_faults_are_told_at_once() {
    let mut changed = manager();
    changed.tracing = Some(Default::default());
    let filter_with_nothing_in_it =
        accesslog::access_log_filter::FilterSpecifier::ExtensionFilter(Default::default());
    changed.access_log = vec![accesslog::AccessLog {
        filter: Some(accesslog::AccessLogFilter { filter_specifier: Some(filter_with_nothing_in_it) }),
        config_type: Some(accesslog::access_log::ConfigType::TypedConfig(packed(&FileAccessLog {
            path: "/dev/stdout".to_owned(),
            ..Default::default()
        }))),
        ..Default::default()
    }];
    let mut made =
        with_chain(chain(vec![filter("rbac", packed(&Rbac::default())), filter("http", packed(&changed))]));
    made.transparent = Some(true);
    let refused = read(&made).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "inbound: transparent: is not supported; \
         filter_chains[0].filters[0].typed_config.stat_prefix: must not be empty; \
         filter_chains[0].filters[1].typed_config.tracing: is not supported; \
         filter_chains[0].filters[1].typed_config.access_log[0].filter: extension_filter is not supported"
    );
}

#[test]
fn an_access_log_without_a_format_has_that_of_envoy() {
    let mut changed = manager();
    let log = FileAccessLog { path: "/dev/stdout".to_owned(), ..Default::default() };
    changed.access_log = vec![accesslog::AccessLog {
        config_type: Some(accesslog::access_log::ConfigType::TypedConfig(packed(&log))),
        ..Default::default()
    }];
    let made = read(&with(&changed)).unwrap();
    let LogSink::File { path, format: LogFormat::Text(format) } = &manager_of(&made).access_logs[0].sink
    else {
        panic!("a file was expected");
    };
    assert_eq!((&**path, format.0.len()), ("/dev/stdout", 31));
}

#[test]
fn a_tcp_proxy_shares_connections_out_by_weight() {
    use tcp::tcp_proxy::{ClusterSpecifier, WeightedCluster, weighted_cluster::ClusterWeight};
    let weigh = |name: &str, weight| ClusterWeight { name: name.to_owned(), weight, metadata_match: None };
    let mut proxy = tcp::TcpProxy {
        stat_prefix: "tcp".to_owned(),
        cluster_specifier: Some(ClusterSpecifier::WeightedClusters(WeightedCluster {
            clusters: vec![weigh("a", 1), weigh("b", 3)],
        })),
        ..Default::default()
    };
    let made = read(&with_chain(chain(vec![filter("tcp", packed(&proxy))]))).unwrap();
    let Terminal::Tcp(found) = &made.filter_chains[0].terminal else { panic!("a TCP proxy was expected") };
    assert_eq!((found.total_weight, found.max_connect_attempts), (4, 1));
    assert_eq!(found.idle_timeout, Duration::from_secs(3600));
    proxy.tunneling_config = Some(Default::default());
    let refused = paths(read(&with_chain(chain(vec![filter("tcp", packed(&proxy))]))));
    assert_eq!(refused, ["filter_chains[0].filters[0].typed_config.tunneling_config"]);
}

#[test]
fn chains_that_match_the_same_are_a_mistake() {
    let mut made = with(&manager());
    made.filter_chains.push(made.filter_chains[0].clone());
    assert_eq!(paths(read(&made)), ["filter_chains[1].filter_chain_match"]);
}

#[test]
fn listener_filters_are_known_by_their_type() {
    let inspector = |name: &str| listener::ListenerFilter {
        config_type: Some(listener::listener_filter::ConfigType::TypedConfig(foreign(name))),
        ..Default::default()
    };
    let mut made = with(&manager());
    made.listener_filters = vec![
        inspector("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"),
        inspector("envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol"),
    ];
    let found = read(&made).unwrap();
    assert!(found.inspects_tls && found.proxy_protocol);
    made.listener_filters.push(inspector("envoy.extensions.filters.listener.original_src.v3.OriginalSrc"));
    made.listener_filters.push(inspector("envoy.extensions.filters.listener.original_dst.v3.OriginalDst"));
    assert_eq!(paths(read(&made)), ["listener_filters[2].typed_config", "listener_filters[3].typed_config"]);
}

#[test]
fn server_names_need_no_inspector_to_be_asked_for() {
    let mut made = with(&manager());
    assert!(!read(&made).unwrap().inspects_tls);
    let wanted =
        listener::FilterChainMatch { server_names: vec!["*.Example.com".to_owned()], ..Default::default() };
    made.filter_chains[0].filter_chain_match = Some(wanted);
    let found = read(&made).unwrap();
    assert!(found.inspects_tls);
    assert_eq!(found.filter_chains[0].matches.server_names, ["*.example.com"]);
    made.filter_chains[0].filter_chain_match.as_mut().unwrap().server_names = vec!["a.*.com".to_owned()];
    assert_eq!(paths(read(&made)), ["filter_chains[0].filter_chain_match.server_names[0]"]);
}

fn by_sds(name: &str) -> tls::SdsSecretConfig {
    let ads = core::config_source::ConfigSourceSpecifier::Ads(core::AggregatedConfigSource {});
    let source = core::ConfigSource { config_source_specifier: Some(ads), ..Default::default() };
    tls::SdsSecretConfig { name: name.to_owned(), sds_config: Some(source) }
}

fn secured(context: &tls::DownstreamTlsContext) -> listener::Listener {
    let mut made = with(&manager());
    made.filter_chains[0].transport_socket = Some(core::TransportSocket {
        name: "tls".to_owned(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(packed(context))),
    });
    made
}

#[test]
fn a_tls_context_names_its_secrets() {
    let common = tls::CommonTlsContext {
        tls_certificate_sds_secret_configs: vec![by_sds("svid")],
        validation_context_type: Some(
            tls::common_tls_context::ValidationContextType::ValidationContextSdsSecretConfig(by_sds("trust")),
        ),
        ..Default::default()
    };
    let mut context = tls::DownstreamTlsContext { common_tls_context: Some(common), ..Default::default() };
    let made = read(&secured(&context)).unwrap();
    let tls = made.filter_chains[0].tls.as_ref().unwrap();
    assert!(tls.common.allows_tls12 && tls.common.allows_tls13 && tls.resumes_sessions);
    assert!(matches!(&tls.common.certificates[0], SecretRef::Sds { name, .. } if &**name == "svid"));
    let found = references(&made);
    assert_eq!(found.secrets, [("svid".into(), SdsSource::Ads), ("trust".into(), SdsSource::Ads)]);
    assert_eq!(found.clusters.into_iter().collect::<Vec<_>>(), ["service".into()]);

    context.common_tls_context.as_mut().unwrap().tls_params =
        Some(tls::TlsParameters { cipher_suites: vec!["AES128-SHA".to_owned()], ..Default::default() });
    assert_eq!(
        paths(read(&secured(&context))),
        ["filter_chains[0].transport_socket.typed_config.common_tls_context.tls_params.cipher_suites"]
    );
}

#[test]
fn files_are_read_through_the_rim() {
    struct One;
    impl Files for One {
        fn read(&self, path: &str) -> Result<Vec<u8>, String> {
            if path == "key" { Ok(b"KEY".to_vec()) } else { Err(format!("{path} is not there")) }
        }
    }
    let file = |path: &str| core::DataSource {
        specifier: Some(core::data_source::Specifier::Filename(path.to_owned())),
        ..Default::default()
    };
    let pair = tls::TlsCertificate {
        certificate_chain: Some(file("chain")),
        private_key: Some(file("key")),
        ..Default::default()
    };
    let secret =
        tls::Secret { name: "pair".to_owned(), r#type: Some(tls::secret::Type::TlsCertificate(pair)) };
    let refused = super::super::secret(&secret.encode_to_vec(), &One).unwrap_err();
    assert_eq!(refused.to_string(), "pair: tls_certificate.certificate_chain.filename: chain is not there");
}

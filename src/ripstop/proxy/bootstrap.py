"""The Bootstrap of a sidecar: where ADS and SDS are, the admin socket, the metrics port. All else comes by ADS."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ripstop import __version__
from ripstop.compiler.transport import from_agent, uri_matcher
from ripstop.ids import CONTROL_PLANE, USER_AGENT, NodeId, SpiffeId
from ripstop.model.workload import DataPlaneKind, Locality
from ripstop.settings import Address
from ripstop.xds import names, pb

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_ADMIN = "agent_admin"
_CONTROL = "control_plane"
_METRICS_PATHS = ("/stats/prometheus", "/metrics")


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapSettings:
    """What a bootstrap is made from; sockets are in a directory of our own."""

    node: NodeId
    ads: Address
    trust_domain: str
    sds_socket: Path
    admin_socket: Path
    metrics_port: int
    locality: Locality = field(default_factory=Locality)
    data_plane: DataPlaneKind = DataPlaneKind.ENVOY


def bootstrap(settings: BootstrapSettings) -> pb.Message:
    """The `config.bootstrap.v3.Bootstrap`."""
    made = pb.Bootstrap(
        node=_node(settings),
        admin={"address": {"pipe": {"path": str(settings.admin_socket), "mode": 0o600}}},
        static_resources={
            "clusters": [
                _sds_cluster(settings.sds_socket),
                _control_cluster(settings),
                _pipe_cluster(_ADMIN, settings.admin_socket),
            ],
            "listeners": [_metrics_listener(settings.metrics_port)] if settings.metrics_port else [],
        },
        # Histograms are merged at each flush, and the agent reports once a second.
        stats_flush_interval=pb.duration(1),
        layered_runtime={"layers": [{"name": "static", "static_layer": _runtime()}]},
    )
    _dynamic(made)
    return made


def _node(settings: BootstrapSettings) -> pb.Message:
    """Envoy says itself what it is; the native data plane says what is written here."""
    place = settings.locality
    made = pb.Node(
        id=str(settings.node),
        cluster=str(settings.node.service_id),
        locality={"region": place.region, "zone": place.zone, "sub_zone": place.sub_zone},
    )
    if settings.data_plane is DataPlaneKind.NATIVE:
        made.user_agent_name, made.user_agent_version = USER_AGENT, __version__
    return made


def _runtime() -> pb.Message:
    """Connections are bounded by the machine's files, not by Envoy's warning about a missing limit."""
    values = pb.Struct()
    values.update({"overload.global_downstream_max_connections": 50_000})
    return values


def _dynamic(made: pb.Message) -> None:
    """LDS and CDS over one delta stream to the control plane."""
    v3 = pb.ApiVersion.V3
    ads = made.dynamic_resources.ads_config
    ads.api_type, ads.transport_api_version = pb.ApiConfigSource.DELTA_GRPC, v3
    ads.set_node_on_first_message_only = True
    ads.grpc_services.add().envoy_grpc.cluster_name = _CONTROL
    for part in (made.dynamic_resources.lds_config, made.dynamic_resources.cds_config):
        part.ads.SetInParent()
        part.resource_api_version = v3
        part.initial_fetch_timeout.CopyFrom(pb.duration(15))


def _http2(cluster: pb.Message, *, keepalive: bool) -> None:
    options = pb.UpstreamProtocolOptions()
    http2 = options.explicit_http_config.http2_protocol_options
    http2.SetInParent()
    if keepalive:
        http2.connection_keepalive.CopyFrom(
            pb.KeepaliveSettings(interval=pb.duration(15), timeout=pb.duration(10))
        )
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(pb.pack(options))


def _pipe_cluster(name: str, path: Path) -> pb.Message:
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(path)}}}}
    return pb.Cluster(
        name=name,
        type=pb.Cluster.STATIC,
        connect_timeout=pb.duration(1),
        load_assignment={"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    )


def _sds_cluster(path: Path) -> pb.Message:
    made = _pipe_cluster(names.AGENT_SDS, path)
    _http2(made, keepalive=False)
    return made


def _control_cluster(settings: BootstrapSettings) -> pb.Message:
    """mTLS with our own SVID; the other end must be the control plane itself."""
    socket = {"address": settings.ads.host, "port_value": settings.ads.port}
    endpoint = {"endpoint": {"address": {"socket_address": socket}}}
    made = pb.Cluster(
        name=_CONTROL,
        type=pb.Cluster.STRICT_DNS,
        connect_timeout=pb.duration(3),
        load_assignment={"cluster_name": _CONTROL, "endpoints": [{"lb_endpoints": [endpoint]}]},
        upstream_connection_options={"tcp_keepalive": {}},
    )
    _http2(made, keepalive=True)
    made.transport_socket.name = "envoy.transport_sockets.tls"
    made.transport_socket.typed_config.CopyFrom(pb.pack(_control_tls(settings)))
    return made


def _control_tls(settings: BootstrapSettings) -> pb.Message:
    identity = str(SpiffeId(settings.trust_domain, CONTROL_PLANE))
    uri = uri_matcher(exact=identity)
    tls13 = pb.TlsParameters.TlsProtocol.TLSv1_3
    return pb.UpstreamTlsContext(
        common_tls_context={
            "tls_params": {"tls_minimum_protocol_version": tls13, "tls_maximum_protocol_version": tls13},
            "tls_certificate_sds_secret_configs": [from_agent(names.SVID)],
            "combined_validation_context": {
                "default_validation_context": {"match_typed_subject_alt_names": [uri]},
                "validation_context_sds_secret_config": from_agent(names.TRUST),
            },
            "alpn_protocols": ["h2"],
        }
    )


def _metrics_listener(port: int) -> pb.Message:
    """Prometheus metrics on loopback; nothing else of the admin interface can be reached there."""
    routes = [
        {
            "match": {"path": path},
            "route": {"cluster": _ADMIN, "prefix_rewrite": "/stats/prometheus"},
        }
        for path in _METRICS_PATHS
    ]
    manager = pb.HttpConnectionManager(
        stat_prefix="metrics",
        route_config={"virtual_hosts": [{"name": "metrics", "domains": ["*"], "routes": routes}]},
        http_filters=[{"name": "envoy.filters.http.router", "typed_config": pb.pack(pb.Router())}],
    )
    filters = [
        {"name": "envoy.filters.network.http_connection_manager", "typed_config": pb.pack(manager)},
    ]
    return pb.Listener(
        name="metrics",
        address={"socket_address": {"address": "127.0.0.1", "port_value": port}},
        filter_chains=[{"filters": filters}],
    )

"""One upstream -> Cluster: how connections to a service's port are made, shared out, limited and given up on."""

from __future__ import annotations

from dataclasses import dataclass

from ripstop.compiler import native
from ripstop.compiler.extension import typed
from ripstop.compiler.policies.balancing import load_balancing_policy
from ripstop.compiler.policies.protection import circuit_breakers, health_checks, outlier_detection
from ripstop.compiler.transport import H2, HTTP1, TCP_ALPN, ads, mesh_client, tls_client
from ripstop.ids import ServiceId
from ripstop.model.policy import EffectivePolicy
from ripstop.model.topology import Service, ServicePort
from ripstop.model.workload import Protocol
from ripstop.xds import names, pb, type_urls
from ripstop.xds.snapshot import Resource

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_UNLIMITED = 1_000_000


@dataclass(frozen=True, slots=True)
class Upstream:
    """What a cluster is made from. `peers` and `namespace` say who may answer by mTLS; `is_meshed` whether it is spoken."""

    name: str
    service: Service
    port: ServicePort
    policy: EffectivePolicy
    is_meshed: bool
    peers: tuple[ServiceId, ...]
    trust_domain: str
    sni: str = ""

    @property
    def assignment(self) -> str:
        """The EDS name; differently configured copies of a cluster share it."""
        return names.outbound_cluster(self.service.id, self.port.port)


def outbound(upstream: Upstream) -> Resource:
    """The `Cluster` for calls to a service's port: EDS over ADS, mTLS where the peer is in the mesh."""
    policy = upstream.policy
    made = pb.Cluster(
        name=upstream.name,
        type=pb.Cluster.EDS,
        eds_cluster_config={"eds_config": ads(), "service_name": upstream.assignment},
        connect_timeout=pb.duration(policy.timeouts.connect_s or 5.0),
        load_balancing_policy=load_balancing_policy(policy.load_balancer),
        common_lb_config=_common_lb(policy),
        circuit_breakers=circuit_breakers(policy),
        outlier_detection=outlier_detection(policy.outlier),
        transport_socket=_transport_socket(upstream),
        # An endpoint that is deregistered must get no request more, whatever active checks say.
        ignore_health_on_host_removal=True,
    )
    native.put(made, native.cluster_extras(policy))
    is_http2 = _is_http2(upstream)
    made.health_checks.extend(health_checks(policy, is_http2=is_http2, is_meshed=upstream.is_meshed))
    if upstream.port.protocol.is_http:
        made.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(pb.pack(_http(policy, is_http2)))
    body = pb.to_bytes(made)
    return Resource.of(type_urls.CLUSTER, upstream.name, body, [(type_urls.ENDPOINT, upstream.assignment)])


def _common_lb(policy: EffectivePolicy) -> pb.Message:
    """`CommonLbConfig`. With fallbacks there is no panic: all ejected means the next in the chain."""
    panic = 0.0 if policy.fallbacks else policy.load_balancer.panic_threshold_percent
    return pb.Cluster.CommonLbConfig(
        healthy_panic_threshold=pb.Percent(value=panic),
        # Envoy would gather changes of health for a second, and go on calling an ejected endpoint meanwhile.
        update_merge_window=pb.duration(0),
    )


def _is_http2(upstream: Upstream) -> bool:
    return upstream.is_meshed or upstream.port.protocol in (Protocol.HTTP2, Protocol.GRPC)


def _transport_socket(upstream: Upstream) -> pb.Message | None:
    is_http = upstream.port.protocol.is_http
    if upstream.is_meshed:
        alpn = (H2,) if is_http else (TCP_ALPN,)
        namespace = upstream.service.id.namespace
        return mesh_client(upstream.trust_domain, upstream.peers, namespace, alpn, upstream.sni)
    if upstream.service.tls is None:
        return None
    wanted = ((H2,) if _is_http2(upstream) else (HTTP1,)) if is_http else ()
    return tls_client(upstream.service.tls, wanted)


def _http(policy: EffectivePolicy, is_http2: bool) -> pb.Message:
    """`HttpProtocolOptions`. CONNECT is allowed so that WebSockets pass over HTTP/2 (RFC 8441)."""
    options = pb.UpstreamProtocolOptions()
    explicit = options.explicit_http_config
    if is_http2:
        explicit.http2_protocol_options.allow_connect = True
        explicit.http2_protocol_options.connection_keepalive.CopyFrom(_keepalive())
    else:
        explicit.http_protocol_options.SetInParent()
    options.common_http_protocol_options.idle_timeout.CopyFrom(pb.duration(policy.timeouts.idle_s))
    if policy.limits.max_requests_per_connection:
        limit = policy.limits.max_requests_per_connection
        options.common_http_protocol_options.max_requests_per_connection.value = limit
    return options


def _keepalive() -> pb.Message:
    """PING while idle or waiting, so that a peer that vanished without a word is found within 20 seconds."""
    return pb.KeepaliveSettings(interval=pb.duration(15), timeout=pb.duration(5))


def aggregate(name: str, members: tuple[str, ...], policy: EffectivePolicy) -> Resource:
    """A cluster that goes on to the next member when one has no healthy endpoint (`clusters.aggregate`)."""
    kind = typed("envoy.clusters.aggregate", pb.AggregateClusterConfig(clusters=members))
    made = pb.Cluster(
        name=name,
        cluster_type={"name": kind.name, "typed_config": kind.typed_config},
        lb_policy=pb.Cluster.CLUSTER_PROVIDED,
        connect_timeout=pb.duration(policy.timeouts.connect_s or 5.0),
        circuit_breakers=circuit_breakers(policy),
    )
    references = [(type_urls.CLUSTER, member) for member in members]
    return Resource.of(type_urls.CLUSTER, name, pb.to_bytes(made), references)


def local(name: str, port: int, protocol: Protocol) -> Resource:
    """The application behind a sidecar, on loopback in plaintext; its own limits are the callers' to keep."""
    threshold = {
        key: pb.UInt32Value(value=_UNLIMITED)
        for key in ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    }
    made = pb.Cluster(
        name=name,
        type=pb.Cluster.STATIC,
        connect_timeout=pb.duration(1),
        circuit_breakers={"thresholds": [threshold]},
        load_assignment=_loopback(name, port),
    )
    if protocol in (Protocol.HTTP2, Protocol.GRPC):
        options = pb.UpstreamProtocolOptions()
        options.explicit_http_config.http2_protocol_options.allow_connect = True
        made.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(pb.pack(options))
    return Resource.of(type_urls.CLUSTER, name, pb.to_bytes(made))


def _loopback(name: str, port: int) -> pb.Message:
    socket = {"address": "127.0.0.1", "port_value": port}
    endpoint = {"endpoint": {"address": {"socket_address": socket}}}
    return pb.ClusterLoadAssignment(cluster_name=name, endpoints=[{"lb_endpoints": [endpoint]}])

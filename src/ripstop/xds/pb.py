"""The one import of generated messages: Envoy's API and the well-known types, under clear names.

`pb.Listener` and its like are imported when first used, so that an agent which needs a Bootstrap and a Secret does not
pay for the rest. Names are Envoy's own; where two packages have the same one, the extension's name is put in front.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

Message = Any
"""A protobuf message; the generated classes carry no types."""

_CONFIG = "envoy.config."
_EXT = "envoy.extensions."
_FILTERS = "envoy.extensions.filters."

# module (without _pb2) -> names; "Exported=Original" renames.
_MODULES: dict[str, str] = {
    "google.protobuf.any": "AnyMessage=Any",
    "google.protobuf.duration": "Duration",
    "google.protobuf.struct": "Struct Value ListValue",
    "google.protobuf.timestamp": "Timestamp",
    "google.protobuf.wrappers": "UInt32Value UInt64Value BoolValue StringValue DoubleValue",
    "google.rpc.status": "Status",
    # Protocol: ADS, CSDS, SDS.
    "envoy.service.discovery.v3.discovery": (
        "DiscoveryRequest DiscoveryResponse DeltaDiscoveryRequest DeltaDiscoveryResponse"
        " DiscoveryResource=Resource ResourceError ResourceName"
    ),
    "envoy.service.status.v3.csds": (
        "ClientStatusRequest ClientStatusResponse ClientConfig ClientConfigStatus ConfigStatus PerXdsConfig"
    ),
    "envoy.admin.v3.config_dump_shared": "ClientResourceStatus UpdateFailureState",
    # Configuration: core.
    _CONFIG + "bootstrap.v3.bootstrap": "Bootstrap Admin LayeredRuntime RuntimeLayer",
    _CONFIG + "core.v3.address": "Address SocketAddress Pipe EnvoyInternalAddress BindConfig",
    _CONFIG + "core.v3.base": (
        "Node Locality Metadata RuntimeFractionalPercent RuntimeUInt32 HeaderValue HeaderValueOption DataSource"
        " TransportSocket RequestMethod RoutingPriority TrafficDirection"
    ),
    _CONFIG + "core.v3.config_source": (
        "ConfigSource AggregatedConfigSource SelfConfigSource ApiConfigSource ApiVersion PathConfigSource"
    ),
    _CONFIG + "core.v3.extension": "TypedExtensionConfig",
    _CONFIG + "core.v3.grpc_service": "GrpcService",
    _CONFIG + "core.v3.health_check": "HealthCheck HealthStatus",
    _CONFIG + "core.v3.protocol": (
        "HttpProtocolOptions Http1ProtocolOptions Http2ProtocolOptions KeepaliveSettings"
        " UpstreamHttpProtocolOptions"
    ),
    _CONFIG + "core.v3.proxy_protocol": "ProxyProtocolConfig",
    _CONFIG + "core.v3.substitution_format_string": "SubstitutionFormatString",
    # Configuration: the resources.
    _CONFIG + "cluster.v3.cluster": "Cluster LoadBalancingPolicy UpstreamConnectionOptions",
    _CONFIG + "cluster.v3.circuit_breaker": "CircuitBreakers",
    _CONFIG + "cluster.v3.outlier_detection": "OutlierDetection",
    _CONFIG + "endpoint.v3.endpoint": "ClusterLoadAssignment",
    _CONFIG + "endpoint.v3.endpoint_components": "Endpoint LbEndpoint LocalityLbEndpoints",
    _CONFIG + "listener.v3.listener": "Listener",
    _CONFIG + "listener.v3.listener_components": "FilterChain FilterChainMatch Filter ListenerFilter",
    _CONFIG + "listener.v3.api_listener": "ApiListener",
    _CONFIG + "route.v3.route": "RouteConfiguration Vhds",
    _CONFIG + "route.v3.route_components": (
        "VirtualHost Route RouteMatch RouteAction RedirectAction DirectResponseAction WeightedCluster RetryPolicy"
        " HeaderMatcher QueryParameterMatcher Decorator"
    ),
    _CONFIG + "route.v3.scoped_route": "ScopedRouteConfiguration",
    _CONFIG + "rbac.v3.rbac": "RBAC Policy Permission Principal",
    _CONFIG + "accesslog.v3.accesslog": (
        "AccessLog AccessLogFilter ResponseFlagFilter StatusCodeFilter AndFilter OrFilter MetadataFilter"
    ),
    _CONFIG + "metrics.v3.stats": "StatsConfig StatsMatcher TagSpecifier HistogramBucketSettings",
    _CONFIG + "overload.v3.overload": "OverloadManager",
    # Extensions: transport, protocol.
    _EXT + "transport_sockets.tls.v3.tls": "UpstreamTlsContext DownstreamTlsContext CommonTlsContext",
    _EXT + "transport_sockets.tls.v3.common": (
        "CertificateValidationContext TlsCertificate TlsParameters SubjectAltNameMatcher"
    ),
    _EXT + "transport_sockets.tls.v3.secret": "Secret SdsSecretConfig",
    _EXT + "transport_sockets.raw_buffer.v3.raw_buffer": "RawBuffer",
    _EXT + "upstreams.http.v3.http_protocol_options": "UpstreamProtocolOptions=HttpProtocolOptions",
    # Extensions: network filters.
    _FILTERS + "network.http_connection_manager.v3.http_connection_manager": (
        "HttpConnectionManager ScopedRoutes ScopedRds Rds HttpFilter LocalReplyConfig ResponseMapper"
    ),
    _FILTERS + "network.tcp_proxy.v3.tcp_proxy": "TcpProxy",
    _FILTERS + "network.rbac.v3.rbac": "NetworkRbac=RBAC",
    _FILTERS + "listener.tls_inspector.v3.tls_inspector": "TlsInspector",
    _FILTERS + "network.sni_cluster.v3.sni_cluster": "SniCluster",
    _FILTERS + "network.local_ratelimit.v3.local_rate_limit": "NetworkLocalRateLimit=LocalRateLimit",
    # Extensions: HTTP filters.
    _FILTERS + "http.router.v3.router": "Router",
    _FILTERS + "http.rbac.v3.rbac": "HttpRbac=RBAC HttpRbacPerRoute=RBACPerRoute",
    _FILTERS + "http.fault.v3.fault": "HttpFault=HTTPFault FaultAbort",
    _FILTERS + "common.fault.v3.fault": "FaultDelay",
    _FILTERS + "http.local_ratelimit.v3.local_rate_limit": "HttpLocalRateLimit=LocalRateLimit",
    _FILTERS + "http.cors.v3.cors": "Cors CorsPolicy",
    _FILTERS + "http.stateful_session.v3.stateful_session": "StatefulSession StatefulSessionPerRoute",
    _EXT + "http.stateful_session.cookie.v3.cookie": "CookieBasedSessionState",
    _EXT + "http.stateful_session.header.v3.header": "HeaderBasedSessionState",
    "envoy.type.http.v3.cookie": "Cookie",
    _FILTERS + "http.health_check.v3.health_check": "HealthCheckFilter=HealthCheck",
    _FILTERS + "http.set_metadata.v3.set_metadata": "SetMetadata=Config",
    _FILTERS + "http.header_mutation.v3.header_mutation": "HeaderMutation",
    # Extensions: load balancing, retry, clusters, logs.
    _EXT
    + "load_balancing_policies.common.v3.common": "LocalityLbConfig SlowStartConfig ConsistentHashingLbConfig",
    _EXT + "load_balancing_policies.round_robin.v3.round_robin": "RoundRobin",
    _EXT + "load_balancing_policies.least_request.v3.least_request": "LeastRequest",
    _EXT + "load_balancing_policies.random.v3.random": "Random",
    _EXT + "load_balancing_policies.ring_hash.v3.ring_hash": "RingHash",
    _EXT + "load_balancing_policies.maglev.v3.maglev": "Maglev",
    _EXT + "load_balancing_policies.override_host.v3.override_host": "OverrideHost",
    _EXT + "load_balancing_policies.cluster_provided.v3.cluster_provided": "ClusterProvided",
    _EXT + "load_balancing_policies.wrr_locality.v3.wrr_locality": "WrrLocality",
    _EXT + "clusters.aggregate.v3.cluster": "AggregateClusterConfig=ClusterConfig",
    _EXT + "clusters.dynamic_forward_proxy.v3.cluster": "DynamicForwardProxyCluster=ClusterConfig",
    _EXT + "common.dynamic_forward_proxy.v3.dns_cache": "DnsCacheConfig",
    _FILTERS
    + "http.dynamic_forward_proxy.v3.dynamic_forward_proxy": "DynamicForwardProxyFilter=FilterConfig",
    _EXT + "retry.host.previous_hosts.v3.previous_hosts": "PreviousHostsPredicate",
    _EXT + "access_loggers.file.v3.file": "FileAccessLog",
    _EXT + "access_loggers.stats.v3.stats": "StatsAccessLog=Config",
    _EXT + "path.match.uri_template.v3.uri_template_match": "UriTemplateMatch=UriTemplateMatchConfig",
    _EXT + "filters.http.grpc_stats.v3.config": "GrpcStats=FilterConfig",
    _EXT + "request_id.uuid.v3.uuid": "UuidRequestId=UuidRequestIdConfig",
    # Types.
    "envoy.type.v3.http": "CodecClientType",
    "envoy.type.v3.percent": "Percent FractionalPercent",
    "envoy.type.v3.range": "Int64Range Int32Range",
    "envoy.type.v3.token_bucket": "TokenBucket",
    "envoy.type.v3.http_status": "HttpStatus",
    "envoy.type.matcher.v3.string": "StringMatcher ListStringMatcher",
    "envoy.type.matcher.v3.regex": "RegexMatcher RegexMatchAndSubstitute",
    "envoy.type.matcher.v3.path": "PathMatcher",
    "envoy.type.matcher.v3.metadata": "MetadataMatcher",
    "envoy.type.matcher.v3.value": "ValueMatcher",
    "envoy.type.metadata.v3.metadata": "MetadataKey",
    "xds.core.v3.resource_locator": "ResourceLocator",
    "xds.type.matcher.v3.matcher": "Matcher",
}


def _index() -> dict[str, tuple[str, str]]:
    """Exported name -> (module, name in it)."""
    where: dict[str, tuple[str, str]] = {}
    for module, names in _MODULES.items():
        for item in names.split():
            exported, _, original = item.partition("=")
            assert exported not in where, f"two messages are exported as {exported}"
            where[exported] = (module + "_pb2", original or exported)
    return where


_WHERE = _index()


def __getattr__(name: str) -> Any:
    """Import a message when it is first asked for (PEP 562)."""
    if name not in _WHERE:
        raise AttributeError(f"{__name__} exports no {name}")
    module, original = _WHERE[name]
    value = getattr(import_module(module), original)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})


def load_all() -> None:
    """Import every message: `Any`s of all kinds can be read as JSON only when their types are known."""
    for name in _WHERE:
        __getattr__(name)


def pack(message: Message) -> Message:
    """`message` in a `google.protobuf.Any`, byte for byte the same for equal messages."""
    packed = __getattr__("AnyMessage")()
    packed.Pack(message, deterministic=True)
    return packed


def to_bytes(message: Message) -> bytes:
    """Deterministic bytes: map fields are sorted (messages with equal content give equal bytes)."""
    body: bytes = message.SerializeToString(deterministic=True)
    return body


def from_bytes(message_type: Message, body: bytes) -> Message:
    """Read a message of `message_type` (a class that this module exports)."""
    return message_type.FromString(body)


def any_of(type_url: str, body: bytes) -> Message:
    """An `Any` around bytes that are serialized already: what ADS sends."""
    return __getattr__("AnyMessage")(type_url=type_url, value=body)


def resource_class(type_url: str) -> Message:
    """The class of a resource's type URL."""
    return __getattr__(type_url.rpartition(".")[2])


def to_dict(message: Message) -> dict[str, Any]:
    """`message` as Envoy's JSON, field names as in the .proto files; for people and goldens."""
    load_all()
    from google.protobuf import json_format

    shown: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return shown


class Unreadable(ValueError):
    """JSON that is not of the message's form; protobuf's own words."""


def from_dict(message_type: Message, content: dict[str, Any]) -> Message:
    """Read Envoy's JSON (as `to_dict` writes it) into a new message.

    Raises:
        Unreadable: a field is unknown, or its value is of another kind.
    """
    load_all()
    from google.protobuf import json_format

    try:
        return json_format.ParseDict(content, message_type())
    except json_format.ParseError as error:
        raise Unreadable(str(error)) from None


def duration(seconds: float) -> Message:
    """`seconds` as a `google.protobuf.Duration`, exact to the nanosecond."""
    whole, nanos = divmod(round(seconds * 1_000_000_000), 1_000_000_000)
    return __getattr__("Duration")(seconds=whole, nanos=nanos)

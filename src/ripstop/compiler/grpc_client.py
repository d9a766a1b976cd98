"""Configuration for gRPC clients without a sidecar (``xds:///reviews:80``): what gRPC itself understands, and no more.

Sources: gRFC A27 (LDS, RDS, CDS, EDS), A28 (routes), A31 (timeouts), A32 (circuit breakers), A33 (faults), A42 (ring hash),
A44 (retries), A50 (outlier detection). A gRPC client NACKs what Envoy would take, such as CONNECT matchers, so its routes
are made from the rules anew. It speaks plaintext: services in the mesh are not for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ripstop.compiler.cluster import Upstream
from ripstop.compiler.extension import ROUTER, http_filter, uint32
from ripstop.compiler.http_manager import FAULT
from ripstop.compiler.outbound import itself
from ripstop.compiler.policies.protection import outlier_detection
from ripstop.compiler.routes import Place, refusal, routes
from ripstop.compiler.transport import ads
from ripstop.compiler.unsupported import asks_for_peak_ewma, document_of
from ripstop.compiler.world import Use, Uses, World
from ripstop.ids import ServiceId
from ripstop.model.policy import Algorithm, EffectivePolicy
from ripstop.model.topology import Service, ServicePort
from ripstop.xds import pb, type_urls
from ripstop.xds.snapshot import Resource

_HASHING = (Algorithm.RING_HASH, Algorithm.MAGLEV)


@dataclass(frozen=True, slots=True)
class GrpcClient:
    """Listeners and routes, the clusters they name, and the words for what is left out."""

    resources: tuple[Resource, ...]
    uses: Mapping[str, Use]
    left_out: tuple[str, ...]


def grpc_client(world: World, callees: Iterable[ServiceId], namespace: str) -> GrpcClient:
    """API listeners for every service that a client in `namespace` can call without a sidecar."""
    resources: dict[str, Resource] = {}
    uses, left_out = Uses(), set()
    for service in _in_order(world, callees, namespace):
        if reason := _out_of_reach(service):
            left_out.add(f"Service {service.id}: {reason}")
            continue
        left_out.update(_not_understood(service))
        for port in service.ports:
            if port.protocol.is_http:
                hosts = list(world.hosts(service, namespace))
                for made in _port(world, uses, service, port, hosts, namespace):
                    resources.setdefault(f"{made.type_url}/{made.name}", made)
    # What a route sends elsewhere may be in the mesh: such clusters stay unknown to the client.
    reachable = {
        name: use for name, use in uses.by_name.items() if not _out_of_reach(world.services[use.service])
    }
    return GrpcClient(tuple(resources.values()), reachable, tuple(sorted(left_out)))


def _in_order(world: World, callees: Iterable[ServiceId], namespace: str) -> list[Service]:
    known = [world.services[callee] for callee in callees if callee in world.services]
    return sorted(known, key=lambda service: (service.id.namespace != namespace, service.id))


def _out_of_reach(service: Service) -> str:
    if service.is_meshed or service.egress_gateway:
        return "in the mesh, which is reached by mTLS only (a gRPC client without a sidecar speaks plaintext)"
    return "TLS towards it is not for gRPC clients without a sidecar" if service.tls else ""


def _not_understood(service: Service) -> Iterator[str]:
    """What gRPC has no words for."""
    policy = service.policy
    algorithm = policy.load_balancer.algorithm
    is_default = algorithm is Algorithm.PEAK_EWMA and not asks_for_peak_ewma(policy)
    if not is_default and algorithm not in (
        Algorithm.ROUND_ROBIN,
        Algorithm.LEAST_REQUEST,
        Algorithm.RING_HASH,
    ):
        used = "RingHash" if algorithm in _HASHING else "RoundRobin"
        where = document_of(service, policy, "loadBalancer")
        yield f"{where}: load balancer {algorithm.value} ({used} is used)"
    parts = {
        "fallback": (policy.fallbacks, "fallback"),
        "healthChecks": (policy.health_checks, "active health checks"),
        "sessionAffinity": (policy.session, "session affinity"),
    }
    for name, (value, words) in parts.items():
        if value:
            yield f"{document_of(service, policy, name)}: {words}"


# --- listeners and routes ---


def _port(
    world: World, uses: Uses, service: Service, port: ServicePort, hosts: list[str], namespace: str
) -> Iterator[Resource]:
    config = _routes(world, uses, service, port, namespace)
    yield config
    for host in hosts:
        yield _listener(f"{host}:{port.port}", config.name)


def _listener(name: str, config: str) -> Resource:
    """An `ApiListener`: gRPC asks for it by the target's name (gRFC A27)."""
    manager = pb.HttpConnectionManager(
        rds={"config_source": ads(), "route_config_name": config},
        http_filters=[http_filter(FAULT, pb.HttpFault()), http_filter(ROUTER, pb.Router())],
    )
    made = pb.Listener(name=name, api_listener={"api_listener": pb.pack(manager)})
    return Resource.of(type_urls.LISTENER, name, pb.to_bytes(made), [(type_urls.ROUTE, config)])


def _routes(world: World, uses: Uses, service: Service, port: ServicePort, namespace: str) -> Resource:
    found = Uses()
    place = Place(world=world, uses=found, port=port.port, service=service)
    entry = world.routes_for(service, port.port, namespace)
    rules = [itself(service, port)] if entry is None or entry.http is None else list(entry.http)
    made = [route for route in map(_understood, routes(place, rules)) if route is not None]
    made.append(refusal("no-route", 404, f"ripstop: {service.id} port {port.port}: no route matches"))
    name = f"grpc/{service.id}/{port.port}"
    virtual_host = pb.VirtualHost(name=name, domains=["*"], routes=made)
    config = pb.RouteConfiguration(name=name, virtual_hosts=[virtual_host])
    uses.by_name.update(found.by_name)
    references = [
        (type_urls.CLUSTER, use.name)
        for use in found.by_name.values()
        if not _out_of_reach(world.services[use.service])
    ]
    return Resource.of(type_urls.ROUTE, name, pb.to_bytes(config), references)


def _understood(route: pb.Message) -> pb.Message | None:
    """A route in gRPC's words; None for one that no gRPC request can match or that gRPC would refuse."""
    methods = [header for header in route.match.headers if header.name == ":method"]
    if route.match.query_parameters or route.HasField("redirect") or not all(map(_is_post, methods)):
        return None
    for header in methods:
        route.match.headers.remove(header)
    if route.match.WhichOneof("path_specifier") == "path_separated_prefix":
        # A gRPC path is /package.Service/Method: a prefix of whole elements ends with a slash.
        route.match.prefix = route.match.path_separated_prefix + "/"
    for name in set(route.typed_per_filter_config) - {FAULT}:
        del route.typed_per_filter_config[name]
    if route.HasField("route"):
        _understood_action(route.route)
    return route


def _is_post(method: pb.Message) -> bool:
    """Whether a matcher takes the one method of gRPC; those by regular expression are of idempotent ones."""
    value: str = method.string_match.exact
    return value == "POST"


def _understood_action(action: pb.Message) -> None:
    """gRPC takes no aggregate of ours; the timeout it heeds is `max_stream_duration` (gRFC A31)."""
    if action.timeout.ToNanoseconds():
        action.max_stream_duration.max_stream_duration.CopyFrom(action.timeout)
    if action.cluster.startswith("fb/"):
        action.cluster = action.cluster.replace("fb/", "out/", 1)
    for weighted in action.weighted_clusters.clusters:
        if weighted.name.startswith("fb/"):
            weighted.name = weighted.name.replace("fb/", "out/", 1)


# --- clusters ---


def plain_cluster(upstream: Upstream) -> Resource:
    """The `Cluster`: EDS, the legacy `lb_policy` (gRPC wraps it by locality itself), requests at a time."""
    policy = upstream.policy
    made = pb.Cluster(
        name=upstream.name,
        type=pb.Cluster.EDS,
        eds_cluster_config={"eds_config": ads(), "service_name": upstream.assignment},
        outlier_detection=outlier_detection(policy.outlier),
        circuit_breakers={"thresholds": [{"max_requests": uint32(policy.limits.max_requests)}]},
        connect_timeout=pb.duration(policy.timeouts.connect_s or 5.0),
    )
    _balance(made, policy)
    body = pb.to_bytes(made)
    return Resource.of(type_urls.CLUSTER, upstream.name, body, [(type_urls.ENDPOINT, upstream.assignment)])


def _balance(made: pb.Message, policy: EffectivePolicy) -> None:
    if policy.load_balancer.algorithm in _HASHING:
        made.lb_policy = pb.Cluster.RING_HASH
        made.ring_hash_lb_config.minimum_ring_size.value = policy.load_balancer.ring_size_min
    else:
        made.lb_policy = pb.Cluster.ROUND_ROBIN

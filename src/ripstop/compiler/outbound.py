"""Calls out of a sidecar: the `outbound` listener, its scopes, and a RouteConfiguration for each service."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ripstop.compiler.access_log import tcp_logs
from ripstop.compiler.extension import network_filter, uint32
from ripstop.compiler.http_manager import NOT_SENT, Manager, by_rds, by_scopes, calling_filters, local_reply
from ripstop.compiler.matching import connect
from ripstop.compiler.routes import Place, refusal, routes
from ripstop.compiler.world import Use, Uses, World, default_port, use_cluster
from ripstop.ids import ServiceId
from ripstop.model.policy import Source
from ripstop.model.topology import Backend, HttpMatch, HttpRule, Service, ServicePort
from ripstop.model.workload import Upstream as UpstreamPort
from ripstop.xds import names, pb, type_urls
from ripstop.xds.snapshot import Resource

SELF = "outbound/self"
"""A cluster that is the outbound listener itself: where HTTP inside a CONNECT tunnel is routed."""
TCP_PROXY = "envoy.filters.network.tcp_proxy"


@dataclass(frozen=True, slots=True)
class Outbound:
    """What all sidecars that may call the same services share."""

    scopes: Mapping[str, Resource]
    routes: Mapping[str, Resource]
    uses: Mapping[str, Use]


def outbound(world: World, callees: Iterable[ServiceId], namespace: str, memo: Memo) -> Outbound:
    """Scopes and routes for callers of `namespace` that may call `callees`."""
    scopes: dict[str, Resource] = {}
    configs: dict[str, Resource] = {}
    uses: dict[str, Use] = {}
    for service in _in_order(world, callees, namespace):
        config, used = memo.routes(world, service, namespace)
        configs[config.name] = config
        uses.update(used)
        for host in world.hosts(service, namespace):
            # The first to claim a host keeps it: the caller's own namespace comes first.
            scopes.setdefault(names.scope(host), memo.scope(host, config.name))
    return Outbound(scopes, configs, uses)


def _in_order(world: World, callees: Iterable[ServiceId], namespace: str) -> list[Service]:
    known = [world.services[callee] for callee in callees if callee in world.services]
    return sorted(known, key=lambda service: (service.id.namespace != namespace, service.id))


class Memo:
    """Resources shared between nodes; equal ones are the same object."""

    def __init__(self) -> None:
        self._routes: dict[tuple[ServiceId, str], tuple[Resource, Mapping[str, Use]]] = {}
        self._scopes: dict[tuple[str, str], Resource] = {}

    def routes(self, world: World, service: Service, namespace: str) -> tuple[Resource, Mapping[str, Use]]:
        """The RouteConfiguration of a service for callers of a namespace, and the clusters it names."""
        # Callers of different namespaces share one, unless consumer routes tell them apart.
        own = any(entry.consumer_namespace == namespace for entry in world.routes.get(service.id, ()))
        is_home = service.id.namespace in (namespace, "default")
        key = (service.id, namespace if own or not is_home else "")
        if key not in self._routes:
            self._routes[key] = _service_routes(world, service, namespace)
        return self._routes[key]

    def forget(self, services: frozenset[ServiceId]) -> None:
        """The routes of these services have changed."""
        self._routes = {key: made for key, made in self._routes.items() if key[0] not in services}

    def scope(self, host: str, config: str) -> Resource:
        """The ScopedRouteConfiguration that leads a host to a RouteConfiguration."""
        if (host, config) not in self._scopes:
            self._scopes[host, config] = _scope(host, config)
        return self._scopes[host, config]


def _scope(host: str, config: str) -> Resource:
    name = names.scope(host)
    made = pb.ScopedRouteConfiguration(
        name=name, route_configuration_name=config, key={"fragments": [{"string_key": host}]}
    )
    return Resource.of(type_urls.SCOPED_ROUTE, name, pb.to_bytes(made), [(type_urls.ROUTE, config)])


# --- routes of one service ---


def _service_routes(world: World, service: Service, namespace: str) -> tuple[Resource, Mapping[str, Use]]:
    uses = Uses()
    hosts = tuple(world.hosts(service, namespace))
    fallback = default_port(service)
    virtual_hosts = [
        _virtual_host(_place(world, uses, service, port), namespace, domains(hosts, port, port is fallback))
        for port in service.ports
    ]
    name = names.outbound_routes(service.id)
    return route_configuration(name, virtual_hosts, uses), uses.by_name


def route_configuration(
    name: str, virtual_hosts: list[pb.Message], uses: Uses, *, ignores_port: bool = False
) -> Resource:
    """A `RouteConfiguration` of callers. The mesh's own marker stays within it (`response_headers_to_remove`)."""
    made = pb.RouteConfiguration(
        name=name,
        virtual_hosts=virtual_hosts,
        response_headers_to_remove=[NOT_SENT],
        validate_clusters=pb.BoolValue(value=False),
        ignore_port_in_host_matching=ignores_port,
    )
    references = [(type_urls.CLUSTER, used) for used in uses.by_name]
    return Resource.of(type_urls.ROUTE, name, pb.to_bytes(made), references)


def _place(world: World, uses: Uses, service: Service, port: ServicePort, authority: str = "") -> Place:
    return Place(world=world, uses=uses, port=port.port, service=service, authority=authority)


def domains(hosts: tuple[str, ...], port: ServicePort, is_default: bool) -> list[str]:
    """``host:port``, and the bare host for the default port. A port that a service has not is no domain: 404."""
    with_port = [f"{host}:{port.port}" for host in hosts]
    return [*hosts, *with_port] if is_default else with_port


def _virtual_host(place: Place, namespace: str, hosts: list[str]) -> pb.Message:
    service = place.service
    assert service is not None
    port = service.port(place.port)
    assert port is not None
    made = _http_routes(place, service, port, namespace) if port.protocol.is_http else []
    made.append(_tunnel(place, service, port, namespace))
    why = (
        "no route matches"
        if port.protocol.is_http
        else f"it speaks {port.protocol.value}; use CONNECT or --upstream"
    )
    made.append(refusal("no-route", 404, f"ripstop: {service.id} port {port.port}: {why}"))
    return pb.VirtualHost(name=f"{service.id}/{port.port}", domains=hosts, routes=made)


def _http_routes(place: Place, service: Service, port: ServicePort, namespace: str) -> list[pb.Message]:
    """A service without HTTP routes is called itself; with an empty list of them nothing matches."""
    entry = place.world.routes_for(service, port.port, namespace)
    if entry is None or entry.http is None:
        return routes(place, [itself(service, port)])
    return routes(place, entry.http)


def itself(service: Service, port: ServicePort) -> HttpRule:
    """The rule of a service that has none: all goes to itself."""
    source = service.source or Source(file="", line=0, document=f"Service {service.id}")
    backend = Backend(service=service.id, port=port.port)
    return HttpRule(name=f"default/{service.id}", source=source, match=HttpMatch(), backends=(backend,))


def _tunnel(place: Place, service: Service, port: ServicePort, namespace: str) -> pb.Message:
    """CONNECT: bytes go to a TCP port as they are; for an HTTP port they are requests, which are routed like any other."""
    made = pb.Route(name=f"connect/{service.id}/{port.port}", match=connect())
    action = made.route
    action.upgrade_configs.add(
        upgrade_type="CONNECT", connect_config=pb.RouteAction.UpgradeConfig.ConnectConfig()
    )
    action.timeout.CopyFrom(pb.duration(0))
    if port.protocol.is_http:
        action.cluster = SELF
        return made
    for name, weight in tcp_destinations(place, service, port, namespace):
        action.weighted_clusters.clusters.add(name=name, weight=uint32(weight))
    return made


def tcp_destinations(
    place: Place, service: Service, port: ServicePort, namespace: str
) -> list[tuple[str, int]]:
    """The clusters and weights behind a TCP port; an unusable share has a name that no cluster has."""
    entry = place.world.routes_for(service, port.port, namespace)
    own = (Backend(service=service.id, port=port.port),)
    backends = entry.tcp if entry is not None and entry.tcp is not None else own
    return list(destinations(place.world, place.uses, backends)) or [(names.NO_BACKEND, 1)]


def destinations(world: World, uses: Uses, backends: Iterable[Backend]) -> Iterator[tuple[str, int]]:
    """Clusters and weights of TCP backends; those with weight 0 get nothing."""
    for backend in backends:
        service = world.services.get(backend.service) if backend.service and not backend.invalid else None
        port = (service.port(backend.port) if backend.port else default_port(service)) if service else None
        if not backend.weight:
            continue
        if service is None or port is None:
            yield names.NO_BACKEND, backend.weight
        else:
            yield use_cluster(world, uses, service, port), backend.weight


# --- listeners ---


def outbound_listener(port: int, *, is_logged: bool) -> Resource:
    """The `outbound` listener: an HTTP proxy on loopback. Its content depends on the port alone."""
    unknown = local_reply(
        flags=["NR"], status=404, text="ripstop: nothing in the mesh is called %REQ(:AUTHORITY)%"
    )
    manager = Manager(
        direction="outbound",
        filters=calling_filters(),
        local_replies=(unknown,),
        accepts_connect=True,
        is_logged=is_logged,
    )
    chain = pb.FilterChain(filters=[by_scopes(manager)])
    return listener(names.OUTBOUND_LISTENER, "127.0.0.1", port, [chain], pb.TrafficDirection.OUTBOUND)


def listener(
    name: str,
    address: str,
    port: int,
    chains: list[pb.Message],
    direction: int,
    references: Iterable[str] = (),
    *,
    reads_sni: bool = False,
) -> Resource:
    """A `Listener` on a socket; `references` are the RouteConfigurations it names."""
    made = pb.Listener(
        name=name,
        address={"socket_address": {"address": address, "port_value": port}},
        filter_chains=chains,
        traffic_direction=direction,
        stat_prefix=name,
        listener_filters=[_tls_inspector()] if reads_sni else [],
    )
    refs = [(type_urls.ROUTE, config) for config in references]
    return Resource.of(type_urls.LISTENER, name, pb.to_bytes(made), refs)


def _tls_inspector() -> pb.Message:
    """Reads SNI and ALPN, so that filter chains can be told apart by them."""
    config = pb.pack(pb.TlsInspector())
    return pb.ListenerFilter(name="envoy.filters.listener.tls_inspector", typed_config=config)


def upstream_listener(
    world: World, upstream: UpstreamPort, namespace: str
) -> tuple[list[Resource], Mapping[str, Use]]:
    """A local port for one service (`--upstream`): its listener, routes when it is HTTP, and the clusters named."""
    service = world.services.get(upstream.service)
    port = service.port(upstream.port) if service else None
    if service is None or port is None:
        return [], {}
    uses = Uses()
    place = _place(world, uses, service, port, authority=f"{service.hosts[0]}:{port.port}")
    if port.protocol.is_http:
        made = _http_upstream(place, upstream, namespace)
    else:
        made = [_tcp_upstream(place, upstream, service, port, namespace)]
    return made, uses.by_name


def _http_upstream(place: Place, upstream: UpstreamPort, namespace: str) -> list[Resource]:
    name = names.upstream_routes(upstream.service, upstream.port)
    config = route_configuration(name, [_virtual_host(place, namespace, ["*"])], place.uses)
    manager = Manager(direction="outbound", filters=calling_filters(), is_logged=place.world.mesh.access_log)
    chain = pb.FilterChain(filters=[by_rds(manager, name)])
    return [_upstream(upstream, chain, [name]), config]


def _tcp_upstream(
    place: Place, upstream: UpstreamPort, service: Service, port: ServicePort, namespace: str
) -> Resource:
    targets = tcp_destinations(place, service, port, namespace)
    logs = tcp_logs("outbound", str(service.id), is_logged=place.world.mesh.access_log)
    chain = pb.FilterChain(filters=[tcp_proxy("upstream", targets, logs, service.policy.timeouts.idle_s)])
    return _upstream(upstream, chain, [], [name for name, _ in targets])


def _upstream(
    upstream: UpstreamPort, chain: pb.Message, configs: list[str], clusters: list[str] | None = None
) -> Resource:
    name = names.upstream_listener(upstream.local_port)
    made = listener(name, "127.0.0.1", upstream.local_port, [chain], pb.TrafficDirection.OUTBOUND, configs)
    extra = {(type_urls.CLUSTER, used) for used in clusters or () if used != names.NO_BACKEND}
    return Resource(made.type_url, made.name, made.body, made.version, made.references | extra)


def tcp_proxy(
    stat_prefix: str, targets: list[tuple[str, int]], logs: tuple[pb.Message, ...], idle_s: float
) -> pb.Message:
    """A `TcpProxy` to one cluster or several by weight."""
    made = pb.TcpProxy(stat_prefix=stat_prefix, access_log=logs, idle_timeout=pb.duration(idle_s))
    made.max_connect_attempts.value = 3
    if len(targets) == 1:
        made.cluster = targets[0][0]
    else:
        made.weighted_clusters.clusters.extend(
            pb.TcpProxy.WeightedCluster.ClusterWeight(name=name, weight=weight) for name, weight in targets
        )
    return network_filter(TCP_PROXY, made)

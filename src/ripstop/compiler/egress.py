"""An egress gateway: the mTLS listener by which sidecars call services outside the mesh.

It does what only this proxy can do: choose and guard the connections to the outside, and say who may call. Retries,
faults and time limits are the callers' sidecars'; here they would be applied twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ripstop.compiler.access_log import tcp_logs
from ripstop.compiler.gateway import Made
from ripstop.compiler.http_manager import Manager, by_rds
from ripstop.compiler.inbound import inbound_filters, local_replies, network_rbac, per_filter
from ripstop.compiler.outbound import domains, itself, listener, route_configuration, tcp_proxy
from ripstop.compiler.policies.authorization import Rules
from ripstop.compiler.routes import Place, refusal, routes
from ripstop.compiler.transport import H2, HTTP1, TCP_ALPN, mesh_server
from ripstop.compiler.world import Uses, World, default_port, egress_sni, use_cluster
from ripstop.ids import ServiceId
from ripstop.model.policy import EffectivePolicy
from ripstop.model.topology import Service, ServicePort
from ripstop.model.workload import Registration
from ripstop.xds import names, pb, type_urls
from ripstop.xds.snapshot import Resource

ROUTES = "egress"


def egress(world: World, node: Registration) -> Made:
    """The `inbound` listener of an egress gateway with its routes; nothing when no service goes by it."""
    services = [s for s in world.services.values() if s.egress_gateway == node.node.service_id]
    made = Made()
    if not services or not node.inbound_port:
        return made
    uses = Uses()
    config = _routes(world, node.node.service_id, services, uses)
    tcp = list(_tcp_chains(world, services, uses))
    made.resources += [_listener(world, node, services, tcp), config]
    made.uses.update(uses.by_name)
    return made


def _listener(
    world: World, node: Registration, services: list[Service], tcp: list[tuple[pb.Message, str]]
) -> Resource:
    """HTTP by default; connections for TCP ports say by SNI where they go."""
    chains = [_http_chain(world, services), *(chain for chain, _ in tcp)]
    made = listener(
        names.INBOUND_LISTENER,
        node.address,
        node.inbound_port,
        chains,
        pb.TrafficDirection.INBOUND,
        [ROUTES],
        reads_sni=bool(tcp),
    )
    references = made.references | {(type_urls.CLUSTER, cluster) for _, cluster in tcp}
    return Resource(made.type_url, made.name, made.body, made.version, references)


# --- HTTP ---


def _http_chain(world: World, services: list[Service]) -> pb.Message:
    limits = max(len(service.policy.rate_limits) for service in services)
    manager = Manager(
        direction="egress",
        filters=inbound_filters(limits),
        local_replies=local_replies("ripstop: the service outside the mesh does not accept connections"),
        is_logged=world.mesh.access_log,
    )
    return pb.FilterChain(
        name=ROUTES,
        transport_socket=mesh_server(world.mesh.trust_domain, (H2, HTTP1)),
        filters=[by_rds(manager, ROUTES)],
    )


def _routes(world: World, reader: ServiceId, services: list[Service], uses: Uses) -> Resource:
    """A virtual host for each port of each service; a host that two services claim is the first's."""
    taken: set[str] = set()
    made = []
    for service in sorted(services, key=lambda each: each.id):
        for port in service.ports:
            wanted = domains(service.hosts, port, port is default_port(service))
            free = [domain for domain in wanted if domain not in taken]
            taken.update(free)
            if port.protocol.is_http and free:
                made.append(_virtual_host(world, uses, service, port, free))
    unknown = refusal("no-host", 404, f"ripstop: no service with this host goes by {reader}")
    made.append(pb.VirtualHost(name="unknown", domains=["*"], routes=[unknown]))
    # The marker of requests that were not sent is this proxy's own: nobody outside can forge it.
    return route_configuration(ROUTES, made, uses)


def _virtual_host(
    world: World, uses: Uses, service: Service, port: ServicePort, hosts: list[str]
) -> pb.Message:
    place = Place(world=world, uses=uses, port=port.port, service=service)
    rule = replace(itself(service, port), policy=_without_callers_part(service.policy))
    made = pb.VirtualHost(name=f"{service.id}/{port.port}", domains=hosts, routes=routes(place, [rule]))
    for name, config in per_filter(_rules(world, service, port), service.policy.rate_limits):
        made.typed_per_filter_config[name].CopyFrom(pb.pack(config))
    return made


def _without_callers_part(policy: EffectivePolicy) -> EffectivePolicy:
    timeouts = replace(policy.timeouts, request_s=0.0, backend_request_s=0.0, max_stream_s=0.0)
    return replace(policy, retry=None, fault=None, session=None, timeouts=timeouts)


def _rules(world: World, service: Service, port: ServicePort) -> Rules:
    """Who may call a service outside the mesh is held here, where its calls come by."""
    numbers = frozenset({port.port})
    is_http = port.protocol.is_http
    return Rules(service.authorizations, world.mesh.trust_domain, numbers, is_http=is_http)


# --- TCP ---


def _tcp_chains(world: World, services: list[Service], uses: Uses) -> Iterator[tuple[pb.Message, str]]:
    """(chain, cluster) for each TCP port."""
    for service in services:
        for port in service.ports:
            if not port.protocol.is_http:
                cluster = use_cluster(world, uses, service, port)
                yield _tcp_chain(world, service, port, cluster), cluster


def _tcp_chain(world: World, service: Service, port: ServicePort, cluster: str) -> pb.Message:
    logs = tcp_logs("inbound", str(service.id), is_logged=world.mesh.access_log)
    proxy = tcp_proxy("egress", [(cluster, 1)], logs, service.policy.timeouts.idle_s)
    return pb.FilterChain(
        name=cluster,
        filter_chain_match={"server_names": [egress_sni(service.id, port.port)]},
        transport_socket=mesh_server(world.mesh.trust_domain, (TCP_ALPN,)),
        filters=[*network_rbac(_rules(world, service, port)), proxy],
    )

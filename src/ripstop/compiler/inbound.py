"""Calls into a sidecar: the `inbound` listener, the application's clusters, and what holds there.

Policies are in the RouteConfiguration (`in/<port>`), not in the listener: a listener that changes drains its connections,
a changed route does not. Until the routes have come, requests are answered 404, so nothing slips past a policy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ripstop.compiler.access_log import tcp_logs
from ripstop.compiler.cluster import local
from ripstop.compiler.extension import http_filter, network_filter
from ripstop.compiler.http_manager import NOT_SENT, POLICY, Manager, by_rds, local_reply
from ripstop.compiler.outbound import listener, tcp_proxy
from ripstop.compiler.policies.authorization import AUDIT_ALLOW, AUDIT_DENY, Rules
from ripstop.compiler.policies.rate_limit import local_rate_limit, off
from ripstop.compiler.transport import H2, HTTP1, TCP_ALPN, mesh_server
from ripstop.compiler.world import World
from ripstop.model.policy import Action, Authorization, RateLimit
from ripstop.model.topology import Service
from ripstop.model.workload import Protocol, Registration
from ripstop.xds import names, pb, type_urls
from ripstop.xds.snapshot import Resource

DENY, ALLOW, AUDITS = "ripstop.rbac.deny", "ripstop.rbac.allow", "ripstop.rbac.audit"
RATE_LIMIT = "ripstop.rate_limit"
RBAC_METADATA = "envoy.filters.http.rbac"
DENIED_BY = "deny_"
"""A filter tells which policy matched only after its answer is written: the same rules as shadow rules of a filter
before it (`TOLD`) tell it in time."""
TOLD = "ripstop.rbac.told"
_DENIED = f"%DYNAMIC_METADATA({RBAC_METADATA}:{DENIED_BY}shadow_effective_policy_id)%"
_ALLOWS = "%METADATA(ROUTE:ripstop:allows)%"


@dataclass(frozen=True, slots=True)
class AppPort:
    """A port of the application behind a sidecar. `numbers` are all that it is called by in rules."""

    port: int
    protocol: Protocol
    numbers: frozenset[int]
    sni: str = ""


def inbound(world: World, node: Registration) -> list[Resource]:
    """The `inbound` listener, and for each port of the application a cluster and, for HTTP, routes."""
    ports = _app_ports(world, node)
    configs = [_routes(world, node, port) for port in ports if port.protocol.is_http]
    clusters = [local(names.inbound(port.port), port.port, port.protocol) for port in ports]
    return [_listener(world, node, ports), *configs, *clusters]


def _app_ports(world: World, node: Registration) -> list[AppPort]:
    """The registered port, and others that services with this node behind them declare as `target_port`."""
    services = list(_served(world, node))
    declared = {
        (port.target_port or node.app_port): port.protocol for service in services for port in service.ports
    }
    protocol = node.protocol
    if protocol is Protocol.HTTP:
        # The agent's default; a document that says more about the port knows better.
        protocol = declared.get(node.app_port, protocol)
    main = AppPort(node.app_port, protocol, _numbers(services, node, node.app_port))
    others = [
        AppPort(port, kind, _numbers(services, node, port), names.target_sni(port))
        for port, kind in sorted(declared.items())
        if port != node.app_port
    ]
    return [main, *others]


def _served(world: World, node: Registration) -> Iterator[Service]:
    """The services whose calls may arrive here: those that select it, and its own."""
    for service in world.served_by.get(node.node.service_id, ()):
        if service.is_meshed:
            yield service


def _numbers(services: list[Service], node: Registration, app_port: int) -> frozenset[int]:
    ports = [port for service in services for port in service.ports]
    return frozenset({app_port, *(p.port for p in ports if (p.target_port or node.app_port) == app_port)})


def _policies(world: World, node: Registration) -> tuple[tuple[Authorization, ...], tuple[RateLimit, ...]]:
    service = world.services.get(node.node.service_id)
    return (service.authorizations, service.policy.rate_limits) if service else ((), ())


# --- the listener ---


def _listener(world: World, node: Registration, ports: list[AppPort]) -> Resource:
    chains = [_chain(world, node, port) for port in ports]
    configs = [names.inbound(port.port) for port in ports if port.protocol.is_http]
    made = listener(
        names.INBOUND_LISTENER,
        node.address,
        node.inbound_port,
        chains,
        pb.TrafficDirection.INBOUND,
        configs,
        reads_sni=len(ports) > 1,
    )
    tcp = {(type_urls.CLUSTER, names.inbound(p.port)) for p in ports if not p.protocol.is_http}
    return Resource(made.type_url, made.name, made.body, made.version, made.references | tcp)


def _chain(world: World, node: Registration, port: AppPort) -> pb.Message:
    """A `FilterChain`: mTLS is required, whatever the protocol; further ports are told apart by SNI."""
    is_http = port.protocol.is_http
    alpn = (H2, HTTP1) if is_http else (TCP_ALPN,)
    return pb.FilterChain(
        name=names.inbound(port.port),
        filter_chain_match={"server_names": [port.sni]} if port.sni else None,
        transport_socket=mesh_server(world.mesh.trust_domain, alpn),
        filters=[_http(world, node, port)] if is_http else _tcp(world, node, port),
    )


def _http(world: World, node: Registration, port: AppPort) -> pb.Message:
    _, limits = _policies(world, node)
    manager = Manager(
        direction="inbound",
        filters=inbound_filters(len(limits)),
        local_replies=local_replies(
            "ripstop: the application of %DOWNSTREAM_LOCAL_URI_SAN% does not accept connections"
        ),
        is_logged=world.mesh.access_log,
    )
    return by_rds(manager, names.inbound(port.port))


def inbound_filters(rate_limits: int) -> tuple[pb.Message, ...]:
    """The filters of whoever is called. Audits first, so that they see what DENY stops. What each does is in the
    routes (`typed_per_filter_config`).
    """
    return (
        # Metadata and statistics take the prefix from here, not from the routes.
        http_filter(f"{AUDITS}.{AUDIT_DENY}", pb.HttpRbac(shadow_rules_stat_prefix=AUDIT_DENY)),
        http_filter(f"{AUDITS}.{AUDIT_ALLOW}", pb.HttpRbac(shadow_rules_stat_prefix=AUDIT_ALLOW)),
        http_filter(TOLD, pb.HttpRbac(shadow_rules_stat_prefix=DENIED_BY)),
        http_filter(DENY, pb.HttpRbac()),
        http_filter(ALLOW, pb.HttpRbac()),
        *(http_filter(f"{RATE_LIMIT}.{index}", off()) for index in range(max(1, rate_limits))),
    )


def local_replies(refused: str) -> tuple[pb.Message, ...]:
    """A denial names its policy; a request that could not be handed on says `refused`, and `x-ripstop-not-sent`."""
    who = "%DOWNSTREAM_PEER_URI_SAN% may not %REQ(:METHOD)% %REQ(:PATH)% at %DOWNSTREAM_LOCAL_URI_SAN%"
    return (
        local_reply(
            metadata=(RBAC_METADATA, f"{DENIED_BY}shadow_engine_result", "denied"),
            text=f"ripstop: {who}: {_DENIED} forbids it",
            add=[(POLICY, _DENIED)],
        ),
        local_reply(status=403, text=f"ripstop: {who}: none of {_ALLOWS} allows it", add=[(POLICY, _ALLOWS)]),
        local_reply(flags=["UF"], text=refused, add=[(NOT_SENT, "1")]),
    )


def _tcp(world: World, node: Registration, port: AppPort) -> list[pb.Message]:
    """Network RBAC before a `TcpProxy`; here policies are in the listener, for TCP has no routes."""
    filters = network_rbac(_rules(world, node, port))
    logs = tcp_logs("inbound", "", is_logged=world.mesh.access_log)
    return [*filters, tcp_proxy("inbound", [(names.inbound(port.port), 1)], logs, 0)]


def network_rbac(rules: Rules) -> list[pb.Message]:
    """The network filters that hold `rules` for connections."""
    filters = []
    for action, prefix in ((Action.DENY, AUDIT_DENY), (Action.ALLOW, AUDIT_ALLOW)):
        enforced, audited = rules.enforced(action), rules.audited(action)
        if enforced is not None or audited is not None:
            config = pb.NetworkRbac(
                stat_prefix="inbound.", rules=enforced, shadow_rules=audited, shadow_rules_stat_prefix=prefix
            )
            filters.append(network_filter("envoy.filters.network.rbac", config))
    return filters


# --- the routes ---


def _rules(world: World, node: Registration, port: AppPort) -> Rules:
    authorizations, _ = _policies(world, node)
    return Rules(authorizations, world.mesh.trust_domain, port.numbers, is_http=port.protocol.is_http)


def _routes(world: World, node: Registration, port: AppPort) -> Resource:
    """`in/<port>`: everything to the application. It cannot forge the mesh's marker (`response_headers_to_remove`)."""
    name = names.inbound(port.port)
    to_app = pb.Route(name=name, match={"prefix": "/"}, route={"cluster": name, "timeout": pb.duration(0)})
    to_app.metadata.filter_metadata["ripstop"].update({"allows": _rules(world, node, port).allows()})
    virtual_host = pb.VirtualHost(name=name, domains=["*"], routes=[to_app])
    _, limits = _policies(world, node)
    for filter_name, config in per_filter(_rules(world, node, port), limits):
        virtual_host.typed_per_filter_config[filter_name].CopyFrom(pb.pack(config))
    made = pb.RouteConfiguration(
        name=name, virtual_hosts=[virtual_host], response_headers_to_remove=[NOT_SENT]
    )
    return Resource.of(type_urls.ROUTE, name, pb.to_bytes(made), [(type_urls.CLUSTER, name)])


def per_filter(rules: Rules, limits: tuple[RateLimit, ...]) -> Iterator[tuple[str, pb.Message]]:
    """What `inbound_filters` do for one virtual host: filter names and their configurations."""
    for action, name, prefix in ((Action.DENY, DENY, AUDIT_DENY), (Action.ALLOW, ALLOW, AUDIT_ALLOW)):
        if (enforced := rules.enforced(action)) is not None:
            yield name, pb.HttpRbacPerRoute(rbac=pb.HttpRbac(rules=enforced))
            if action is Action.DENY:
                told = pb.HttpRbac(shadow_rules=enforced, shadow_rules_stat_prefix=DENIED_BY)
                yield TOLD, pb.HttpRbacPerRoute(rbac=told)
        if (audited := rules.audited(action)) is not None:
            shadow = pb.HttpRbac(shadow_rules=audited, shadow_rules_stat_prefix=prefix)
            yield f"{AUDITS}.{prefix}", pb.HttpRbacPerRoute(rbac=shadow)
    for index, limit in enumerate(limits):
        yield f"{RATE_LIMIT}.{index}", local_rate_limit(limit)

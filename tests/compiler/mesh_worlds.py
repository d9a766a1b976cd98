"""Small topologies, built by hand: services, instances, rules, and what the model would have resolved from documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ripstop.ids import NodeId, ServiceId
from ripstop.model.policy import MeshSettings, Source
from ripstop.model.topology import (
    Backend,
    EndpointsFrom,
    Gateway,
    HttpMatch,
    HttpRule,
    MeshRoutes,
    Service,
    ServicePort,
    Topology,
)
from ripstop.model.workload import Endpoint, NodeKind, Protocol, Registration

Ports = Callable[[int], int]
"""Local ports: as they are in goldens, free ones where a real Envoy opens them."""

QUIET = MeshSettings(access_log=False)
"""Access logs are long; the golden of `one_service` shows them."""
HTTP = ServicePort(port=80, name="http")


def sid(name: str) -> ServiceId:
    return ServiceId.parse(name)


def source(document: str, line: int = 1, path: str = "spec") -> Source:
    return Source(file="mesh.yaml", line=line, document=document, path=path)


def service(name: str, *ports: ServicePort, **fields: Any) -> Service:
    """A service in the mesh that is answered by instances registered under its own name."""
    own = sid(name)
    hosts = (own.name, f"{own.name}.{own.namespace}", f"{own.name}.{own.namespace}.mesh")
    given = {
        "identities": (own,),
        "source": source(f"Service {own}"),
        "hosts": (*hosts, *fields.pop("hostnames", ())),
    }
    return Service(id=own, ports=ports or (HTTP,), **(given | fields))


def external(name: str, *ports: ServicePort, **fields: Any) -> Service:
    """A service outside the mesh."""
    fields = {"endpoints_from": EndpointsFrom.STATIC, "is_meshed": False, "identities": ()} | fields
    return service(name, *ports, **fields)


def endpoints(name: str, *addresses: str, **fields: Any) -> tuple[Endpoint, ...]:
    """Endpoints at ``address:port``, with the identity of `name` (none when it is empty)."""
    identity = sid(name) if name else None
    made = []
    for index, address in enumerate(addresses):
        host, _, port = address.rpartition(":")
        instance = f"{identity.name}-{index}" if identity else ""
        made.append(Endpoint(address=host, port=int(port), instance=instance, identity=identity, **fields))
    return tuple(made)


def node(name: str, port: Ports, **fields: Any) -> Registration:
    """A sidecar with all its listeners."""
    own = sid(name)
    given = {
        "node": NodeId(*own, fields.pop("instance", f"{own.name}-0")),
        "app_port": 8080,
        "inbound_port": port(15006),
        "outbound_port": port(15001),
    }
    return Registration(**(given | fields))


def gateway_node(name: str, **fields: Any) -> Registration:
    own = sid(name)
    return Registration(node=NodeId(*own, f"{own.name}-0"), kind=NodeKind.GATEWAY, **fields)


def rule(name: str, *backends: Backend, match: HttpMatch | None = None, **fields: Any) -> HttpRule:
    kind, _, rest = name.partition("/")
    return HttpRule(
        name=name,
        source=source(f"{kind} {rest.rpartition('/')[0] or rest}"),
        match=match or HttpMatch(),
        backends=backends,
        **fields,
    )


def to(name: str, port: int = 80, **fields: Any) -> Backend:
    return Backend(service=sid(name), port=port, **fields)


def mesh_routes(name: str, *rules: HttpRule, **fields: Any) -> MeshRoutes:
    return MeshRoutes(service=sid(name), http=rules, **fields)


def topology(
    services: Iterable[Service],
    instances: dict[str, tuple[Endpoint, ...]] | None = None,
    *,
    routes: Iterable[MeshRoutes] = (),
    gateways: Iterable[Gateway] = (),
    nodes: Iterable[Registration] = (),
    generation: int = 1,
    mesh: MeshSettings | None = None,
) -> Topology:
    """`instances` are the endpoints of every port of a service, or of one (``name:port``)."""
    services = sorted(services, key=lambda s: s.id)
    instances = instances or {}
    found = {}
    for each in services:
        for port in each.ports:
            names = (f"{each.id}:{port.port}", f"{each.id.name}:{port.port}", str(each.id), each.id.name)
            found[each.id, port.port] = next((instances[n] for n in names if n in instances), ())
    return Topology(
        generation=generation,
        mesh=mesh or QUIET,
        services={each.id: each for each in services},
        endpoints=found,
        routes=tuple(routes),
        gateways={each.id: each for each in gateways},
        nodes={each.node: each for each in nodes},
    )


def tcp_port(number: int, **fields: Any) -> ServicePort:
    return ServicePort(port=number, protocol=Protocol.TCP, **fields)

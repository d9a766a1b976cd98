"""Documents and instances -> Topology.

The pure heart of the control plane: what operators wrote, what is registered and what DNS answered become one world.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from ripstop.ids import NodeId, ServiceId
from ripstop.model.document import Document
from ripstop.model.resolve import endpoints as instances
from ripstop.model.resolve.endpoints import LookedUp, Registry, Sources
from ripstop.model.resolve.gateways import Attachments
from ripstop.model.resolve.routes import mesh_routes
from ripstop.model.resolve.services import mesh_settings, services
from ripstop.model.resolve.world import Documents, References
from ripstop.model.topology import EndpointsFrom, Service, Topology
from ripstop.model.workload import Registration

DEFAULT_TRUST_DOMAIN = "ripstop.local"
T = TypeVar("T")


def resolve(
    documents: Iterable[Document],
    registrations: Iterable[Registration],
    looked_up: LookedUp,
    *,
    generation: int,
    previous: Topology | None = None,
    trust_domain: str = DEFAULT_TRUST_DOMAIN,
) -> Topology:
    """The whole topology. Parts that are equal to those of `previous` are the same objects.

    `looked_up` holds DNS answers by `DnsName.key`; `documents` must be sound (`check`).
    """
    documents, registrations = tuple(documents), tuple(registrations)
    index = Documents.of(documents)
    mesh = mesh_settings(index, trust_domain)
    found = services(index, registrations, mesh)
    references = References(index, found)
    attachments = Attachments(index, references, mesh)
    routes, conditions = mesh_routes(index, references)
    made = Topology(
        generation=generation,
        mesh=mesh,
        services=found,
        endpoints=_all_endpoints(documents, found, registrations, looked_up),
        routes=routes,
        gateways=attachments.gateways(),
        nodes={r.node: r for r in registrations},
        conditions=(*conditions, *attachments.conditions),
    )
    return _shared(made, previous) if previous else made


def _shared(made: Topology, previous: Topology) -> Topology:
    """`made` with the objects of `previous` wherever they are equal."""
    same = {
        name: getattr(previous, name)
        for name in ("mesh", "services", "routes", "gateways", "conditions")
        if getattr(made, name) == getattr(previous, name)
    }
    return replace(made, **same, endpoints=_kept(made.endpoints, previous.endpoints))


def _kept(
    made: Mapping[tuple[ServiceId, int], T], before: Mapping[tuple[ServiceId, int], T]
) -> dict[tuple[ServiceId, int], T]:
    return {key: before[key] if before.get(key) == value else value for key, value in made.items()}


def _all_endpoints(
    documents: tuple[Document, ...],
    found: Mapping[ServiceId, Service],
    registrations: tuple[Registration, ...],
    looked_up: LookedUp,
) -> instances.Endpoints:
    registry, sources = Registry.of(registrations), Sources(documents)
    made: instances.Endpoints = {}
    for service in found.values():
        if service.endpoints_from is EndpointsFrom.REGISTRATION:
            made |= instances.registered(service, registry)
        else:
            made |= sources.outside(service, looked_up)
    return made


def resolve_endpoints(
    previous: Topology,
    registrations: Mapping[NodeId, Registration],
    looked_up: LookedUp,
    *,
    generation: int,
    documents: Iterable[Document] = (),
) -> Topology:
    """The cheap path when only instances moved or DNS answered anew: all other parts are the same objects."""
    moved = instances.changed_nodes(previous.nodes, registrations)
    made = dict(previous.endpoints)
    outside = [s for s in previous.services.values() if s.endpoints_from is not EndpointsFrom.REGISTRATION]
    inside = [
        service
        for service in previous.services.values()
        if service.endpoints_from is EndpointsFrom.REGISTRATION
        and any(instances.selects(service, registration) for registration in moved)
    ]
    if inside:
        registry = Registry.of(registrations.values())
        for service in inside:
            made |= instances.registered(service, registry)
    if outside:
        sources = Sources(documents)
        for service in outside:
            made |= sources.outside(service, looked_up) if service.id in sources.written else {}
    kept = _kept(made, previous.endpoints)
    return replace(previous, generation=generation, endpoints=kept, nodes=registrations)

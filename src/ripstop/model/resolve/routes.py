"""Routes with a Service as parent: rules for calls in the mesh (GAMMA, GEP-1426)."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from ripstop.ids import ServiceId
from ripstop.model.document import Document
from ripstop.model.references import ParentRef
from ripstop.model.resolve.rules import Placed, RuleMaker, in_order
from ripstop.model.resolve.world import Documents, References
from ripstop.model.topology import Condition, MeshRoutes

ROUTE_KINDS = ("HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute")


class Target(NamedTuple):
    """What a set of rules is for. `port` 0 is every port; `consumer` is empty for producer routes."""

    service: ServiceId
    port: int
    consumer: str


def mesh_routes(
    documents: Documents, references: References
) -> tuple[tuple[MeshRoutes, ...], tuple[Condition, ...]]:
    """The merged rules of every service that has routes, and what to say of each route's parents."""
    attached: dict[Target, list[Document]] = defaultdict(list)
    conditions: list[Condition] = []
    for route in documents.of_kind(*ROUTE_KINDS):
        for ref in route.spec.parent_refs:
            if ref.kind == "Service":
                conditions += _attach(route, ref, references, attached)
    _spread(attached)
    made = (_merged(target, routes, references) for target, routes in sorted(attached.items()))
    return tuple(made), tuple(conditions)


def _attach(
    route: Document, ref: ParentRef, references: References, attached: dict[Target, list[Document]]
) -> list[Condition]:
    service_id = ServiceId(ref.namespace or route.namespace, ref.name)
    parent = f"Service {service_id}"
    service = references.services.get(service_id)
    if service is None:
        return [condition(route, parent, "Accepted", "NoMatchingParent", f"there is no service {service_id}")]
    port = ref.port or 0
    if ref.section_name:
        port = next((p.port for p in service.ports if p.name == ref.section_name), -1)
    if port and service.port(port) is None:
        wanted = ref.section_name or port
        return [
            condition(route, parent, "Accepted", "NoMatchingParent", f"{service_id} has no port {wanted}")
        ]
    consumer = "" if route.namespace == service_id.namespace else route.namespace
    if route not in attached[Target(service_id, port, consumer)]:
        attached[Target(service_id, port, consumer)].append(route)
    return [condition(route, parent, "Accepted", "Accepted"), resolved_refs(route, parent, references)]


def _spread(attached: dict[Target, list[Document]]) -> None:
    """Routes for every port hold at ports that have routes of their own too."""
    for target, routes in attached.items():
        for_all = attached.get(Target(target.service, 0, target.consumer), []) if target.port else []
        routes += [route for route in for_all if route not in routes]


def _merged(target: Target, routes: list[Document], references: References) -> MeshRoutes:
    http = [route for route in routes if route.kind in ("HTTPRoute", "GRPCRoute")]
    connections = [route for route in routes if route.kind in ("TLSRoute", "TCPRoute")]
    connections.sort(key=lambda r: (r.metadata.creation_timestamp or "", r.created_at, r.namespace, r.name))
    maker = RuleMaker(references)
    base = references.services[target.service].policy
    placed = [
        Placed(route, rule, index) for route in http for index, rule in enumerate(maker.rules(route, base))
    ]
    tcp = references.plain(connections[0], connections[0].spec.rules[0].backend_refs) if connections else None
    return MeshRoutes(
        service=target.service,
        port=target.port,
        consumer_namespace=target.consumer,
        http=in_order(placed) if http else None,
        tcp=tcp,
        grpc_only=bool(http) and all(route.kind == "GRPCRoute" for route in http),
    )


# --- status ---


def condition(route: Document, parent: str, kind: str, reason: str, message: str = "") -> Condition:
    """A status condition of a route for one parent; true when its reason is the good one."""
    good = reason in ("Accepted", "ResolvedRefs", "Programmed")
    return Condition(
        document=route.title, parent=parent, type=kind, status=good, reason=reason, message=message
    )


def resolved_refs(route: Document, parent: str, references: References) -> Condition:
    """Whether all backends of a route can be used; the first that cannot says why."""
    for index, rule in enumerate(route.spec.rules):
        for number, ref in enumerate(rule.backend_refs):
            service, port, reason = references.backend(route, ref, ref.port)
            if reason:
                where = route.source("spec", "rules", index, "backendRefs", number)
                name = f"{service or ref.name}" + (f" port {port}" if port else "")
                return condition(route, parent, "ResolvedRefs", reason, f"{where}: {name}")
    return condition(route, parent, "ResolvedRefs", "ResolvedRefs")

"""Documents tried before anybody runs them: compiled for whom they are about, read by the native data plane's decoder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ripstop.compiler import Compiler
from ripstop.control import preflight
from ripstop.control.reconcile import DocumentsChanged, Reconciler, Registered
from ripstop.errors import Fault
from ripstop.ids import NodeId, ServiceId
from ripstop.model.document import Document
from ripstop.model.policy import Source
from ripstop.model.resolve import DEFAULT_TRUST_DOMAIN
from ripstop.model.spec import Spec
from ripstop.model.topology import Topology
from ripstop.model.workload import DataPlaneKind, NodeKind, Registration
from ripstop.xds import lines, names
from ripstop.xds.snapshot import Resource

CURE = "the native data plane would not take it; write it another way, or run with --data-plane envoy"
_INSTANCE, _POLICY = "trial", re.compile(r"\.policies\[\"?([^\"\]]+)")
_APP_PORT, _INBOUND_PORT, _OUTBOUND_PORT = 8080, 15006, 15001


def trial(documents: Iterable[Document]) -> tuple[Fault, ...]:
    """Every fault that a sidecar of each service, and each gateway, would find in what it would be sent.

    Services that documents only speak of are taken to be there, with one instance each. Documents must be sound by
    `model.check`.
    """
    documents = tuple(documents)
    topology = world(documents)
    compiler = Compiler()
    resources: dict[tuple[str, str], Resource] = {}
    for node in topology.nodes.values():
        for by_name in compiler.compile(topology, node).resources.values():
            resources.update({(r.type_url, r.version): r for r in by_name.values()})
    found: dict[tuple[str, int, str, str], Fault] = {}
    for resource in resources.values():
        for fault in _faults(topology, resource):
            # One line becomes several routes and rules: it is told once.
            found.setdefault((fault.file, fault.line, fault.path, fault.message), fault)
    return tuple(found[key] for key in sorted(found))


def world(documents: tuple[Document, ...]) -> Topology:
    """What documents make of a mesh with one instance of each service and gateway that they name."""
    reconciler = Reconciler(trust_domain=DEFAULT_TRUST_DOMAIN)
    reconciler.step(DocumentsChanged(documents))
    for node in _nodes(documents):
        reconciler.step(Registered(node, 0.0))
    return reconciler.reconcile() or reconciler.topology


# --- who is concerned ---


def _nodes(documents: tuple[Document, ...]) -> Iterator[Registration]:
    gateways = {ServiceId(d.namespace, d.name) for d in documents if d.kind == "Gateway"}
    services = {ServiceId(d.namespace, d.name) for d in documents if d.kind == "Service"}
    for document in documents:
        services.update(_services_in(document.spec, document.namespace))
    for gateway in sorted(gateways):
        yield _node(gateway, NodeKind.GATEWAY)
    for service in sorted(services - gateways):
        yield _node(service, NodeKind.SIDECAR)


def _node(service: ServiceId, kind: NodeKind) -> Registration:
    return Registration(
        node=NodeId(service.namespace, service.name, _INSTANCE),
        kind=kind,
        app_port=_APP_PORT if kind is NodeKind.SIDECAR else 0,
        inbound_port=_INBOUND_PORT,
        outbound_port=_OUTBOUND_PORT,
        data_plane=DataPlaneKind.NATIVE,
    )


def _services_in(part: object, namespace: str) -> Iterator[ServiceId]:
    """The Services that references in a spec point at."""
    if isinstance(part, list | tuple):
        for item in part:
            yield from _services_in(item, namespace)
    elif isinstance(part, Spec):
        if getattr(part, "kind", "") == "Service" and isinstance(name := getattr(part, "name", None), str):
            yield ServiceId(getattr(part, "namespace", None) or namespace, name)
        for field in type(part).model_fields:
            yield from _services_in(getattr(part, field), namespace)


# --- faults ---


def _faults(topology: Topology, resource: Resource) -> Iterator[Fault]:
    for path, problem in preflight.CHECK(resource.type_url, resource.body):
        source = _source(topology, resource, path) or Source(
            file=resource.name, line=0, document="", path=path
        )
        yield Fault(
            file=source.file,
            line=source.line,
            path=source.path,
            document=source.document,
            message=" ".join(problem.split()),
            found=f"{resource.name} {path}",
            cure=CURE,
        )


def _source(topology: Topology, resource: Resource, path: str) -> Source | None:
    """The document line behind a path: a route's own, a policy by its name, the service of a cluster."""
    if text := lines.source_of(resource, path):
        return _read(text)
    if found := _POLICY.search(path):
        return _of_policy(topology, found.group(1))
    cluster = names.parse_cluster(resource.name)
    service = topology.services.get(cluster.service) if cluster else None
    return service.source if service else None


def _of_policy(topology: Topology, name: str) -> Source | None:
    everywhere = (a for service in topology.services.values() for a in service.authorizations)
    return next((a.source for a in everywhere if f"{a.namespace}/{a.name}" == name), None)


def _read(text: str) -> Source | None:
    """``shop/routes.yaml:14 spec.rules[1]``, as `Source` writes it."""
    place, _, path = text.partition(" ")
    file, _, line = place.rpartition(":")
    return Source(file=file, line=int(line), document="", path=path) if line.isdigit() else None

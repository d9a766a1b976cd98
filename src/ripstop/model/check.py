"""Faults between documents: what each one by itself cannot know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ripstop.errors import Fault
from ripstop.ids import ServiceId
from ripstop.model.document import Document, path_text
from ripstop.model.yaml_text import Path


def check(documents: Iterable[Document]) -> tuple[Fault, ...]:
    """Duplicates, two meshes, loops of fallbacks, policies that contradict each other or protect nothing."""
    documents = tuple(documents)
    found = [
        *_duplicates(documents),
        *_meshes(documents),
        *_loops(documents),
        *_contradictions(documents),
        *_protects_nothing(documents),
    ]
    return tuple(sorted(found, key=lambda fault: (fault.file, fault.line, fault.path)))


def fault_in(document: Document, path: Path, message: str, cure: str, found: str = "") -> Fault:
    """A fault at a path of a document."""
    return Fault(
        file=document.file,
        line=document.line_of(path),
        path=path_text(path),
        message=message,
        found=found,
        cure=cure,
        document=document.title,
    )


def _duplicates(documents: tuple[Document, ...]) -> Iterator[Fault]:
    first: dict[tuple[str, str, str], Document] = {}
    for document in documents:
        other = first.setdefault(document.key, document)
        if other is not document:
            message = f"{document.title} is written twice, first in {other.file}:{other.line}"
            yield fault_in(
                document, ("metadata", "name"), message, "rename or remove one of them", document.name
            )


def _meshes(documents: tuple[Document, ...]) -> Iterator[Fault]:
    meshes = [document for document in documents if document.kind == "Mesh"]
    for document in meshes[1:]:
        if document.name != meshes[0].name:
            message = f"there is a Mesh already, in {meshes[0].file}:{meshes[0].line}"
            yield fault_in(document, ("kind",), message, "keep one Mesh", document.name)


# --- fallbacks ---


def _loops(documents: tuple[Document, ...]) -> Iterator[Fault]:
    """A service that is its own fallback, by whatever way round."""
    chains = _chains(documents)
    for document in documents:
        for service in _fallback_targets(document):
            for index, hop in enumerate(document.spec.fallback):
                target = ServiceId.parse(hop.service, document.namespace)
                if _reaches(chains, target, service):
                    message = f"the fallback of {service} leads back to {service}"
                    path: Path = ("spec", "fallback", index, "service")
                    yield fault_in(document, path, message, "end the chain at another service", str(target))


def _fallback_targets(document: Document) -> list[ServiceId]:
    if document.kind != "TrafficPolicy" or not document.spec.fallback:
        return []
    refs = document.spec.target_refs
    return [ServiceId(document.namespace, ref.name) for ref in refs if ref.kind == "Service"]


def _chains(documents: tuple[Document, ...]) -> dict[ServiceId, list[ServiceId]]:
    chains: dict[ServiceId, list[ServiceId]] = {}
    for document in documents:
        for service in _fallback_targets(document):
            hops = [ServiceId.parse(hop.service, document.namespace) for hop in document.spec.fallback]
            chains[service] = chains.get(service, []) + hops
    return chains


def _reaches(chains: Mapping[ServiceId, list[ServiceId]], start: ServiceId, goal: ServiceId) -> bool:
    waiting, seen = [start], set[ServiceId]()
    while waiting:
        service = waiting.pop()
        if service == goal:
            return True
        if service not in seen:
            seen.add(service)
            waiting += chains.get(service, [])
    return False


# --- policies ---


def _contradictions(documents: tuple[Document, ...]) -> Iterator[Fault]:
    """Two policies that set one field for one target: neither may win silently."""
    first: dict[tuple[object, ...], Document] = {}
    for document in documents:
        if document.kind not in ("TrafficPolicy", "FaultInjection"):
            continue
        fields = [f for f in document.spec.given() if not f.startswith("targetRefs")]
        fields = fields if document.kind == "TrafficPolicy" else ["delay"]
        for ref in document.spec.target_refs:
            for name in fields:
                key = (document.kind, document.namespace, ref.kind, ref.name, ref.section_name, name)
                other = first.setdefault(key, document)
                if other is not document and other.key != document.key:
                    where = f"{other.title} in {other.file}:{other.line}"
                    message = f"{where} sets this for {ref.kind} {ref.name} too"
                    yield fault_in(document, ("spec", *name.split(".")), message, "keep one of the two")


def _protects_nothing(documents: tuple[Document, ...]) -> Iterator[Fault]:
    """A policy of the server's side holds at the sidecars of a registered name; a selection of instances has none."""
    services = {ServiceId(d.namespace, d.name): d for d in documents if d.kind == "Service"}
    for document in documents:
        if document.kind not in ("AuthorizationPolicy", "RateLimit"):
            continue
        for index, ref in enumerate(document.spec.target_refs):
            service = services.get(ServiceId(document.namespace, ref.name))
            app = service.spec.selector.get("app") if service else None
            if service and service.spec.selector and app != ref.name:
                path: Path = ("spec", "targetRefs", index, "name")
                cure = f"name {app}" if app else "name the services that the instances are registered under"
                message = f"{ref.name} only selects instances of other services"
                yield fault_in(document, path, message, cure, ref.name)

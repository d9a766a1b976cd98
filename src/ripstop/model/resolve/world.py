"""Documents by kind and name, and who may refer to whom (ReferenceGrant)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ripstop.ids import ServiceId
from ripstop.model.document import Document
from ripstop.model.references import GATEWAY_GROUP, BackendRef, ObjectRef
from ripstop.model.topology import Backend, Service
from ripstop.model.workload import Protocol

NOT_PERMITTED, NOT_FOUND, INVALID_KIND = "RefNotPermitted", "BackendNotFound", "InvalidKind"
UNSUPPORTED_PROTOCOL = "UnsupportedProtocol"


@dataclass(frozen=True, slots=True)
class Documents:
    """All documents, by kind."""

    by_kind: Mapping[str, tuple[Document, ...]]

    @classmethod
    def of(cls, documents: Iterable[Document]) -> Documents:
        """Index documents."""
        found: dict[str, list[Document]] = defaultdict(list)
        for document in documents:
            found[document.kind].append(document)
        return cls({kind: tuple(items) for kind, items in found.items()})

    def of_kind(self, *kinds: str) -> tuple[Document, ...]:
        """Documents of some kinds."""
        return tuple(document for kind in kinds for document in self.by_kind.get(kind, ()))

    def find(self, kind: str, namespace: str, name: str) -> Document | None:
        """One document."""
        found = self.by_kind.get(kind, ())
        return next((d for d in found if d.namespace == namespace and d.name == name), None)

    def is_granted(self, referrer: Document, target: ObjectRef, kind: str, group: str = "") -> bool:
        """Whether `referrer` may refer to `target`: the same namespace, or a ReferenceGrant there says so."""
        namespace = target.namespace or referrer.namespace
        if namespace == referrer.namespace:
            return True
        return any(
            self._grants(grant, referrer, kind, group, target.name)
            for grant in self.of_kind("ReferenceGrant")
            if grant.namespace == namespace
        )

    @staticmethod
    def _grants(grant: Document, referrer: Document, kind: str, group: str, name: str) -> bool:
        who = any(
            (entry.group, entry.kind, entry.namespace) == (GATEWAY_GROUP, referrer.kind, referrer.namespace)
            for entry in grant.spec.from_
        )
        what = any(
            (entry.group, entry.kind) == (group, kind) and entry.name in (None, name)
            for entry in grant.spec.to
        )
        return who and what

    def namespace_labels(self, namespace: str) -> dict[str, str]:
        """The labels of a namespace; its name is always among them, as in Kubernetes."""
        document = self.find("Namespace", "", namespace)
        return {
            **(document.metadata.labels if document else {}),
            "kubernetes.io/metadata.name": namespace,
        }


@dataclass(frozen=True, slots=True)
class References:
    """Turns backendRefs into backends, or says why they cannot be used."""

    documents: Documents
    services: Mapping[ServiceId, Service]

    def backend(self, route: Document, ref: ObjectRef, port: int | None) -> tuple[ServiceId | None, int, str]:
        """(service, port, reason): the reason is empty when the reference can be used."""
        if ref.kind != "Service" or ref.group not in ("", "core"):
            return None, 0, INVALID_KIND
        service_id = ServiceId(ref.namespace or route.namespace, ref.name)
        if not self.documents.is_granted(route, ref, "Service"):
            return service_id, port or 0, NOT_PERMITTED
        service = self.services.get(service_id)
        if service is None or (port is not None and service.port(port) is None):
            return service_id, port or 0, NOT_FOUND
        return service_id, port or 0, self._protocol_problem(route, service, port)

    def _protocol_problem(self, route: Document, service: Service, port: int | None) -> str:
        found = service.port(port) if port else None
        is_http_route = route.kind in ("HTTPRoute", "GRPCRoute")
        if found and is_http_route and found.protocol in (Protocol.TCP, Protocol.TLS):
            return UNSUPPORTED_PROTOCOL
        return ""

    def plain(self, route: Document, refs: Iterable[BackendRef]) -> tuple[Backend, ...]:
        """The backends of connections."""
        made = []
        for ref in refs:
            service, port, reason = self.backend(route, ref, ref.port)
            made.append(Backend(service=service, port=port, weight=ref.weight, invalid=reason))
        return tuple(made)

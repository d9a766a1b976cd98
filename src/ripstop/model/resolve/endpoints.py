"""Endpoints of services: from registrations, from documents, from DNS. Only what changed is made again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ripstop.ids import NodeId, ServiceId
from ripstop.model.document import Document
from ripstop.model.services import ServiceSpec, StaticEndpoint
from ripstop.model.topology import EndpointsFrom, Service
from ripstop.model.workload import Endpoint, Health, Locality, NodeKind, Registration

Endpoints = dict[tuple[ServiceId, int], tuple[Endpoint, ...]]
LookedUp = Mapping[str, tuple[Endpoint, ...]]


@dataclass(frozen=True, slots=True, order=True)
class DnsName:
    """A name to look up for a service. `port` is that of A and AAAA answers."""

    service: ServiceId
    name: str
    port: int
    kind: str

    @property
    def key(self) -> str:
        """What its answers are called in `looked_up`."""
        return f"{self.kind}/{self.name}/{self.port}"


def dns_names(documents: Iterable[Document]) -> tuple[DnsName, ...]:
    """The names that documents ask to be looked up."""
    return tuple(
        sorted(name for document in documents if document.kind == "Service" for name in _dns_names(document))
    )


def _dns_names(document: Document) -> Iterator[DnsName]:
    spec: ServiceSpec = document.spec
    service_id = ServiceId(document.namespace, document.name)
    if spec.external_name:
        for port in spec.ports or ():
            yield DnsName(service_id, spec.external_name, port.target_port or port.port, "A")
        if not spec.ports:
            yield DnsName(service_id, spec.external_name, 80, "A")
    elif spec.endpoints and spec.endpoints.dns:
        dns = spec.endpoints.dns
        yield DnsName(service_id, dns.srv_prefix + dns.name, dns.port or 0, dns.type)


class Sources:
    """Where each service's endpoints come from, for one set of documents."""

    def __init__(self, documents: Iterable[Document]) -> None:
        documents = tuple(documents)
        self.written = {ServiceId(d.namespace, d.name): d for d in documents if d.kind == "Service"}

    def outside(self, service: Service, looked_up: LookedUp) -> Endpoints:
        """The endpoints of a service outside the mesh."""
        document = self.written[service.id]
        if service.endpoints_from is EndpointsFrom.STATIC:
            static = document.spec.endpoints.static
            found = tuple(sorted((_static(e) for e in static), key=_place))
            return {(service.id, port.port): found for port in service.ports}
        return self._looked_up(service, document, looked_up)

    def _looked_up(self, service: Service, document: Document, looked_up: LookedUp) -> Endpoints:
        names = list(_dns_names(document))
        answers = {name.port: looked_up.get(name.key, ()) for name in names}
        by_port = {p.port: p.target_port or p.port for p in document.spec.ports}
        made: Endpoints = {}
        for port in service.ports:
            wanted = by_port.get(port.port, port.port)
            made[service.id, port.port] = answers.get(wanted, next(iter(answers.values()), ()))
        return made


def _static(endpoint: StaticEndpoint) -> Endpoint:
    region, _, zone = endpoint.zone.partition("/")
    return Endpoint(
        address=endpoint.address,
        port=endpoint.port,
        weight=endpoint.weight,
        hostname=endpoint.hostname,
        locality=Locality(region, zone) if endpoint.zone else Locality(),
    )


def _place(endpoint: Endpoint) -> tuple[str, int]:
    return (endpoint.address, endpoint.port)


# --- registered instances ---


@dataclass(frozen=True, slots=True)
class Registry:
    """Sidecars that take calls, by namespace, then by the name they are registered under."""

    by_service: Mapping[ServiceId, tuple[Registration, ...]]
    by_namespace: Mapping[str, tuple[Registration, ...]]

    @classmethod
    def of(cls, registrations: Iterable[Registration]) -> Registry:
        """Index registrations."""
        services: dict[ServiceId, list[Registration]] = defaultdict(list)
        namespaces: dict[str, list[Registration]] = defaultdict(list)
        for registration in registrations:
            if is_callable(registration):
                services[registration.node.service_id].append(registration)
                namespaces[registration.node.namespace].append(registration)
        return cls(
            {key: tuple(value) for key, value in services.items()},
            {key: tuple(value) for key, value in namespaces.items()},
        )

    def behind(self, service: Service) -> Iterable[Registration]:
        """The instances that a service selects."""
        if not service.selector:
            return self.by_service.get(service.id, ())
        app = service.selector.get("app")
        if app:
            found = self.by_service.get(ServiceId(service.id.namespace, app), ())
        else:
            found = self.by_namespace.get(service.id.namespace, ())
        return [r for r in found if selects(service, r)]


def is_callable(registration: Registration) -> bool:
    """Whether calls can arrive at a node: a sidecar with an application, not on its way out."""
    return (
        registration.kind is NodeKind.SIDECAR
        and registration.inbound_port > 0
        and registration.health in (Health.HEALTHY, Health.UNHEALTHY)
    )


def selects(service: Service, registration: Registration) -> bool:
    """Whether a service's selector (or its own name) picks an instance."""
    if registration.node.namespace != service.id.namespace:
        return False
    if not service.selector:
        return registration.node.service == service.id.name
    labels = registration.all_labels()
    return all(labels.get(key) == value for key, value in service.selector.items())


def registered(service: Service, registry: Registry) -> Endpoints:
    """The endpoints of a service in the mesh: all its ports have the same ones."""
    found = tuple(sorted((endpoint_of(r) for r in registry.behind(service)), key=_place))
    return {(service.id, port.port): found for port in service.ports}


def endpoint_of(registration: Registration) -> Endpoint:
    """An instance as its callers see it: its sidecar's address."""
    return Endpoint(
        address=registration.address,
        port=registration.inbound_port,
        instance=registration.node.instance,
        identity=registration.node.service_id,
        labels=registration.all_labels(),
        locality=registration.locality,
        weight=registration.weight,
        health=registration.health,
    )


def changed_nodes(
    before: Mapping[NodeId, Registration], after: Mapping[NodeId, Registration]
) -> list[Registration]:
    """Old and new registrations of the nodes that came, went or are another object."""
    changed = [r for node, r in after.items() if before.get(node) is not r]
    return [*changed, *(r for node, r in before.items() if after.get(node) is not r)]

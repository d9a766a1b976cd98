"""Services: those that documents name, and those that instances are registered under."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from ripstop.ids import ServiceId
from ripstop.model.document import Document
from ripstop.model.mesh import MeshSpec
from ripstop.model.policy import EffectivePolicy, MeshSettings
from ripstop.model.resolve.authorization import authorizations
from ripstop.model.resolve.policies import service_policy, with_fields
from ripstop.model.resolve.world import Documents
from ripstop.model.services import ServicePortSpec, ServiceSpec
from ripstop.model.topology import EndpointsFrom, Service, ServicePort, TlsOrigination
from ripstop.model.workload import NodeKind, Protocol, Registration

DEFAULT_PORT = 80


def mesh_settings(documents: Documents, trust_domain: str) -> MeshSettings:
    """The Mesh document with its defaults filled in; safe defaults when there is none."""
    found = documents.of_kind("Mesh")
    if not found:
        return MeshSettings(trust_domain=trust_domain)
    document = found[0]
    spec: MeshSpec = document.spec
    return MeshSettings(
        name=document.name,
        trust_domain=trust_domain,
        defaults=with_fields(EffectivePolicy(), spec.defaults, document, ("spec", "defaults")),
        svid_ttl_s=spec.identity.svid_ttl,
        access_log=spec.access_log.enabled,
        egress_allowed=spec.egress.mode == "Allow",
        tracing_sample_percent=spec.tracing.sample_percent,
    )


def services(
    documents: Documents, registrations: Iterable[Registration], mesh: MeshSettings
) -> dict[ServiceId, Service]:
    """All services, by id, in order."""
    registered: dict[ServiceId, list[Registration]] = defaultdict(list)
    for registration in registrations:
        if registration.kind is NodeKind.SIDECAR and registration.inbound_port:
            registered[registration.node.service_id].append(registration)
    written = {ServiceId(d.namespace, d.name): d for d in documents.of_kind("Service")}
    return {
        service_id: _service(documents, service_id, written.get(service_id), registered, mesh)
        for service_id in sorted({*registered, *written})
    }


def _service(
    documents: Documents,
    service_id: ServiceId,
    document: Document | None,
    registered: Mapping[ServiceId, list[Registration]],
    mesh: MeshSettings,
) -> Service:
    spec: ServiceSpec = document.spec if document else ServiceSpec()
    identities = _identities(service_id, spec)
    instances = [r for identity in identities for r in registered.get(identity, ())]
    is_external = spec.type == "ExternalName"
    return Service(
        id=service_id,
        hosts=_hosts(service_id, spec),
        ports=_ports(documents, service_id, spec, instances),
        endpoints_from=_endpoints_from(spec),
        selector=dict(spec.selector),
        identities=identities,
        is_meshed=spec.mesh and not is_external,
        tls=_tls(documents, service_id),
        policy=service_policy(documents, service_id, mesh.defaults),
        authorizations=authorizations(documents, service_id, mesh.trust_domain),
        calls=_calls(spec, service_id.namespace),
        egress_gateway=ServiceId.parse(spec.egress_gateway, service_id.namespace)
        if spec.egress_gateway
        else None,
        source=document.source() if document else None,
    )


def _identities(service_id: ServiceId, spec: ServiceSpec) -> tuple[ServiceId, ...]:
    """Whose SVID the endpoints may show: the name they are registered under. Another selector leaves it open."""
    if not spec.selector:
        return (service_id,)
    app = spec.selector.get("app")
    return (ServiceId(service_id.namespace, app),) if app else ()


def _hosts(service_id: ServiceId, spec: ServiceSpec) -> tuple[str, ...]:
    name, namespace = service_id.name, service_id.namespace
    return (
        name,
        f"{name}.{namespace}",
        f"{name}.{namespace}.mesh",
        f"{name}.{namespace}.svc",
        f"{name}.{namespace}.svc.cluster.local",
        *spec.hostnames,
    )


def _endpoints_from(spec: ServiceSpec) -> EndpointsFrom:
    if spec.type == "ExternalName" or (spec.endpoints and spec.endpoints.dns):
        return EndpointsFrom.DNS
    return EndpointsFrom.STATIC if spec.endpoints else EndpointsFrom.REGISTRATION


def _calls(spec: ServiceSpec, namespace: str) -> frozenset[ServiceId] | None:
    if spec.calls is None:
        return None
    return frozenset(ServiceId.parse(name, namespace) for name in spec.calls)


# --- ports ---


def _ports(
    documents: Documents, service_id: ServiceId, spec: ServiceSpec, instances: list[Registration]
) -> tuple[ServicePort, ...]:
    spoken = _spoken(documents, service_id, instances)
    if spec.ports:
        return tuple(_port(port, spec, spoken) for port in sorted(spec.ports, key=lambda p: p.port))
    numbers = sorted({DEFAULT_PORT, *(r.app_port for r in instances if r.app_port)})
    return tuple(ServicePort(port=number, protocol=spoken) for number in numbers)


def _port(port: ServicePortSpec, spec: ServiceSpec, spoken: Protocol) -> ServicePort:
    is_inside = spec.mesh and spec.type == "ClusterIP"
    return ServicePort(
        port=port.port,
        name=port.name or "",
        protocol=port.speaks or spoken,
        target_port=(port.target_port or 0) if is_inside else 0,
    )


def _spoken(documents: Documents, service_id: ServiceId, instances: list[Registration]) -> Protocol:
    """What an unlabelled port speaks: what its instances say, else what its routes need, else HTTP."""
    if instances:
        return min(instances, key=lambda r: r.node).protocol
    for kind, protocol in (("TCPRoute", Protocol.TCP), ("TLSRoute", Protocol.TLS)):
        for route in documents.of_kind(kind):
            for ref in route.spec.parent_refs:
                target = ServiceId(ref.namespace or route.namespace, ref.name)
                if ref.kind == "Service" and target == service_id:
                    return protocol
    return Protocol.HTTP


# --- TLS to what is outside ---


def _tls(documents: Documents, service_id: ServiceId) -> TlsOrigination | None:
    for document in documents.of_kind("BackendTLSPolicy"):
        names = [ref.name for ref in document.spec.target_refs]
        if document.namespace == service_id.namespace and service_id.name in names:
            return _origination(documents, document)
    return None


def _origination(documents: Documents, document: Document) -> TlsOrigination:
    validation = document.spec.validation
    names = tuple(n.hostname or n.uri or "" for n in validation.subject_alt_names)
    found = (
        documents.find("ConfigMap", document.namespace, ref.name) for ref in validation.ca_certificate_refs
    )
    ca_pem = "\n".join(config.spec.data.get("ca.crt", "") for config in found if config)
    return TlsOrigination(server_name=validation.hostname, ca_pem=ca_pem, subject_alt_names=names)

"""A topology without its endpoints, indexed for the questions the compiler asks. Made once per change of documents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ripstop.compiler.cluster import Upstream
from ripstop.ids import DEFAULT_NAMESPACE, ServiceId
from ripstop.model.policy import EffectivePolicy, Fallback, MeshSettings
from ripstop.model.topology import Gateway, MeshRoutes, Service, ServicePort, Topology
from ripstop.xds import names
from ripstop.xds.snapshot import content_version


@dataclass(frozen=True, slots=True)
class Use:
    """A cluster that some route names. `policy` is given where a route's own replaces the service's."""

    name: str
    service: ServiceId
    port: int
    policy: EffectivePolicy | None = None
    members: tuple[str, ...] = ()
    """Of an aggregate cluster: this service and its fallbacks, in order."""


@dataclass
class Uses:
    """The clusters that routes name, collected while routes are made."""

    by_name: dict[str, Use] = field(default_factory=dict)

    def add(self, use: Use) -> str:
        """Note `use`; its name."""
        self.by_name.setdefault(use.name, use)
        return use.name


@dataclass(frozen=True)
class World:
    """Services, routes by service, gateways and mesh settings; `source` is the topology's own tuple of routes."""

    mesh: MeshSettings
    services: Mapping[ServiceId, Service]
    routes: Mapping[ServiceId, tuple[MeshRoutes, ...]]
    gateways: Mapping[ServiceId, Gateway]
    served_by: Mapping[ServiceId, tuple[Service, ...]]
    """The services that are answered by instances registered under a name. Its own comes last: its word on a port counts."""
    source: tuple[MeshRoutes, ...] = ()

    @classmethod
    def of(cls, topology: Topology) -> World:
        """Index the routes of a topology by service."""
        routes: dict[ServiceId, list[MeshRoutes]] = defaultdict(list)
        for entry in topology.routes:
            routes[entry.service].append(entry)
        frozen = {service: tuple(entries) for service, entries in routes.items()}
        served_by = _served_by(topology.services)
        return cls(topology.mesh, topology.services, frozen, topology.gateways, served_by, topology.routes)

    def is_of(self, topology: Topology) -> bool:
        """Whether only endpoints and nodes can differ: the other parts are the same objects."""
        return (
            self.mesh is topology.mesh
            and self.services is topology.services
            and self.gateways is topology.gateways
            and self.source is topology.routes
        )

    def changed_routes(self, before: World) -> frozenset[ServiceId] | None:
        """The services whose routes differ from those of `before`; None when more than routes may differ."""
        if not (
            self.mesh is before.mesh and self.services is before.services and self.gateways is before.gateways
        ):
            return None
        known = self.routes.keys() | before.routes.keys()
        return frozenset(s for s in known if self.routes.get(s) != before.routes.get(s))

    def routes_for(self, service: Service, port: int, caller_namespace: str) -> MeshRoutes | None:
        """The rules for calls to a port: the caller's own before the producer's, the port's before those for all."""
        entries = self.routes.get(service.id, ())
        for namespace in (caller_namespace, ""):
            for wanted in (port, 0):
                for entry in entries:
                    if (entry.consumer_namespace, entry.port) == (namespace, wanted):
                        return entry
        return None

    def hosts(self, service: Service, caller_namespace: str) -> Iterator[str]:
        """The names that callers of a namespace reach a service by: the bare one only at home, or in `default`."""
        is_home = service.id.namespace in (caller_namespace, DEFAULT_NAMESPACE)
        for host in service.hosts:
            if is_home or host != service.id.name:
                yield host


def _served_by(services: Mapping[ServiceId, Service]) -> dict[ServiceId, tuple[Service, ...]]:
    found: dict[ServiceId, list[Service]] = defaultdict(list)
    for service in services.values():
        for identity in {service.id, *service.identities}:
            found[identity].append(service)
    return {identity: _own_last(identity, served) for identity, served in found.items()}


def _own_last(identity: ServiceId, served: list[Service]) -> tuple[Service, ...]:
    return tuple(sorted(served, key=lambda service: (service.id == identity, service.id)))


def default_port(service: Service) -> ServicePort | None:
    """The port of a call that names none: 80, else the first."""
    return service.port(80) or (service.ports[0] if service.ports else None)


def use_cluster(
    world: World, uses: Uses, service: Service, port: ServicePort, policy: EffectivePolicy | None = None
) -> str:
    """Note that calls to `port` are routed, with everything behind it; the name of the cluster to route to."""
    policy = None if policy is None or not _differs(policy, service.policy) else policy
    variant = _variant(policy) if policy else ""
    primary = uses.add(
        Use(names.outbound_cluster(service.id, port.port, variant), service.id, port.port, policy)
    )
    chain = (policy or service.policy).fallbacks
    members = tuple(_members(world, uses, port, chain))
    if not members:
        return primary
    name = names.fallback_cluster(service.id, port.port, variant)
    return uses.add(Use(name, service.id, port.port, policy, (primary, *members)))


def _members(world: World, uses: Uses, port: ServicePort, chain: tuple[Fallback, ...]) -> Iterator[str]:
    """The clusters of a chain's hops."""
    for _, service, target in fallback_hops(world, port, chain):
        name = names.outbound_cluster(service.id, target.port)
        yield uses.add(Use(name, service.id, target.port))


def fallback_hops(
    world: World, port: ServicePort, chain: tuple[Fallback, ...]
) -> Iterator[tuple[Fallback, Service, ServicePort]]:
    """The hops whose service is there. Their own fallbacks are not followed: the chain is written out in one place."""
    for hop in chain:
        service = world.services.get(hop.service)
        if service is None:
            continue
        target = service.port(hop.port or port.port) or default_port(service)
        if target is not None:
            yield hop, service, target


_CLUSTER_FIELDS = ("load_balancer", "limits", "outlier", "budget", "health_checks")


def _differs(one: EffectivePolicy, other: EffectivePolicy) -> bool:
    """Whether two policies need clusters of their own; the rest of a policy is in the route."""
    return one is not other and _cluster_part(one) != _cluster_part(other)


def _cluster_part(policy: EffectivePolicy) -> tuple[object, ...]:
    """What of a policy goes into a cluster; sets are left out, for their order is not the same in every process."""
    timeouts = (policy.timeouts.connect_s, policy.timeouts.idle_s)
    chain = tuple((hop.service, hop.port) for hop in policy.fallbacks)
    return (timeouts, chain, *(getattr(policy, field_name) for field_name in _CLUSTER_FIELDS))


def _variant(policy: EffectivePolicy) -> str:
    return content_version(repr(_cluster_part(policy)).encode())[:8]


def egress_sni(service: ServiceId, port: int) -> str:
    """The SNI that tells an egress gateway which TCP port outside the mesh is called."""
    return f"port-{port}.{service.name}.{service.namespace}.egress.ripstop"


def upstream_of(world: World, use: Use, reader: ServiceId | None) -> Upstream:
    """Everything the cluster of `use` is made from. `reader` is the gateway that compiles for itself, if one does."""
    service = world.services[use.service]
    port = service.port(use.port)
    assert port is not None, f"{use.name} names a port that {service.id} has not"
    by_gateway = service.egress_gateway if service.egress_gateway != reader else None
    peers = (by_gateway,) if by_gateway else service.identities
    return Upstream(
        name=use.name,
        service=service,
        port=port,
        policy=use.policy or service.policy,
        is_meshed=service.is_meshed or by_gateway is not None,
        peers=peers,
        trust_domain=world.mesh.trust_domain,
        sni=_sni(service, port, by_gateway),
    )


def _sni(service: Service, port: ServicePort, by_gateway: ServiceId | None) -> str:
    """What the peer's listener tells its ports apart by; empty for its main one."""
    if by_gateway:
        return "" if port.protocol.is_http else egress_sni(service.id, port.port)
    return names.target_sni(port.target_port) if service.is_meshed and port.target_port else ""

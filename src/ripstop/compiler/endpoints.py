"""Endpoints -> ClusterLoadAssignment. One shape for Envoy and for gRPC clients, which insist on locality and weight."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

from ripstop.compiler.extension import uint32
from ripstop.ids import NodeId, ServiceId
from ripstop.model.policy import LoadBalancer
from ripstop.model.topology import Service, Topology
from ripstop.model.workload import Endpoint, Health, Locality, NodeKind, Registration
from ripstop.xds import names, pb, type_urls
from ripstop.xds.snapshot import Resource

NEVER_SPILL_PERCENT = 100_000
"""Overprovisioning so high that one healthy endpoint in a thousand keeps the next priority idle."""


_Key = tuple[ServiceId, int, Locality, bool]


@dataclass(frozen=True, slots=True)
class _Known:
    endpoints: tuple[Endpoint, ...]
    settings: tuple[LoadBalancer, bool]
    made: Resource


class Assignments:
    """ClusterLoadAssignments made so far. One is made again only when its endpoints are another tuple."""

    def __init__(self) -> None:
        self._known: dict[_Key, _Known] = {}
        self._nodes: Mapping[NodeId, Registration] = {}
        self._gateways: dict[ServiceId, tuple[Endpoint, ...]] = {}

    def keep(self, ports: Mapping[tuple[ServiceId, int], object]) -> None:
        """Forget the services' ports that are no more."""
        self._known = {key: known for key, known in self._known.items() if (key[0], key[1]) in ports}

    def of(
        self, topology: Topology, service: Service, port: int, caller: Locality, reader: ServiceId | None
    ) -> Resource:
        """The endpoints of a port as a caller in `caller` sees them: where an egress gateway stands before the service,
        that gateway's, but for its own nodes (`reader`)."""
        goes_by = service.egress_gateway if service.egress_gateway != reader else None
        found = topology.endpoints.get((service.id, port), ())
        endpoints = self._gateway(topology, goes_by) if goes_by else found
        settings = (service.policy.load_balancer, bool(service.policy.fallbacks))
        key = (service.id, port, caller, goes_by is not None)
        known = self._known.get(key)
        if known is None or known.settings != settings or not _same(known.endpoints, endpoints, goes_by):
            name = names.outbound_cluster(service.id, port)
            made = assignment(name, endpoints, caller, settings[0], has_fallbacks=settings[1])
            known = self._known[key] = _Known(endpoints, settings, made)
        return known.made

    def _gateway(self, topology: Topology, gateway: ServiceId) -> tuple[Endpoint, ...]:
        if self._nodes is not topology.nodes:
            self._nodes, self._gateways = topology.nodes, {}
        if gateway not in self._gateways:
            self._gateways[gateway] = gateway_endpoints(topology, gateway)
        return self._gateways[gateway]


def _same(known: tuple[Endpoint, ...], endpoints: tuple[Endpoint, ...], goes_by: ServiceId | None) -> bool:
    """Endpoints that did not change are the same object; those of gateways are few and compared by value."""
    return known is endpoints or (goes_by is not None and known == endpoints)


def assignment(
    name: str,
    endpoints: tuple[Endpoint, ...],
    caller: Locality,
    balancer: LoadBalancer,
    *,
    has_fallbacks: bool,
) -> Resource:
    """The `ClusterLoadAssignment` called `name`, as a caller in `caller` should see it.

    Nearer localities come first as lower priorities (`prefer_local`), so an endpoint far away is used only when too few
    near ones are healthy. Before fallbacks no share may spill over while any endpoint is healthy.
    """
    spread = balancer.overprovisioning_percent
    made = pb.ClusterLoadAssignment(
        cluster_name=name,
        endpoints=list(_localities(endpoints, caller, balancer.prefer_local)),
        policy={"overprovisioning_factor": uint32(NEVER_SPILL_PERCENT if has_fallbacks else spread)},
    )
    return Resource.of(type_urls.ENDPOINT, name, pb.to_bytes(made))


def gateway_endpoints(topology: Topology, gateway: ServiceId) -> tuple[Endpoint, ...]:
    """Where sidecars reach an egress gateway: the mTLS listeners of its nodes, by address and port."""
    nodes = (
        node
        for node in topology.nodes.values()
        if node.kind is NodeKind.GATEWAY and node.node.service_id == gateway and node.inbound_port
    )
    made = (
        Endpoint(
            address=node.address,
            port=node.inbound_port,
            instance=node.node.instance,
            identity=gateway,
            locality=node.locality,
            weight=node.weight,
            health=node.health,
        )
        for node in nodes
    )
    return tuple(sorted(made, key=lambda endpoint: (endpoint.address, endpoint.port)))


def _localities(
    endpoints: tuple[Endpoint, ...], caller: Locality, prefer_local: bool
) -> Iterable[pb.Message]:
    """`LocalityLbEndpoints` by nearness and locality; priorities are dense from 0, as Envoy and gRPC demand."""
    usable = [endpoint for endpoint in endpoints if endpoint.weight > 0]
    prefer_local = prefer_local and caller != Locality()
    near = {e.locality: _distance(caller, e.locality) if prefer_local else 0 for e in usable}
    ranks = {distance: rank for rank, distance in enumerate(sorted(set(near.values())))}
    usable.sort(key=lambda e: (near[e.locality], e.locality))
    for locality, group in groupby(usable, key=lambda e: e.locality):
        yield _locality(locality, list(group), ranks[near[locality]])


def _distance(caller: Locality, other: Locality) -> int:
    """0 same sub-zone, 1 same zone, 2 same region, 3 elsewhere. An endpoint of unknown place is elsewhere."""
    if not caller.region and not caller.zone:
        return 0
    if caller == other:
        return 0
    if (caller.region, caller.zone) == (other.region, other.zone):
        return 1
    return 2 if caller.region and caller.region == other.region else 3


def _locality(locality: Locality, endpoints: list[Endpoint], priority: int) -> pb.Message:
    place = pb.Locality(region=locality.region, zone=locality.zone, sub_zone=locality.sub_zone)
    return pb.LocalityLbEndpoints(
        locality=place,
        lb_endpoints=[_endpoint(endpoint) for endpoint in endpoints],
        load_balancing_weight=uint32(sum(endpoint.weight for endpoint in endpoints)),
        priority=priority,
    )


def _endpoint(endpoint: Endpoint) -> pb.Message:
    """`LbEndpoint`. `hostname` is what active checks send as Host."""
    socket = {"address": endpoint.address, "port_value": endpoint.port}
    made = pb.LbEndpoint(
        endpoint={"address": {"socket_address": socket}, "hostname": endpoint.hostname},
        health_status=_status(endpoint.health),
        load_balancing_weight=uint32(endpoint.weight),
    )
    if endpoint.instance:
        made.metadata.filter_metadata["ripstop"].update({"instance": endpoint.instance})
    return made


def _status(health: Health) -> int:
    """Who is still starting is as good as unhealthy, to whoever hears of it."""
    name = Health.UNHEALTHY.name if health is Health.STARTING else health.name
    value: int = pb.HealthStatus.Value(name)
    return value

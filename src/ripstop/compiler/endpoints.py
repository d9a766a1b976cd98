"""Endpoints -> ClusterLoadAssignment. One shape for Envoy and for gRPC clients, which insist on locality and weight."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from ripstop.compiler.extension import uint32
from ripstop.model.policy import LoadBalancer
from ripstop.model.workload import Endpoint, Health, Locality
from ripstop.xds import pb, type_urls
from ripstop.xds.snapshot import Resource

NEVER_SPILL_PERCENT = 100_000
"""Overprovisioning so high that one healthy endpoint in a thousand keeps the next priority idle."""


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
    value: int = pb.HealthStatus.Value(health.name)
    return value

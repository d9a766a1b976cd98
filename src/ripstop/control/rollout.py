"""Which nodes a new topology concerns."""

from __future__ import annotations

from dataclasses import dataclass

from ripstop.ids import ServiceId
from ripstop.model.topology import Topology
from ripstop.model.workload import NodeKind
from ripstop.xds import names, type_urls
from ripstop.xds.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed between two topologies. `is_whole` means that anything may have; else only endpoints did."""

    is_whole: bool
    endpoints: frozenset[tuple[ServiceId, int]] = frozenset()

    @classmethod
    def between(cls, before: Topology, after: Topology) -> Difference:
        """Compare by identity: `model.resolve` keeps the objects of equal parts."""
        same = all(
            getattr(before, part) is getattr(after, part)
            for part in ("mesh", "services", "routes", "gateways")
        )
        if not same:
            return cls(True)
        moved = {
            key for key, found in after.endpoints.items() if before.endpoints.get(key) is not found
        } | before.endpoints.keys() - after.endpoints.keys()
        return cls(False, frozenset(moved | _by_moved_gateways(before, after)))

    def concerns(self, snapshot: Snapshot | None) -> bool:
        """Whether a node that runs `snapshot` is to be sent something."""
        if self.is_whole or snapshot is None:
            return True
        held = snapshot.of_type(type_urls.ENDPOINT)
        return any(names.outbound_cluster(service, port) in held for service, port in self.endpoints)


def _by_moved_gateways(before: Topology, after: Topology) -> set[tuple[ServiceId, int]]:
    """Services whose calls go by an egress gateway: its nodes are their endpoints, as callers see them."""
    nodes = {**before.nodes, **after.nodes}
    moved = {
        node.service_id
        for node, registration in nodes.items()
        if registration.kind is NodeKind.GATEWAY and before.nodes.get(node) is not after.nodes.get(node)
    }
    if not moved:
        return set()
    services = [s for s in after.services.values() if s.egress_gateway in moved]
    return {(service.id, port.port) for service in services for port in service.ports}

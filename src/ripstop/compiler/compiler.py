"""Compiler: (Topology, node) -> Snapshot, with what nodes have in common made once.

Two memos. The first lasts as long as the documents (`World`): routes, clusters, listeners. The second holds
ClusterLoadAssignments and forgets an entry when its endpoints are another tuple; a change of endpoints touches nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable

from ripstop.compiler.cluster import aggregate, local, outbound
from ripstop.compiler.endpoints import assignment
from ripstop.compiler.inbound import inbound
from ripstop.compiler.outbound import SELF, Memo, Outbound, outbound_listener, upstream_listener
from ripstop.compiler.outbound import outbound as compile_outbound
from ripstop.compiler.world import Use, World, upstream_of
from ripstop.ids import ServiceId
from ripstop.model.topology import Topology
from ripstop.model.workload import Endpoint, Locality, Protocol, Registration
from ripstop.xds import names
from ripstop.xds.snapshot import Resource, Snapshot


class Compiler:
    """Makes snapshots. Keeps what it made for the topology it saw last; safe to throw away at any time."""

    def __init__(self) -> None:
        self._world: World | None = None
        self._assignments: dict[tuple[str, Locality], tuple[tuple[Endpoint, ...], Resource]] = {}
        self._forget()

    def compile(self, topology: Topology, node: Registration) -> Snapshot:
        """Everything `node` should run."""
        world = self._world_of(topology)
        resources = self._sidecar(world, topology, node)
        return Snapshot.build(topology.generation, resources)

    def _world_of(self, topology: Topology) -> World:
        if self._world is None or not self._world.is_of(topology):
            self._world = World.of(topology)
            self._forget()
        return self._world

    def _forget(self) -> None:
        self._memo = Memo()
        self._outbounds: dict[tuple[str, frozenset[ServiceId] | None], Outbound] = {}
        self._clusters: dict[tuple[str, ServiceId | None], Resource] = {}
        self._listeners: dict[object, Resource] = {}
        self._inbounds: dict[Registration, list[Resource]] = {}

    # --- sidecars ---

    def _sidecar(self, world: World, topology: Topology, node: Registration) -> list[Resource]:
        made: list[Resource] = []
        uses: dict[str, Use] = {}
        if node.outbound_port:
            shared = self._outbound(world, node)
            made += [self._outbound_listener(world, node), local(SELF, node.outbound_port, Protocol.HTTP)]
            made += [*shared.scopes.values(), *shared.routes.values()]
            uses.update(shared.uses)
        for upstream in node.upstreams:
            resources, used = upstream_listener(world, upstream, node.node.namespace)
            made += resources
            uses.update(used)
        if node.inbound_port and node.app_port:
            made += inbound(world, node)
        return [*made, *self._upstreams(world, topology, uses.values(), node)]

    def _outbound(self, world: World, node: Registration) -> Outbound:
        """What all sidecars of a service (and of others that may call the same) share."""
        service = world.services.get(node.node.service_id)
        calls = service.calls if service else None
        key = (node.node.namespace, calls)
        if key not in self._outbounds:
            callees = world.services if calls is None else calls
            self._outbounds[key] = compile_outbound(world, callees, node.node.namespace, self._memo)
        return self._outbounds[key]

    def _outbound_listener(self, world: World, node: Registration) -> Resource:
        if node.outbound_port not in self._listeners:
            made = outbound_listener(node.outbound_port, is_logged=world.mesh.access_log)
            self._listeners[node.outbound_port] = made
        return self._listeners[node.outbound_port]

    # --- clusters and endpoints ---

    def _upstreams(
        self, world: World, topology: Topology, uses: Iterable[Use], node: Registration
    ) -> Iterable[Resource]:
        """The clusters that routes name, and their endpoints once each."""
        assigned: dict[str, Resource] = {}
        for use in uses:
            yield self._cluster(world, use, None)
            if not use.members:
                resource = self._assignment(world, topology, use, node)
                assigned[resource.name] = resource
        yield from assigned.values()

    def _cluster(self, world: World, use: Use, reader: ServiceId | None) -> Resource:
        key = (use.name, reader)
        if key not in self._clusters:
            policy = use.policy or world.services[use.service].policy
            made = aggregate(use.name, use.members, policy) if use.members else None
            self._clusters[key] = made or outbound(upstream_of(world, use, reader))
        return self._clusters[key]

    def _assignment(self, world: World, topology: Topology, use: Use, node: Registration) -> Resource:
        endpoints = topology.endpoints.get((use.service, use.port), ())
        key = (names.outbound_cluster(use.service, use.port), node.locality)
        known = self._assignments.get(key)
        if known is None or known[0] is not endpoints:
            policy = world.services[use.service].policy
            made = assignment(
                key[0], endpoints, node.locality, policy.load_balancer, has_fallbacks=bool(policy.fallbacks)
            )
            known = self._assignments[key] = (endpoints, made)
        return known[1]

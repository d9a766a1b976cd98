"""Compiler: (Topology, node) -> Snapshot, with what nodes have in common made once.

Two memos. The first lasts as long as the documents (`World`): routes, clusters, listeners. The second holds
ClusterLoadAssignments and forgets an entry when its endpoints are another tuple; a change of endpoints touches nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ripstop.compiler.cluster import aggregate, local, outbound
from ripstop.compiler.egress import egress
from ripstop.compiler.endpoints import Assignments
from ripstop.compiler.gateway import Made, gateway
from ripstop.compiler.grpc_client import GrpcClient, grpc_client, plain_cluster
from ripstop.compiler.inbound import inbound
from ripstop.compiler.outbound import SELF, Memo, Outbound, outbound_listener, upstream_listener
from ripstop.compiler.outbound import outbound as compile_outbound
from ripstop.compiler.unsupported import not_on, of_the_mesh
from ripstop.compiler.world import Use, World, upstream_of
from ripstop.ids import NodeId, ServiceId
from ripstop.model.topology import Topology
from ripstop.model.workload import DataPlaneKind, NodeKind, Protocol, Registration
from ripstop.xds.snapshot import Resource, Snapshot

MAX_NODES_REMEMBERED = 10_000
"""Nodes whose own listeners are kept; beyond, all are made anew once (nodes come and go, documents may stay)."""


@dataclass(frozen=True, slots=True)
class _Own:
    """What is a node's own (its sockets), and what of its registration that was made from."""

    shape: tuple[object, ...]
    made: Made
    has_routes: bool
    """Whether routes of services are in it: a local port for an upstream, an egress gateway."""


@dataclass
class _Compiled:
    """What was made from one `World`, shared between nodes; `own` is not."""

    memo: Memo = field(default_factory=Memo)
    outbounds: dict[tuple[str, frozenset[ServiceId] | None], Outbound] = field(default_factory=dict)
    clusters: dict[tuple[str, ServiceId | None, bool], Resource] = field(default_factory=dict)
    gateways: dict[ServiceId, Made] = field(default_factory=dict)
    grpc_clients: dict[tuple[str, frozenset[ServiceId] | None], GrpcClient] = field(default_factory=dict)
    unsupported: dict[tuple[str, DataPlaneKind], tuple[str, ...]] = field(default_factory=dict)
    own: dict[NodeId, _Own] = field(default_factory=dict)

    def without(self, changed: frozenset[ServiceId]) -> _Compiled:
        """What still holds when nothing but the routes of some services changed."""
        self.memo.forget(changed)
        self.outbounds = {
            key: made
            for key, made in self.outbounds.items()
            if key[1] is not None and changed.isdisjoint(key[1])
        }
        self.own = {node: own for node, own in self.own.items() if not own.has_routes}
        self.grpc_clients.clear()
        return self


class Compiler:
    """Makes snapshots. Keeps what it made for the topology it saw last; safe to throw away at any time."""

    def __init__(self) -> None:
        self._world: World | None = None
        self._assignments = Assignments()
        self._made = _Compiled()

    def compile(self, topology: Topology, node: Registration) -> Snapshot:
        """Everything `node` should run."""
        world = self._world_of(topology)
        match node.kind:
            case NodeKind.SIDECAR:
                made = self._sidecar(world, node)
            case NodeKind.GATEWAY:
                made = self._gateway(world, node)
            case NodeKind.GRPC:
                return self._grpc_client(world, topology, node)
        resources = [*made.resources, *self._upstreams(world, topology, made.uses, node)]
        return Snapshot.build(topology.generation, resources, self._unsupported(world, made.uses, node))

    def _world_of(self, topology: Topology) -> World:
        if self._world is None or not self._world.is_of(topology):
            before, self._world = self._world, World.of(topology)
            self._assignments.keep(topology.endpoints)
            changed = self._world.changed_routes(before) if before else None
            self._made = _Compiled() if changed is None else self._made.without(changed)
        return self._world

    # --- sidecars ---

    def _sidecar(self, world: World, node: Registration) -> Made:
        own = self._own(world, node)
        if not node.outbound_port:
            return own
        shared = self._outbound(world, node)
        resources = [*own.resources, *shared.scopes.values(), *shared.routes.values()]
        return Made(resources, {**shared.uses, **own.uses})

    def _own(self, world: World, node: Registration) -> Made:
        """The listeners of a node: made again when something of its registration that they show has changed."""
        shape = (
            node.kind,
            node.address,
            node.app_port,
            node.inbound_port,
            node.outbound_port,
            node.protocol,
            node.upstreams,
        )
        known = self._made.own.get(node.node)
        if known is None or known.shape != shape:
            if len(self._made.own) >= MAX_NODES_REMEMBERED:
                self._made.own.clear()
            made = egress(world, node) if node.kind is NodeKind.GATEWAY else _listeners(world, node)
            has_routes = bool(node.upstreams) or node.kind is NodeKind.GATEWAY
            known = self._made.own[node.node] = _Own(shape, made, has_routes)
        return known.made

    def _outbound(self, world: World, node: Registration) -> Outbound:
        """What all sidecars of a service (and of others that may call the same) share."""
        calls = _calls(world, node)
        key = (node.node.namespace, calls)
        if key not in self._made.outbounds:
            callees = world.services if calls is None else calls
            made = compile_outbound(world, callees, node.node.namespace, self._made.memo)
            self._made.outbounds[key] = made
        return self._made.outbounds[key]

    # --- gateways ---

    def _gateway(self, world: World, node: Registration) -> Made:
        """The Gateway document of the node's name, and what goes out of the mesh by it."""
        gateway_id = node.node.service_id
        document = world.gateways.get(gateway_id)
        if document is not None and gateway_id not in self._made.gateways:
            self._made.gateways[gateway_id] = gateway(world, document)
        ways_in = self._made.gateways.get(gateway_id, Made())
        ways_out = self._own(world, node)
        return Made([*ways_in.resources, *ways_out.resources], ways_in.uses | ways_out.uses)

    # --- gRPC clients ---

    def _grpc_client(self, world: World, topology: Topology, node: Registration) -> Snapshot:
        calls = _calls(world, node)
        key = (node.node.namespace, calls)
        known = self._made.grpc_clients
        if key not in known:
            callees = world.services if calls is None else calls
            known[key] = grpc_client(world, callees, node.node.namespace)
        client = known[key]
        made = [*client.resources, *self._upstreams(world, topology, client.uses, node)]
        return Snapshot.build(topology.generation, made, client.left_out)

    # --- clusters and endpoints ---

    def _upstreams(
        self, world: World, topology: Topology, uses: Mapping[str, Use], node: Registration
    ) -> Iterable[Resource]:
        """The clusters that routes name, and their endpoints once each."""
        assigned: dict[str, Resource] = {}
        for use in uses.values():
            reader = _reader(world, use, node)
            yield self._cluster(world, use, reader, is_plain=node.kind is NodeKind.GRPC)
            if not use.members:
                service = world.services[use.service]
                resource = self._assignments.of(topology, service, use.port, node.locality, reader)
                assigned[resource.name] = resource
        yield from assigned.values()

    def _cluster(self, world: World, use: Use, reader: ServiceId | None, *, is_plain: bool) -> Resource:
        key = (use.name, reader, is_plain)
        known = self._made.clusters
        if key not in known:
            if use.members:
                policy = use.policy or world.services[use.service].policy
                known[key] = aggregate(use.name, use.members, policy)
            else:
                make = plain_cluster if is_plain else outbound
                known[key] = make(upstream_of(world, use, reader))
        return known[key]

    def _unsupported(self, world: World, uses: Mapping[str, Use], node: Registration) -> tuple[str, ...]:
        known, kind = self._made.unsupported, node.data_plane
        for use in uses.values():
            if (use.name, kind) not in known:
                known[use.name, kind] = tuple(not_on(kind, world, use))
        return tuple(sorted({*of_the_mesh(world), *(said for name in uses for said in known[name, kind])}))


def _listeners(world: World, node: Registration) -> Made:
    """The sockets of a sidecar: `outbound`, `upstream/...`, `inbound`, and what they alone need."""
    made = Made()
    if node.outbound_port:
        made.resources.append(outbound_listener(node.outbound_port, is_logged=world.mesh.access_log))
        made.resources.append(local(SELF, node.outbound_port, Protocol.HTTP))
    for upstream in node.upstreams:
        resources, used = upstream_listener(world, upstream, node.node.namespace)
        made.resources += resources
        made.uses.update(used)
    if node.inbound_port and node.app_port:
        made.resources += inbound(world, node)
    return made


def _calls(world: World, node: Registration) -> frozenset[ServiceId] | None:
    """The services that a node may call; None for all."""
    service = world.services.get(node.node.service_id)
    return service.calls if service else None


def _reader(world: World, use: Use, node: Registration) -> ServiceId | None:
    """The node's own name where calls of `use` leave the mesh by it."""
    own = node.node.service_id
    is_own = node.kind is NodeKind.GATEWAY and world.services[use.service].egress_gateway == own
    return own if is_own else None

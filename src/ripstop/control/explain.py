"""Where a call would go and why: the caller's snapshot asked, then the callee's. Nothing is sent.

The data plane's own decisions (`_core.Snapshot.match`) are told step by step, each with the document line that it is by.
Health and breakers of the moment are not known here; what the endpoints' documents and registrations say is.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from ripstop import _core
from ripstop.compiler import Compiler
from ripstop.control.explain_steps import Step, steps_of
from ripstop.errors import NotFound
from ripstop.ids import NodeId, ServiceId, SpiffeId
from ripstop.model.topology import Topology
from ripstop.model.workload import DataPlaneKind, Endpoint, NodeKind, Registration
from ripstop.xds import names, type_urls
from ripstop.xds.snapshot import Snapshot

NO_ENDPOINT = "no_endpoint"
"""Sent on, but nobody is there to take it; the other outcomes are those of `_core.Match`."""
KEPT_MAX = 8
"""Nodes whose decoded snapshot is kept, those asked last."""
PICKS = 1000
"""Imaginary requests that show how a cluster's balancer shares them out."""
_PORTS = {"http": 80, "https": 443}
ASSUMED = Registration(
    node=NodeId("default", "assumed", "assumed"),
    app_port=8080,
    inbound_port=15006,
    outbound_port=15001,
    data_plane=DataPlaneKind.NATIVE,
)
"""What an instance is taken to be where none is registered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What is asked: who calls, and how. `authority` is the host as it is called; `path` has the query.

    A `caller` that is a Gateway document stands for whoever calls it from outside; `scheme` https is TLS to it.
    """

    caller: ServiceId
    scheme: str = "http"
    method: str = "GET"
    authority: str
    path: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    random: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """What one data plane does. `is_assumed`: no such instance is registered."""

    node: str
    side: str
    is_assumed: bool
    outcome: str
    status: int
    steps: tuple[Step, ...]
    match: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The whole way. `outcome` and `status` are of the last hop; status 0 leaves it to the application."""

    generation: int
    outcome: str
    status: int
    hops: tuple[Hop, ...]


class Explainer:
    """Answers questions one at a time; keeps what the last nodes asked run, decoded, for the next question."""

    def __init__(self) -> None:
        self._compiler = Compiler()
        self._kept: dict[NodeId, tuple[Snapshot, _core.Snapshot]] = {}

    def explain(self, topology: Topology, call: Call) -> Explanation:
        """The way of a call by `topology`.

        Raises:
            NotFound: the caller has no listener for it, or what is asked is no request.
        """
        node, is_assumed = _instance_of(topology, call.caller)
        snapshot, core = self._run_by(topology, node)
        is_gateway = node.kind is NodeKind.GATEWAY
        found = _from_outside(core, snapshot, call) if is_gateway else _from_within(core, node, call)
        chosen = _endpoint(topology, core, found)
        side = "gateway" if is_gateway else "caller"
        hops = [_hop(topology, node, side, is_assumed, found, _shares(topology, core, found))]
        if chosen is not None and (callee := topology.nodes.get(_node_of(chosen))) is not None:
            hops.append(self._callee(topology, call, node, callee, found))
        last = hops[-1]
        outcome, status = last.outcome, last.status
        if chosen is None and found.forward is not None and found.forward.is_known:
            outcome, status = NO_ENDPOINT, 503
        return Explanation(generation=topology.generation, outcome=outcome, status=status, hops=tuple(hops))

    def _callee(
        self,
        topology: Topology,
        call: Call,
        caller: Registration,
        callee: Registration,
        sent: _core.Match,
    ) -> Hop:
        forward = sent.forward
        assert forward is not None, "only what is sent on has a callee"
        _, core = self._run_by(topology, callee)
        arrives = replace(
            call,
            method=forward.method or call.method,
            authority=forward.authority,
            path=forward.path,
            headers=tuple(forward.headers),
        )
        identity = SpiffeId(topology.mesh.trust_domain, caller.node.service_id)
        found = _ask(
            core,
            names.INBOUND_LISTENER,
            arrives,
            principals=[str(identity)],
            remote=f"{caller.address}:1",
            local=f"{callee.address}:{callee.inbound_port}",
            server_name=_server_name(topology, forward.cluster, callee),
            is_tls=True,
        )
        return _hop(topology, callee, "callee", False, found)

    def _run_by(self, topology: Topology, node: Registration) -> tuple[Snapshot, _core.Snapshot]:
        """What a node runs, and the core's view of it: of equal resources the same one."""
        snapshot = self._compiler.compile(topology, node)
        kept = self._kept.pop(node.node, None)
        if kept is None or kept[0].resources != snapshot.resources:
            resources = (r for by_name in snapshot.resources.values() for r in by_name.values())
            kept = snapshot, _core.Snapshot([(r.type_url, r.body) for r in resources])
        while len(self._kept) >= KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        self._kept[node.node] = kept
        return kept


def _hop(
    topology: Topology,
    node: Registration,
    side: str,
    is_assumed: bool,
    found: _core.Match,
    more: tuple[Step, ...] = (),
) -> Hop:
    return Hop(
        node=str(node.node),
        side=side,
        is_assumed=is_assumed,
        outcome=found.outcome,
        status=found.status,
        steps=(*steps_of(topology, node, found), *more),
        match=found.as_dict(),
    )


def _instance_of(topology: Topology, service: ServiceId) -> tuple[Registration, bool]:
    """A sidecar (or gateway) of a name, the first one; else one that is taken to be there."""
    kind = NodeKind.GATEWAY if service in topology.gateways else NodeKind.SIDECAR
    mine = [
        node
        for name, node in sorted(topology.nodes.items())
        if name.service_id == service and node.kind is kind
    ]
    if mine:
        return next((node for node in mine if node.outbound_port), mine[0]), False
    return replace(ASSUMED, node=NodeId(service.namespace, service.name, "assumed"), kind=kind), True


def _from_within(core: _core.Snapshot, node: Registration, call: Call) -> _core.Match:
    if not node.outbound_port:
        raise NotFound(f"{node.node} has no outbound listener", cure="run it with --outbound-port")
    if call.scheme != "http":
        raise NotFound(f"applications do not call {call.scheme}", cure="write http://: sidecars add TLS")
    return _ask(core, names.OUTBOUND_LISTENER, call, remote=f"{node.address}:1")


def _from_outside(core: _core.Snapshot, snapshot: Snapshot, call: Call) -> _core.Match:
    """At the gateway's listener of the URL's port; when it has one port only, at that (something may stand before it)."""
    host, wanted = _place_of(call)
    listeners = sorted(
        (found, name)
        for name in snapshot.of_type(type_urls.LISTENER)
        if (found := names.parse_gateway_listener(name)) is not None
    )
    fitting = [name for found, name in listeners if found == wanted]
    if not fitting and len({found for found, _ in listeners}) == 1:
        fitting = [name for _, name in listeners]
    if not fitting:
        there = ", ".join(sorted({str(found) for found, _ in listeners})) or "none"
        raise NotFound(f"{call.caller} has no listener on port {wanted}", cure=f"its ports are: {there}")
    is_tls = call.scheme == "https"
    return _ask(core, fitting[0], call, server_name=host if is_tls else "", is_tls=is_tls)


def _place_of(call: Call) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{call.authority}")
        return parts.hostname or call.authority, parts.port or _PORTS[call.scheme]
    except ValueError as error:
        raise NotFound(f"{call.authority} is no host: {error}", cure="write HOST or HOST:PORT") from None


def _ask(core: _core.Snapshot, listener: str, call: Call, **connection: Any) -> _core.Match:
    try:
        return core.match(
            listener,
            call.method,
            call.authority,
            call.path,
            list(call.headers),
            random=call.random,
            **connection,
        )
    except ValueError as error:
        raise NotFound(
            f"this is no request: {error}", cure="write METHOD URL, and headers as name: value"
        ) from None


# --- endpoints ---


def _endpoint(topology: Topology, core: _core.Snapshot, found: _core.Match) -> Endpoint | None:
    """The endpoint that gets most: whose sidecar is asked next."""
    picks = _picks(core, found)
    best = max(picks.shares, key=lambda share: share.requests, default=None) if picks else None
    if best is None or not best.requests:
        return None
    return _by_address(topology, best.cluster).get(best.address)


def _picks(core: _core.Snapshot, found: _core.Match) -> _core.Picks | None:
    forward = found.forward
    if found.outcome not in ("forwarded", "tunnelled") or forward is None or not forward.is_known:
        return None
    return core.pick(forward.cluster, PICKS, hash=forward.hash, subset=forward.subset)


def _by_address(topology: Topology, cluster: str) -> dict[str, Endpoint]:
    name = names.parse_cluster(cluster)
    known = topology.endpoints.get((name.service, name.port), ()) if name else ()
    return {f"{endpoint.address}:{endpoint.port}": endpoint for endpoint in known}


def _shares(topology: Topology, core: _core.Snapshot, found: _core.Match) -> tuple[Step, ...]:
    picks = _picks(core, found)
    if picks is None:
        return ()
    if not picks.shares:
        return (Step(kind="endpoint", text="there is no endpoint: 503", details={"requests": 0}),)
    return tuple(_share(topology, share) for share in picks.shares)


def _share(topology: Topology, share: _core.EndpointShare) -> Step:
    endpoint = _by_address(topology, share.cluster).get(share.address)
    who = f" {endpoint.instance}" if endpoint and endpoint.instance else ""
    part = f"{100 * share.requests / PICKS:.0f} %" if share.requests else f"nothing ({share.availability})"
    if share.priority:
        part += f", priority {share.priority}"
    return Step(kind="endpoint", text=f"{share.address}{who} gets {part}", details=share.as_dict())


def _node_of(endpoint: Endpoint) -> NodeId:
    identity = endpoint.identity or ServiceId("", "")
    return NodeId(identity.namespace, identity.name, endpoint.instance)


def _server_name(topology: Topology, cluster: str, callee: Registration) -> str:
    """The SNI by which other ports of an application than the registered one are asked for."""
    name = names.parse_cluster(cluster)
    service = topology.services.get(name.service) if name else None
    port = service.port(name.port) if service and name else None
    target = port.target_port if port else 0
    return names.target_sni(target) if target and target != callee.app_port else ""

"""Routes that only read: status, services, signals, nodes, history, metrics, health."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from ripstop import __version__
from ripstop.control.fleet import NodeState
from ripstop.errors import NotFound
from ripstop.ids import USER_AGENT, NodeId, ServiceId
from ripstop.model.document import Document
from ripstop.model.registration_json import registration_to_json
from ripstop.model.topology import Service
from ripstop.model.workload import DataPlaneKind, Registration
from ripstop.server.rest import Services
from ripstop.xds import pb

WINDOW_MAX_S = 120.0


def router(services: Services) -> APIRouter:
    """The routes."""
    plane, documents, access = services.plane, services.documents, services.access
    routes = APIRouter()

    @routes.get("/v1/trust")
    async def trust() -> dict[str, str]:
        """Public: who holds a join token compares this with the fingerprint in it."""
        return {"trust_pem": plane.authority.trust_pem.decode()}

    @routes.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @routes.get("/metrics")
    async def metrics(request: Request) -> Response:
        access.operator(request)
        return Response(plane.metrics.text(), media_type="text/plain; version=0.0.4")

    @routes.get("/v1/status")
    async def status(request: Request) -> dict[str, Any]:
        access.operator(request)
        return await _status(services)

    @routes.get("/v1/documents")
    async def list_documents(
        request: Request, kind: str = "", namespace: str = "", name: str = ""
    ) -> dict[str, Any]:
        access.operator(request)
        wanted = [
            d
            for d in documents.current
            if kind.lower() in ("", d.kind.lower())
            and namespace in ("", d.namespace)
            and name in ("", d.name)
        ]
        return {"documents": [_document(d) for d in wanted]}

    @routes.get("/v1/services")
    async def list_services(request: Request) -> dict[str, Any]:
        access.operator(request)
        return {"services": [_service(services, s) for s in plane.topology.services.values()]}

    @routes.get("/v1/services/{namespace}/{name}")
    async def one_service(namespace: str, name: str, request: Request) -> dict[str, Any]:
        access.operator(request)
        service = plane.topology.services.get(ServiceId(namespace, name))
        if service is None:
            raise NotFound(f"there is no service {namespace}/{name}", cure="see `ripstop get services`")
        return {
            **_service(services, service),
            "effective": _effective(service),
            "endpoints": _endpoints(services, service),
        }

    @routes.get("/v1/signals")
    async def signals(request: Request, window_s: float = 10.0) -> dict[str, Any]:
        access.operator(request)
        window, now = min(max(window_s, 1.0), WINDOW_MAX_S), plane.clock.monotonic()
        edges = plane.signals.edges(window, now)
        for row in edges:
            service = (
                plane.topology.services.get(ServiceId.parse(row.destination))
                if "/" in row.destination
                else None
            )
            row.mtls = row.mtls or (row.seen_by == "outbound" and service is not None and service.is_meshed)
        return {
            "window_s": window,
            "edges": [asdict(row) for row in edges],
            "services": [asdict(row) for row in plane.signals.services(window, now)],
            "upstreams": [asdict(row) for row in plane.signals.upstreams(window, now)],
        }

    @routes.get("/v1/nodes")
    async def nodes(request: Request) -> dict[str, Any]:
        access.operator(request)
        return {"nodes": _nodes(services)}

    @routes.get("/v1/nodes/{namespace}/{service}/{instance}/snapshot")
    async def snapshot(namespace: str, service: str, instance: str, request: Request) -> JSONResponse:
        access.operator(request)
        node = NodeId(namespace, service, instance)
        registration = plane.topology.nodes.get(node)
        if registration is None:
            raise NotFound(f"there is no node {node}", cure="see `ripstop status`")
        made = plane.compiler.compile(plane.topology, registration)
        shown = {
            url: {
                name: pb.to_dict(pb.from_bytes(pb.resource_class(url), r.body)) for name, r in by_name.items()
            }
            for url, by_name in made.resources.items()
            if not url.endswith(".Secret")
        }
        return JSONResponse({"generation": made.generation, "resources": shown})

    @routes.get("/v1/history")
    async def history(request: Request, limit: int = 50) -> dict[str, Any]:
        access.operator(request)
        changes = await asyncio.to_thread(plane.store.history, min(max(limit, 1), 10_000))
        return {"changes": [asdict(change) for change in changes]}

    return routes


async def _status(services: Services) -> dict[str, Any]:
    plane, documents = services.plane, services.documents
    topology, now = plane.topology, plane.clock.wall()
    certificates = await asyncio.to_thread(lambda: plane.store.certificates(live_at=now))
    return {
        "version": __version__,
        "trust_domain": plane.authority.trust_domain,
        "generation": topology.generation,
        "started_at": plane.started_at,
        "now": now,
        "rollout": plane.fleet.rollout(topology.generation).summary(),
        "services": len(topology.services),
        "documents": len(documents.current),
        "directory": str(documents.directory) if documents.directory else None,
        "faults": [asdict(fault) for fault in documents.directory_faults],
        "nodes": _nodes(services),
        "conditions": [asdict(c) for c in topology.conditions if not c.status],
        "certificates": {
            "live": len(certificates),
            "next_expiry": min((c.not_after for c in certificates), default=None),
        },
        "api": f"https://{services.api}",
        "ads": services.ads,
    }


def _nodes(services: Services) -> list[dict[str, Any]]:
    """Everyone who is connected or registered."""
    plane = services.plane
    found = sorted({*plane.fleet.nodes, *plane.topology.nodes})
    return [_node(services, node) for node in found]


def _node(services: Services, node: NodeId) -> dict[str, Any]:
    plane = services.plane
    state, registration = plane.fleet.nodes.get(node), plane.topology.nodes.get(node)
    lease_end = plane.reconciler.lease_of(node)
    return {
        "node": str(node),
        "kind": (state.kind if state else registration.kind if registration else ""),
        "connected": state is not None,
        "since": state.since if state else None,
        "data_plane": _data_plane(state, registration),
        "generation": state.generation if state else None,
        "wanted": state.wanted if state else None,
        "is_current": state is not None and state.generation >= state.wanted and not state.refusals,
        "nacks": [{"type": n.type_url, "names": n.names, "message": n.message} for n in state.refusals]
        if state
        else [],
        "not_on_this_data_plane": list(state.not_on_this_data_plane) if state else [],
        "pushes": state.pushes if state else 0,
        "bytes_sent": state.bytes_sent if state else 0,
        "registration": registration_to_json(registration) if registration else None,
        "lease_left_s": max(0.0, lease_end - plane.clock.monotonic()) if lease_end else None,
    }


def _data_plane(state: NodeState | None, registration: Registration | None) -> str:
    """What it calls itself once it is connected: `envoy`, `gRPC C-core`; else what its agent said it would start."""
    agent = state.user_agent if state else ""
    if agent == USER_AGENT:
        return DataPlaneKind.NATIVE.value
    return agent or (registration.data_plane.value if registration else "")


def _document(document: Document) -> dict[str, Any]:
    """Keys of Secrets stay where they are."""
    return {
        "kind": document.kind,
        "namespace": document.namespace,
        "name": document.name,
        "file": document.file,
        "line": document.line,
        "created_at": document.created_at,
        "text": "(secret)" if document.kind == "Secret" else document.text,
    }


def _service(services: Services, service: Service) -> dict[str, Any]:
    topology = services.plane.topology
    endpoints = {
        e for p in service.ports for e in map(_address, topology.endpoints.get((service.id, p.port), ()))
    }
    return {
        "namespace": service.id.namespace,
        "name": service.id.name,
        "hosts": list(service.hosts),
        "ports": [asdict(port) for port in service.ports],
        "endpoints_from": service.endpoints_from,
        "mesh": service.is_meshed,
        "endpoint_count": len(endpoints),
        "authorizations": [f"{a.action} {a.namespace}/{a.name}" for a in service.authorizations],
        "source": asdict(service.source) if service.source else None,
    }


def _address(endpoint: Any) -> tuple[str, int]:
    return (endpoint.address, endpoint.port)


def _endpoints(services: Services, service: Service) -> list[dict[str, Any]]:
    topology = services.plane.topology
    found = {_address(e): e for p in service.ports for e in topology.endpoints.get((service.id, p.port), ())}
    return [
        {
            "address": f"{e.address}:{e.port}",
            "instance": e.instance,
            "health": e.health,
            "weight": e.weight,
            "labels": dict(e.labels),
            "locality": asdict(e.locality),
        }
        for _, e in sorted(found.items())
    ]


def _effective(service: Service) -> dict[str, Any]:
    """Everything that holds for calls to a service, and which document line said so; the rest are defaults."""
    policy = service.policy
    shown = {name: _plain(getattr(policy, name)) for name in policy.__slots__ if name != "sources"}
    return {"policy": shown, "sources": {path: str(source) for path, source in policy.sources}}


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, tuple | frozenset | list):
        return [_plain(item) for item in (sorted(value) if isinstance(value, frozenset) else value)]
    return value

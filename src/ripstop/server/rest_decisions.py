"""Routes of decisions: what became of one request, what becomes of requests now."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from ripstop.errors import NotFound
from ripstop.ids import NodeId
from ripstop.model.workload import DataPlaneKind
from ripstop.observe import Wanted
from ripstop.server.rest import Services

LIMIT_MAX = 10_000
WATCH_MAX_S = 30.0


class Watch(BaseModel):
    """A wish to see every request for a while."""

    model_config = ConfigDict(extra="forbid")

    for_s: float = Field(default=10.0, gt=0, le=WATCH_MAX_S)
    """For how long, in seconds; wish again before it ends."""


def router(services: Services) -> APIRouter:
    """The routes."""
    plane, access = services.plane, services.access
    routes = APIRouter()

    @routes.get("/v1/decisions")
    async def decisions(
        request: Request,
        service: str = "",
        node: str = "",
        status: str = "",
        method: str = "",
        path: str = "",
        flags: bool = False,
        after: int = 0,
        limit: int = 100,
    ) -> dict[str, Any]:
        """The newest decisions that match, oldest first; `cursor` is the next `after`. `status` may be ``5xx``."""
        access.operator(request)
        wanted = Wanted(service=service, node=node, status=status, method=method, path=path, flags=flags)
        found = plane.decisions.find(wanted, after, min(max(limit, 1), LIMIT_MAX))
        return {
            "decisions": [made.to_json() for made in found],
            "cursor": plane.decisions.last,
            "dropped": plane.decisions.dropped,
        }

    @routes.get("/v1/decisions/{request_id}")
    async def one_request(request_id: str, request: Request) -> dict[str, Any]:
        """Every hop of a request, the first hop first."""
        access.operator(request)
        hops = plane.decisions.of_request(request_id)
        if not hops:
            raise NotFound(f"no data plane has told of a request {request_id}", cure=_cure(services))
        return {"id": request_id, "hops": [made.to_json() for made in hops]}

    @routes.post("/v1/watch")
    async def watch(request: Request, body: Watch) -> dict[str, Any]:
        """Have data planes keep every request for a while, not only failures and a sample."""
        access.operator(request)
        plane.decisions.watch(body.for_s, plane.clock.monotonic())
        return {"watch_s": body.for_s, "cursor": plane.decisions.last}

    return routes


def _cure(services: Services) -> str:
    """Why a request may be unknown."""
    others = sorted(str(n) for n in services.plane.topology.nodes if not _tells(services, n))
    if others:
        shown = ", ".join(others[:3]) + (" and others" if len(others) > 3 else "")
        return f"{shown} keep no decisions: only the native data plane does"
    return "failures are told within two seconds, one success of a hundred is kept; `ripstop tap` keeps all"


def _tells(services: Services, node: NodeId) -> bool:
    registration = services.plane.topology.nodes.get(node)
    return registration is not None and registration.data_plane is DataPlaneKind.NATIVE

"""The route that says where a call would go, and why."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from ripstop.errors import NotFound
from ripstop.ids import ServiceId
from ripstop.server.rest import Services
from ripstop.server.rest_documents import FILES_MAX, FileText

if TYPE_CHECKING:
    from ripstop.control.explain import Explainer

HEADERS_MAX = 200
RANDOM_MAX = 2**64 - 1


class Question(BaseModel):
    """A call that nobody makes. `files`: as if these documents had been applied."""

    model_config = ConfigDict(extra="forbid")

    caller: str = Field(max_length=200)
    scheme: Literal["http", "https"] = "http"
    method: str = Field(default="GET", min_length=1, max_length=40)
    authority: str = Field(min_length=1, max_length=1000)
    path: str = Field(default="/", max_length=60_000)
    headers: list[tuple[str, str]] = Field(default=[], max_length=HEADERS_MAX)
    random: Annotated[int, Field(ge=0, le=RANDOM_MAX)] = 0
    files: list[FileText] = Field(default=[], max_length=FILES_MAX)


def router(services: Services) -> APIRouter:
    """The routes."""
    plane, documents, access = services.plane, services.documents, services.access
    routes = APIRouter()
    # One, asked one question at a time: it works in a thread, with a compiler that is not the plane's.
    kept: list[Explainer] = []
    lock = asyncio.Lock()

    @routes.post("/v1/explain")
    async def explain(body: Question, request: Request) -> dict[str, Any]:
        # Here, for a control plane installed without the native data plane has no core to ask.
        from ripstop.control.explain import Call, Explainer

        access.operator(request)
        try:
            caller = ServiceId.parse(body.caller)
        except ValueError as error:
            raise NotFound(str(error), cure="name a service: web, or shop/web") from None
        call = Call(
            caller=caller,
            scheme=body.scheme,
            method=body.method,
            authority=body.authority,
            path=body.path,
            headers=tuple(body.headers),
            random=body.random,
        )
        if body.files:
            proposed = documents.proposed((item.file, item.text) for item in body.files)
            topology = await asyncio.to_thread(plane.reconciler.proposed, proposed)
            return asdict(await asyncio.to_thread(Explainer().explain, topology, call))
        async with lock:
            kept[:] = kept or [Explainer()]
            return asdict(await asyncio.to_thread(kept[0].explain, plane.topology, call))

    return routes

"""Routes of operators that change things: documents, join tokens."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from ripstop.errors import NotFound
from ripstop.identity import new_join_token, new_secret
from ripstop.ids import ServiceId
from ripstop.server.documents import Applied
from ripstop.server.rest import Services
from ripstop.server.rest_agents import WAIT_MAX_S, join_token

FILES_MAX = 10_000
TOKEN_TTL_MAX_S = 30 * 86_400.0
WAIT_FOR_NODES_MAX_S = 300.0


class FileText(BaseModel):
    """A file and its text."""

    model_config = ConfigDict(extra="forbid")

    file: str = Field(max_length=4096)
    text: str


class Files(BaseModel):
    """Documents, as written. `wait_s`: for how long to wait until all nodes run them."""

    model_config = ConfigDict(extra="forbid")

    files: list[FileText] = Field(max_length=FILES_MAX)
    wait_s: Annotated[float, Field(ge=0, le=WAIT_FOR_NODES_MAX_S)] = 0.0

    def pairs(self) -> list[tuple[str, str]]:
        """(file name, text)."""
        return [(item.file, item.text) for item in self.files]


class Keys(BaseModel):
    """Documents to take away, by kind, namespace and name; or all that files hold."""

    model_config = ConfigDict(extra="forbid")

    documents: list[tuple[str, str, str]] = Field(max_length=FILES_MAX)
    wait_s: Annotated[float, Field(ge=0, le=WAIT_FOR_NODES_MAX_S)] = 0.0


class TokenWish(BaseModel):
    """A join token to be made."""

    model_config = ConfigDict(extra="forbid")

    service: str
    ttl_s: Annotated[float, Field(gt=0, le=TOKEN_TTL_MAX_S)] = 3600.0
    reusable: bool = False


def router(services: Services) -> APIRouter:
    """The routes."""
    plane, documents, access = services.plane, services.documents, services.access
    routes = APIRouter()

    @routes.post("/v1/documents")
    async def apply(body: Files, request: Request) -> dict[str, Any]:
        caller = access.operator(request)
        return await _answer(services, await documents.apply(body.pairs(), caller.name), body.wait_s)

    @routes.delete("/v1/documents")
    async def delete(body: Keys, request: Request) -> dict[str, Any]:
        caller = access.operator(request)
        return await _answer(services, await documents.delete(body.documents, caller.name), body.wait_s)

    @routes.post("/v1/documents:check")
    async def check(body: Files, request: Request) -> dict[str, Any]:
        access.operator(request)
        found, faults = documents.check(body.pairs())
        return {"documents": [d.title for d in found], "faults": [asdict(f) for f in faults]}

    @routes.post("/v1/documents:diff")
    async def diff(body: Files, request: Request) -> dict[str, Any]:
        access.operator(request)
        return {"documents": [asdict(d) for d in documents.difference(body.pairs())]}

    @routes.post("/v1/tokens")
    async def token(body: TokenWish, request: Request) -> dict[str, Any]:
        access.operator(request)
        try:
            service = ServiceId.parse(body.service)
        except ValueError as error:
            raise NotFound(str(error)) from None
        secret, expires_at = new_secret(), plane.clock.wall() + body.ttl_s
        kept = join_token(service, secret, expires_at, reusable=body.reusable)
        await asyncio.to_thread(plane.store.put_join_token, kept)
        text = new_join_token(services.api, plane.authority.fingerprint(), service, secret)
        return {"token": text, "service": str(service), "expires_at": expires_at, "reusable": body.reusable}

    @routes.get("/v1/generations/{generation}")
    async def generation(generation: int, request: Request, wait_s: float = 0.0) -> dict[str, Any]:
        access.operator(request)
        return await _rollout(services, generation, min(wait_s, WAIT_MAX_S))

    return routes


async def _answer(services: Services, applied: Applied, wait_s: float) -> dict[str, Any]:
    return {**asdict(applied), "rollout": await _rollout(services, applied.generation, wait_s)}


async def _rollout(services: Services, generation: int, wait_s: float) -> dict[str, Any]:
    rollout = await services.plane.wait_for(generation, wait_s)
    return {
        "generation": generation,
        "done": rollout.is_done,
        "summary": rollout.summary(),
        "live": [str(node) for node in rollout.live],
        "waiting": [str(node) for node in rollout.waiting],
        "refused": [
            {"node": str(node), "type": nack.type_url, "names": nack.names, "message": nack.message}
            for node, nack in rollout.refused
        ],
    }

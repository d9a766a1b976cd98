"""Routes of agents: enrol, register, heartbeat, deregister, report."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from ripstop.errors import Conflict, Refused
from ripstop.identity import Issued, secret_hash
from ripstop.ids import CONTROL_PLANE, NodeId, ServiceId, SpiffeId, is_label
from ripstop.model.registration_check import registration_from_json
from ripstop.observe import DecisionReport, Report
from ripstop.server.rest import Services
from ripstop.storage import IssuedCertificate, JoinToken

WAIT_MAX_S = 30.0


class Enrolment(BaseModel):
    """A request for a certificate."""

    model_config = ConfigDict(extra="forbid")

    csr_pem: str = Field(max_length=16_384)
    namespace: str
    service: str
    instance: str
    join_token: str | None = Field(default=None, max_length=2048)
    """The secret of a join token."""


def router(services: Services) -> APIRouter:
    """The routes."""
    plane, access = services.plane, services.access
    routes = APIRouter()

    @routes.post("/v1/enrol")
    async def enrol(body: Enrolment, request: Request) -> dict[str, Any]:
        for part in (body.namespace, body.service, body.instance):
            if not is_label(part):
                raise Refused(f"{part!r} is not a name", cure="use a-z, 0-9 and '-', at most 63 characters")
        service = ServiceId(body.namespace, body.service)
        if body.namespace == CONTROL_PLANE.namespace:
            raise Refused(f"the namespace {body.namespace} is the control plane's own", cure="choose another")
        how = await _admit(services, request, body, service)
        issued = await asyncio.to_thread(_issue, services, body, service, how)
        return {
            "certificate_pem": issued.certificate_pem.decode(),
            "trust_pem": issued.trust_pem.decode(),
            "expires_at": issued.not_after,
            "mesh": {"trust_domain": plane.authority.trust_domain},
            "ads": services.ads,
            "api": f"https://{services.api}",
        }

    @routes.put("/v1/registrations/{namespace}/{service}/{instance}")
    async def register(
        namespace: str, service: str, instance: str, request: Request, body: dict[str, Any]
    ) -> dict[str, Any]:
        node = NodeId(namespace, service, instance)
        access.agent(request, node.service_id)
        registration = registration_from_json(body)
        if registration.node != node:
            raise Conflict(f"the registration is of {registration.node}, the address of {node}")
        generation = await plane.register(registration)
        return {"generation": generation, "lease_s": registration.lease_s}

    @routes.delete("/v1/registrations/{namespace}/{service}/{instance}")
    async def deregister(
        namespace: str, service: str, instance: str, request: Request, wait_s: float = 0.0
    ) -> dict[str, Any]:
        node = NodeId(namespace, service, instance)
        access.agent(request, node.service_id)
        generation = await plane.deregister(node)
        rollout = await plane.wait_for(generation, min(wait_s, WAIT_MAX_S))
        return {"generation": generation, "live": rollout.is_done}

    @routes.post("/v1/signals/{namespace}/{service}/{instance}")
    async def signals(
        namespace: str, service: str, instance: str, request: Request, report: Report
    ) -> dict[str, Any]:
        node = NodeId(namespace, service, instance)
        access.agent(request, node.service_id)
        now = plane.clock.monotonic()
        plane.signals.add(str(node), str(node.service_id), report, now)
        return {"watch_s": plane.decisions.watch_left_s(now)}

    @routes.post("/v1/decisions/{namespace}/{service}/{instance}")
    async def decisions(
        namespace: str, service: str, instance: str, request: Request, report: DecisionReport
    ) -> dict[str, Any]:
        node = NodeId(namespace, service, instance)
        access.agent(request, node.service_id)
        plane.decisions.add(str(node), str(node.service_id), report)
        return {}

    return routes


async def _admit(services: Services, request: Request, body: Enrolment, service: ServiceId) -> str:
    """How the caller may have a certificate of `service`.

    Raises:
        Refused: they may not; whether a token was ever known is not told.
    """
    if body.join_token is None:
        caller = services.access.agent(request, service)
        return "unix socket" if caller.is_local else "renewal"
    store, now = services.plane.store, services.plane.clock.wall()
    token = await asyncio.to_thread(store.take_join_token, secret_hash(body.join_token), now)
    if token is None:
        raise Refused(
            "the join token is unknown, used up or expired",
            cure=f"make a new one: `ripstop token create --service {service}`",
        )
    if (token.namespace, token.service) != service:
        raise Refused(f"the join token is for {token.namespace}/{token.service}, not for {service}")
    return "join token"


def _issue(services: Services, body: Enrolment, service: ServiceId, how: str) -> Issued:
    """Sign and remember, before the certificate is handed out."""
    plane = services.plane
    identity = SpiffeId(plane.authority.trust_domain, service)
    issued = plane.authority.issue(body.csr_pem.encode(), identity, plane.topology.mesh.svid_ttl_s)
    plane.store.record_certificate(
        IssuedCertificate(
            serial=issued.serial,
            spiffe_id=str(identity),
            instance=body.instance,
            not_before=issued.not_before,
            not_after=issued.not_after,
            how=how,
        )
    )
    return issued


def join_token(service: ServiceId, secret: str, expires_at: float, *, reusable: bool) -> JoinToken:
    """A token as the store keeps it."""
    return JoinToken(
        token_hash=secret_hash(secret),
        namespace=service.namespace,
        service=service.name,
        expires_at=expires_at,
        uses_left=None if reusable else 1,
    )

"""One process of the shop: `python -m ripstop.demo.shop NAME --port P [--version v1] [--instance i]`.

    web ──▶ details
     ├────▶ reviews ──▶ ratings (ratings-cache when none of them is healthy)
     └────▶ orders        (/checkout; policy forbids it in one of the scenes)

Calls to others are ordinary HTTP requests to their names, through the proxy that the environment names: the shop
knows nothing of the mesh. An answer tells who gave it and what each call beneath it came to. A service whose callee fails
answers what it has (200), as a shop should; whoever measures looks at the parts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ripstop.demo.http_client import CallFailed, Client, Reply
from ripstop.demo.http_server import Answer, Request, serve

CALLEES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "web": {"/": ("details", "reviews"), "/checkout": ("orders",)},
    "reviews": {"/": ("ratings",)},
}
"""By service and path: who is called."""

GOODS: Mapping[str, Mapping[str, Any]] = {
    "details": {"title": "A tent for two", "weight_g": 1190},
    "reviews": {"review": "Stood through a storm; a tear did not spread."},
    "ratings": {"stars": 5},
    "ratings-cache": {"stars": 4},
    "orders": {"order": "taken"},
}
PASSED_ON = ("traceparent", "tracestate", "x-request-id", "x-user")
"""Request headers that go on to callees: W3C trace context, and who is served."""
POLICY = "x-ripstop-policy"
BY_ENVOY = "x-forwarded-proto"
"""Envoy adds it to every request it passes on (`HttpConnectionManager`); so the door knows who came by the mesh."""
MAX_DELAY_S = 60.0


@dataclass(frozen=True, slots=True)
class Fault:
    """How the application misbehaves: it waits `delay_s`, and answers `status` when that is not 0."""

    status: int = 0
    delay_s: float = 0.0


class Shop:
    """One service of the shop."""

    def __init__(self, name: str, version: str, instance: str) -> None:
        self._me = {"service": name, "version": version, "instance": instance}
        self._goods = GOODS.get(name, {})
        self._callees = CALLEES.get(name, {})
        self._fault = Fault()
        self._answered = 0
        self._client = Client()

    async def handle(self, request: Request) -> Answer:
        """Answer a request; paths with an underscore are the door for whoever runs the demo."""
        if request.path.startswith("/_"):
            return self._door(request)
        self._answered += 1
        fault = self._fault
        if fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        if fault.status:
            return Answer(fault.status, {**self._me, "fault": "switched on by /_fault"})
        return await self._serve(request)

    async def _serve(self, request: Request) -> Answer:
        callees = self._callees.get(request.path, ())
        calls = await asyncio.gather(*(self._call(callee, request) for callee in callees))
        body = {**self._me, **self._goods, "user": request.headers.get("x-user", ""), "calls": calls}
        refused = next((call["policy"] for call in calls if "policy" in call), None)
        return Answer(403, body, {POLICY: refused}) if refused else Answer(200, body)

    async def _call(self, callee: str, request: Request) -> dict[str, Any]:
        """Call another service by its name; `status` 0 when there was no answer at all."""
        headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        try:
            reply = await self._client.get(f"http://{callee}/", headers)
        except CallFailed as failed:
            return {"callee": callee, "status": 0, "error": str(failed)}
        return {"callee": callee, "status": reply.status, **_told(reply)}

    def _door(self, request: Request) -> Answer:
        if BY_ENVOY in request.headers:
            return Answer(403, {"error": "this door is for this host alone, not for callers of the mesh"})
        match request.method, request.path:
            case "POST", "/_fault":
                return self._switch(request.body)
            case "GET", "/_count":
                return Answer(200, {**self._me, "requests": self._answered})
        return Answer(404, {"error": "there is POST /_fault and GET /_count"})

    def _switch(self, body: bytes) -> Answer:
        try:
            self._fault = fault_from(json.loads(body or b"{}"))
        except ValueError as error:
            return Answer(400, {"error": f"not a fault: {error}"})
        return Answer(200, {**self._me, "status": self._fault.status, "delay_s": self._fault.delay_s})


def fault_from(wanted: Any) -> Fault:
    """The fault that a body asks for; an empty one asks for none.

    Raises:
        ValueError: it is not an object with `status` (400 to 599) and `delay_s` (0 to MAX_DELAY_S).
    """
    if not isinstance(wanted, dict) or wanted.keys() - {"status", "delay_s"}:
        raise ValueError('send {"status": 500}, {"delay_s": 3} or {}')
    status, delay_s = wanted.get("status", 0), wanted.get("delay_s", 0)
    if not isinstance(status, int) or not (status == 0 or 400 <= status <= 599):
        raise ValueError("status is 400 to 599")
    if not isinstance(delay_s, int | float) or not 0 <= delay_s <= MAX_DELAY_S:
        raise ValueError(f"delay_s is 0 to {MAX_DELAY_S:.0f}")
    return Fault(status, float(delay_s))


def _told(reply: Reply) -> dict[str, Any]:
    """What a callee told: its JSON, the policy that refused, or the text of a proxy between."""
    told: dict[str, Any] = {}
    if policy := reply.headers.get(POLICY):
        told["policy"] = policy
    try:
        told["answer"] = json.loads(reply.body)
    except ValueError:
        told["text"] = reply.body[:200].decode(errors="replace")
    return told


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="python -m ripstop.demo.shop", description="One process of the shop."
    )
    parser.add_argument("name", help="which service it is")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--version", default="v1")
    parser.add_argument("--instance", default="")
    given = parser.parse_args()
    shop = Shop(given.name, given.version, given.instance or given.name)
    asyncio.run(serve(shop.handle, given.port))


if __name__ == "__main__":
    main()

"""The demo as an operator: the control plane's API through its unix socket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from ripstop.demo.processes import DemoFailed

TIMEOUT_S = 35.0
APPLY_WAIT_S = 30.0


class ControlApi:
    """What the demo asks of the control plane."""

    def __init__(self, socket: Path) -> None:
        transport = httpx.AsyncHTTPTransport(uds=str(socket))
        self._http = httpx.AsyncClient(transport=transport, base_url="http://ripstop", timeout=TIMEOUT_S)

    async def close(self) -> None:
        """Let the connections go."""
        await self._http.aclose()

    async def status(self) -> dict[str, Any] | None:
        """`GET /v1/status`; None while nobody answers."""
        return await self._get("/v1/status")

    async def edges(self, window_s: float) -> list[dict[str, Any]]:
        """The rows of `GET /v1/signals`; none while nobody answers."""
        signals = await self._get(f"/v1/signals?window_s={window_s:g}")
        return list(signals["edges"]) if signals else []

    async def apply(self, file: str, text: str) -> None:
        """Apply documents and wait until every node runs them.

        Raises:
            DemoFailed: they are refused, or are not live within APPLY_WAIT_S.
        """
        files = [{"file": file, "text": text}]
        answer = await self._http.post("/v1/documents", json={"files": files, "wait_s": APPLY_WAIT_S})
        if answer.status_code != 200:
            raise DemoFailed(
                f"{file} is refused: {answer.status_code} {answer.text}", cure="see the faults above"
            )
        rollout = answer.json()["rollout"]
        if not rollout["done"]:
            raise DemoFailed(f"{file} is not live: {rollout['summary']}", cure="see `ripstop status`")

    async def _get(self, path: str) -> dict[str, Any] | None:
        try:
            answer = await self._http.get(path)
        except httpx.TransportError:
            return None
        if answer.status_code != 200:
            return None
        found: dict[str, Any] = answer.json()
        return found

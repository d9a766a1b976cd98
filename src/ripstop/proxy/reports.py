"""What an agent tells the control plane of its data plane, once a second: golden signals and decisions."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any, NamedTuple

from ripstop.errors import RipstopError
from ripstop.model.workload import DataPlaneKind
from ripstop.proxy.control_client import ControlClient
from ripstop.proxy.data_plane import DataPlane
from ripstop.proxy.golden import FILTER, PATH, Scrapes

REPORT_EVERY_S = 1.0
WATCH_S = 5
"""A data plane is asked for this long at a time to keep every request; it is asked again while somebody watches."""
DECISIONS_MAX = 500
SIGNALS = PATH + FILTER.replace("+", "%2B").replace("|", "%7C")


class Told(NamedTuple):
    """An answer of `/decisions`."""

    decisions: list[dict[str, Any]]
    cursor: str
    dropped: int


def read_decisions(text: str) -> Told:
    """Read lines of JSON, of which the last one says where to go on.

    Raises:
        ValueError, KeyError, IndexError: it is something else.
    """
    *decisions, end = [json.loads(line) for line in text.splitlines()]
    return Told(decisions, str(end["cursor"]), int(end["dropped"]))


def began_anew(before: str, now: str) -> bool:
    """Whether a data plane counts from the start again: a number fell, or there are others."""
    if not before:
        return False
    old, new = before.split("."), now.split(".")
    return len(old) != len(new) or any(int(b) < int(a) for a, b in zip(old, new, strict=True))


class Reports:
    """Tells of one data plane for as long as `keep_telling` runs."""

    def __init__(self, data_plane: DataPlane, kind: DataPlaneKind, client: ControlClient, route: str) -> None:
        self.client = client
        self._data_plane, self._kind, self._route = data_plane, kind, route
        self._scrapes, self._last = Scrapes(), time.monotonic()
        self._cursor, self._dropped = "", 0

    async def keep_telling(self) -> None:
        """For ever; what cannot be told is told with the next."""
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            watch_s = await self._tell_signals()
            if self._kind is not DataPlaneKind.NATIVE:
                continue
            if watch_s:
                await self._data_plane.ask(f"/decisions/watch?every=1&for={WATCH_S}", post=True)
            with contextlib.suppress(ValueError, KeyError, IndexError):
                await self._tell_decisions()

    async def _tell_signals(self) -> float:
        """Golden signals; for how much longer somebody watches."""
        text = await self._data_plane.ask(SIGNALS)
        now = time.monotonic()
        report = self._scrapes.report(text, max(0.01, now - self._last))
        self._last = now
        if not report["edges"] and not report["upstreams"]:
            return 0.0
        with contextlib.suppress(RipstopError):
            answer = await asyncio.to_thread(self.client.post, f"/v1/signals/{self._route}", report)
            return float(answer.get("watch_s", 0.0))
        return 0.0

    async def _tell_decisions(self) -> None:
        told = read_decisions(
            await self._data_plane.ask(f"/decisions?after={self._cursor}&limit={DECISIONS_MAX}")
        )
        if began_anew(self._cursor, told.cursor):
            self._cursor, self._dropped = "", 0
            return
        if told.decisions:
            report = {"decisions": told.decisions, "dropped": max(0, told.dropped - self._dropped)}
            try:
                await asyncio.to_thread(self.client.post, f"/v1/decisions/{self._route}", report)
            except RipstopError:
                return
        self._cursor, self._dropped = told.cursor, told.dropped

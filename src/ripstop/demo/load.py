"""Customers of the shop: pages asked of the gateway at a steady rate, each remembered with all calls beneath it."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from ripstop.demo.http_client import TIMEOUT_S, CallFailed, Client, Reply
from ripstop.demo.shop import POLICY
from ripstop.observe.golden import percentile

RATE_PER_S = 100
IN_FLIGHT_MAX = 150
"""More are not sent: a page that is not sent is counted in `held_back`."""
TOGETHER_MAX = 8
PAGES_MAX = 50_000
"""Pages remembered; more than all scenes ask for."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call between services, as the caller saw it. Without an answer `status` is 0 and the rest is empty."""

    callee: str
    status: int
    service: str = ""
    version: str = ""
    instance: str = ""
    error: str = ""

    @property
    def problem(self) -> str:
        """What was wrong with it, in a few words."""
        return f"{self.callee} {self.status} {self.error}".strip()


@dataclass(frozen=True, slots=True)
class Page:
    """One page asked for. `started` is in monotonic seconds; `status` 0 means there was no answer."""

    started: float
    took_s: float
    status: int
    calls: tuple[Call, ...] = ()
    policy: str = ""
    error: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether it came, and every call beneath it succeeded."""
        return self.status == 200 and all(call.status == 200 for call in self.calls)

    @property
    def problem(self) -> str:
        """What was wrong with it, in a few words."""
        if self.status != 200:
            return f"page {self.status} {self.error}".strip()
        return ", ".join(call.problem for call in self.calls if call.status != 200)


class Window:
    """The pages of a time."""

    def __init__(self, pages: Iterable[Page]) -> None:
        self.pages = tuple(pages)

    @property
    def total(self) -> int:
        """How many."""
        return len(self.pages)

    @property
    def broken(self) -> int:
        """How many were not whole."""
        return sum(not page.is_whole for page in self.pages)

    @property
    def problems(self) -> Counter[str]:
        """What was wrong, and how often."""
        return Counter(page.problem for page in self.pages if not page.is_whole)

    def with_status(self, status: int) -> int:
        """Pages with a status."""
        return sum(page.status == status for page in self.pages)

    def calls(self, callee: str) -> list[Call]:
        """The calls to a service by the name it was called."""
        return [call for page in self.pages for call in page.calls if call.callee == callee]

    def versions(self, callee: str) -> Counter[str]:
        """Answers of a service by version."""
        return Counter(call.version for call in self.calls(callee) if call.version)

    def instances(self, callee: str) -> Counter[str]:
        """Answers by instance; a fallback's instances are among them."""
        return Counter(call.instance for call in self.calls(callee) if call.instance)

    def latency_ms(self, percent: float) -> float:
        """The time below which so many percent of the pages came."""
        return round(percentile(((page.took_s * 1000, 1) for page in self.pages), percent) or 0.0, 1)

    def to_json(self) -> dict[str, Any]:
        """Counts, for the report."""
        return {
            "pages": self.total,
            "whole": self.total - self.broken,
            "broken": dict(self.problems),
            "by_status": {str(status): n for status, n in Counter(p.status for p in self.pages).items()},
            "p50_ms": self.latency_ms(50),
            "p99_ms": self.latency_ms(99),
        }


class Load:
    """Asks for pages. Use as `async with`; `run()` is the steady stream, `ask()` asks for some more."""

    def __init__(self, url: str, rate_per_s: int = RATE_PER_S) -> None:
        self._url = url
        self._http = Client(env={})
        self._period_s = 1 / rate_per_s
        self._in_flight: set[asyncio.Task[Page]] = set()
        self._pages: deque[Page] = deque(maxlen=PAGES_MAX)
        self._stream: asyncio.Task[None] | None = None
        self.held_back = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        self._http.close()

    def start(self) -> None:
        """Begin the steady stream."""
        self._stream = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End the stream, and let what is on its way arrive."""
        if self._stream is not None:
            self._stream.cancel()
            await asyncio.wait([self._stream])
            self._stream = None
        await self._settle()

    async def _run(self) -> None:
        due = time.monotonic()
        while True:
            due = max(due + self._period_s, time.monotonic() - 1)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if len(self._in_flight) >= IN_FLIGHT_MAX:
                self.held_back += 1
                continue
            task = asyncio.create_task(self.page("/"))
            self._in_flight.add(task)
            task.add_done_callback(self._arrived)

    def _arrived(self, task: asyncio.Task[Page]) -> None:
        self._in_flight.discard(task)
        if not task.cancelled():
            self._pages.append(task.result())

    async def page(self, path: str, headers: Mapping[str, str] | None = None) -> Page:
        """Ask for one page; what goes wrong is part of the answer."""
        started = time.monotonic()
        sent = {"traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01", **(headers or {})}
        try:
            reply = await self._http.get(f"{self._url}{path}", sent)
        except CallFailed as failed:
            return Page(started, time.monotonic() - started, 0, error=str(failed))
        took_s = time.monotonic() - started
        told = _told(reply)
        error = "" if told or reply.status == 200 else reply.body[:120].decode(errors="replace")
        policy = reply.headers.get(POLICY, "")
        return Page(started, took_s, reply.status, tuple(calls_of(told)), policy, error)

    async def ask(self, count: int, path: str = "/", headers: Mapping[str, str] | None = None) -> Window:
        """Ask for some pages beside the stream, a few at a time; they are in no window but this one."""
        turn = asyncio.Semaphore(TOGETHER_MAX)

        async def one() -> Page:
            async with turn:
                return await self.page(path, headers)

        return Window(await asyncio.gather(*(one() for _ in range(count))))

    async def window(self, seconds: float) -> Window:
        """The pages asked for from now on, for `seconds`."""
        mark = time.monotonic()
        await asyncio.sleep(seconds)
        return await self.since(mark)

    async def since(self, mark: float) -> Window:
        """The pages asked for from `mark` (monotonic seconds) until now; waits for those on their way."""
        now = time.monotonic()
        await self._settle()
        return Window(page for page in self._pages if mark <= page.started < now)

    async def _settle(self) -> None:
        if waiting := set(self._in_flight):
            await asyncio.wait(waiting, timeout=2 * TIMEOUT_S)

    def totals(self) -> Window:
        """Every page of the stream so far."""
        return Window(self._pages)


def _told(reply: Reply) -> Mapping[str, Any]:
    try:
        told = json.loads(reply.body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def calls_of(told: Mapping[str, Any]) -> Iterator[Call]:
    """All calls that an answer of the shop tells of, outermost first."""
    for call in told.get("calls", ()):
        answer = call.get("answer", {})
        who = {name: str(answer.get(name, "")) for name in ("service", "version", "instance")}
        error = call.get("error") or call.get("text", "")
        yield Call(callee=call["callee"], status=call["status"], error=error[:120], **who)
        yield from calls_of(answer)

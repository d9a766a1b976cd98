"""The native data plane with a bound of memory, and clusters whose hosts do not do what they should."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from oracle.case import Case, Cluster, Stage, to
from oracle.planes import Plane, native_binary
from oracle.upstreams import BlackHole, Call, Script

from ripstop.errors import Unavailable

MEMORY_MB = 64
MANY = 1_000_000
NO_BREAKER = {
    "circuit_breakers": {
        "thresholds": [{"max_connections": MANY, "max_pending_requests": MANY, "max_requests": MANY}]
    }
}
BREAKER = {
    "circuit_breakers": {
        "thresholds": [{"max_connections": 10, "max_pending_requests": 10, "max_requests": 10}]
    }
}
ROUTES = [
    {"match": {"prefix": "/direct"}, "direct_response": {"status": 200, "body": {"inline_string": "here"}}},
    to("@hole", "/hole", timeout="0s"),
    to("@silent", "/silent", timeout="0s"),
    to("@limited", "/limited", timeout="0s"),
    to("@big", "/big", timeout="0s"),
    to("@up"),
]


PIECE = bytes(64 * 1024)


async def at_length(call: Call) -> bool:
    """An answer of 1 MiB, as far as it is taken."""
    await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (16 * len(PIECE)))
    for _ in range(16):
        await call.send(PIECE)
    return True


async def never(_: Call) -> bool:
    await asyncio.sleep(600)
    return False


def clusters() -> dict[str, Cluster]:
    hole = NO_BREAKER | {"connect_timeout": "60s"}
    return {
        "up": Cluster([Script()], extra=NO_BREAKER),
        "hole": Cluster([BlackHole()], extra=hole),
        "silent": Cluster([Script([never])], extra=NO_BREAKER),
        "limited": Cluster([Script([never])], extra=BREAKER),
        "big": Cluster([Script([at_length])], extra=NO_BREAKER),
    }


class Bounded(Plane):
    """With `--memory-limit-mb`."""

    def command(self, path: Path) -> list[str]:
        return [*super().command(path), "--memory-limit-mb", str(MEMORY_MB)]

    @property
    def stage(self) -> Stage:
        return self.stages["overload"]

    @property
    def port(self) -> int:
        return self.stage.port

    def memory(self, what: str) -> int:
        """`VmHWM`, the most that was ever resident, or `VmRSS`, in bytes (proc_pid_status(5))."""
        assert self.process and self.process.poll() is None, self.output()
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in text.splitlines() if line.startswith(what))
        return int(line.split()[1]) * 1024

    def counter(self, name: str) -> int:
        return self.counters().get(f"http.overload.{name}", 0)

    def logged(self) -> list[dict[str, Any]]:
        return self.log_lines(self.cases[0])

    async def log_has(self, **fields: Any) -> bool:
        """Whether a line with these fields is written; lines are a little late."""
        for _ in range(50):
            if any(all(line[key] == value for key, value in fields.items()) for line in self.logged()):
                return True
            await asyncio.sleep(0.1)
        return False

    async def serves(self, path: str = "/", within_s: float = 30.0) -> None:
        """A request of somebody who asks again when told 503, or closed, gets its answer in the end."""
        async with asyncio.timeout(within_s):
            while True:
                with contextlib.suppress(OSError):
                    message = await self.stage.ask(path, connection="close")
                    if message.start.startswith("HTTP/1.1 200"):
                        return
                await asyncio.sleep(0.1)

    def survived(self) -> None:
        """It runs, and was never above its bound."""
        assert self.memory("VmHWM") <= MEMORY_MB * 1024 * 1024
        assert "panicked" not in self.output(), self.output()


@contextlib.asynccontextmanager
async def running(
    directory: Path, chains: list[dict[str, Any]] | None = None, **manager: Any
) -> AsyncIterator[Bounded]:
    """A plane with these fields of its connection manager; the test is skipped where there is no binary."""
    try:
        native_binary()
    except Unavailable as why:
        pytest.skip(str(why))
    case = Case("overload", _nothing, ROUTES, clusters(), {}, manager, [], {}, None, chains or [{}], {})
    plane = Bounded("native", directory, [case])
    await plane.start()
    try:
        yield plane
    finally:
        await plane.stop()


async def _nothing(_: Stage) -> None:
    pass


def files(wanted: int) -> int:
    """Let this process, and those that it starts, have as many file descriptors as they may; how many that is."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most < wanted:
        pytest.skip(f"the limit of file descriptors is {most}, this needs {wanted}")
    return most

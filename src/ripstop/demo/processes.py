"""Child processes with their logs in files, and the ends they can come to."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import random
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ripstop.errors import RipstopError

PORTS = range(15000, 30000)
"""Below what Linux gives to outgoing connections (ip_local_port_range): nothing takes a port once it is chosen."""
TAIL_LINES = 15
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


class DemoFailed(RipstopError):
    """The demo could not be set up: a process ended or something was not ready in time."""


class Child:
    """One process in a session of its own, so that Ctrl-C on the terminal reaches the demo alone."""

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._command = tuple(command)
        self._env = dict(env)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """Its process id; it must have been started."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start it; what it writes goes to the end of its log."""
        assert not self.is_running
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._env,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )

    async def stop(self, deadline_s: float) -> None:
        """SIGTERM, and SIGKILL to it and all beneath it when it takes longer than `deadline_s`."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(deadline_s):
                await self._process.wait()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """SIGKILL to it and every process beneath it: nothing gets to say goodbye."""
        if self._process is not None:
            self.kill_now()
            await self._process.wait()
            self._process = None

    def kill_now(self) -> None:
        """The same without waiting for its end."""
        if self._process is None or self._process.returncode is not None:
            return
        for pid in (*descendants(self._process.pid), self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def check(self) -> None:
        """Raise when it has ended without being told to.

        Raises:
            DemoFailed: it has; the end of its log is told.
        """
        if self._process is not None and self._process.returncode is not None:
            raise DemoFailed(
                f"{self.name} ended with {self._process.returncode}:\n{tail(self.log)}",
                cure=f"its whole log is {self.log}",
            )


def _end_with_parent() -> None:
    """Get SIGTERM when the demo dies, even by SIGKILL (PR_SET_PDEATHSIG, prctl(2)): it leaves no process behind."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def tail(log: Path) -> str:
    """The last lines of a log, indented."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(f"    {line[:300]}" for line in lines[-TAIL_LINES:])


def descendants(pid: int) -> list[int]:
    """All processes beneath one, parents first (proc(5), `stat`: the fourth field is the parent)."""
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        children.setdefault(parent, []).append(child)
    found, waiting = [], [pid]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            found.append(child)
            waiting.append(child)
    return found


def _parents() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                after_name = (entry / "stat").read_text().rpartition(")")[2]
                yield int(entry.name), int(after_name.split()[1])


def free_ports(count: int) -> list[int]:
    """So many different ports of the loopback that nobody listens on."""
    candidates = random.sample(PORTS, k=min(len(PORTS), count * 20))
    free = [port for port in candidates if _is_free(port)][:count]
    if len(free) < count:
        raise DemoFailed(f"fewer than {count} free ports on 127.0.0.1", cure="stop what listens there")
    return free


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

"""Processes pinned to a CPU, and what the kernel says that they used."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ripstop.proxy.program import die_with_parent
from ripstop.testing.memory import pss_mb

START_S = 15.0
STOP_S = 3.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Process:
    """A started process."""

    child: subprocess.Popen[bytes]
    log: Path

    def all_ids(self) -> list[int]:
        """Its own id and those of everything that it started."""
        return list(_descendants(self.child.pid))

    def cpu_s(self) -> float:
        """User and system time so far, of all its processes (proc(5), `stat` 14 and 15)."""
        return sum(_cpu_ticks(pid) for pid in self.all_ids()) / _TICKS

    def pss_mb(self) -> float:
        """Memory, pages that are shared counted by share (proc(5), `smaps_rollup`)."""
        return sum(pss_mb(pid) for pid in self.all_ids())

    def stop(self) -> None:
        """Ask it to end, then make it."""
        if self.child.poll() is None:
            self.child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(STOP_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()


def start(command: Sequence[str], cpu: int, log: Path, output: Path | None = None) -> Process:
    """Start a command on one CPU, in a session of its own; what it says goes to `log`, or stdout to `output`."""

    def prepare() -> None:
        os.sched_setaffinity(0, {cpu})
        die_with_parent()

    with log.open("ab") as err, (output or log).open("ab") as out:
        child = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
            preexec_fn=prepare,  # noqa: PLW1509 (there are no threads)
        )
    return Process(child, log)


def wait_open(port: int, process: Process) -> None:
    """Wait until a process listens on a port of loopback; leave with its log when it does not."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.child.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.3):
            return
        time.sleep(0.02)
    tail = process.log.read_text(errors="replace")[-2000:]
    raise SystemExit(f"{process.child.args!r} does not listen on {port}:\n{tail}")


def _descendants(pid: int) -> Iterator[int]:
    yield pid
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from _descendants(int(child))


def _cpu_ticks(pid: int) -> int:
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])
    return 0

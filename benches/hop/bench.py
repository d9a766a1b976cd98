"""Measuring: all peers of a scenario run beside each other, and take turns (A B C, A B C, …), so that what the machine does
meanwhile hits all alike. What counts is the proxy's own CPU time per request: it does not depend on how fast the load is.
"""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benches.hop.certificates import Certificates
from benches.hop.load import Load, Outcome, run
from benches.hop.path import Hop, MeshPath
from benches.hop.peers import Commands, Peer, nginx_command
from benches.hop.processes import Process, start, wait_open
from benches.hop.scenarios import Scenario
from ripstop.model.workload import DataPlaneKind
from ripstop.proxy.sidecar import free_port
from ripstop.testing import LocalMesh
from ripstop.testing.memory import SidecarMemory, sidecar_memory

WARM_UP_S = 1
SMALL_BODY = "hello, mesh: a small answer, as many a service gives thousands of times a second"
IDLE_CONNECTIONS = 1000
SETTLE_S = 1.0


@dataclass(frozen=True, slots=True)
class Cpus:
    """Where the proxy runs, and where load and backend do."""

    proxy: int
    load: int

    @classmethod
    def of_this_machine(cls) -> Cpus:
        """The first two that we may use; of one, all run on it."""
        mine = sorted(os.sched_getaffinity(0))
        return cls(mine[0], mine[min(1, len(mine) - 1)])


@dataclass(frozen=True, kw_only=True)
class Round:
    """One turn of one peer."""

    cpu_us: float
    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The medians of a peer's turns; CPU time is in microseconds per request."""

    peer: str
    cpu_us: float
    cpu_min_us: float
    cpu_max_us: float
    per_s: float
    p50_us: float
    p99_us: float
    failed: int

    @classmethod
    def of(cls, peer: str, rounds: list[Round]) -> Figures:
        """Their medians, and the sum of what failed."""
        spent = [r.cpu_us for r in rounds]
        return cls(
            peer=peer,
            cpu_us=round(statistics.median(spent), 2),
            cpu_min_us=round(min(spent), 2),
            cpu_max_us=round(max(spent), 2),
            per_s=round(statistics.median(r.outcome.per_s for r in rounds)),
            p50_us=round(statistics.median(r.outcome.p50_us for r in rounds), 1),
            p99_us=round(statistics.median(r.outcome.p99_us for r in rounds), 1),
            failed=sum(r.outcome.failed for r in rounds),
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """PSS of an idle proxy, in MB, and what an idle HTTP/1.1 connection adds, in KB."""

    peer: str
    idle_mb: float
    connection_kb: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Bench:
    """The backend, and how peers are started; use as a context."""

    def __init__(self, directory: Path, certificates: Certificates, cpus: Cpus) -> None:
        self._directory, self._certificates, self._cpus = directory, certificates, cpus
        self._stack = contextlib.ExitStack()
        self.backend = free_port()

    def __enter__(self) -> Bench:
        root = self._directory / "www"
        root.mkdir()
        (root / "10k").write_bytes(os.urandom(10 * 1024))
        (root / "1m").write_bytes(os.urandom(1024 * 1024))
        content = (
            f"  server {{ listen 127.0.0.1:{self.backend} backlog=4096; root {root};"
            f" location = / {{ return 200 '{SMALL_BODY}'; }} }}"
        )
        command = nginx_command(self._directory, "backend", content)
        process = start(command, self._cpus.load, self._directory / "backend.log")
        self._stack.callback(process.stop)
        wait_open(self.backend, process)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # --- CPU time ---

    def measure(self, scenario: Scenario, peers: list[Peer], rounds: int, seconds: int) -> list[Figures]:
        """The figures of every peer that has such a path, in the order given."""
        with contextlib.ExitStack() as stack:
            running = {}
            for peer in peers:
                started = stack.enter_context(self._running(peer, scenario.load.is_h2, scenario.alpn))
                if started is not None:
                    running[peer.name] = started
            taken: dict[str, list[Round]] = {name: [] for name in running}
            for port, _ in running.values():
                run(scenario.load, port, WARM_UP_S, self._cpus.load)
            for _ in range(rounds):
                for name, (port, processes) in running.items():
                    taken[name].append(self._turn(scenario.load, port, processes, seconds))
        return [Figures.of(name, turns) for name, turns in taken.items()]

    def _turn(self, load: Load, port: int, processes: list[Process], seconds: int) -> Round:
        before = sum(process.cpu_s() for process in processes)
        outcome = run(load, port, seconds, self._cpus.load)
        spent = sum(process.cpu_s() for process in processes) - before
        return Round(cpu_us=spent / max(1, outcome.requests) * 1e6, outcome=outcome)

    # --- memory ---

    def memory(self, peers: list[Peer]) -> list[Memory]:
        """One peer after the other, each alone."""
        found = []
        for peer in peers:
            with self._running(peer, False, "") as started:
                if started is not None:
                    found.append(_memory(peer, *started))
        return found

    def sidecar_memory(self) -> SidecarMemory:
        """Of the agent and the data plane of an idle `ripstop run`."""
        with LocalMesh(self._directory / "mesh", data_plane=DataPlaneKind.NATIVE) as mesh:
            started = mesh.run("idle")
            time.sleep(SETTLE_S)
            return sidecar_memory(started.process.pid)

    # --- peers ---

    @contextlib.contextmanager
    def _running(self, peer: Peer, is_h2: bool, alpn: str) -> Iterator[tuple[int, list[Process]] | None]:
        """(port, processes) of a started peer; None when it has no such path."""
        directory = self._directory / f"{peer.name}-{free_port()}"
        directory.mkdir()
        listen = free_port()
        commands = self._commands(peer, directory, listen, is_h2, alpn)
        if commands is None:
            yield None
            return
        with contextlib.ExitStack() as stack:
            processes = []
            for number, command in enumerate(commands):
                log = directory / f"{number}.log"
                process = start(command, self._cpus.proxy, log, directory / f"{number}.access.log")
                stack.callback(process.stop)
                processes.append(process)
            wait_open(listen, processes[0])
            yield listen, processes

    def _commands(self, peer: Peer, directory: Path, listen: int, is_h2: bool, alpn: str) -> Commands | None:
        if not alpn:
            return peer.hop(Hop(directory=directory, listen=listen, upstream=self.backend, is_h2=is_h2))
        path = MeshPath(
            directory=directory,
            listen=listen,
            middle=free_port(),
            upstream=self.backend,
            certificates=self._certificates,
            alpn=alpn,
        )
        return peer.mesh(path)


def _memory(peer: Peer, port: int, processes: list[Process]) -> Memory:
    time.sleep(SETTLE_S)
    idle = sum(process.pss_mb() for process in processes)
    with contextlib.ExitStack() as stack:
        for _ in range(IDLE_CONNECTIONS):
            stack.callback(_used_connection(port).close)
        time.sleep(SETTLE_S)
        held = sum(process.pss_mb() for process in processes)
    each = (held - idle) * 1024 / IDLE_CONNECTIONS
    return Memory(peer=peer.name, idle_mb=round(idle, 1), connection_kb=round(each, 2))


def _used_connection(port: int) -> socket.socket:
    """A connection that has asked once, and is kept."""
    connection = socket.create_connection(("127.0.0.1", port), 5)
    connection.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")
    answer = b""
    while SMALL_BODY.encode() not in answer:
        got = connection.recv(4096)
        if not got:
            raise SystemExit(f"a connection was closed: {answer!r}")
        answer += got
    return connection

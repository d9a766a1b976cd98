"""Both data planes as processes: the same bootstrap, but for ports and paths of logs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ripstop.errors import Unavailable
from ripstop.proxy import envoy, native
from ripstop.xds import pb

from .case import Case, Stage
from .upstreams import Upstream

AT_ONCE = 8
"""Cases that run at the same time."""
DEADLINE = 25.0
"""For one case, in seconds."""


@dataclass
class Plane:
    """A data plane that serves every case."""

    name: str
    directory: Path
    cases: list[Case]
    ports: dict[str, int] = field(default_factory=dict)
    admin: int = 0
    stages: dict[str, Stage] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start the upstreams of all cases, then the process."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.admin, *ports = free_ports(len(self.cases) + 1)
        for case, port in zip(self.cases, ports, strict=True):
            upstreams = {}
            for name, cluster in case.clusters.items():
                for index, host in enumerate(cluster.hosts):
                    upstream = Upstream(f"{name}{index}", host, cluster.tls)
                    await upstream.start()
                    upstreams[upstream.name] = upstream
            self.stages[case.name] = Stage(case, port, upstreams)
        path = self.directory / "bootstrap.pb"
        path.write_bytes(pb.to_bytes(pb.from_dict(pb.Bootstrap, self.bootstrap())))
        log = (self.directory / "process.log").open("wb")
        self.process = subprocess.Popen(self.command(path), stdout=log, stderr=log)
        await self._ready()

    def bootstrap(self) -> dict[str, Any]:
        listeners, clusters = [], []
        for case in self.cases:
            stage = self.stages[case.name]
            log = str(self.directory / f"{case.name}.log")
            listeners.append(case.listener_config(stage.port, log))
            for name, cluster in case.clusters.items():
                ports = [stage.upstreams[f"{name}{index}"].port for index in range(len(cluster.hosts))]
                clusters.append(case.full(cluster.config(case.cluster_name(name), ports)))
        return {
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": self.admin}}},
            "node": {"id": "oracle", "cluster": "oracle"},
            "static_resources": {"listeners": listeners, "clusters": clusters},
        }

    def command(self, path: Path) -> list[str]:
        if self.name == "envoy":
            return [*envoy.proxy_command(path, 1), "--file-flush-interval-msec", "100", "-l", "warning"]
        return [str(native_binary()), "--config", str(path), "--concurrency", "1"]

    async def _ready(self) -> None:
        assert self.process
        deadline = time.monotonic() + 30
        last = self.stages[self.cases[-1].name].port
        while True:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} does not start: {self.output()}")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", last)
                writer.close()
                return
            except OSError:
                await asyncio.sleep(0.05)

    def output(self) -> str:
        return (self.directory / "process.log").read_text(errors="replace")[-3000:]

    async def act(self, case: Case) -> None:
        stage = self.stages[case.name]
        try:
            await asyncio.wait_for(case.act(stage), DEADLINE)
        except Exception as error:  # what went wrong is what the case shows
            self.faults[case.name] = f"{type(error).__name__}: {error}"
        for client in stage.clients:
            await client.close()

    def log_lines(self, case: Case) -> list[dict[str, Any]]:
        path = self.directory / f"{case.name}.log"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text().splitlines()]

    def counters(self) -> dict[str, int]:
        """All counters and gauges by name; empty where there is no admin."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/stats", timeout=5) as answer:
                text = answer.read().decode()
        except OSError:
            return {}
        pairs = (line.rsplit(": ", 1) for line in text.splitlines() if ": " in line)
        return {name: int(value) for name, value in pairs if value.isdigit()}

    async def stop(self) -> None:
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for stage in self.stages.values():
            for upstream in stage.upstreams.values():
                await upstream.stop()


def native_binary() -> Path:
    """The `ripstop-proxy` of this checkout, or the one that `ripstop` would run.

    Raises:
        Unavailable: there is none.
    """
    built = Path(__file__).parents[3] / "target" / "debug" / native.BINARY
    return built if built.is_file() else native.find_native()


def missing() -> str:
    """Why the planes cannot be started; empty when they can."""
    try:
        native_binary()
        envoy.find_envoy()
    except Unavailable as why:
        return str(why)
    return ""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, below those that the kernel gives to clients (ip_local_port_range)."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            if port not in found:
                found.append(port)
    return found


async def run(planes: Iterable[Plane], cases: list[Case]) -> None:
    """Act every case on every plane, some at the same time."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(case: Case) -> None:
        async with slots:
            await asyncio.gather(*(plane.act(case) for plane in planes))

    await asyncio.gather(*(one(case) for case in cases))
    await asyncio.sleep(1.0)  # both write their logs within this time

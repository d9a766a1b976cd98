"""The shop in its mesh: a control plane, a gateway and every instance with its sidecar, all as real processes."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from ripstop.demo import documents
from ripstop.demo.control_api import ControlApi
from ripstop.demo.processes import Child, DemoFailed, free_ports
from ripstop.model.workload import DEFAULT_DATA_PLANE, DataPlaneKind
from ripstop.proxy.program import PROGRAM_VARIABLES
from ripstop.settings import State

READY_S = 120.0
LOOK_S = 0.25
STOP_S = 20.0
GATEWAY = "edge"


@dataclass(frozen=True, slots=True)
class Instance:
    """One process of the shop, to be."""

    service: str
    version: str
    name: str


INSTANCES = (
    Instance("web", "v1", "web-1"),
    Instance("details", "v1", "details-1"),
    Instance("reviews", "v1", "reviews-1"),
    Instance("reviews", "v1", "reviews-2"),
    Instance("reviews", "v2", "reviews-3"),
    Instance("ratings", "v1", "ratings-1"),
    Instance("ratings", "v1", "ratings-2"),
    Instance("ratings", "v1", "ratings-3"),
    Instance("ratings-cache", "v1", "ratings-cache-1"),
    Instance("orders", "v1", "orders-1"),
)


class ShopMesh:
    """All processes of the demo, in `directory`: documents in `mesh`, state in `state`, logs in `logs`."""

    def __init__(self, directory: Path, data_plane: DataPlaneKind = DEFAULT_DATA_PLANE) -> None:
        self.directory, self.data_plane = directory, data_plane
        self.state = State(directory / "state")
        self.logs = directory / "logs"
        api, ads, self.gateway_port, *ports = free_ports(3 + len(INSTANCES))
        self.ports = dict(zip((i.name for i in INSTANCES), ports, strict=True))
        self.api = ControlApi(self.state.socket)
        self._door = httpx.AsyncClient(timeout=5, trust_env=False)
        up = ("up", str(directory / "mesh"), "--api", f"127.0.0.1:{api}", "--ads", f"127.0.0.1:{ads}")
        self._control_plane = self._child("control-plane", *up)
        self._gateway = self._child(GATEWAY, "gateway", GATEWAY)
        self._children = {instance.name: self._instance(instance) for instance in INSTANCES}

    @property
    def gateway_url(self) -> str:
        """Where customers come in."""
        return f"http://127.0.0.1:{self.gateway_port}"

    @property
    def nodes(self) -> int:
        """Data planes that there are when all is well."""
        return 1 + len(INSTANCES)

    def _child(self, name: str, *arguments: str) -> Child:
        command = (sys.executable, "-m", "ripstop", *arguments)
        env = _environment(self.state.path, self.directory / "tmp", self.data_plane)
        return Child(name, command, env, self.logs / f"{name}.log")

    def _instance(self, instance: Instance) -> Child:
        port = str(self.ports[instance.name])
        who = ("--version", instance.version, "--instance", instance.name)
        shop = (sys.executable, "-m", "ripstop.demo.shop", instance.service, "--port", port, *who)
        run = ("run", instance.service, "--port", port, *who, "--", *shop)
        return self._child(instance.name, *run)

    # --- the whole ---

    async def start(self) -> None:
        """Start everything; return when every node is connected and runs what it should.

        Raises:
            DemoFailed: a process ended, or it is not ready within READY_S.
        """
        for part in (self.directory / "mesh", self.directory / "tmp", self.logs):
            part.mkdir(parents=True, exist_ok=True)
        for name, text in documents.directory(self.gateway_port).items():
            (self.directory / "mesh" / name).write_text(text)
        await self.start_control_plane()
        await self.api.apply("canary.yaml", documents.canary(100, 0))
        await asyncio.gather(*(child.start() for child in (self._gateway, *self._children.values())))
        await self.until(self.is_settled, "all sidecars run what they should")

    async def stop(self) -> None:
        """Stop everything: first who brings traffic in, last the control plane that all say goodbye to.

        When it is cancelled, what still runs is killed.
        """
        try:
            await self._gateway.stop(STOP_S)
            await asyncio.gather(*(child.stop(STOP_S) for child in self._children.values()))
            await self._control_plane.stop(STOP_S)
            await self._door.aclose()
            await self.api.close()
        finally:
            for child in self._all():
                child.kill_now()

    def _all(self) -> tuple[Child, ...]:
        return (self._control_plane, self._gateway, *self._children.values())

    async def until(
        self, holds: Callable[[], Awaitable[bool]], what: str, deadline_s: float = READY_S
    ) -> None:
        """Wait until something holds.

        Raises:
            DemoFailed: a process that should be there ended meanwhile, or the deadline has passed.
        """
        end = time.monotonic() + deadline_s
        while not await holds():
            for child in self._all():
                child.check()
            if time.monotonic() > end:
                cure = f"see the logs in {self.logs}; a busy machine may need longer"
                raise DemoFailed(f"it took longer than {deadline_s:.0f} s until {what}", cure=cure)
            await asyncio.sleep(LOOK_S)

    async def is_settled(self) -> bool:
        """Whether all nodes are connected and run the newest of what concerns them."""
        nodes = await self.node_states()
        return len(nodes) == self.nodes and all(node["is_current"] for node in nodes.values())

    async def node_states(self) -> dict[str, dict[str, Any]]:
        """What `status` says of each node, by instance."""
        status = await self.api.status()
        return {node["node"].rpartition("/")[2]: node for node in status["nodes"]} if status else {}

    # --- what scenes do to it ---

    async def start_control_plane(self) -> None:
        """Start it (again), until it answers."""
        await self._control_plane.start()

        async def answers() -> bool:
            return await self.api.status() is not None

        await self.until(answers, "the control plane answers")

    async def kill_control_plane(self) -> None:
        """Kill -9."""
        await self._control_plane.kill()

    async def kill(self, instance: str) -> None:
        """Kill -9: the application, its sidecar and the agent of both."""
        await self._children[instance].kill()

    async def revive(self, instance: str) -> None:
        """Start a killed instance again, until all is as before."""
        await self._children[instance].start()
        await self.until(self.is_settled, f"{instance} is back")

    async def fault(self, instance: str, *, status: int = 0, delay_s: float = 0) -> None:
        """Switch an application's behaviour; without a fault it is well again."""
        wanted = {"status": status, "delay_s": delay_s}
        answer = await self._door.post(f"{self._app(instance)}/_fault", json=wanted)
        answer.raise_for_status()

    async def count(self, instance: str) -> int:
        """Requests that an application has got since it started."""
        answer = await self._door.get(f"{self._app(instance)}/_count")
        return int(answer.raise_for_status().json()["requests"])

    def _app(self, instance: str) -> str:
        return f"http://127.0.0.1:{self.ports[instance]}"


def _environment(state: Path, tmp: Path, data_plane: DataPlaneKind) -> Mapping[str, str]:
    """Ours without what would lead a mesh's processes elsewhere, and where the state is.

    What killed processes leave behind in `tmp` goes with the rest.
    """
    foreign = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    kept = {
        key: value
        for key, value in os.environ.items()
        if key.lower() not in foreign and (not key.startswith("RIPSTOP_") or key in PROGRAM_VARIABLES)
    }
    ours = {"RIPSTOP_STATE": str(state), "RIPSTOP_DATA_PLANE": data_plane.value, "TMPDIR": str(tmp)}
    return {**kept, **ours, "PYTHONUNBUFFERED": "1"}

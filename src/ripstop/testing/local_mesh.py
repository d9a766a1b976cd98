"""A mesh of real processes on this host: `ripstop up`, `run`, `gateway`, each with its log in a directory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import httpx

from ripstop.errors import RipstopError, Unavailable
from ripstop.model.workload import DEFAULT_DATA_PLANE, DataPlaneKind
from ripstop.proxy.control_client import ControlClient, Place
from ripstop.proxy.program import PROGRAM_VARIABLES
from ripstop.proxy.sidecar import free_port

START_S = 30.0
STOP_S = 15.0


@dataclass
class Instance:
    """One `ripstop run` (or `gateway`)."""

    name: str
    instance: str
    process: subprocess.Popen[bytes]
    log: Path
    port: int = 0
    outbound_port: int = 0
    _client: httpx.Client | None = field(default=None, repr=False)

    @property
    def client(self) -> httpx.Client:
        """An HTTP client of this application: its calls go out by the sidecar."""
        if self._client is None:
            proxy = httpx.Proxy(f"http://127.0.0.1:{self.outbound_port}")
            self._client = httpx.Client(transport=httpx.HTTPTransport(proxy=proxy), timeout=20)
        return self._client

    def behave(self, **how: Any) -> None:
        """Change how the echo application answers."""
        httpx.post(f"http://127.0.0.1:{self.port}/_behave", json=how).raise_for_status()

    def seen(self) -> int:
        """How many requests the echo application got."""
        return int(httpx.get(f"http://127.0.0.1:{self.port}/_seen").json()["seen"])

    def kill(self) -> None:
        """End the host as a power cut would: agent, application and sidecar at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """Ask it to end as an operator would; its exit code."""
        if self._client is not None:
            self._client.close()
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return -9


class LocalMesh:
    """Use as a context; everything is stopped at the end."""

    def __init__(
        self,
        directory: Path,
        *,
        documents: Path | None = None,
        data_plane: DataPlaneKind = DEFAULT_DATA_PLANE,
    ) -> None:
        self.directory, self.documents, self.data_plane = directory, documents, data_plane
        self.state = directory / "state"
        self.api_port, self.ads_port = free_port(), free_port()
        self.instances: list[Instance] = []
        self._control: subprocess.Popen[bytes] | None = None
        self._logs: list[IO[bytes]] = []
        foreign = [k for k in os.environ if k.startswith("RIPSTOP_") and k not in PROGRAM_VARIABLES]
        self.env = {k: v for k, v in os.environ.items() if k not in foreign} | {
            "RIPSTOP_STATE": str(self.state),
            "RIPSTOP_DATA_PLANE": data_plane.value,
            "PYTHONUNBUFFERED": "1",
        }

    def __enter__(self) -> LocalMesh:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.start_control_plane()
        return self

    def __exit__(self, *_: object) -> None:
        for instance in self.instances:
            if instance.process.poll() is None:
                instance.process.terminate()
        for instance in self.instances:
            instance.stop()
        self.stop_control_plane()
        for log in self._logs:
            log.close()

    # --- the control plane ---

    def start_control_plane(self) -> None:
        """Start it (again), and wait until it answers."""
        words = ["up", *([str(self.documents)] if self.documents else [])]
        words += ["--api", f"127.0.0.1:{self.api_port}", "--ads", f"127.0.0.1:{self.ads_port}"]
        self._control = self._start("control-plane", words)
        self.wait(lambda: bool(self.get("/healthz")), "the control plane does not answer")

    def stop_control_plane(self, *, kill: bool = False) -> None:
        """Stop it, or end it as a crash would."""
        if self._control is not None:
            self._control.kill() if kill else self._control.terminate()
            self._control.wait(STOP_S)
            self._control = None

    @property
    def control_pid(self) -> int:
        """The control plane's process."""
        assert self._control is not None, "the control plane is stopped"
        return self._control.pid

    def client(self) -> ControlClient:
        """A client of the API."""
        return ControlClient(Place(socket=self.state / "ripstop.sock"))

    def get(self, path: str, **query: Any) -> Any:
        """GET a path of the API."""
        with self.client() as client:
            return client.get(path, **query)

    def apply(self, text: str, *, file: str = "test.yaml", wait_s: float = 15.0) -> Any:
        """Apply documents and wait until every node runs them."""
        body = {"files": [{"file": file, "text": text}], "wait_s": wait_s}
        with self.client() as client:
            return client.post("/v1/documents", body, wait_s=wait_s)

    # --- data planes ---

    def run(self, name: str, *options: str, command: list[str] | None = None, **given: Any) -> Instance:
        """`ripstop run NAME`, with the echo application unless a command is given; returns once it takes calls.

        `given`: port, outbound_port, version, instance, wait (False: return at once).
        """
        port = given.get("port", free_port())
        outbound = given.get("outbound_port") or free_port()
        instance = given.get("instance") or f"{name}-{len(self.instances)}"
        command = command or [sys.executable, "-m", "ripstop.testing.echo", "--port", str(port)]
        words = ["run", name, "--instance", instance, "--outbound-port", str(outbound), *options]
        words += ["--port", str(port)] if port else []
        words += ["--version", given["version"]] if given.get("version") else []
        made = self._instance(name, instance, [*words, "--", *command])
        made.port, made.outbound_port = port, outbound
        if given.get("wait", True):
            self.wait_registered(made)
        return made

    def gateway(self, name: str, *options: str) -> Instance:
        """`ripstop gateway NAME`; returns once it is ready."""
        instance = f"{name}-{len(self.instances)}"
        made = self._instance(name, instance, ["gateway", name, "--instance", instance, *options])
        self.wait_registered(made)
        return made

    def _instance(self, name: str, instance: str, words: list[str]) -> Instance:
        made = Instance(name, instance, self._start(instance, words), self.directory / f"{instance}.log")
        self.instances.append(made)
        return made

    def wait_registered(self, instance: Instance) -> None:
        """Wait until callers are sent to an instance, and it runs the newest generation."""

        def is_there() -> bool:
            if instance.process.poll() is not None:
                raise Unavailable(f"{instance.instance} ended:\n{instance.log.read_text(errors='replace')}")
            status = self.get("/v1/status")
            mine = [
                n for n in status["nodes"] if n["node"].split("/")[1:] == [instance.name, instance.instance]
            ]
            healthy = bool(mine) and (mine[0]["registration"] or {}).get("health") == "healthy"
            return healthy and all(n["is_current"] for n in status["nodes"] if n["connected"])

        self.wait(is_there, f"{instance.instance} is not registered")

    def _start(self, name: str, words: list[str]) -> subprocess.Popen[bytes]:
        log = (self.directory / f"{name}.log").open("ab")
        self._logs.append(log)
        command = [sys.executable, "-m", "ripstop", *words]
        return subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.env, start_new_session=True
        )

    def wait(self, is_so: Callable[[], bool], otherwise: str, for_s: float = START_S) -> None:
        """Wait until something is so.

        Raises:
            Unavailable: it is not so in time.
        """
        deadline = time.monotonic() + for_s
        while time.monotonic() < deadline:
            try:
                if is_so():
                    return
            except RipstopError as error:
                if "ended" in error.message:
                    raise
            time.sleep(0.1)
        raise Unavailable(f"{otherwise}\n{self.logs()}")

    def logs(self, lines: int = 15) -> str:
        """The end of every log."""
        parts = []
        for log in sorted(self.directory.glob("*.log")):
            tail = log.read_text(errors="replace").splitlines()[-lines:]
            parts.append("\n".join([f"--- {log.name}", *tail]))
        return "\n".join(parts)

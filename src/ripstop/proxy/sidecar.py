"""A data plane and everything it needs from its agent: an identity, SDS, a bootstrap, its process, a registration that
is renewed, reports. `run` puts an application beside it, `gateway` runs it alone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
import tempfile
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ripstop.errors import Refused, RipstopError, Unavailable
from ripstop.ids import NodeId
from ripstop.model.registration_json import registration_to_json
from ripstop.model.workload import DataPlaneKind, Health, Registration
from ripstop.proxy import log
from ripstop.proxy.control_client import ControlClient, Place
from ripstop.proxy.data_plane import DataPlane
from ripstop.proxy.maker import KeyRequest, Maker
from ripstop.proxy.memory import AgentMemory, Kept
from ripstop.proxy.program import Files
from ripstop.proxy.reports import Reports
from ripstop.proxy.sds import SecretServer, Svid
from ripstop.settings import Address

HEARTBEATS_PER_LEASE = 3
RENEW_RETRY_S = 30.0
ENROL_FOR_S = 20.0
ENROL_FOR_WITH_MEMORY_S = 3.0
"""How long the control plane is waited for by an instance that can start without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarSettings:
    """What an agent was told. Ports that are 0 are chosen free ones."""

    registration: Registration
    place: Place
    token: str = field(default="", repr=False)
    access_log: Path | None = None
    metrics_port: int = 0
    memory: AgentMemory | None = None


def new_instance_name() -> str:
    """A name for an instance that was given none: the host's, and something of its own."""
    host = "".join(c if c.isalnum() else "-" for c in socket.gethostname().split(".")[0].lower()).strip("-")
    return f"{host[:40] or 'host'}-{secrets.token_hex(3)}"


def free_port(address: str = "127.0.0.1", preferred: int = 0) -> int:
    """A port that nobody listens on now: the preferred one, or another."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        if preferred:
            probe.setsockopt(
                socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
            )  # connections that ended lately do not count
            with contextlib.suppress(OSError):
                probe.bind((address, preferred))
                return preferred
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


class Sidecar:
    """Use as a context: all is in place on entering, all is gone on leaving."""

    def __init__(self, settings: SidecarSettings) -> None:
        self.settings = settings
        self.registration = settings.registration
        self._client = ControlClient(settings.place)
        self._directory = _private_directory()
        self._svid = Svid(b"")
        self._tasks: list[asyncio.Task[None]] = []
        self._heartbeat: asyncio.Task[None] | None = None
        self._sds: SecretServer | None = None
        self.data_plane: DataPlane | None = None
        self._reports: Reports | None = None
        self.metrics_port = settings.metrics_port or free_port()
        self._memory = self._open_memory()
        self._restart: asyncio.Task[None] | None = None
        self._is_control_plane_away = False

    @property
    def node(self) -> NodeId:
        """Whom this data plane stands for."""
        return self.registration.node

    # --- life ---

    async def start(self) -> None:
        """Enrol, start the data plane, wait until it is ready.

        Raises:
            RipstopError: the control plane refuses, does not answer, or the data plane does not start.
        """
        async with Maker() as maker:
            self._ads, self._trust_domain = await self._enrol_patiently(await maker.key_request())
            self._sds = SecretServer(self._directory / "sds.sock", self._svid)
            await self._sds.start()
            files = await self._files(maker)
        await self._register_first()
        # From now on, for a lease or a certificate may end before the data plane has started.
        self._heartbeat = asyncio.create_task(self._keep_registered())
        self._tasks = [asyncio.create_task(self._keep_identity())]
        self.data_plane = DataPlane(
            self.registration.data_plane, self._directory, files, self.settings.access_log
        )
        await self.data_plane.start()
        await self.data_plane.wait_ready(self._ports())
        self._reports = Reports(self.data_plane, self.registration.data_plane, self._client, self._route)
        self._tasks += [
            asyncio.create_task(self.data_plane.supervise()),
            asyncio.create_task(self._reports.keep_telling()),
        ]

    async def stop(self) -> None:
        """The data plane dies last; what is in the private directory goes with it."""
        self._stop_heartbeat()
        tasks = [*self._tasks, *filter(None, [self._restart])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.data_plane is not None:
            await self.data_plane.stop()
        if self._sds is not None:
            await self._sds.stop()
        self._client.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def restart_on(self, number: int) -> None:
        """A signal restarts the data plane by hand-over: after an upgrade of its program, say."""
        asyncio.get_running_loop().add_signal_handler(number, self._ask_for_restart)

    def _ask_for_restart(self) -> None:
        if self.data_plane is None or (self._restart is not None and not self._restart.done()):
            log.warning("not_restarted", reason="the data plane is starting")
            return
        self._restart = asyncio.create_task(self._restart_data_plane(self.data_plane))

    async def _restart_data_plane(self, data_plane: DataPlane) -> None:
        try:
            await data_plane.restart()
        except RipstopError as error:
            log.error("data_plane_not_restarted", reason=error.message, cure=error.cure)

    def _ports(self) -> tuple[tuple[str, int], ...]:
        r = self.registration
        ports = [("127.0.0.1", r.outbound_port)] if r.outbound_port else []
        if r.app_port and r.inbound_port:
            ports.append(("127.0.0.1" if r.address == "0.0.0.0" else r.address, r.inbound_port))  # noqa: S104
        return tuple(ports)

    # --- identity ---

    async def _enrol_patiently(self, request: KeyRequest) -> tuple[Address, str]:
        """Services are often started together with their control plane: wait for it a little. An instance that knows
        enough from its last start goes on without it."""
        kept = self._remembered()
        deadline = time.monotonic() + (ENROL_FOR_WITH_MEMORY_S if kept else ENROL_FOR_S)
        while True:
            try:
                return await asyncio.to_thread(self._enrol, request, self.settings.token)
            except Unavailable as error:
                if time.monotonic() > deadline:
                    if kept is None:
                        raise
                    return self._start_without_control_plane(kept, error)
                await asyncio.sleep(0.5)

    def _enrol(self, request: KeyRequest, token: str) -> tuple[Address, str]:
        node = self.node
        body = {
            "csr_pem": request.csr_pem.decode(),
            "namespace": node.namespace,
            "service": node.service,
            "instance": node.instance,
        }
        answer = self._client.post("/v1/enrol", body | ({"join_token": token} if token else {}))
        self._svid = Svid(
            request.key_pem,
            certificate_pem=answer["certificate_pem"].encode(),
            trust_pem=answer["trust_pem"].encode(),
            expires_at=float(answer["expires_at"]),
        )
        if self.settings.place.socket is None:
            self._show_identity()
        return Address.parse(answer["ads"]), str(answer["mesh"]["trust_domain"])

    def _show_identity(self) -> None:
        """From another host the SVID itself says who we are, from now on."""
        before = self._client
        place = replace(self.settings.place, trust_pem=self._svid.trust_pem.decode())
        self._client = ControlClient(place, certificate=(self._svid.certificate_pem, self._svid.key_pem))
        if self._reports is not None:
            self._reports.client = self._client
        before.close()

    async def _keep_identity(self) -> None:
        """Renew at half of what is left, with a new key; when that fails, sooner and sooner towards the end."""
        is_failing = False
        while True:
            left = self._svid.expires_at - time.time()
            await asyncio.sleep(max(1.0, min(RENEW_RETRY_S, left / 8) if is_failing else left / 2))
            try:
                async with Maker() as maker:
                    request = await maker.key_request()
                await asyncio.to_thread(self._enrol, request, "")
                assert self._sds is not None
                self._sds.renew(self._svid)
                self._remember()
                is_failing = False
            except RipstopError as error:
                log.error("identity_not_renewed", reason=error.message, expires_at=self._svid.expires_at)
                is_failing = True

    # --- memory ---

    def _open_memory(self) -> AgentMemory | None:
        """Where things are kept; None when the instance has no name of its own, or its data plane keeps nothing."""
        memory = self.settings.memory
        if memory is None or self.registration.data_plane is not DataPlaneKind.NATIVE:
            return None
        try:
            memory.prepare()
        except OSError as error:
            log.warning("nothing_is_kept", directory=str(memory.directory), reason=str(error))
            return None
        return memory

    def _remembered(self) -> Kept | None:
        """What is enough to start without the control plane, if there is that much."""
        if self._memory is None or not self._memory.snapshot.is_file():
            return None
        kept = self._memory.read()
        return kept if kept is not None and kept.is_good_for(self.registration) else None

    def _remember(self) -> None:
        if self._memory is None:
            return
        kept = Kept(
            registration=self.registration,
            place=self._client.place,
            ads=self._ads,
            trust_domain=self._trust_domain,
            svid=self._svid,
        )
        try:
            self._memory.write(kept)
        except OSError as error:
            log.warning("not_kept", directory=str(self._memory.directory), reason=str(error))

    def _start_without_control_plane(self, kept: Kept, error: Unavailable) -> tuple[Address, str]:
        log.warning("starting_without_control_plane", reason=error.message)
        self._is_control_plane_away = True
        self._svid = kept.svid
        if self.settings.place.socket is None:
            self._show_identity()
        return kept.ads, kept.trust_domain

    # --- configuration ---

    async def _files(self, maker: Maker) -> Files:
        path = self._directory / "bootstrap.pb"
        await maker.bootstrap(
            path=str(path),
            node=self.node,
            ads=str(self._ads),
            trust_domain=self._trust_domain,
            sds_socket=str(self._directory / "sds.sock"),
            admin_socket=str(self._directory / "admin.sock"),
            metrics_port=self.metrics_port,
            locality=asdict(self.registration.locality),
            data_plane=self.registration.data_plane.value,
        )
        # Without a memory it is for as long as we live: a data plane that dies while the control plane is away.
        snapshot = self._memory.snapshot if self._memory else self._directory / "snapshot"
        return Files(bootstrap=path, snapshot=snapshot, hand_over=self._directory / "hand-over.sock")

    # --- registration ---

    @property
    def _route(self) -> str:
        return f"{self.node.namespace}/{self.node.service}/{self.node.instance}"

    async def register(self, health: Health) -> None:
        """Tell the control plane of this instance; while it is STARTING nobody calls it."""
        self.registration = replace(self.registration, health=health, admin_port=self.metrics_port)
        body = registration_to_json(self.registration)
        await asyncio.to_thread(self._client.put, f"/v1/registrations/{self._route}", body)

    async def _register_first(self) -> None:
        """Register, or leave it to the heartbeat when the control plane is away."""
        if self._is_control_plane_away:
            return
        await self.register(Health.STARTING)
        self._remember()

    async def deregister(self, wait_s: float) -> None:
        """Take the instance away, and wait until its callers know. A control plane that is gone is no obstacle."""
        self._stop_heartbeat()
        with contextlib.suppress(RipstopError):
            path = f"/v1/registrations/{self._route}?wait_s={wait_s}"
            await asyncio.to_thread(lambda: self._client.delete(path, wait_s=wait_s))

    def _stop_heartbeat(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.cancel()

    async def _keep_registered(self) -> None:
        """The heartbeat. A control plane that was restarted, or that forgot us, learns of us here."""
        while True:
            lease = self.registration.lease_s
            await asyncio.sleep(1.0 if self._is_control_plane_away else lease / HEARTBEATS_PER_LEASE)
            try:
                await self.register(self.registration.health)
                self._is_control_plane_away = False
            except Refused as error:
                log.error("registration_refused", reason=error.message, cure=error.cure)
            except RipstopError as error:
                if not self._is_control_plane_away:
                    log.warning("control_plane_is_away", reason=error.message)
                self._is_control_plane_away = True

    # --- the end ---

    async def drain(self, for_s: float) -> None:
        """Let requests that are on their way finish: until none is left, at most `for_s` seconds."""
        if self.data_plane is None:
            return
        await self.data_plane.ask("/drain_listeners?inboundonly&graceful&skip_exit", post=True)
        deadline = time.monotonic() + for_s
        while time.monotonic() < deadline:
            text = await self.data_plane.ask("/stats?filter=^http\\.inbound\\.downstream_rq_active$&usedonly")
            if not text or text.strip().endswith(": 0"):
                return
            await asyncio.sleep(0.05)


def _private_directory() -> Path:
    """A new directory for our user alone; its path is short, for it holds sockets."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    place = Path(base) if base and os.access(base, os.W_OK) and len(base) < 60 else None
    return Path(tempfile.mkdtemp(prefix="ripstop-", dir=place))

"""The composition root: settings in, a running control plane out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from ripstop.clock import Clock, SystemClock
from ripstop.errors import RipstopError
from ripstop.identity import CertificateAuthority, certificate_request, new_key, new_secret
from ripstop.ids import CONTROL_PLANE, SpiffeId
from ripstop.model.resolve import DEFAULT_TRUST_DOMAIN
from ripstop.model.resolve.endpoints import dns_names
from ripstop.server.access import Access
from ripstop.server.ads import start_ads
from ripstop.server.documents import DocumentKeeper
from ripstop.server.doors import Door, tcp_socket, tls_context, unix_socket
from ripstop.server.plane import Plane
from ripstop.server.rest import Services, create_api
from ripstop.settings import DEFAULT_ADS, DEFAULT_API, Address, State
from ripstop.sources.dns import DnsSource
from ripstop.storage import open_store

OWN_CERTIFICATE_S = 300 * 86_400.0
DRAIN_S = 0.5

log = structlog.get_logger("ripstop")


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlaneSettings:
    """What `ripstop up` was told. `advertise` is the host that agents on other hosts use."""

    state: State
    directory: Path | None = None
    api: Address = field(default_factory=lambda: Address.parse(DEFAULT_API))
    ads: Address = field(default_factory=lambda: Address.parse(DEFAULT_ADS))
    advertise: str = ""
    trust_domain: str = DEFAULT_TRUST_DOMAIN


@dataclass(frozen=True, slots=True)
class Running:
    """A control plane at work."""

    services: Services
    socket: Path
    api: Address
    ads: Address


@contextlib.asynccontextmanager
async def control_plane(settings: ControlPlaneSettings, clock: Clock | None = None) -> AsyncIterator[Running]:
    """Everything started in order, and stopped in the reverse order.

    Raises:
        RipstopError: something cannot be had: an address, the state directory, the database.
    """
    clock = clock or SystemClock()
    state = settings.state
    state.prepare()
    async with contextlib.AsyncExitStack() as stack:
        store = open_store(state.database)
        stack.callback(store.close)
        authority = CertificateAuthority.open(state.authority, settings.trust_domain, clock)
        plane = Plane(store, authority, clock)
        documents = DocumentKeeper(plane)
        tcp, local = tcp_socket(settings.api.host, settings.api.port), unix_socket(state.socket)
        stack.callback(_remove, state.socket)
        stack.callback(local.close)
        stack.callback(tcp.close)
        key, certificate = _own_certificate(authority, settings)
        await plane.load(await documents.load())
        ads_server, ads_port = await start_ads(plane, str(settings.ads), certificate, key)
        stack.push_async_callback(ads_server.stop, DRAIN_S)
        api = Address(settings.advertise or settings.api.host, tcp.getsockname()[1])
        ads = Address(settings.advertise or settings.ads.host, ads_port)
        access = Access(authority, _operator_token(state))
        services = Services(plane, documents, access, ads=str(ads), api=str(api))
        app = create_api(services)
        tls = tls_context(certificate, key, authority.trust_pem, state.path)
        doors = [Door(app, local), Door(app, tcp, tls)]
        await _start_work(stack, plane, documents, settings, clock, doors)
        yield Running(services, state.socket, api, ads)


async def _start_work(
    stack: contextlib.AsyncExitStack,
    plane: Plane,
    documents: DocumentKeeper,
    settings: ControlPlaneSettings,
    clock: Clock,
    doors: list[Door],
) -> None:
    dns = DnsSource(clock)
    plane.on_documents.append(lambda found: dns.want(dns_names(found)))
    dns.want(dns_names(documents.current))
    work = [plane.keep_leases(), dns.run(plane.looked_up)]
    if settings.directory is not None:
        work.append(documents.follow(settings.directory.absolute()))
    tasks = [asyncio.create_task(item) for item in work]
    serving = [asyncio.create_task(door.serve_door()) for door in doors]

    async def stop() -> None:
        for door in doors:
            door.should_exit = True
        await asyncio.gather(*serving, return_exceptions=True)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    stack.push_async_callback(stop)
    while not all(door.started for door in doors):  # noqa: ASYNC110 (uvicorn has no event for it)
        await asyncio.sleep(0.01)


def _own_certificate(authority: CertificateAuthority, settings: ControlPlaneSettings) -> tuple[bytes, bytes]:
    """(key, chain) of the control plane itself; new at each start, the key is never on disk for longer than a call."""
    key = new_key()
    hosts = ("localhost", "127.0.0.1", settings.api.host, settings.ads.host, settings.advertise)
    names = tuple(dict.fromkeys(host for host in hosts if host and host != "0.0.0.0"))  # noqa: S104
    identity = SpiffeId(authority.trust_domain, CONTROL_PLANE)
    issued = authority.issue(certificate_request(key), identity, OWN_CERTIFICATE_S, names)
    return key, issued.certificate_pem


def _operator_token(state: State) -> str:
    """The token of operators, made once (0600)."""
    if state.operator_token.exists():
        return state.operator_token.read_text().strip()
    token = new_secret()
    descriptor = os.open(state.operator_token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(token + "\n")
    return token


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


async def run_control_plane(settings: ControlPlaneSettings, started: Callable[[Running], None]) -> None:
    """Run until SIGINT or SIGTERM; `started` is told when agents can come."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with control_plane(settings) as running:
        started(running)
        await stop.wait()


def configure_logs(*, is_json: bool | None = None, level: str = "info") -> None:
    """Log to stderr: coloured lines on a terminal, JSON otherwise."""
    json_lines = not sys.stderr.isatty() if is_json is None else is_json
    renderer: Any = structlog.processors.JSONRenderer() if json_lines else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if json_lines else _same,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _same(_: Any, __: str, event: Any) -> Any:
    return event


__all__ = [
    "ControlPlaneSettings",
    "RipstopError",
    "Running",
    "configure_logs",
    "control_plane",
    "run_control_plane",
]

"""The two doors of the API: a unix socket whose peer the kernel names, and TLS whose peer a certificate names.

Who is at the door is put into every request's ASGI scope (`scope["state"]["peer"]`), where `server.rest_access` reads it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ripstop.errors import Unavailable

MAX_HEADER_BYTES = 32 * 1024
MAX_CONNECTIONS = 4096
KEEP_ALIVE_S = 30
SHUTDOWN_S = 3
_UCRED = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end: `uid` on the unix socket, `certificate` (DER, verified by our CA) over TLS."""

    uid: int | None = None
    certificate: bytes | None = None


NOBODY = Peer()


class DoorProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol that knows its peer."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Ask the transport who is there, once for the connection."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "peer": peer_of(transport)}


def peer_of(transport: asyncio.BaseTransport) -> Peer:
    """The peer of a connection: SO_PEERCRED of a unix socket (unix(7)), or the certificate shown in the TLS handshake."""
    tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    if tls is not None:
        return Peer(certificate=tls.getpeercert(binary_form=True))
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is None or sock.family != socket.AF_UNIX:
        return NOBODY
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    _pid, uid, _gid = _UCRED.unpack(credentials)
    return Peer(uid=uid)


def unix_socket(path: Path) -> socket.socket:
    """A socket at `path` that only our user may open (0600); a stale one of a dead process is replaced.

    Raises:
        Unavailable: another control plane answers there, or the directory cannot be written.
    """
    if _is_alive(path):
        raise Unavailable(
            f"another control plane answers on {path}", cure="stop it first, or give this one another --state"
        )
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(path.lstat().st_mode):
                path.unlink()
        door.bind(str(path))
    except OSError as error:
        door.close()
        raise Unavailable(
            f"cannot open the socket {path}: {error.strerror or error}",
            cure="choose a --state directory that you may write, with a path under 100 characters",
        ) from error
    finally:
        os.umask(mask)
    return door


def _is_alive(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def tcp_socket(host: str, port: int) -> socket.socket:
    """A listening address (port 0: any free one).

    Raises:
        Unavailable: the address is taken or is not ours.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        door = socket.socket(found[0], socket.SOCK_STREAM)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(found[4])
    except OSError as error:
        raise Unavailable(
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            cure="choose another address with --api HOST:PORT or --ads HOST:PORT (port 0 takes a free one)",
        ) from error
    return door


def tls_context(certificate_pem: bytes, key_pem: bytes, trust_pem: bytes, directory: Path) -> ssl.SSLContext:
    """TLS 1.3 with our certificate; a client may show one, and it must then be of our CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    _load_chain(context, certificate_pem, key_pem, directory)
    context.load_verify_locations(cadata=trust_pem.decode())
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _load_chain(context: ssl.SSLContext, certificate_pem: bytes, key_pem: bytes, directory: Path) -> None:
    """Python's ssl reads keys from files alone: one is there, 0600, for as long as this call."""
    path = directory / f".door-{os.getpid()}.pem"
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(key_pem + b"\n" + certificate_pem)
        context.load_cert_chain(path)
    finally:
        path.unlink()


class Door(uvicorn.Server):
    """One uvicorn server on one open socket, without signal handlers: the composition root has them."""

    def __init__(self, app: Any, listener: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        config = uvicorn.Config(
            app,
            http=DoorProtocol,
            ws="none",
            loop="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MAX_CONNECTIONS,
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=SHUTDOWN_S,
        )
        config.load()
        config.ssl = tls
        super().__init__(config)
        self._listener = listener

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def serve_door(self) -> None:
        """Serve until `should_exit`."""
        await self.serve(sockets=[self._listener])

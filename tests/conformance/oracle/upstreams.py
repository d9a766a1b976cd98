"""Upstreams that do what a script says, request by request, and remember what they were asked."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import wire


@dataclass
class Call:
    """One request as an upstream got it, and the means to answer it."""

    upstream: Upstream
    request: wire.Message
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    index: int

    async def send(self, data: bytes) -> None:
        await wire.write(self.writer, data)


Step = Callable[[Call], Awaitable[bool]]
"""Answers a call; whether the connection goes on."""


def answer(
    status: int = 200, body: bytes = b"ok", *, headers: dict[str, str] | None = None, keep: bool = True
) -> Step:
    """A complete answer with a length."""
    text = f"HTTP/1.1 {status} Any\r\n" + "".join(f"{k}: {v}\r\n" for k, v in (headers or {}).items())
    if wire.has_body("GET", status):
        text += f"content-length: {len(body)}\r\n"
    return raw(text.encode() + b"\r\n" + body, keep=keep)


def raw(*pieces: bytes | float, keep: bool = True) -> Step:
    """Bytes, with pauses between them, then the connection goes on or ends."""

    async def step(call: Call) -> bool:
        for piece in pieces:
            if isinstance(piece, bytes):
                data = piece
                if call.request.start.startswith("HEAD ") and b"\r\n\r\n" in data:
                    data = data[: data.index(b"\r\n\r\n") + 4]
                await call.send(data)
            else:
                await asyncio.sleep(piece)
        return keep

    return step


def then_reset(*pieces: bytes | float) -> Step:
    """Bytes, then RST."""

    async def step(call: Call) -> bool:
        await raw(*pieces)(call)
        await asyncio.sleep(0.05 if pieces else 0)
        wire.reset(call.writer)
        return False

    return step


@dataclass
class Script:
    """What a host does with one request after the other, on whatever connection they come; the last step is repeated."""

    steps: Sequence[Step] = (answer(),)
    before_body: bool = False
    """The step begins with the head; the body is not waited for."""


@dataclass
class Bytes:
    """A host of bytes: `serve` has a whole connection."""

    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter, Upstream], Awaitable[None]]


@dataclass
class Refused:
    """A host where nobody listens."""


@dataclass
class BlackHole:
    """A host that never completes a handshake of TCP."""


@dataclass
class Upstream:
    """A host that listens."""

    name: str
    host: Any
    tls: ssl.SSLContext | None = None
    port: int = 0
    seen: list[dict[str, Any]] = field(default_factory=list)
    connections: int = 0
    calls: int = 0
    _server: asyncio.Server | None = None
    _held: list[socket.socket] = field(default_factory=list)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    async def start(self) -> None:
        if isinstance(self.host, Refused):
            self._hold(listen=None)
        elif isinstance(self.host, BlackHole):
            self._hold(listen=0)
            for _ in range(4):  # the queue of accepted connections is full: nothing answers a further SYN
                filler = socket.socket()
                filler.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    filler.connect(("127.0.0.1", self.port))
                self._held.append(filler)
        else:
            self._server = await asyncio.start_server(
                self._serve, "127.0.0.1", 0, ssl=self.tls, limit=2**20, backlog=200
            )
            self.port = self._server.sockets[0].getsockname()[1]

    def _hold(self, *, listen: int | None) -> None:
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        if listen is not None:
            sock.listen(listen)
        self.port = sock.getsockname()[1]
        self._held.append(sock)

    async def stop(self) -> None:
        if self._server:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for sock in self._held:
            sock.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self.connections += 1
        try:
            if isinstance(self.host, Script):
                await self._serve_script(self.host, reader, writer)
            else:
                await self.host.serve(reader, writer, self)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            await wire.close(writer)

    async def _serve_script(
        self, script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        keep = True
        while keep:
            request = await wire.read_head(reader)
            index, self.calls = self.calls, self.calls + 1
            entry: dict[str, Any] = {"start": request.start, "headers": request.headers}
            self.seen.append(entry)
            call = Call(self, request, reader, writer, index)
            if not script.before_body:
                await wire.read_body(reader, request)
                tell_body(entry, request)
            keep = await script.steps[min(index, len(script.steps) - 1)](call)
            if script.before_body and keep:
                await wire.read_body(reader, request)
                tell_body(entry, request)


def tell_body(entry: dict[str, Any], request: wire.Message) -> None:
    entry |= {"body": wire.short(request.body), "framing": request.framing, "end": request.end}
    if request.trailers:
        entry["trailers"] = request.trailers

"""A small HTTP/1.1 client over h11 with kept connections, which goes through the proxy that the environment names.

httpx would do the same. But the whole shop shares a core or two, and its pool looks at every connection for every
request: a process that is late for a moment would never catch up.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import h11

TIMEOUT_S = 10.0
OPEN_MAX = 256
"""Connections at a time; further requests wait for their turn."""
IDLE_MAX = 64
READ_BYTES = 64 * 1024
BODY_BYTES_MAX = 1024 * 1024


class CallFailed(Exception):
    """There was no answer: no connection, none in time, or not HTTP."""


class Stale(CallFailed):
    """A kept connection had been closed meanwhile (RFC 9112, section 9.3.1: a GET may be sent again)."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What was answered. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Client:
    """GETs by `http_proxy`, or straight to the host when there is none. Made within the loop that it is used in."""

    def __init__(self, env: Mapping[str, str] = os.environ) -> None:
        self._proxy = env.get("http_proxy") or env.get("HTTP_PROXY") or ""
        self._idle: dict[str, list[_Connection]] = {}
        self._turn = asyncio.Semaphore(OPEN_MAX)

    async def get(self, url: str, headers: Mapping[str, str]) -> Reply:
        """Ask for `url` (``http://host/path``).

        Raises:
            CallFailed: there was no answer within TIMEOUT_S.
        """
        parts = urlsplit(url)
        server = urlsplit(self._proxy or url).netloc
        target = url if self._proxy else parts.path or "/"
        sent = h11.Request(method="GET", target=target, headers=[("host", parts.netloc), *headers.items()])
        try:
            async with asyncio.timeout(TIMEOUT_S), self._turn:
                return await self._ask(server, sent)
        except TimeoutError:
            raise CallFailed(f"no answer within {TIMEOUT_S:.0f} s") from None
        except (OSError, h11.ProtocolError) as error:
            raise CallFailed(f"{type(error).__name__}: {error}") from None

    def close(self) -> None:
        """Let go of all kept connections."""
        for idle in self._idle.values():
            while idle:
                idle.pop().close()

    async def _ask(self, server: str, request: h11.Request) -> Reply:
        """By the connection used last, so that those too many grow old; by a fresh one when it turns out stale."""
        if idle := self._idle.get(server):
            try:
                return await self._exchange(server, idle.pop(), request)
            except Stale:
                pass
        return await self._exchange(server, await _connect(server), request)

    async def _exchange(self, server: str, connection: _Connection, request: h11.Request) -> Reply:
        is_kept = False
        try:
            reply = await connection.ask(request)
            is_kept = connection.is_reusable()
        finally:
            idle = self._idle.setdefault(server, [])
            if is_kept and len(idle) < IDLE_MAX:
                idle.append(connection)
            else:
                connection.close()
        return reply


async def _connect(server: str) -> _Connection:
    host, _, port = server.partition(":")
    return _Connection(*await asyncio.open_connection(host, int(port or 80)))


class _Connection:
    """One connection to a server or proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT)
        self._is_used = False

    async def ask(self, request: h11.Request) -> Reply:
        """Send a request and read the whole answer."""
        self._write(request)
        head = await self._next_event()
        while isinstance(head, h11.InformationalResponse):
            head = await self._next_event()
        assert isinstance(head, h11.Response)
        body = b""
        while isinstance(event := await self._next_event(), h11.Data):
            body += event.data
            if len(body) > BODY_BYTES_MAX:
                raise CallFailed(f"an answer over {BODY_BYTES_MAX} bytes")
        headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
        return Reply(head.status_code, headers, body)

    def _write(self, request: h11.Request) -> None:
        data = (self._http.send(request) or b"") + (self._http.send(h11.EndOfMessage()) or b"")
        try:
            self._writer.write(data)
        except OSError:
            raise Stale from None

    async def _next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._read())
        return event

    async def _read(self) -> bytes:
        """More bytes. None at all on a connection that worked before means that it was closed while it was kept."""
        is_first = self._http.their_state is h11.SEND_RESPONSE and self._http.trailing_data == (b"", False)
        try:
            data = await self._reader.read(READ_BYTES)
        except ConnectionError:
            if self._is_used and is_first:
                raise Stale from None
            raise
        if not data and self._is_used and is_first:
            raise Stale
        return data

    def is_reusable(self) -> bool:
        """Make ready for the next request; whether both sides want to go on."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        self._is_used = True
        return not self._reader.at_eof()

    def close(self) -> None:
        """Let go of it."""
        self._writer.close()

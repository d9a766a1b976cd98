"""A small HTTP/1.1 server over h11: what the shop's processes need, and it starts in milliseconds."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import h11

MAX_BODY_BYTES = 64 * 1024
MAX_HEAD_BYTES = 32 * 1024
IDLE_S = 120.0
DRAIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked. Header names are lower case; `path` is without its query."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered: `body` as JSON."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Awaitable[Answer]]


class TooLarge(Exception):
    """A body over MAX_BODY_BYTES."""


async def serve(handler: Handler, port: int) -> None:
    """Answer on 127.0.0.1:`port` until SIGTERM or SIGINT; requests at hand are finished (DRAIN_S)."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    connections: dict[Connection, asyncio.Task[None]] = {}

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(handler, reader, writer)
        task = connections[connection] = asyncio.ensure_future(connection.run())
        task.add_done_callback(lambda _: connections.pop(connection))

    server = await asyncio.start_server(accept, "127.0.0.1", port, limit=MAX_HEAD_BYTES)
    await stop.wait()
    server.close()
    await _drain(connections)


async def _drain(connections: Mapping[Connection, asyncio.Task[None]]) -> None:
    for connection in connections:
        connection.close_when_idle()
    if connections:
        await asyncio.wait(connections.values(), timeout=DRAIN_S)


class Connection:
    """One connection, its requests one after the other."""

    def __init__(self, handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._handler = handler
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._is_busy = False
        self._is_closing = False

    def close_when_idle(self) -> None:
        """Take no request more after the one at hand."""
        self._is_closing = True
        if not self._is_busy:
            self._writer.close()

    async def run(self) -> None:
        """Answer until either side has had enough."""
        try:
            while not self._is_closing and (request := await self._read()) is not None:
                await self._answer(request)
                self._http.start_next_cycle()
        except (h11.ProtocolError, OSError, TimeoutError, TooLarge):
            pass  # the peer is gone or speaks something else: there is nobody to tell
        finally:
            self._writer.close()

    async def _answer(self, request: Request) -> None:
        self._is_busy = True
        answer = await self._handler(request)
        await self._write(answer)
        self._is_busy = False

    async def _read(self) -> Request | None:
        """The next request with its body; None at the end of the connection."""
        head = await self._next_event()
        if not isinstance(head, h11.Request):
            return None
        body = b""
        while isinstance(event := await self._next_event(), h11.Data):
            body += event.data
            if len(body) > MAX_BODY_BYTES:
                raise TooLarge
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in head.headers}
        path = head.target.decode("latin-1").partition("?")[0]
        return Request(head.method.decode(), path, headers, body)

    async def _next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                self._send(h11.InformationalResponse(status_code=100, headers=[]))
            async with asyncio.timeout(IDLE_S):
                self._http.receive_data(await self._reader.read(MAX_HEAD_BYTES))
        return event

    async def _write(self, answer: Answer) -> None:
        body = json.dumps(answer.body, separators=(",", ":")).encode()
        headers = {"content-type": "application/json", "content-length": str(len(body)), **answer.headers}
        if self._is_closing:
            headers["connection"] = "close"
        self._send(
            h11.Response(status_code=answer.status, headers=list(headers.items())),
            h11.Data(data=body),
            h11.EndOfMessage(),
        )
        await self._writer.drain()

    def _send(self, *events: h11.Event) -> None:
        self._writer.write(b"".join(self._http.send(event) or b"" for event in events))

"""HTTP/2 at both ends: a client that says what it is told to, and a host that answers stream by stream by a script."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from . import wire
from .clients import WAIT
from .upstreams import Upstream

Headers = list[tuple[str, str]]
PREFACE = 24
GOAWAY = 7


@dataclass
class Stream:
    """One stream as one end sees it."""

    id: int
    headers: Headers = field(default_factory=list)
    interim: list[Headers] = field(default_factory=list)
    body: bytes = b""
    trailers: Headers = field(default_factory=list)
    ended: bool = False
    reset: int | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    head: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def told(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"headers": self.headers, "body": wire.short(self.body)}
        if self.interim:
            shown["interim"] = self.interim
        if self.trailers:
            shown["trailers"] = self.trailers
        if self.reset is not None:
            shown["reset"] = self.reset
        elif not self.ended:
            shown["end"] = "open"
        return shown


class Peer:
    """What both ends share: frames in, events told to streams, bytes out."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        client: bool,
        consume: bool = True,
    ) -> None:
        self.reader, self.writer = reader, writer
        config = h2.config.H2Configuration(
            client_side=client,
            header_encoding="utf-8",
            validate_inbound_headers=False,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.conn = h2.connection.H2Connection(config=config)
        self.streams: dict[int, Stream] = {}
        self.goaway: int | None = None
        self._rest, self._begun = b"", False
        self.closed = asyncio.Event()
        self.consume = consume
        self.room = asyncio.Event()
        self.settled = asyncio.Event()

    def settings(self, changes: dict[h2.settings.SettingCodes, int]) -> None:
        """Change what the first SETTINGS will say."""
        is_client = self.conn.config.client_side
        values = {int(code): value for code, value in self.conn.local_settings.items()} | dict(changes)
        self.conn.local_settings = h2.settings.Settings(client=bool(is_client), initial_values=values)

    def stream(self, number: int) -> Stream:
        return self.streams.setdefault(number, Stream(number))

    async def flush(self) -> None:
        await wire.write(self.writer, self.conn.data_to_send())

    def without_goaway(self, data: bytes) -> bytes:
        """Whole frames but GOAWAY, after which the library would hear no more of streams that go on."""
        self._rest += data
        taken, at = b"", 0
        if not self.conn.config.client_side and not self._begun:
            if len(self._rest) < PREFACE:
                return b""
            taken, at, self._begun = self._rest[:PREFACE], PREFACE, True
        while len(self._rest) >= at + 9:
            end = at + 9 + int.from_bytes(self._rest[at : at + 3], "big")
            if len(self._rest) < end:
                break
            if self._rest[at + 3] == GOAWAY:
                self.goaway = int.from_bytes(self._rest[at + 13 : at + 17], "big")
            else:
                taken += self._rest[at:end]
            at = end
        self._rest = self._rest[at:]
        return taken

    async def pump(self, opened: Callable[[Stream], None] | None = None) -> None:
        try:
            while data := await self.reader.read(65536):
                for event in self.conn.receive_data(self.without_goaway(data)):
                    self._take(event, opened)
                await self.flush()
        except (OSError, h2.exceptions.ProtocolError) as error:
            self.streams.setdefault(0, Stream(0)).body = type(error).__name__.encode()
        finally:
            self.closed.set()
            self.room.set()
            for stream in self.streams.values():
                stream.head.set()
                stream.done.set()
                stream.changed.set()

    def _take(self, event: h2.events.Event, opened: Callable[[Stream], None] | None) -> None:
        match event:
            case h2.events.RequestReceived(stream_id=int(number)):
                stream = self.stream(number)
                stream.headers = list(event.headers or [])
                if opened:
                    opened(stream)
            case h2.events.ResponseReceived(stream_id=int(number)):
                self.stream(number).headers = list(event.headers or [])
                self.stream(number).head.set()
            case h2.events.InformationalResponseReceived(stream_id=int(number)):
                self.stream(number).interim.append(list(event.headers or []))
            case h2.events.DataReceived(stream_id=int(number)):
                stream = self.stream(number)
                stream.body += event.data or b""
                stream.changed.set()
                if self.consume and event.flow_controlled_length:
                    self.conn.acknowledge_received_data(event.flow_controlled_length, number)
            case h2.events.TrailersReceived(stream_id=int(number)):
                self.stream(number).trailers = list(event.headers or [])
            case h2.events.StreamEnded(stream_id=int(number)):
                self.stream(number).ended = True
                self.stream(number).done.set()
                self.stream(number).changed.set()
            case h2.events.StreamReset(stream_id=int(number)):
                stream = self.stream(number)
                stream.reset = int(event.error_code or 0)
                stream.head.set()
                stream.done.set()
                stream.changed.set()
                self.room.set()
            case h2.events.WindowUpdated():
                self.room.set()
            case h2.events.RemoteSettingsChanged():
                self.settled.set()
                self.room.set()

    async def data(self, number: int, body: bytes, *, end: bool = False) -> None:
        """Send a body as far and as fast as windows let it."""
        rest = memoryview(body)
        while len(rest) and not self.closed.is_set():
            stream = self.streams.get(number)
            if stream and stream.reset is not None:
                return
            size = min(
                len(rest), self.conn.local_flow_control_window(number), self.conn.max_outbound_frame_size
            )
            if size <= 0:
                self.room.clear()
                await self.room.wait()
                continue
            self.conn.send_data(number, bytes(rest[:size]), end_stream=end and size == len(rest))
            rest = rest[size:]
            await self.flush()
        if end and not body and not self.closed.is_set():
            self.conn.end_stream(number)
            await self.flush()

    async def heads(self, number: int, headers: Iterable[tuple[str, str]], *, end: bool = False) -> None:
        self.conn.send_headers(number, list(headers), end_stream=end)
        await self.flush()

    async def rst(self, number: int, code: int = 8) -> None:
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self.conn.reset_stream(number, code)
        await self.flush()


class H2Client(Peer):
    """A downstream connection."""

    seen: list[Any]
    _task: asyncio.Task[None]

    @classmethod
    async def connect(
        cls, port: int, tls: ssl.SSLContext | None = None, *, consume: bool = True, window: int | None = None
    ) -> H2Client:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=tls, server_hostname="a.test" if tls else None
        )
        self = cls(reader, writer, client=True, consume=consume)
        self.seen = []
        if window is not None:
            self.settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.conn.initiate_connection()
        await self.flush()
        self._task = asyncio.create_task(self.pump())
        return self

    async def open(
        self, path: str = "/", *, method: str = "GET", end: bool = True, host: str = "a.test", **headers: str
    ) -> Stream:
        """Begin a request."""
        number = self.conn.get_next_available_stream_id()
        stream = self.stream(number)
        pseudo = [(":method", method), (":scheme", "http"), (":authority", host), (":path", path)]
        own = [(name.replace("_", "-"), value) for name, value in headers.items()]
        await self.heads(number, pseudo + own, end=end)
        return stream

    async def raw_open(self, headers: Headers, *, end: bool = True) -> Stream:
        number = self.conn.get_next_available_stream_id()
        stream = self.stream(number)
        await self.heads(number, headers, end=end)
        return stream

    async def ask(self, path: str = "/", *, body: bytes | None = None, **kwargs: Any) -> Stream:
        """A request to its end, and its answer."""
        stream = await self.open(path, end=body is None, **kwargs)
        if body is not None:
            await self.data(stream.id, body, end=True)
        return await self.answer(stream)

    async def answer(self, stream: Stream) -> Stream:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stream.done.wait(), WAIT)
        self.seen.append(stream.told())
        return stream

    async def ends(self, within: float = 3.0) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.closed.wait(), within)
        self.seen.append({"closed": self.closed.is_set(), "goaway": self.goaway})

    async def close(self) -> None:
        self._task.cancel()
        await wire.close(self.writer)


@dataclass
class H2Call:
    """A request of a stream, and the means to answer it."""

    peer: Peer
    stream: Stream
    upstream: Upstream
    index: int

    async def head(self, status: int = 200, *, end: bool = False, **headers: str) -> None:
        own = [(name.replace("_", "-"), value) for name, value in headers.items()]
        await self.peer.heads(self.stream.id, [(":status", str(status)), *own], end=end)

    async def data(self, body: bytes, *, end: bool = False) -> None:
        await self.peer.data(self.stream.id, body, end=end)

    async def trailers(self, **headers: str) -> None:
        own = [(name.replace("_", "-"), value) for name, value in headers.items()]
        await self.peer.heads(self.stream.id, own, end=True)

    async def go_away(self) -> None:
        """Take no further streams; those that are there go on."""
        frame = b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + self.stream.id.to_bytes(4, "big") + bytes(4)
        await wire.write(self.peer.writer, frame)

    async def reset(self, code: int) -> None:
        await self.peer.rst(self.stream.id, code)


H2Step = Callable[[H2Call], Awaitable[None]]


def h2_answer(status: int = 200, body: bytes = b"ok", **headers: str) -> H2Step:
    async def step(call: H2Call) -> None:
        await call.stream.done.wait()
        await call.head(status, end=not body, **headers)
        if body:
            await call.data(body, end=True)

    return step


@dataclass
class H2Host:
    """A host that speaks HTTP/2; one step for each stream, the last one repeated."""

    steps: Sequence[H2Step] = (h2_answer(),)
    max_streams: int | None = None
    extended_connect: bool = False

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream
    ) -> None:
        peer = Peer(reader, writer, client=False)
        own = {}
        if self.max_streams is not None:
            own[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS] = self.max_streams
        if self.extended_connect:
            own[h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL] = 1
        peer.settings(own)
        peer.conn.initiate_connection()
        await peer.flush()
        tasks: set[asyncio.Task[None]] = set()

        def opened(stream: Stream) -> None:
            index, upstream.calls = upstream.calls, upstream.calls + 1
            entry: dict[str, Any] = {}
            upstream.seen.append(entry)
            call = H2Call(peer, stream, upstream, index)
            task = asyncio.create_task(self._answer(call, entry))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        try:
            await peer.pump(opened)
        finally:
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, call: H2Call, entry: dict[str, Any]) -> None:
        entry["headers"] = call.stream.headers
        try:
            with contextlib.suppress(h2.exceptions.ProtocolError):
                await self.steps[min(call.index, len(self.steps) - 1)](call)
                await call.stream.done.wait()
        finally:
            entry.update(call.stream.told())

"""Downstream clients: an HTTP/1.1 connection by raw bytes."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any

from . import wire

WAIT = 8.0
"""No answer takes longer, in seconds; what does is seen as `silence`."""


@dataclass
class H1:
    """A connection of a client. What it gets is kept in `seen`."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    seen: list[Any] = field(default_factory=list)

    async def send(self, data: bytes) -> None:
        await wire.write(self.writer, data)

    async def answer(self, method: str = "GET", *, interim: bool = False) -> wire.Message:
        """Read one answer and remember it; `interim` ones are remembered and passed over unless asked for."""
        try:
            message = await asyncio.wait_for(self._read(method), WAIT)
        except TimeoutError:
            message = wire.Message("silence")
        self.seen.append(told(message))
        status = status_of(message)
        if 100 <= status < 200 and status != 101 and not interim:
            return await self.answer(method)
        return message

    async def _read(self, method: str) -> wire.Message:
        try:
            message = await wire.read_head(self.reader)
        except asyncio.IncompleteReadError as error:
            return wire.Message("closed" if not error.partial else f"garbage {error.partial[:60]!r}")
        except OSError:
            return wire.Message("reset")
        status = status_of(message)
        if method != "CONNECT" and status != 101 and wire.has_body(method, status):
            await wire.read_body(self.reader, message, until_close=True)
        return message

    async def ends(self, within: float = 3.0) -> str:
        """See how the connection goes on when nothing is sent any more: `closed`, `reset`, or `open`."""
        how = "open"
        with contextlib.suppress(TimeoutError):
            try:
                rest = await asyncio.wait_for(self.reader.read(65536), within)
                how = f"more {rest[:80]!r}" if rest else "closed"
            except OSError:
                how = "reset"
        self.seen.append({"connection": how})
        return how

    async def read(self, size: int) -> bytes:
        """Read exactly so many bytes of a tunnel, and remember them."""
        try:
            data = await asyncio.wait_for(self.reader.readexactly(size), WAIT)
        except asyncio.IncompleteReadError as error:
            data = error.partial + b"|end"
        except (OSError, TimeoutError) as error:
            data = type(error).__name__.encode()
        self.seen.append({"bytes": wire.short(data)})
        return data

    async def rest(self) -> bytes:
        """Read to the end of a tunnel, and remember it."""
        data = b""
        try:
            async with asyncio.timeout(WAIT):
                while piece := await self.reader.read(65536):
                    data += piece
        except (OSError, TimeoutError) as error:
            data += b"|" + type(error).__name__.encode()
        self.seen.append({"rest": wire.short(data)})
        return data

    async def close(self) -> None:
        await wire.close(self.writer)


def status_of(message: wire.Message) -> int:
    parts = message.start.split(" ")
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0


def told(message: wire.Message) -> dict[str, Any]:
    """An answer as observations show it; the reason phrase is nobody's business (RFC 9112, section 4)."""
    status = status_of(message)
    if not status:
        return {"answer": message.start}
    shown: dict[str, Any] = {
        "answer": " ".join(message.start.split(" ")[:2]),
        "headers": message.headers,
        "body": wire.short(message.body),
    }
    if message.framing == "chunked":
        shown["framing"] = "chunked"
    if message.end != "complete":
        shown["end"] = message.end
    if message.trailers:
        shown["trailers"] = message.trailers
    return shown

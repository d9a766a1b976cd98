"""HTTP/1.1 on raw sockets: read a message to its end and say what it was; write one as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import struct
from dataclasses import dataclass, field

LONG = 200
"""Bodies above this many bytes are told by length and hash."""


@dataclass
class Message:
    """A head, its body and its trailers."""

    start: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    framing: str = "none"
    end: str = "complete"
    """`complete`, `closed` or `reset` when the connection ended first."""

    def get(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


def short(body: bytes) -> str:
    """A body as observations show it."""
    if len(body) <= LONG:
        return body.decode("latin-1")
    return f"{len(body)} bytes, {hashlib.sha256(body).hexdigest()[:12]}"


async def read_head(reader: asyncio.StreamReader) -> Message:
    """Read a head.

    Raises:
        asyncio.IncompleteReadError: the connection ended before it was complete.
    """
    raw = await reader.readuntil(b"\r\n\r\n")
    first, *lines = raw[:-4].decode("latin-1").split("\r\n")
    return Message(first, [fields(line) for line in lines])


def fields(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.lower(), value.strip(" \t")


async def read_body(reader: asyncio.StreamReader, message: Message, *, until_close: bool = False) -> None:
    """Read what the head says follows it; how it ended is said in `message.end`."""
    try:
        if "chunked" in (message.get("transfer-encoding") or ""):
            message.framing = "chunked"
            await read_chunks(reader, message)
        elif (length := message.get("content-length")) is not None:
            message.framing = "length"
            while len(message.body) < int(length):
                piece = await reader.read(int(length) - len(message.body))
                if not piece:
                    message.end = "closed"
                    return
                message.body += piece
        elif until_close:
            message.framing = "close"
            while piece := await reader.read(65536):
                message.body += piece
    except asyncio.IncompleteReadError:
        message.end = "closed"
    except OSError:
        message.end = "reset"


async def read_chunks(reader: asyncio.StreamReader, message: Message) -> None:
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        if size == 0:
            break
        message.body += await reader.readexactly(size)
        await reader.readexactly(2)
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
        message.trailers.append(fields(line.decode("latin-1").rstrip()))


def has_body(method: str, status: int) -> bool:
    """Whether an answer may have a body (RFC 9112, section 6.3)."""
    return method != "HEAD" and status >= 200 and status not in (204, 304)


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection by RST."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), 1)


async def write(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Write; the other end may be gone."""
    with contextlib.suppress(OSError):
        writer.write(data)
        await writer.drain()

"""Each forbidden frame, malformed request and flood ends as its row says; whoever asks well afterwards is served."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import hpack
import pytest
from oracle.planes import Plane

from .http2_rows import GOAWAY, HEADERS, ROWS, RST, SETTINGS, Row, frame
from .plane import native

QUIET = 0.6
"""A connection on which nothing happens for so long, in seconds, stays open."""


@dataclass
class Ended:
    """What came back."""

    goaway: int | None = None
    resets: dict[int, int] = field(default_factory=dict)
    statuses: dict[int, int] = field(default_factory=dict)
    closed: bool = False


async def act(port: int, row: Row) -> Ended:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    ended, decoder, rest = Ended(), hpack.Decoder(), b""

    async def send() -> None:
        with contextlib.suppress(OSError):
            for at in range(0, len(row.sent), 65536):
                writer.write(row.sent[at : at + 65536])
                await writer.drain()
            writer.write(frame(SETTINGS, 1))

    sending = asyncio.create_task(send())
    try:
        while True:
            piece = await asyncio.wait_for(reader.read(65536), QUIET)
            if not piece:
                ended.closed = True
                break
            rest = take(rest + piece, ended, decoder)
    except TimeoutError:
        pass
    except OSError:
        ended.closed = True
    sending.cancel()
    writer.close()
    return ended


def take(data: bytes, ended: Ended, decoder: hpack.Decoder) -> bytes:
    """Look at whole frames; what is left of the last one."""
    while len(data) >= 9 and len(data) >= 9 + (size := int.from_bytes(data[:3], "big")):
        kind, stream, payload = data[3], int.from_bytes(data[5:9], "big"), data[9 : 9 + size]
        if kind == GOAWAY:
            ended.goaway = int.from_bytes(payload[4:8], "big")
        elif kind == RST:
            ended.resets[stream] = int.from_bytes(payload, "big")
        elif kind == HEADERS:
            fields = dict(decoder.decode(payload))
            if ":status" in fields:
                ended.statuses[stream] = int(fields[":status"])
        data = data[9 + size :]
    return data


async def act_all(plane: Plane) -> dict[str, Ended]:
    await plane.start()
    try:
        port = plane.stages["strictness"].port
        slots, found = asyncio.Semaphore(6), {}

        async def one(row: Row) -> None:
            async with slots:
                found[row.name] = await act(port, row)

        await asyncio.gather(*(one(row) for row in ROWS))
        assert plane.process and plane.process.poll() is None, plane.output()
        found["afterwards"] = await act(port, ROWS[0])
        return found
    finally:
        await plane.stop()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Ended]]:
    yield asyncio.run(act_all(native(tmp_path_factory.mktemp("strictness"))))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_it_ends_as_its_row_says(found: dict[str, Ended], row: Row) -> None:
    ended = found[row.name]
    if row.goaway:
        assert ended.closed and ended.goaway in row.goaway, f"{ended}: {row.why}"
    elif row.reset:
        assert ended.resets.get(1) in row.reset and ended.goaway is None, f"{ended}: {row.why}"
    elif row.status:
        assert ended.statuses.get(1) == row.status and not ended.closed, f"{ended}: {row.why}"
    else:
        assert ended.closed, f"{ended}: {row.why}"


def test_others_are_served_after_all_that(found: dict[str, Ended]) -> None:
    assert found["afterwards"].statuses == {1: 200}

"""Each malformed request is answered as its row says, and nothing of it is smuggled on."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator

import pytest
from oracle.planes import Plane

from .http1_rows import ROWS, Row
from .plane import native

QUIET = 1.0
"""A connection on which nothing happens for so long, in seconds, stays open."""


async def act(port: int, row: Row) -> tuple[tuple[int, ...], bool]:
    """Send a row; the statuses that came, and whether the connection was closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(OSError):
        writer.write(row.sent)
        await writer.drain()
    got, closed = b"", False
    try:
        while True:
            piece = await asyncio.wait_for(reader.read(65536), QUIET)
            if not piece:
                closed = True
                break
            got += piece
    except TimeoutError:
        pass
    except OSError:
        closed = True
    writer.close()
    return tuple(int(status) for status in re.findall(rb"HTTP/1\.1 (\d\d\d)", got)), closed


async def act_all(plane: Plane) -> dict[str, tuple[tuple[int, ...], bool, int]]:
    await plane.start()
    found = {}
    try:
        stage = plane.stages["strictness"]
        up = stage.up()
        for row in ROWS:
            before = up.calls
            answers, closed = await act(stage.port, row)
            found[row.name] = (answers, closed, up.calls - before)
        assert plane.process and plane.process.poll() is None, plane.output()
        return found
    finally:
        await plane.stop()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[tuple[int, ...], bool, int]]]:
    yield asyncio.run(act_all(native(tmp_path_factory.mktemp("strictness"))))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_answer_is_the_one_of_the_row(
    found: dict[str, tuple[tuple[int, ...], bool, int]], row: Row
) -> None:
    assert found[row.name] == (row.answers, row.ends, row.reaches), row.why

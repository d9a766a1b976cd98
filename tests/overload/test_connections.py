"""Twenty thousand connections: those that there is room for are held, the others closed at once, and traffic flows."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from .crowd import Crowd, exchange
from .plane import Bounded, files, running

WANTED = 20_000
ASK = b"GET /direct HTTP/1.1\r\nhost: a.test\r\n\r\n"
LARGEST_IDLE = 8 * 1024
"""Bytes that an idle connection may take."""


def hold(plane: Bounded, crowd: Crowd, count: int) -> None:
    """Connections that have asked once, and stay."""
    for _ in range(count):
        got = exchange(crowd.join(), ASK, b"here")
        assert got.startswith(b"HTTP/1.1 200"), got


def is_refused(crowd: Crowd) -> bool:
    """Whether a further connection is closed at once."""
    sock = crowd.join()
    with contextlib.suppress(OSError):
        if exchange(sock, ASK, b"here"):
            return False
    crowd.sockets.pop().close()
    return True


@pytest.mark.timeout(300)
async def test_idle_connections_are_held_in_bulk_and_traffic_flows_past_them(tmp_path: Path) -> None:
    most = files(8_000)
    # An eighth of its descriptors the proxy keeps for upstreams, and we need some ourselves.
    holding = min(WANTED, most - most // 8 - 10, most - 600)
    async with running(tmp_path) as plane:
        await plane.serves()
        before = plane.memory("VmRSS")
        with Crowd(plane.port) as crowd:
            await asyncio.to_thread(hold, plane, crowd, holding)
            assert (plane.memory("VmRSS") - before) / holding <= LARGEST_IDLE
            got = await asyncio.to_thread(exchange, crowd.sockets[holding // 2], ASK, b"here")
            assert got.startswith(b"HTTP/1.1 200")
            for _ in range(20):
                await plane.serves()
            if holding < WANTED:
                refused = 0
                for _ in range(WANTED - holding):
                    refused += await asyncio.to_thread(is_refused, crowd)
                assert refused >= WANTED - holding - 20
                assert plane.counters()[f"listener.127.0.0.1_{plane.port}.downstream_cx_overflow"] >= refused
            assert crowd.ended() == 0, "a connection was ended that did nothing wrong"
        await plane.serves()
        plane.survived()

"""Whoever is slow has a limit of time; meanwhile the others are served."""

from __future__ import annotations

import asyncio
from pathlib import Path

from .crowd import Crowd
from .plane import running

SLOW = 200


def statuses(crowd: Crowd) -> set[bytes]:
    """What all were told, up to the end of their connections."""
    told = set()
    for sock in crowd.sockets:
        got = b""
        while piece := sock.recv(65536):
            got += piece
        told.add(got[9:12])
    return told


async def all_are_answered_408(tmp_path: Path, start: bytes, **limit: str) -> None:
    """Many send no more than `start`; meanwhile and afterwards others are served."""
    async with running(tmp_path, **limit) as plane:
        with Crowd(plane.port) as crowd:
            await asyncio.to_thread(crowd.send, SLOW, start)
            for sock in crowd.sockets:
                sock.settimeout(20)
            await plane.serves()
            assert await asyncio.to_thread(statuses, crowd) == {b"408"}
        await plane.serves()
        plane.survived()


async def test_a_head_that_does_not_come_to_its_end_is_answered_408(tmp_path: Path) -> None:
    await all_are_answered_408(
        tmp_path, b"GET / HTTP/1.1\r\nhost: a.test\r\nx-slow: ", request_headers_timeout="2s"
    )


async def test_a_drop_now_and_then_does_not_keep_a_slow_head_alive(tmp_path: Path) -> None:
    async with running(tmp_path, request_headers_timeout="2s") as plane:
        client = await plane.stage.connect()
        await client.send(b"GET / HTTP/1.1\r\nhost: a.test\r\nx-slow: ")

        async def drip() -> None:
            while True:
                await client.send(b"a")
                await asyncio.sleep(0.3)

        dripping = asyncio.create_task(drip())
        message = await client.answer()
        dripping.cancel()
        assert message.start.startswith("HTTP/1.1 408")


async def test_a_body_that_does_not_come_to_its_end_is_answered_408(tmp_path: Path) -> None:
    start = b"POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 1000\r\n\r\nhalf"
    await all_are_answered_408(tmp_path, start, request_timeout="2s")


async def test_an_upstream_that_never_answers_takes_no_more_requests_than_its_breaker_lets(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as plane:
        with Crowd(plane.port) as crowd:
            await asyncio.to_thread(crowd.send, 10, b"GET /limited HTTP/1.1\r\nhost: a.test\r\n\r\n")
            while plane.stage.up("limited").calls < 10:
                await asyncio.sleep(0.05)
            message = await plane.stage.ask("/limited")
            assert message.start.startswith("HTTP/1.1 503")
            assert await plane.log_has(path="/limited", status=503, flags="UO")
            await plane.serves()
        while plane.counters()["cluster.overload-limited.upstream_rq_active"]:
            await asyncio.sleep(0.05)  # those that waited are gone
        async with asyncio.timeout(20):
            with Crowd(plane.port) as crowd:
                await asyncio.to_thread(crowd.send, 1, b"GET /limited HTTP/1.1\r\nhost: a.test\r\n\r\n")
                while plane.stage.up("limited").calls < 11:
                    await asyncio.sleep(0.05)
        plane.survived()

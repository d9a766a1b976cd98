"""Whatever clients make the proxy hold, it stays below its bound, says 503 with `OM`, and serves again by itself."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from oracle import identities

from strictness.http2_rows import END_HEADERS, END_STREAM, HEADERS, OPEN, frame

from .crowd import Crowd
from .plane import MEMORY_MB, Bounded, files, running

HEAD = b"GET /%s HTTP/1.1\r\nhost: a.test\r\n"
# GET, http, a path, an authority, as HPACK.
START = b"\x82\x86\x04%c%s\x01\x06a.test"
ROUNDS, LOOKS = 6, 20


def partial_heads(crowd: Crowd) -> None:
    """A slow loris each of which has sent all but the end of the largest head."""
    crowd.send(600, HEAD % b"" + b"x-large: " + b"a" * 50_000)


def large_heads(crowd: Crowd) -> None:
    """Heads of the largest size, to an upstream to which no connection comes about."""
    fields = b"".join(b"x-%d: %s\r\n" % (number, b"a" * 600) for number in range(80))
    crowd.send(600, HEAD % b"hole" + fields + b"\r\n")


def bodies(crowd: Crowd) -> None:
    """Bodies that have to be kept, for the same reason."""
    crowd.send(600, b"POST /hole HTTP/1.1\r\nhost: a.test\r\ncontent-length: 200000\r\n\r\n" + bytes(100_000))


def slow_readers(crowd: Crowd) -> None:
    """Answers of 1 MiB of which each client takes 64 KiB and no more."""
    out = OPEN
    for index in range(60):
        out += frame(HEADERS, END_STREAM | END_HEADERS, 2 * index + 1, START % (4, b"/big"))
    crowd.send(5, out)


def compressed_bombs(crowd: Crowd) -> None:
    """HTTP/2 heads that are a few octets each, and 50 KiB once they are decompressed (RFC 7541, section 7.3)."""
    crowd.send(20, compressed_bomb())


def compressed_bomb() -> bytes:
    # The large field is put into the table once, and named by its index after that.
    start = START % (5, b"/hole")
    first = start + b"\x40\x01b" + b"\x7f" + b"\xe1\x1d" + b"a" * 3936
    more = start + b"\xbe" * 12
    out = OPEN
    for index in range(100):
        out += frame(HEADERS, END_STREAM | END_HEADERS, 2 * index + 1, first if index == 0 else more)
    return out


ATTACKS: list[Callable[[Crowd], None]] = [partial_heads, large_heads, bodies, slow_readers, compressed_bombs]


async def attack_until_shed(plane: Bounded, crowd: Crowd, attack: Callable[[Crowd], None]) -> None:
    """Attack on until the proxy has begun to end connections."""
    for _ in range(ROUNDS):
        await asyncio.to_thread(attack, crowd)
        for _ in range(LOOKS):
            if plane.counter("downstream_cx_overload_close"):
                return
            await asyncio.sleep(0.1)
    raise AssertionError(f"{MEMORY_MB} MiB hold all of it: {plane.memory('VmRSS')} bytes are in use")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
async def test_memory_stays_below_its_bound_and_others_are_served_again(
    tmp_path: Path, attack: Callable[[Crowd], None]
) -> None:
    files(4_000)
    async with running(tmp_path) as plane:
        await plane.serves()
        with Crowd(plane.port) as crowd:
            await attack_until_shed(plane, crowd, attack)
            await plane.serves()  # though none of the attackers has gone
        await plane.serves()
        plane.survived()


@pytest.mark.timeout(300)
async def test_handshakes_that_are_begun_only_do_not_take_all_memory(tmp_path: Path) -> None:
    files(6_000)
    hello = ssl.MemoryBIO()
    client = identities.client_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="a.test")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    first = hello.read()
    chain = identities.downstream(identities.identity("mesh"), mutual=False)
    async with running(tmp_path, [chain]) as plane:
        with Crowd(plane.port) as crowd:
            await asyncio.to_thread(crowd.send, 4_000, first)
        while plane.counters()["server.total_connections"]:
            await asyncio.sleep(0.1)
        context = identities.client_context()
        stream = await plane.stage.connect(context)
        await stream.send(b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n")
        assert (await stream.answer()).start.startswith("HTTP/1.1 200")
        plane.survived()


@pytest.mark.timeout(300)
async def test_requests_that_there_is_no_room_for_are_told_so(tmp_path: Path) -> None:
    files(4_000)
    async with running(tmp_path) as plane:
        with Crowd(plane.port) as crowd:
            await attack_until_shed(plane, crowd, large_heads)
            assert plane.counter("downstream_rq_overload_close") > 0
            assert await plane.log_has(status=503, flags="OM", details="overload")
            assert plane.counters()["server.memory_limit"] == MEMORY_MB * 1024 * 1024
            told = [sock for sock in crowd.sockets if b" 503 " in readable(sock)]
            assert told, "some were told before their connection ended"
        await plane.serves()
        plane.survived()


def readable(sock: object) -> bytes:
    import socket

    assert isinstance(sock, socket.socket)
    try:
        sock.settimeout(0)
        got = sock.recv(65536)
    except OSError:
        return b""
    if b" 503 " in got:
        assert b"retry-after: 1\r\n" in got, got
    return got

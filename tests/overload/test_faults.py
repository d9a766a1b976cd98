"""A fault of the proxy's own, asked for by a field that only debug builds know, ends the request that it came from."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from .plane import running

PANIC = {"x_ripstop_debug_panic": "request"}


@pytest.mark.parametrize("at", ["request", "response", "body"])
async def test_a_panic_ends_its_exchange_and_no_other(tmp_path: Path, at: str) -> None:
    async with running(tmp_path) as plane:
        waiting = await plane.stage.connect()
        await waiting.send(b"GET /silent HTTP/1.1\r\nhost: a.test\r\n\r\n")
        client = await plane.stage.h2()
        other = await client.open("/silent")
        faulty = await client.ask("/", **{"x-ripstop-debug-panic": at})
        if at == "body":
            assert faulty.reset is not None
        else:
            assert dict(faulty.headers)[":status"] == "500"
        assert not other.done.is_set()
        assert dict((await client.ask("/")).headers)[":status"] == "200", "its connection goes on"
        assert (await plane.stage.ask("/", **{"x-ripstop-debug-panic": at})).start != "silence"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waiting.reader.read(1), 0.3)
        assert "panicked" in plane.output()
        counters = plane.counters()
        assert counters["http.overload.downstream_rq_internal_fault"] == 2
        assert counters["http.overload.downstream_rq_active"] == 2, "the two that wait"
        assert counters["cluster.overload-up.upstream_rq_active"] == 0


async def test_panics_in_a_row_leave_nothing_behind(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        asks = (plane.stage.ask("/", **PANIC) for _ in range(100))
        for message in await asyncio.gather(*asks):
            assert message.start.startswith("HTTP/1.1 500")
        await plane.serves()
        assert plane.counters()["http.overload.downstream_rq_active"] == 0
        assert await plane.log_has(status=500, details="internal_fault")

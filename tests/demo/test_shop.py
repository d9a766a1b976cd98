from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from ripstop.demo.http_server import MAX_BODY_BYTES, Request
from ripstop.demo.load import Page, Window, calls_of
from ripstop.demo.processes import Child, descendants, free_ports
from ripstop.demo.shop import Fault, Shop, fault_from


@asynccontextmanager
async def shop(name: str, *, proxy: str = "") -> AsyncIterator[httpx.AsyncClient]:
    """A real process of the shop."""
    (port,) = free_ports(1)
    env = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    command = (
        sys.executable,
        "-m",
        "ripstop.demo.shop",
        name,
        "--port",
        str(port),
        "--instance",
        f"{name}-1",
    )
    process = await asyncio.create_subprocess_exec(
        *command, env=env | ({"http_proxy": proxy} if proxy else {})
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            while True:
                try:
                    await client.get("/_count")
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0.02)
            yield client
            process.terminate()
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()


async def test_an_answer_tells_who_gave_it() -> None:
    async with shop("details") as details:
        told = (await details.get("/", headers={"x-user": "ann"})).json()
    assert (told["service"], told["version"], told["instance"], told["user"]) == (
        "details",
        "v1",
        "details-1",
        "ann",
    )


async def test_a_fault_is_switched_on_and_off() -> None:
    async with shop("ratings") as ratings:
        await ratings.post("/_fault", json={"status": 500})
        assert (await ratings.get("/")).status_code == 500
        await ratings.post("/_fault", json={})
        assert (await ratings.get("/")).status_code == 200
        assert (await ratings.get("/_count")).json()["requests"] == 2


async def test_calls_go_through_the_proxy_of_the_environment_with_trace_and_user() -> None:
    seen: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        body = json.dumps({"service": "ratings", "version": "v1", "instance": "r-7", "calls": []}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))

    server = await asyncio.start_server(proxy, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with server, shop("reviews", proxy=f"http://127.0.0.1:{port}") as reviews:
        told = (await reviews.get("/", headers={"x-user": "beta", "traceparent": trace})).json()
    head = seen[0].decode().lower()
    assert head.startswith("get http://ratings/ http/1.1")
    assert f"traceparent: {trace}" in head
    assert "x-user: beta" in head
    assert [(call.callee, call.status, call.instance) for call in calls_of(told)] == [("ratings", 200, "r-7")]


async def test_a_body_without_end_ends_the_connection() -> None:
    async with shop("orders") as orders:
        with pytest.raises(httpx.TransportError):
            await orders.post("/_fault", content=b"x" * (MAX_BODY_BYTES * 4))
        assert (await orders.get("/")).status_code == 200


async def test_the_door_is_closed_to_callers_that_come_by_the_mesh() -> None:
    request = Request("POST", "/_fault", {"x-forwarded-proto": "http"}, b'{"status": 500}')
    assert (await Shop("details", "v1", "details-1").handle(request)).status == 403


@pytest.mark.parametrize(
    "wanted", [[], {"status": 200}, {"status": "500"}, {"delay_s": -1}, {"delay_s": 1e9}, {"x": 1}]
)
def test_what_is_no_fault_is_refused(wanted: object) -> None:
    with pytest.raises(ValueError, match=r"status|delay_s"):
        fault_from(wanted)


def test_an_empty_fault_is_none() -> None:
    assert fault_from({}) == Fault()


def test_an_instance_that_calls_nobody_starts_without_an_http_client() -> None:
    code = "import sys, ripstop.demo.shop; print(any(m in sys.modules for m in ('httpx', 'pydantic', 'rich', 'yaml')))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_a_page_that_lacks_a_part_is_broken() -> None:
    told = {
        "calls": [
            {"callee": "reviews", "status": 200, "answer": {"calls": [{"callee": "ratings", "status": 504}]}}
        ]
    }
    window = Window(
        [Page(0.0, 0.01, 200, tuple(calls_of(told))), Page(0.0, 0.01, 200), Page(0.0, 0.01, 503, error="no")]
    )
    assert window.broken == 2
    assert window.problems == {"ratings 504": 1, "page 503 no": 1}


async def test_kill_reaches_every_process_beneath(tmp_path: Path) -> None:
    child = Child("nest", ("sh", "-c", "sleep 600 & sleep 600 & wait"), os.environ, tmp_path / "log")
    await child.start()
    while len(beneath := descendants(child.pid)) < 2:
        await asyncio.sleep(0.01)
    await child.kill()
    assert not child.is_running
    while not all(_is_gone(pid) for pid in beneath):
        await asyncio.sleep(0.01)


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True

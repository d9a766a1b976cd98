"""Clients and servers that nobody here wrote, through two real Envoys."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import redis
from websockets.sync.client import connect

from ripstop.proxy.sidecar import free_port
from ripstop.testing import Instance, LocalMesh

pytestmark = pytest.mark.e2e
APPS = Path(__file__).parent / "apps"


def serve(mesh: LocalMesh, name: str, app: str, *options: str) -> Instance:
    port = free_port()
    command = [sys.executable, str(APPS / f"{app}.py"), name, str(port)]
    return mesh.run(name, *options, command=command, port=port)


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    return {name: free_port() for name in ("greeter", "cache", "echo")}


@pytest.fixture(scope="module")
def client(mesh: LocalMesh, ports: dict[str, int]) -> Instance:
    """The application that calls: its sidecar has a local port for each TCP and gRPC service."""
    serve(mesh, "greeter", "greeter", "--protocol", "grpc")
    serve(mesh, "cache", "resp", "--protocol", "tcp")
    serve(mesh, "streams", "streams")
    serve(mesh, "chat", "chat")
    mesh.run("echo")
    upstreams = [word for name, port in ports.items() for word in ("--upstream", f"{name}:80={port}")]
    return mesh.run("client", *upstreams)


# --- HTTP ---


def curl(client: Instance, *words: str) -> str:
    command = ["curl", "-sS", "--max-time", "20", "-x", f"http://127.0.0.1:{client.outbound_port}", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_curl_by_proxy_and_by_host(client: Instance) -> None:
    assert '"service": "default/echo"' in curl(client, "http://echo/x")
    direct = ["curl", "-sS", "-H", "Host: echo", f"http://127.0.0.1:{client.outbound_port}/y"]
    assert '"path": "/y"' in subprocess.run(direct, capture_output=True, text=True, check=True).stdout


def test_a_tunnel_is_routed_like_any_call(client: Instance) -> None:
    assert '"service": "default/echo"' in curl(client, "--proxytunnel", "http://echo/tunnel")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_every_method_arrives(client: Instance, method: str) -> None:
    answer = client.client.request(
        method, "http://echo/m?a=b%20c", content=b"body" if method != "GET" else None
    )
    assert (answer.json()["method"], answer.json()["path"]) == (method, "/m?a=b%20c")


def test_head_chunked_expect_and_close(client: Instance) -> None:
    assert client.client.head("http://echo/").status_code == 200
    sent = curl(client, "-H", "Expect: 100-continue", "-d", "x" * 2000, "http://echo/")
    assert '"body_bytes": 2000' in sent
    assert '"path": "/close"' in curl(client, "-H", "Connection: close", "http://echo/close")


def test_large_headers_arrive(client: Instance) -> None:
    seen = client.client.get("http://echo/", headers={"x-large": "y" * 20_000}).json()["headers"]
    assert len(seen["x-large"]) == 20_000


def test_trace_context_is_passed_on(client: Instance) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert (
        client.client.get("http://echo/", headers={"traceparent": parent}).json()["headers"]["traceparent"]
        == parent
    )


def test_many_at_a_time(client: Instance) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(32) as pool:
        statuses = list(pool.map(lambda _: client.client.get("http://echo/").status_code, range(300)))
    assert statuses == [200] * 300


def test_events_arrive_one_by_one(client: Instance) -> None:
    late = []
    with client.client.stream("GET", "http://streams/events") as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                late.append(time.time() - float(line.split()[2]))
    assert len(late) == 5
    assert max(late) < 0.25, late  # each came long before the next was sent


def test_a_hundred_megabytes_each_way(client: Instance) -> None:
    size = 100 * 1024 * 1024

    def blocks() -> Any:
        for _ in range(size // 65536):
            yield b"x" * 65536

    sent = client.client.post(
        "http://streams/", content=blocks(), headers={"content-length": str(size)}, timeout=60
    )
    assert sent.text == str(size)
    with client.client.stream("GET", f"http://streams/bytes/{size}", timeout=60) as answer:
        assert sum(len(block) for block in answer.iter_bytes()) == size


def test_websockets(client: Instance) -> None:
    with (
        socket.create_connection(("127.0.0.1", client.outbound_port)) as sock,
        connect("ws://chat/", sock=sock, proxy=None) as chat,
    ):
        for text in ("hello", "x" * 100_000):
            chat.send(text)
            assert chat.recv(timeout=10) == text


# --- gRPC and TCP by local ports ---


def test_grpc(client: Instance, ports: dict[str, int]) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{ports['greeter']}") as channel:
        hello = channel.unary_unary("/test.Greeter/Hello")
        answer, call = hello.with_call(b"you", metadata=(("x-me", "peer"),), timeout=10)
        assert answer == b"hello you from greeter"
        assert ("x-trailer", "end") in call.trailing_metadata()
        assert ("x-you", "peer") in call.trailing_metadata()
        assert list(channel.unary_stream("/test.Greeter/Count")(b"100", timeout=10)) == [
            b"%d" % n for n in range(100)
        ]
        with pytest.raises(grpc.RpcError) as told:
            hello(b"fail", timeout=10)
        assert (told.value.code(), told.value.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "not now")
        with pytest.raises(grpc.RpcError) as missing:
            channel.unary_unary("/test.Greeter/Nothing")(b"", timeout=10)
        assert missing.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_redis_py(client: Instance, ports: dict[str, int]) -> None:
    with redis.Redis(port=ports["cache"], protocol=2, socket_timeout=10) as cache:
        assert cache.ping()
        cache.set("answer", "x" * 10_000)
        assert cache.get("answer") == b"x" * 10_000


def test_policy_holds_for_tcp_too(mesh: LocalMesh, client: Instance, ports: dict[str, int]) -> None:
    policy = """
apiVersion: ripstop.dev/v1
kind: AuthorizationPolicy
metadata: {name: no-cache}
spec:
  targetRefs: [{kind: Service, name: cache}]
  action: Deny
  rules: [{from: {services: [client]}}]
"""
    mesh.apply(policy)
    with (
        pytest.raises(redis.ConnectionError),
        redis.Redis(port=ports["cache"], protocol=2, socket_timeout=10) as cache,
    ):
        cache.ping()
    with mesh.client() as api:
        api.delete(
            "/v1/documents", {"documents": [["AuthorizationPolicy", "default", "no-cache"]], "wait_s": 10}
        )


def test_an_http_upstream_needs_no_host(client: Instance, ports: dict[str, int]) -> None:
    assert httpx.get(f"http://127.0.0.1:{ports['echo']}/z").json()["service"] == "default/echo"


def test_an_application_that_refuses_is_skipped_even_for_post(mesh: LocalMesh, client: Instance) -> None:
    """Provably not sent: the sidecar of an application that does not listen says so, and another is tried."""
    good, bad = mesh.run("pair"), mesh.run("pair")
    bad.process.send_signal(signal.SIGSTOP)  # the agent sleeps: its instance stays registered
    for pid in children_of(bad.process.pid):
        if "ripstop.testing.echo" in Path(f"/proc/{pid}/cmdline").read_text():
            os.kill(pid, signal.SIGKILL)
            # Until it is gone its socket takes connections that are cut off later, and those were perhaps sent.
            mesh.wait(lambda pid=pid: is_dead(pid), "the application did not die")
    try:
        found = {client.client.post("http://pair/", content=b"x").json()["instance"] for _ in range(30)}
        assert found == {good.instance}
    finally:
        bad.process.send_signal(signal.SIGCONT)


def is_dead(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

"""grpcio's own xDS client as a data plane of the mesh: weights, an endpoint change, a breaker."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ripstop.identity import certificate_request, new_key
from ripstop.proxy.sidecar import free_port
from ripstop.testing import LocalMesh

pytestmark = pytest.mark.e2e
APPS = Path(__file__).parent / "apps"
# The client is a process of its own: grpcio reads its bootstrap once, from the environment.
CLIENT = """
import json, sys, grpc
from concurrent.futures import ThreadPoolExecutor
channel = grpc.insecure_channel("xds:///greeter:50051")
hello = channel.unary_unary("/test.Greeter/Hello")
def ask(_=None):
    try:
        return hello(b"you", timeout=10).decode().rpartition(" ")[2]
    except grpc.RpcError as error:
        return error.code().name
pool = ThreadPoolExecutor(32)
for line in sys.stdin:
    how, times = line.split()
    answers = map(ask, range(int(times))) if how == "ask" else pool.map(ask, range(int(times)))
    print(json.dumps(list(answers)), flush=True)
"""


class XdsClient:
    def __init__(self, env: dict[str, str]) -> None:
        command = [sys.executable, "-c", CLIENT]
        self._process = subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, times: int) -> Counter[str]:
        """Who answered, one call after another."""
        return self._tell(f"ask {times}")

    def ask_together(self, times: int) -> Counter[str]:
        """The same, all at once."""
        return self._tell(f"together {times}")

    def _tell(self, words: str) -> Counter[str]:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(f"{words}\n")
        self._process.stdin.flush()
        return Counter(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, int]]:
    ports = {"one": free_port(), "two": free_port()}
    processes = [
        subprocess.Popen([sys.executable, str(APPS / "greeter.py"), name, str(port)])
        for name, port in ports.items()
    ]
    yield ports
    for process in processes:
        process.kill()
        process.wait()


def service(name: str, *ports: int) -> str:
    static = ", ".join(f"{{address: 127.0.0.1, port: {port}}}" for port in ports)
    return f"""
---
apiVersion: ripstop.dev/v1
kind: Service
metadata: {{name: {name}}}
spec: {{mesh: false, ports: [{{port: 50051, appProtocol: grpc}}], endpoints: {{static: [{static}]}}}}
"""


@pytest.fixture(scope="module")
def client(
    mesh: LocalMesh, servers: dict[str, int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[XdsClient]:
    mesh.apply(service("greeter", servers["one"]) + service("greeter-two", servers["two"]))
    directory = tmp_path_factory.mktemp("xds")
    key = new_key()
    body = {
        "csr_pem": certificate_request(key).decode(),
        "namespace": "default",
        "service": "asker",
        "instance": "one",
    }
    with mesh.client() as api:
        got = api.post("/v1/enrol", body)
    files = {
        "private_key_file": key,
        "certificate_file": got["certificate_pem"].encode(),
        "ca_certificate_file": got["trust_pem"].encode(),
    }
    config = {}
    for name, content in files.items():
        path = directory / name
        path.touch(mode=0o600)
        path.write_bytes(content)
        config[name] = str(path)
    bootstrap: dict[str, Any] = {
        "xds_servers": [
            {
                "server_uri": got["ads"],
                "channel_creds": [{"type": "tls", "config": config}],
                "server_features": ["xds_v3"],
            }
        ],
        "node": {"id": "default/asker/one"},
    }
    (directory / "bootstrap.json").write_text(json.dumps(bootstrap))
    made = XdsClient({**mesh.env, "GRPC_XDS_BOOTSTRAP": str(directory / "bootstrap.json")})
    yield made
    made.close()


def test_it_finds_a_service_and_is_told_in_status(mesh: LocalMesh, client: XdsClient) -> None:
    assert client.ask(10) == {"one": 10}
    node = next(n for n in mesh.get("/v1/nodes")["nodes"] if n["node"] == "default/asker/one")
    assert (node["kind"], node["is_current"]) == ("grpc", True)


def test_weights(mesh: LocalMesh, client: XdsClient) -> None:
    mesh.apply("""
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: greeter}
spec:
  parentRefs: [{group: "", kind: Service, name: greeter}]
  rules:
    - backendRefs: [{name: greeter, port: 50051, weight: 70}, {name: greeter-two, port: 50051, weight: 30}]
""")
    mesh.wait(lambda: client.ask(5)["two"] > 0, "the weights did not arrive")
    counts = client.ask(300)
    assert set(counts) == {"one", "two"} and 45 <= counts["two"] <= 140, counts
    with mesh.client() as api:
        api.delete(
            "/v1/documents", {"documents": [["GRPCRoute", "default", "greeter"]], "wait_s": 5}, wait_s=5
        )
    mesh.wait(lambda: client.ask(10) == {"one": 10}, "the route did not go")


def test_an_endpoint_change(mesh: LocalMesh, client: XdsClient, servers: dict[str, int]) -> None:
    mesh.apply(service("greeter", servers["two"]))
    mesh.wait(lambda: client.ask(5) == {"two": 5}, "the endpoint did not change")
    mesh.apply(service("greeter", servers["one"]))
    mesh.wait(lambda: client.ask(5) == {"one": 5}, "the endpoint did not change back")


def test_a_breaker(mesh: LocalMesh, client: XdsClient, servers: dict[str, int]) -> None:
    """`limits.maxRequests` holds in the client itself: of many at a time only so many go out."""
    mesh.apply("""
apiVersion: ripstop.dev/v1
kind: TrafficPolicy
metadata: {name: greeter}
spec:
  targetRefs: [{kind: Service, name: greeter}]
  limits: {maxRequests: 1}
""")
    mesh.wait(lambda: client.ask_together(20).get("UNAVAILABLE", 0) > 0, "the breaker did not open")
    assert client.ask(5) == {"one": 5}  # one at a time is within the limit

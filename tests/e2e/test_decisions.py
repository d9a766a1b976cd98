"""Why a request went where it went: kept by data planes, told by agents, shown by the control plane."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ripstop.errors import NotFound
from ripstop.model.workload import DataPlaneKind
from ripstop.testing import Instance, LocalMesh

pytestmark = pytest.mark.e2e
POLICY = """
apiVersion: ripstop.dev/v1
kind: TrafficPolicy
metadata: {name: api}
spec:
  targetRefs: [{kind: Service, name: api}]
  retry: {attempts: 1, codes: [503]}
  outlierDetection: {enabled: false}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: api}
spec:
  parentRefs: [{kind: Service, group: "", name: api}]
  rules:
    - matches: [{path: {type: PathPrefix, value: /teapot}}]
      backendRefs: [{name: nowhere, port: 80}]
    - backendRefs: [{name: api, port: 80}]
"""


@pytest.fixture(scope="session")
def data_plane() -> DataPlaneKind:
    """Envoy keeps no decisions."""
    return DataPlaneKind.NATIVE


@pytest.fixture(scope="module")
def web(mesh: LocalMesh) -> Iterator[Instance]:
    made = mesh.run("web")
    mesh.run("api")
    mesh.apply(POLICY, file="shop/api.yaml")
    yield made


@pytest.fixture
def api(mesh: LocalMesh) -> Iterator[Instance]:
    found = next(i for i in mesh.instances if i.name == "api")
    yield found
    found.behave()


def hops_of(mesh: LocalMesh, request_id: str, count: int = 1) -> list[dict[str, Any]]:
    """The hops, once so many were told of."""
    found: list[dict[str, Any]] = []

    def are_there() -> bool:
        try:
            found[:] = mesh.get(f"/v1/decisions/{request_id}")["hops"]
        except NotFound:
            return False
        return len(found) >= count

    mesh.wait(are_there, f"no {count} hops of {request_id}: {found}")
    return found


def test_a_failure_is_explained_hop_by_hop(mesh: LocalMesh, web: Instance, api: Instance) -> None:
    api.behave(status=503)
    answer = web.client.get(
        "http://api/cart?token=x&q=1", headers={"authorization": "Bearer x", "x-user": "7"}
    )
    assert answer.status_code == 503
    hops = hops_of(mesh, answer.headers["x-request-id"], 3)
    outbound, first, second = hops
    assert [hop["direction"] for hop in hops] == ["outbound", "inbound", "inbound"]
    assert outbound["node"] == "default/web/web-0" and first["node"].startswith("default/api/")
    assert outbound["route"]["source"].startswith("shop/api.yaml:1")
    assert outbound["route"]["service"] == "default/api"
    assert [a["status"] for a in outbound["attempts"]] == [503, 503]
    assert outbound["candidates"][0]["health"] == "healthy"
    assert first["peer"]["identity"].endswith("/ns/default/sa/web")
    assert outbound["request"]["path"] == "/cart?token=[redacted]&q=1"
    assert outbound["request"]["headers"]["authorization"] == "[redacted]"
    assert outbound["request"]["headers"]["x-user"] == "7"
    assert second["answer"]["status"] == 503


def test_explain_tells_the_story_of_a_request(mesh: LocalMesh, web: Instance, api: Instance) -> None:
    api.behave(status=503)
    request_id = web.client.get("http://api/told").headers["x-request-id"]
    hops_of(mesh, request_id, 3)
    words = [sys.executable, "-m", "ripstop", "explain", request_id]
    told = subprocess.run(words, env=mesh.env, capture_output=True, text=True, check=True).stdout
    assert told.startswith("GET http://api/told\n")
    assert "outbound at default/web/web-0 by shop/api.yaml:" in told
    assert "503 URX in 2 tries" in told and ": healthy, " in told
    assert "/ns/default/sa/web from " in told
    none = subprocess.run([*words[:-1], "x" * 20], env=mesh.env, capture_output=True, text=True, check=False)
    assert none.returncode == 1 and "no data plane has told of a request" in none.stderr


def test_errors_of_the_mesh_say_what_and_where(mesh: LocalMesh, web: Instance) -> None:
    answer = web.client.get("http://api/teapot")
    assert answer.status_code == 500
    hops = hops_of(mesh, answer.headers["x-request-id"])
    assert hops[0]["route"]["source"].startswith("shop/api.yaml:")
    nobody = web.client.get("http://nobody/")
    assert nobody.headers["proxy-status"].startswith("ripstop-outbound; error=destination_not_found")
    assert hops_of(mesh, nobody.headers["x-request-id"])[0]["answer"]["flags"] == "NR"


def test_an_unknown_request_says_why_it_may_be(mesh: LocalMesh, web: Instance) -> None:
    with pytest.raises(NotFound, match="no data plane has told") as raised:
        mesh.get("/v1/decisions/none")
    assert "ripstop tap" in raised.value.cure


def test_tap_shows_every_request_with_its_hops(mesh: LocalMesh, web: Instance) -> None:
    words = [sys.executable, "-m", "ripstop", "tap", "--path", "/tapped", "-n", "3", "--json"]
    with subprocess.Popen(words, env=mesh.env, stdout=subprocess.PIPE, text=True) as tapping:
        try:
            patience = time.monotonic() + 60
            while tapping.poll() is None and time.monotonic() < patience:
                assert web.client.get("http://api/tapped").status_code == 200
                time.sleep(0.1)
            assert tapping.poll() == 0, "it did not see three requests"
            assert tapping.stdout
            shown = [json.loads(line) for line in tapping.stdout]
        finally:
            tapping.kill()
    assert len(shown) == 3
    assert {tuple(hop["direction"] for hop in one["hops"]) for one in shown} == {("outbound", "inbound")}

"""Configuration, certificates and the data plane's own program change under load: not one call fails."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from restarts import data_planes, restart
from tests.load import Load

from ripstop.model.workload import DataPlaneKind
from ripstop.proxy.native import find_native
from ripstop.proxy.run import RESTARTS_DATA_PLANE
from ripstop.proxy.sidecar import free_port
from ripstop.testing import Instance, LocalMesh

pytestmark = pytest.mark.e2e
CHANGES, RESTARTS = 100, 20
SHORT_LIVED = """
apiVersion: ripstop.dev/v1
kind: Mesh
metadata: {name: mesh}
spec: {identity: {svidTtl: 10s}}
"""
GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: edge}}
spec:
  gatewayClassName: ripstop
  listeners: [{{name: web, protocol: HTTP, port: {port}}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: edge}}
spec:
  parentRefs: [{{name: edge}}]
  rules: [{{backendRefs: [{{name: callee, port: 80}}]}}]
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the data plane's program is found; what is there can be changed, as an upgrade does."""
    path = tmp_path_factory.mktemp("program") / "ripstop-proxy"
    path.symlink_to(find_native())
    return path


@pytest.fixture(scope="module")
def native_mesh(tmp_path_factory: pytest.TempPathFactory, program: Path) -> Iterator[LocalMesh]:
    mesh = LocalMesh(tmp_path_factory.mktemp("mesh"), data_plane=DataPlaneKind.NATIVE)
    mesh.env["RIPSTOP_PROXY"] = str(program)
    with mesh:
        mesh.apply(SHORT_LIVED)
        yield mesh


@pytest.fixture(scope="module")
def callee(native_mesh: LocalMesh) -> Instance:
    return native_mesh.run("callee")


@pytest.fixture(scope="module")
def caller(native_mesh: LocalMesh, callee: Instance) -> Instance:
    return native_mesh.run("caller")


def changed(number: int) -> str:
    """Another route each time, and every fifth time other clusters and listeners."""
    route = f"""
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: callee}}
spec:
  parentRefs: [{{group: "", kind: Service, name: callee}}]
  rules:
    - filters:
        - type: RequestHeaderModifier
          requestHeaderModifier: {{set: [{{name: x-change, value: "{number}"}}]}}
      backendRefs: [{{name: callee, port: 80}}]
"""
    if number % 5:
        return route
    return f"""{route}---
apiVersion: ripstop.dev/v1
kind: TrafficPolicy
metadata: {{name: callee}}
spec:
  targetRefs: [{{kind: Service, name: callee}}]
  timeouts: {{request: {20 + number}s}}
  loadBalancer: {{algorithm: {("RoundRobin", "LeastRequest")[number // 5 % 2]}}}
---
apiVersion: ripstop.dev/v1
kind: RateLimit
metadata: {{name: callee}}
spec:
  targetRefs: [{{kind: Service, name: callee}}]
  requests: {1_000_000 + number}
  per: 1s
"""


def test_no_call_fails_while_configuration_and_certificates_change(
    native_mesh: LocalMesh, caller: Instance, callee: Instance
) -> None:
    """100 changes; certificates live for 10 s and are renewed after 5 s."""
    certificates: dict[str, set[str]] = {"caller": set(), "callee": set()}
    with Load("http://callee/", caller.outbound_port) as load:
        number = 0
        while number < CHANGES or min(map(len, certificates.values())) < 3:
            done = native_mesh.apply(changed(number))
            assert done["rollout"]["done"], done
            number += 1
            for instance in (caller, callee):
                certificates[instance.name].add(certificate(native_mesh, instance))
        assert caller.client.get("http://callee/").json()["headers"]["x-change"] == f"{number - 1}"
        load.wait_for(100)
    assert load.failures == []


def certificate(mesh: LocalMesh, instance: Instance) -> str:
    """The one that an instance has now."""
    kept = mesh.state / "agents" / "default" / instance.name / instance.instance / "agent.json"
    return str(json.loads(kept.read_text())["svid"]["certificate_pem"])


def test_no_call_fails_while_data_planes_are_restarted(
    native_mesh: LocalMesh, caller: Instance, callee: Instance
) -> None:
    """20 times by turns that of the caller and that of the callee."""
    with Load("http://callee/", caller.outbound_port) as load:
        load.wait_for(20)
        for number in range(RESTARTS):
            restart((caller, callee)[number % 2])
            load.wait_for(5)
    assert load.failures == []
    assert {n["is_current"] for n in native_mesh.get("/v1/nodes")["nodes"] if n["connected"]} == {True}


def test_no_call_fails_while_a_gateway_is_restarted_by_sighup(
    native_mesh: LocalMesh, caller: Instance, callee: Instance
) -> None:
    port = free_port()
    native_mesh.apply(GATEWAY.format(port=port))
    edge = native_mesh.gateway("edge")
    with Load(f"http://127.0.0.1:{port}/") as load:
        load.wait_for(20)
        for _ in range(3):
            restart(edge, signal.SIGHUP)
            load.wait_for(5)
    assert load.failures == []


def test_a_new_program_that_does_not_start_leaves_the_old_one_serving(
    native_mesh: LocalMesh, caller: Instance, callee: Instance, program: Path
) -> None:
    good = program.readlink()
    program.unlink()
    program.symlink_to("/bin/false")
    try:
        with Load("http://callee/", caller.outbound_port) as load:
            load.wait_for(20)
            before = data_planes(caller)
            caller.process.send_signal(RESTARTS_DATA_PLANE)
            native_mesh.wait(
                lambda: "data_plane_not_restarted" in caller.log.read_text(), "nothing was tried", 20
            )
            load.wait_for(20)
        assert load.failures == []
        assert data_planes(caller) == before
    finally:
        program.unlink()
        program.symlink_to(good)
    restart(caller)

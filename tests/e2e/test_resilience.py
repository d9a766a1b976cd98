"""What the mesh does about failing, slow and absent instances, measured at the callers."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from ripstop.model.workload import DataPlaneKind
from ripstop.testing import Instance, LocalMesh

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def web(mesh: LocalMesh) -> Instance:
    return mesh.run("web")


def served_by(web: Instance, url: str, count: int) -> Counter[str]:
    found: Counter[str] = Counter()
    for _ in range(count):
        answer = web.client.get(url)
        found[answer.json()["instance"] if answer.status_code == 200 else str(answer.status_code)] += 1
    return found


def test_an_instance_that_fails_is_set_aside_and_comes_back(mesh: LocalMesh, web: Instance) -> None:
    well, ill = mesh.run("ratings"), mesh.run("ratings")
    mesh.apply("""
apiVersion: ripstop.dev/v1
kind: TrafficPolicy
metadata: {name: ratings}
spec:
  targetRefs: [{kind: Service, name: ratings}]
  loadBalancer: {algorithm: LeastRequest}
  outlierDetection: {consecutiveFailures: 3, baseEjection: 5s, maxEjectionPercent: 50}
""")
    assert set(served_by(web, "http://ratings/", 30)) == {well.instance, ill.instance}
    ill.behave(status=500)
    served_by(web, "http://ratings/", 30)
    assert served_by(web, "http://ratings/", 20) == {well.instance: 20}
    ill.behave()
    mesh.wait(lambda: ill.instance in served_by(web, "http://ratings/", 10), "it did not come back", 20)


def test_a_service_without_healthy_endpoints_falls_back(mesh: LocalMesh, web: Instance) -> None:
    main, spare = mesh.run("prices"), mesh.run("prices-cache")
    mesh.apply("""
apiVersion: ripstop.dev/v1
kind: TrafficPolicy
metadata: {name: prices}
spec:
  targetRefs: [{kind: Service, name: prices}]
  timeouts: {request: 2s, backendRequest: 200ms}
  outlierDetection: {consecutiveFailures: 3, baseEjection: 2s, maxEjectionPercent: 100}
  fallback: [{service: prices-cache, on: [noHealthy]}]
""")
    assert set(served_by(web, "http://prices/", 5)) == {main.instance}
    main.behave(delay_s=1)
    for _ in range(4):
        web.client.get("http://prices/")
    assert served_by(web, "http://prices/", 10) == {spare.instance: 10}
    main.behave()
    mesh.wait(lambda: main.instance in served_by(web, "http://prices/", 5), "it did not go back", 20)


def test_what_a_data_plane_cannot_do_is_told(mesh: LocalMesh, web: Instance) -> None:
    mesh.run("stock")
    mesh.apply("""
apiVersion: ripstop.dev/v1
kind: TrafficPolicy
metadata: {name: stock}
spec:
  targetRefs: [{kind: Service, name: stock}]
  fallback: [{service: prices-cache, on: [breakerOpen, timeout]}]
""")
    told = {text for n in mesh.get("/v1/nodes")["nodes"] for text in n["not_on_this_data_plane"]}
    is_told = any("stock" in text and "breakerOpen" in text for text in told)
    assert is_told == (mesh.data_plane is DataPlaneKind.ENVOY), told


def test_post_is_not_repeated_when_it_may_have_had_an_effect(mesh: LocalMesh, web: Instance) -> None:
    once = mesh.run("orders")
    mesh.apply("""
apiVersion: ripstop.dev/v1
kind: TrafficPolicy
metadata: {name: orders}
spec:
  targetRefs: [{kind: Service, name: orders}]
  retry: {attempts: 3, codes: [503]}
  outlierDetection: {enabled: false}
""")
    once.behave(status=503)

    def attempts(method: str) -> float:
        before = _counted(mesh)
        web.client.request(method, "http://orders/")
        time.sleep(3)
        return _counted(mesh) - before

    assert attempts("POST") == 1
    assert attempts("GET") == 4


def _counted(mesh: LocalMesh) -> float:
    rows = mesh.get("/v1/signals", window_s=120)["edges"]
    return sum(
        r["requests"] for r in rows if r["destination"] == "default/orders" and r["seen_by"] == "inbound"
    )


def test_a_slow_call_ends_in_time(mesh: LocalMesh, web: Instance) -> None:
    slow = mesh.run("slow")
    mesh.apply("""
apiVersion: ripstop.dev/v1
kind: TrafficPolicy
metadata: {name: slow}
spec:
  targetRefs: [{kind: Service, name: slow}]
  timeouts: {request: 300ms}
""")
    slow.behave(delay_s=5)
    assert web.client.get("http://slow/").status_code == 504


def test_faults_and_rate_limits(mesh: LocalMesh, web: Instance) -> None:
    mesh.run("limited")
    mesh.apply("""
apiVersion: ripstop.dev/v1
kind: RateLimit
metadata: {name: limited}
spec: {targetRefs: [{kind: Service, name: limited}], requests: 5, per: 60s}
""")
    counts = Counter(web.client.get("http://limited/").status_code for _ in range(12))
    assert counts == {200: 5, 429: 7}
    mesh.apply("""
apiVersion: ripstop.dev/v1
kind: FaultInjection
metadata: {name: limited}
spec: {targetRefs: [{kind: Service, name: limited}], abort: {status: 418}}
""")
    assert web.client.get("http://limited/").status_code == 418

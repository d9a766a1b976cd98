"""What the mesh does about failing, slow and absent instances, measured at the callers."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

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


def only_native(mesh: LocalMesh) -> bool:
    """What follows a real Envoy cannot do; that it is told so has a test of its own."""
    return mesh.data_plane is DataPlaneKind.NATIVE


@pytest.mark.parametrize(
    ("trigger", "more", "behaviour"),
    [
        ("status", ", statuses: [500]", {"status": 500}),
        ("timeout", "", {"delay_s": 1.0}),
    ],
)
def test_another_service_answers_for_one_that_fails(
    mesh: LocalMesh, web: Instance, trigger: str, more: str, behaviour: dict[str, Any]
) -> None:
    name = f"quotes-{trigger}"
    main, spare = mesh.run(name), mesh.run(f"{name}-cache")
    mesh.apply(f"""
apiVersion: ripstop.dev/v1
kind: TrafficPolicy
metadata: {{name: {name}}}
spec:
  targetRefs: [{{kind: Service, name: {name}}}]
  timeouts: {{request: 4s, backendRequest: 300ms}}
  retry: {{enabled: false}}
  outlierDetection: {{enabled: false}}
  fallback: [{{service: {name}-cache, on: [{trigger}]{more}}}]
""")
    assert served_by(web, f"http://{name}/", 5) == {main.instance: 5}
    main.behave(**behaviour)
    answer = web.client.post(f"http://{name}/", content=b"a body that is sent again")
    if only_native(mesh):
        assert answer.json()["instance"] == spare.instance
        assert answer.json()["body_bytes"] == len(b"a body that is sent again")
        assert answer.headers["mesh-degraded"] == f"default/{name}-cache; reason={trigger}"
    else:
        assert answer.status_code >= 500
    main.behave()
    assert served_by(web, f"http://{name}/", 5) == {main.instance: 5}


def test_another_service_answers_while_a_breaker_is_open(mesh: LocalMesh, web: Instance) -> None:
    main, spare = mesh.run("narrow"), mesh.run("narrow-cache")
    mesh.apply("""
apiVersion: ripstop.dev/v1
kind: TrafficPolicy
metadata: {name: narrow}
spec:
  targetRefs: [{kind: Service, name: narrow}]
  limits: {maxRequests: 1}
  retry: {enabled: false}
  fallback: [{service: narrow-cache, on: [breakerOpen]}]
""")
    main.behave(delay_s=1.0)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: web.client.get("http://narrow/"), range(8)))
    found = Counter(a.json()["instance"] if a.status_code == 200 else str(a.status_code) for a in answers)
    assert found[main.instance] >= 1
    if only_native(mesh):
        assert found == {main.instance: found[main.instance], spare.instance: 8 - found[main.instance]}
        assert found[spare.instance] >= 1
    else:
        assert found["503"] >= 1


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

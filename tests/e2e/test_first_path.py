"""Two services through two real Envoys: found, encrypted, authorized, counted."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter

import httpx
import pytest

from ripstop.testing import Instance, LocalMesh

pytestmark = pytest.mark.e2e
SERVICES = """
apiVersion: v1
kind: Service
metadata: {name: reviews-v1}
spec: {selector: {app: reviews, version: v1}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: reviews-v2}
spec: {selector: {app: reviews, version: v2}, ports: [{port: 80}]}
"""


@pytest.fixture(scope="module")
def web(mesh: LocalMesh) -> Instance:
    return mesh.run("web")


@pytest.fixture(scope="module")
def reviews(mesh: LocalMesh, web: Instance) -> list[Instance]:
    return [mesh.run("reviews", version="v1"), mesh.run("reviews", version="v2")]


def test_a_call_by_name_arrives_with_the_callers_identity(web: Instance, reviews: list[Instance]) -> None:
    answer = web.client.get("http://reviews/some/path?q=1")
    assert answer.status_code == 200, answer.text
    seen = answer.json()
    assert seen["service"] == "default/reviews"
    assert seen["path"] == "/some/path?q=1"
    assert "URI=spiffe://ripstop.local/ns/default/sa/web" in seen["headers"]["x-forwarded-client-cert"]


def test_every_name_of_a_service_leads_to_it(web: Instance, reviews: list[Instance]) -> None:
    names = ("reviews.default", "reviews.default.mesh", "reviews.default.svc.cluster.local", "reviews:80")
    for name in (*names, f"reviews:{reviews[0].port}"):
        assert web.client.get(f"http://{name}/").status_code == 200, name


def test_a_name_that_nobody_has_is_told(web: Instance) -> None:
    answer = web.client.get("http://nobody/")
    assert (answer.status_code, "nobody" in answer.text) == (404, True)


def test_plaintext_to_a_sidecar_is_refused(mesh: LocalMesh, reviews: list[Instance]) -> None:
    nodes = mesh.get("/v1/nodes")["nodes"]
    port = next(n["registration"]["inbound_port"] for n in nodes if "/reviews/" in n["node"])
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{port}/")


def test_a_canary_by_header_and_weight(mesh: LocalMesh, web: Instance, reviews: list[Instance]) -> None:
    mesh.apply(SERVICES)
    route = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: reviews}
spec:
  parentRefs: [{group: "", kind: Service, name: reviews}]
  rules:
    - matches: [{headers: [{name: x-user, value: tester}]}]
      backendRefs: [{name: reviews-v2, port: 80}]
    - backendRefs:
        - {name: reviews-v1, port: 80, weight: 80}
        - {name: reviews-v2, port: 80, weight: 20}
"""
    done = mesh.apply(route)
    assert done["rollout"]["done"], done
    for _ in range(5):
        assert web.client.get("http://reviews/", headers={"x-user": "tester"}).json()["version"] == "v2"
    versions = Counter(web.client.get("http://reviews/").json()["version"] for _ in range(300))
    assert 30 <= versions["v2"] <= 95, versions


def test_a_policy_that_forbids_is_named(mesh: LocalMesh, web: Instance, reviews: list[Instance]) -> None:
    policy = """
apiVersion: ripstop.dev/v1
kind: AuthorizationPolicy
metadata: {name: no-secrets}
spec:
  targetRefs: [{kind: Service, name: reviews}]
  action: Deny
  rules: [{from: {services: [web]}, to: {paths: [{prefix: /secret}]}}]
"""
    mesh.apply(policy)
    refused = web.client.get("http://reviews/secret/1")
    assert refused.status_code == 403
    assert refused.headers["x-ripstop-policy"] == "default/no-secrets"
    assert "default/no-secrets" in refused.text
    assert web.client.get("http://reviews/open").status_code == 200


def test_explain_says_what_happens(mesh: LocalMesh, web: Instance, reviews: list[Instance]) -> None:
    """The routes and the policy of the tests before are there."""
    for path, user in (("/secret/1", "tester"), ("/open", "tester"), ("/open", "other")):
        question = {"caller": "web", "authority": "reviews", "path": path, "headers": [("x-user", user)]}
        with mesh.client() as client:
            found = client.post("/v1/explain", question)
        answer = web.client.get(f"http://reviews{path}", headers={"x-user": user})
        assert (found["status"] or 200) == answer.status_code, found
        (policies,) = [[s for s in hop["steps"] if s["kind"] == "rules"] for hop in found["hops"][1:]]
        assert ("no-secrets" in str(policies)) == (answer.status_code == 403)


def test_a_bad_document_changes_nothing(mesh: LocalMesh, web: Instance, reviews: list[Instance]) -> None:
    before = mesh.get("/v1/status")["generation"]
    bad = "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {port: 1}\n"
    done = subprocess.run(
        [sys.executable, "-m", "ripstop", "apply", "-"],
        input=bad.encode(),
        env=mesh.env,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert b"standard input:4 spec.port" in done.stderr and b"did you mean ports?" in done.stderr
    assert mesh.get("/v1/status")["generation"] == before


def test_signals_of_both_sides(mesh: LocalMesh, web: Instance, reviews: list[Instance]) -> None:
    for _ in range(20):
        web.client.get("http://reviews/")

    def is_counted() -> bool:
        rows = mesh.get("/v1/signals", window_s=60)["edges"]
        seen = {
            r["seen_by"]: r
            for r in rows
            if (r["source"], r["destination"]) == ("default/web", "default/reviews")
        }
        return len(seen) == 2 and all(
            r["codes"].get("200", 0) >= 20 and r["p99_ms"] and r["mtls"] for r in seen.values()
        )

    mesh.wait(is_counted, "the calls were not counted on both sides", 15)


def test_status_is_told_as_a_table_and_as_json(
    mesh: LocalMesh, web: Instance, reviews: list[Instance]
) -> None:
    command = [sys.executable, "-m", "ripstop", "status"]
    table = subprocess.run(command, env=mesh.env, capture_output=True, text=True, check=True).stdout
    assert "default/web/web-0" in table and "current" in table
    found = json.loads(
        subprocess.run([*command, "--json"], env=mesh.env, capture_output=True, text=True, check=True).stdout
    )
    assert {n["node"].split("/")[1] for n in found["nodes"]} == {"web", "reviews"}


def test_an_audit_counts_and_refuses_nothing(mesh: LocalMesh, web: Instance, reviews: list[Instance]) -> None:
    mesh.apply("""
apiVersion: ripstop.dev/v1
kind: AuthorizationPolicy
metadata: {name: try-out}
spec: {targetRefs: [{kind: Service, name: web}], action: Audit, audits: Deny, rules: [{from: {services: [reviews]}}]}
""")
    assert reviews[0].client.get("http://web/").status_code == 200
    metrics = re.search(r"http://\S+/metrics", web.log.read_text())
    assert metrics

    def is_counted() -> bool:
        lines = httpx.get(metrics[0]).text.splitlines()
        return any(
            "rbac_shadow_denied" in line and "audit_deny_" in line and line.endswith(" 1") for line in lines
        )

    mesh.wait(is_counted, "the audit was not counted", 10)

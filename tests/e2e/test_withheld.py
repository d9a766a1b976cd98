"""A document that a sidecar could not run does no harm: it is not sent, and `apply --wait` says where it is wrong."""

from __future__ import annotations

import pytest

from ripstop.model.workload import DataPlaneKind
from ripstop.testing import Instance, LocalMesh

pytestmark = pytest.mark.e2e

ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: shelf}}
spec:
  parentRefs: [{{kind: Service, group: "", name: shelf}}]
  rules:
  - matches: [{{headers: [{{name: x-user, type: RegularExpression, value: "{pattern}"}}]}}]
    filters: [{{type: ResponseHeaderModifier, responseHeaderModifier: {{set: [{{name: x-matched, value: "{mark}"}}]}}}}]
    backendRefs: [{{name: shelf, port: 80}}]
"""
LARGE = "((a{1,100}){1,100}){1,10}"
"""Sound as it is written, but it would take more memory than the native data plane gives to one expression."""


@pytest.fixture
def shelf(mesh: LocalMesh, data_plane: DataPlaneKind) -> Instance:
    if data_plane is not DataPlaneKind.NATIVE:
        pytest.skip("an Envoy refuses by itself")
    return mesh.run("shelf")


def test_a_route_that_no_data_plane_can_run_leaves_the_old_one_in_place(
    mesh: LocalMesh, shelf: Instance
) -> None:
    def marked() -> str | None:
        return shelf.client.get("http://shelf/", headers={"x-user": "7"}).headers.get("x-matched")

    def refusals() -> list[str]:
        (node,) = mesh.get("/v1/status")["nodes"]
        return [nack["message"] for nack in node["nacks"]]

    assert mesh.apply(ROUTE.format(pattern="[0-9]", mark="old"))["rollout"]["refused"] == []
    assert marked() == "old"
    rollout = mesh.apply(ROUTE.format(pattern=LARGE, mark="new"))["rollout"]
    (refusal,) = rollout["refused"]
    assert rollout["done"] and refusal["names"] == ["out/default/shelf"]
    assert "not sent" in refusal["message"] and "spec.rules[0].matches[0]" in refusal["message"]
    assert (marked(), refusals()) == ("old", [refusal["message"]])
    assert mesh.apply(ROUTE.format(pattern="7", mark="newest"))["rollout"]["refused"] == []
    assert (marked(), refusals()) == ("newest", [])

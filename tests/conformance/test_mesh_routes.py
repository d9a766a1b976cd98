"""Routes with a Service as parent: producer and consumer routes, ports, splits (GAMMA cases)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from conformance_documents import grant, http_route

from ripstop.testing import Instance

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def callers(world: Any) -> dict[str, Instance]:
    """One of each namespace."""
    return {"default": world.backends["one"], "red": world.backends["far"]}


def who(caller: Instance, url: str, **more: Any) -> str:
    answer = caller.client.get(url, **more)
    return str(answer.json()["service"]) if answer.status_code == 200 else str(answer.status_code)


def mesh_route(name: str, rules: list[dict[str, Any]], service: str, **more: Any) -> str:
    return http_route(
        name,
        rules,
        parent={"group": "", "kind": "Service", "name": service, **more.pop("parent", {})},
        **more,
    )


def to(name: str, **more: Any) -> dict[str, Any]:
    return {"backendRefs": [{"name": name, "port": 80, **more}]}


def test_a_producer_route_is_for_every_caller(world: Any, callers: dict[str, Instance]) -> None:
    with world.documents(mesh_route("producer", [to("three")], "two")):
        assert who(callers["default"], "http://two/") == "default/three"
        assert who(callers["red"], "http://two.default/") == "default/three"
    assert who(callers["default"], "http://two/") == "default/two"


def test_a_consumer_route_is_for_its_own_namespace(world: Any, callers: dict[str, Instance]) -> None:
    text = mesh_route(
        "consumer",
        [to("three", namespace="default")],
        "two",
        parent={"namespace": "default"},
        namespace="red",
    )
    with world.documents(text + grant("default", "red")):
        assert who(callers["red"], "http://two.default/") == "default/three"
        assert who(callers["default"], "http://two/") == "default/two"


def test_a_route_for_one_port(world: Any, callers: dict[str, Instance]) -> None:
    port = world.backends["two"].port
    with world.documents(mesh_route("port", [to("three")], "two", parent={"port": 80})):
        assert who(callers["default"], "http://two/") == "default/three"
        assert who(callers["default"], f"http://two:{port}/") == "default/two"


def test_no_match_is_404(world: Any, callers: dict[str, Instance]) -> None:
    rule = {"matches": [{"path": {"value": "/only"}}], **to("two")}
    with world.documents(mesh_route("only", [rule], "two")):
        assert who(callers["default"], "http://two/only") == "default/two"
        assert who(callers["default"], "http://two/else") == "404"


def test_a_split_by_weight(world: Any, callers: dict[str, Instance]) -> None:
    backends = [{"name": "two", "port": 80, "weight": 70}, {"name": "three", "port": 80, "weight": 30}]
    with world.documents(mesh_route("split", [{"backendRefs": backends}], "two")):
        counts = Counter(who(callers["default"], "http://two/") for _ in range(300))
    assert set(counts) == {"default/two", "default/three"}
    assert 50 <= counts["default/three"] <= 130, counts


def test_a_route_to_a_namespace_that_grants_nothing(world: Any, callers: dict[str, Instance]) -> None:
    with world.documents(mesh_route("ungranted", [to("far", namespace="red")], "two")):
        assert who(callers["default"], "http://two/") == "500"


def test_a_named_rule_has_a_policy_of_its_own(world: Any, callers: dict[str, Instance]) -> None:
    rules = [
        {"name": "slow", "matches": [{"path": {"value": "/slow"}}], **to("two")},
        {"name": "rest", **to("two")},
    ]
    policy = """
---
apiVersion: ripstop.dev/v1
kind: TrafficPolicy
metadata: {name: slow}
spec:
  targetRefs: [{kind: HTTPRoute, name: named, sectionName: slow}]
  timeouts: {request: 200ms}
"""
    world.backends["two"].behave(delay_s=0.8)
    try:
        with world.documents(mesh_route("named", rules, "two") + policy):
            assert who(callers["default"], "http://two/slow") == "504"
            assert who(callers["default"], "http://two/other") == "default/two"
    finally:
        world.backends["two"].behave()

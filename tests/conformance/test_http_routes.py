"""HTTPRoute at a gateway: matches and their order, hostnames, backends (cases from the Gateway API specification)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from conformance_documents import grant, http_route

pytestmark = pytest.mark.e2e
Ask = tuple[dict[str, Any], str]


def to(name: str, **more: Any) -> dict[str, Any]:
    return {"backendRefs": [{"name": name, "port": 80, **more}]}


def path(value: str, kind: str = "PathPrefix") -> dict[str, Any]:
    return {"path": {"type": kind, "value": value}}


def header(**values: str) -> dict[str, Any]:
    return {"headers": [{"name": name.replace("_", "-"), "value": value} for name, value in values.items()]}


PREFIXES = http_route(
    "prefixes",
    [
        {"matches": [path("/")], **to("one")},
        {"matches": [path("/foo")], **to("two")},
        {"matches": [path("/foo/bar/")], **to("three")},
        {"matches": [path("/exact", "Exact")], **to("two")},
        {"matches": [path("/[a-z]+/[0-9]+", "RegularExpression")], **to("three")},
    ],
)
METHODS = http_route(
    "methods",
    [
        {"matches": [{"method": "POST"}], **to("two")},
        {"matches": [header(version="two")], **to("three")},
        {"matches": [{**header(version="two"), "method": "POST"}], **to("one")},
        {"matches": [{"queryParams": [{"name": "animal", "value": "whale"}]}], **to("two")},
        {
            "matches": [
                {
                    "queryParams": [
                        {"name": "animal", "value": "whale"},
                        {"name": "color", "value": "b.*", "type": "RegularExpression"},
                    ]
                }
            ],
            **to("three"),
        },
        {
            "matches": [{"headers": [{"name": "kind", "value": "[0-9]+", "type": "RegularExpression"}]}],
            **to("two"),
        },
    ],
)
# Two routes: the longer prefix wins wherever it is written; equal ones go by name.
ACROSS = http_route(
    "b-route", [{"matches": [path("/a/long/prefix")], **to("one")}, {"matches": [path("/tie")], **to("two")}]
) + http_route(
    "a-route", [{"matches": [path("/a")], **to("two")}, {"matches": [path("/tie")], **to("three")}]
)
CASES: list[tuple[str, str, list[Ask]]] = [
    (
        "prefixes are compared by element, the longest first",
        PREFIXES,
        [
            ({"path": "/"}, "default/one"),
            ({"path": "/foo"}, "default/two"),
            ({"path": "/foo/"}, "default/two"),
            ({"path": "/foo?x=1"}, "default/two"),
            ({"path": "/foobar"}, "default/one"),
            ({"path": "/foo/bar"}, "default/three"),
            ({"path": "/foo/bar/baz"}, "default/three"),
            ({"path": "/foo/barbaz"}, "default/two"),
            ({"path": "/exact"}, "default/two"),
            ({"path": "/exact/"}, "default/one"),
            ({"path": "/abc/123"}, "default/three"),
            ({"path": "/abc/123/x"}, "default/one"),
        ],
    ),
    (
        "methods, headers and query parameters",
        METHODS,
        [
            ({"method": "POST"}, "default/two"),
            ({"headers": {"version": "two"}}, "default/three"),
            ({"headers": {"VERSION": "two"}}, "default/three"),
            ({"headers": {"version": "TWO"}}, "404"),
            ({"method": "POST", "headers": {"version": "two"}}, "default/one"),
            ({"path": "/?animal=whale"}, "default/two"),
            ({"path": "/?animal=whale&color=blue"}, "default/three"),
            ({"path": "/?animal=dolphin"}, "404"),
            ({"headers": {"kind": "42"}}, "default/two"),
            ({"headers": {"kind": "42a"}}, "404"),
            ({}, "404"),
        ],
    ),
    (
        "several routes are one list",
        ACROSS,
        [
            ({"path": "/a/long/prefix/x"}, "default/one"),
            ({"path": "/a/other"}, "default/two"),
            ({"path": "/tie"}, "default/three"),
        ],
    ),
    (
        "backends that cannot be used are 500",
        http_route(
            "broken",
            [
                {"matches": [path("/nobody")], **to("nobody")},
                {"matches": [path("/port")], "backendRefs": [{"name": "one", "port": 4711}]},
                {"matches": [path("/kind")], "backendRefs": [{"name": "one", "port": 80, "kind": "Bucket"}]},
                {"matches": [path("/zero")], "backendRefs": [{"name": "one", "port": 80, "weight": 0}]},
                {"matches": [path("/none")]},
                {"matches": [path("/far")], **to("far", namespace="red")},
            ],
        ),
        [({"path": f"/{name}"}, "500") for name in ("nobody", "port", "kind", "zero", "none", "far")],
    ),
    (
        "another namespace's backend by its grant",
        http_route("far", [to("far", namespace="red")]) + grant("red", "default"),
        [({}, "red/far")],
    ),
    (
        "a grant for another namespace is none",
        http_route("far", [to("far", namespace="red")]) + grant("red", "green"),
        [({}, "500")],
    ),
    (
        "hostnames: whole names before wildcards before none",
        http_route("any", [to("one")])
        + http_route("wild", [to("two")], hostnames=["*.example.org"])
        + http_route("exact", [to("three")], hostnames=["a.example.org", "b.example.org"]),
        [
            ({"host": "other.net"}, "default/one"),
            ({"host": "x.example.org"}, "default/two"),
            ({"host": "x.y.example.org"}, "default/two"),
            ({"host": "example.org"}, "default/one"),
            ({"host": "a.example.org"}, "default/three"),
            ({"host": "b.example.org:8080"}, "default/three"),
        ],
    ),
    (
        "listeners of one port are apart by hostname",
        http_route("any", [{"matches": [path("/any")], **to("one")}], section="any")
        + http_route("wild", [{"matches": [path("/wild")], **to("two")}], section="wild")
        + http_route("exact", [{"matches": [path("/exact")], **to("three")}], section="exact"),
        [
            ({"listener": "many", "host": "other.net", "path": "/any"}, "default/one"),
            ({"listener": "many", "host": "other.net", "path": "/wild"}, "404"),
            ({"listener": "many", "host": "x.example.com", "path": "/wild"}, "default/two"),
            ({"listener": "many", "host": "x.example.com", "path": "/any"}, "404"),
            ({"listener": "many", "host": "very.example.com", "path": "/exact"}, "default/three"),
            ({"listener": "many", "host": "very.example.com", "path": "/wild"}, "404"),
        ],
    ),
    (
        "hostnames are intersected with the listener's",
        http_route(
            "meets", [to("one")], hostnames=["other.net", "a.example.com", "*.example.com"], section="wild"
        ),
        [
            ({"listener": "many", "host": "a.example.com"}, "default/one"),
            ({"listener": "many", "host": "z.example.com"}, "default/one"),
            ({"listener": "many", "host": "other.net"}, "404"),
        ],
    ),
    (
        "routes of other namespaces where the listener allows them",
        http_route("from-red", [to("far")], namespace="red", parent_namespace="default"),
        [
            ({"listener": "http"}, "red/far"),
            ({"listener": "same"}, "404"),
            ({"listener": "picked"}, "red/far"),
        ],
    ),
]


@pytest.mark.parametrize(("documents", "asks"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_requests_go_where_the_specification_says(world: Any, documents: str, asks: list[Ask]) -> None:
    with world.documents(documents):
        found = [(ask, world.who(world.ask(**ask))) for ask, _ in asks]
    assert found == asks


def test_weights_are_shares_and_unusable_shares_fail(world: Any) -> None:
    backends = [
        {"name": "one", "port": 80, "weight": 50},
        {"name": "two", "port": 80, "weight": 30},
        {"name": "three", "port": 80, "weight": 0},
        {"name": "nobody", "port": 80, "weight": 20},
    ]
    with world.documents(http_route("weights", [{"backendRefs": backends}])):
        counts = Counter(world.who(world.ask()) for _ in range(500))
    assert set(counts) == {"default/one", "default/two", "500"}
    for name, share in (("default/one", 0.5), ("default/two", 0.3), ("500", 0.2)):
        assert abs(counts[name] / 500 - share) < 0.1, counts


def test_conditions_say_why_a_route_does_not_hold(world: Any) -> None:
    text = http_route("odd", [to("nobody")], section="nowhere") + http_route("lost", [to("nobody")])
    with world.documents(text):
        told = {(c["document"], c["type"], c["reason"]) for c in world.mesh.get("/v1/status")["conditions"]}
    assert ("HTTPRoute default/odd", "Accepted", "NoMatchingParent") in told
    assert ("HTTPRoute default/lost", "ResolvedRefs", "BackendNotFound") in told

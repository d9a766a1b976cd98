"""HTTPRoute filters, timeouts, retries, sessions at a gateway (cases from the Gateway API specification)."""

from __future__ import annotations

import time
from typing import Any

import pytest
from conformance_documents import http_route

pytestmark = pytest.mark.e2e
ONE = {"backendRefs": [{"name": "one", "port": 80}]}


def match(value: str, kind: str = "PathPrefix") -> dict[str, Any]:
    return {"matches": [{"path": {"type": kind, "value": value}}]}


def redirect(**fields: Any) -> dict[str, Any]:
    return {"filters": [{"type": "RequestRedirect", "requestRedirect": fields}]}


def rewrite(**fields: Any) -> dict[str, Any]:
    return {"filters": [{"type": "URLRewrite", "urlRewrite": fields}], **ONE}


def prefix(value: str) -> dict[str, Any]:
    return {"type": "ReplacePrefixMatch", "replacePrefixMatch": value}


def full(value: str) -> dict[str, Any]:
    return {"type": "ReplaceFullPath", "replaceFullPath": value}


def test_headers_are_set_added_and_removed(world: Any) -> None:
    change = {
        "set": [{"name": "X-Set", "value": "set"}],
        "add": [{"name": "X-Add", "value": "added"}],
        "remove": ["X-Gone"],
    }
    rule = {
        "filters": [
            {"type": "RequestHeaderModifier", "requestHeaderModifier": change},
            {
                "type": "ResponseHeaderModifier",
                "responseHeaderModifier": {
                    "set": [{"name": "X-Answer", "value": "50%"}],
                    "remove": ["server"],
                },
            },
        ],
        **ONE,
    }
    sent = {"x-set": "old", "x-add": "mine", "x-gone": "1"}
    with world.documents(http_route("headers", [rule])):
        answer = world.ask(headers=sent)
    seen = answer.json()["headers"]
    assert (seen["x-set"], "x-gone" in seen) == ("set", False)
    assert "added" in seen["x-add"]
    assert answer.headers["x-answer"] == "50%"
    assert "server" not in answer.headers


def test_a_backend_has_filters_of_its_own(world: Any) -> None:
    modifier = {"set": [{"name": "X-Backend", "value": "one"}]}
    backend = {
        "name": "one",
        "port": 80,
        "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": modifier}],
    }
    with world.documents(http_route("own", [{"backendRefs": [backend]}])):
        assert world.ask().json()["headers"]["x-backend"] == "one"


REDIRECTS = [
    ({"scheme": "https"}, "/a?x=1", "https://example.org/a?x=1", 302),
    ({"hostname": "other.net"}, "/a", "http://other.net:{port}/a", 302),
    ({"port": 8083, "hostname": "other.net"}, "/a", "http://other.net:8083/a", 302),
    ({"scheme": "https", "port": 443, "hostname": "other.net"}, "/a", "https://other.net/a", 302),
    (
        {"hostname": "other.net", "scheme": "http", "port": 80, "statusCode": 301},
        "/a",
        "http://other.net/a",
        301,
    ),
    ({"scheme": "https", "path": full("/full")}, "/a/b?x=1", "https://example.org/full?x=1", 302),
    ({"scheme": "https", "path": prefix("/new")}, "/a/b", "https://example.org/new/b", 302),
    ({"scheme": "https", "path": prefix("/")}, "/a/b", "https://example.org/b", 302),
    ({"scheme": "https", "statusCode": 307}, "/a", "https://example.org/a", 307),
    ({"scheme": "https", "statusCode": 308}, "/a", "https://example.org/a", 308),
    ({"scheme": "https", "statusCode": 303}, "/a", "https://example.org/a", 303),
]


@pytest.mark.parametrize(("fields", "path", "location", "status"), REDIRECTS)
def test_redirects(world: Any, fields: dict[str, Any], path: str, location: str, status: int) -> None:
    with world.documents(http_route("redirect", [{**match("/a"), **redirect(**fields)}])):
        answer = world.ask(path)
    wanted = location.format(port=world.ports["http"])
    assert (answer.status_code, answer.headers["location"]) == (status, wanted)


REWRITES = [
    ("/one", {"path": prefix("/two")}, "/one/x?q=1", "/two/x?q=1"),
    ("/one", {"path": prefix("/two")}, "/one", "/two"),
    ("/one", {"path": prefix("/")}, "/one/x", "/x"),
    ("/one", {"path": prefix("/")}, "/one", "/"),
    ("/one/", {"path": prefix("/two/")}, "/one/x", "/two/x"),
    ("/", {"path": prefix("/two")}, "/x", "/two/x"),
    ("/one", {"path": full("/all")}, "/one/x/y?q=1", "/all?q=1"),
]


@pytest.mark.parametrize(("matched", "fields", "asked", "seen"), REWRITES)
def test_paths_are_rewritten(world: Any, matched: str, fields: dict[str, Any], asked: str, seen: str) -> None:
    with world.documents(http_route("rewrite", [{**match(matched), **rewrite(**fields)}])):
        assert world.ask(asked).json()["path"] == seen


def test_the_host_is_rewritten(world: Any) -> None:
    with world.documents(http_route("host", [rewrite(hostname="inner.example")])):
        assert world.ask().json()["host"] == "inner.example"


@pytest.mark.parametrize(
    ("share", "least", "most"),
    [
        ({}, 40, 40),
        ({"percent": 50}, 8, 32),
        ({"percent": 0}, 0, 0),
        ({"fraction": {"numerator": 1, "denominator": 4}}, 1, 22),
    ],
)
def test_requests_are_mirrored(world: Any, share: dict[str, Any], least: int, most: int) -> None:
    mirror = {
        "type": "RequestMirror",
        "requestMirror": {"backendRef": {"name": "three", "port": 80}, **share},
    }

    def mirrored() -> int:
        return int(world.backends["three"].seen())

    with world.documents(http_route("mirror", [{"filters": [mirror], **ONE}])):
        before = mirrored()
        assert {world.who(world.ask()) for _ in range(40)} == {"default/one"}
        # Copies come after the answers that they are copies for; more than `most` would come with the others.
        patience = time.monotonic() + 10
        while mirrored() - before < least and time.monotonic() < patience:
            time.sleep(0.1)
        time.sleep(0.5)
        assert least <= mirrored() - before <= most


def test_cors_is_answered_by_the_gateway(world: Any) -> None:
    cors = {
        "allowOrigins": ["https://shop.example", "https://*.good.example"],
        "allowMethods": ["GET", "PUT"],
        "allowHeaders": ["x-token"],
        "exposeHeaders": ["x-seen"],
        "allowCredentials": True,
        "maxAge": 60,
    }
    asked = {"access-control-request-method": "PUT", "access-control-request-headers": "x-token"}
    with world.documents(http_route("cors", [{"filters": [{"type": "CORS", "cors": cors}], **ONE}])):
        for origin in ("https://shop.example", "https://a.good.example"):
            answer = world.ask(method="OPTIONS", headers={"origin": origin, **asked})
            assert answer.headers["access-control-allow-origin"] == origin
            assert "PUT" in answer.headers["access-control-allow-methods"]
            assert answer.headers["access-control-max-age"] == "60"
            assert answer.headers["access-control-allow-credentials"] == "true"
        plain = world.ask(headers={"origin": "https://shop.example"})
        assert plain.headers["access-control-expose-headers"] == "x-seen"
        foreign = world.ask(method="OPTIONS", headers={"origin": "https://evil.example", **asked})
        assert "access-control-allow-origin" not in foreign.headers


def test_a_preflight_finds_the_rule_of_the_method_that_it_asks_about(world: Any) -> None:
    cors = {"allowOrigins": ["https://shop.example"], "allowMethods": ["PUT"]}
    rule = {"matches": [{"method": "PUT"}], "filters": [{"type": "CORS", "cors": cors}], **ONE}
    with world.documents(http_route("cors-put", [rule])):
        before = world.backends["one"].seen()
        headers = {"origin": "https://shop.example", "access-control-request-method": "PUT"}
        answer = world.ask(method="OPTIONS", headers=headers)
        assert answer.status_code in (200, 204)
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        assert answer.headers["access-control-allow-methods"] == "PUT"
        other = world.ask(method="OPTIONS", headers={**headers, "access-control-request-method": "DELETE"})
        assert other.status_code == 404
        assert world.backends["one"].seen() == before, "a preflight is not the application's to answer"


@pytest.mark.parametrize(
    ("timeouts", "delay_s", "status"),
    [
        ({"request": "300ms"}, 1.5, 504),
        ({"backendRequest": "300ms"}, 1.5, 504),
        ({"request": "5s"}, 0.1, 200),
        ({"request": "0s"}, 0.5, 200),
    ],
)
def test_timeouts(world: Any, timeouts: dict[str, str], delay_s: float, status: int) -> None:
    world.backends["two"].behave(delay_s=delay_s)
    rule = {"timeouts": timeouts, "backendRefs": [{"name": "two", "port": 80}]}
    try:
        with world.documents(http_route("timeouts", [rule])):
            assert world.ask().status_code == status
    finally:
        world.backends["two"].behave()


def test_retries_of_a_rule(world: Any) -> None:
    two = world.backends["two"]
    two.behave(status=503)
    rule = {
        "retry": {"codes": [503], "attempts": 3, "backoff": "10ms"},
        "backendRefs": [{"name": "two", "port": 80}],
    }
    try:
        with world.documents(http_route("retry", [rule])):
            before = two.seen()
            assert world.ask().status_code == 503
            assert two.seen() - before == 4
            before = two.seen()
            assert world.ask(method="POST").status_code == 503
            assert two.seen() - before == 1
    finally:
        two.behave()


def test_a_session_stays_on_its_endpoint(world: Any) -> None:
    session = {"sessionName": "shop", "type": "Cookie", "absoluteTimeout": "1h"}
    rule = {"sessionPersistence": session, **ONE}
    with world.documents(http_route("session", [rule])):
        answer = world.ask()
        assert answer.headers["set-cookie"].startswith("shop=")
        cookie = answer.headers["set-cookie"].split(";")[0]
        assert world.ask(headers={"cookie": cookie}).status_code == 200
        world.client.cookies.clear()

"""What the native data plane would refuse is not sent to it; the verdict is the data plane's own."""

from __future__ import annotations

from dataclasses import replace

from ripstop import _core
from ripstop.control.preflight import Preflight, concerns
from ripstop.ids import NodeId
from ripstop.model.workload import DataPlaneKind, NodeKind, Registration
from ripstop.xds import pb, type_urls
from ripstop.xds.snapshot import Resource, Snapshot


def routes(name: str, pattern: str) -> Resource:
    """A RouteConfiguration whose second route has a header matched by `pattern`, of line 14."""
    header = {"name": "x", "string_match": {"safe_regex": {"regex": pattern}}}
    by_header = pb.Route(match={"prefix": "/", "headers": [header]}, direct_response={"status": 204})
    by_header.metadata.filter_metadata["ripstop"].update({"source": "routes.yaml:14 spec.rules[0]"})
    first = pb.Route(match={"path": "/a"}, direct_response={"status": 204})
    host = pb.VirtualHost(name="v", domains=["*"], routes=[first, by_header])
    made = pb.RouteConfiguration(name=name, virtual_hosts=[host])
    return Resource.of(type_urls.ROUTE, name, pb.to_bytes(made))


def snapshot(*resources: Resource, generation: int = 1) -> Snapshot:
    return Snapshot.build(generation, resources)


SOUND, BAD = routes("shop", "a+"), routes("shop", "(?=a)")


def test_a_sound_snapshot_passes_as_it_is() -> None:
    given = snapshot(SOUND, routes("other", "b"))
    passed, refused = Preflight().passed(given, None)
    assert passed is given and refused == ()


def test_what_would_be_refused_stays_as_it_was_and_the_rest_goes_on() -> None:
    preflight, new = Preflight(), routes("other", "c")
    before, _ = preflight.passed(snapshot(SOUND, routes("other", "b")), None)
    passed, refused = preflight.passed(snapshot(BAD, new, generation=2), before)
    assert passed.of_type(type_urls.ROUTE) == {"shop": SOUND, "other": new}
    assert [(nack.names, nack.generation) for nack in refused] == [(("shop",), 2)]


def test_what_was_never_sound_is_not_sent_at_all() -> None:
    passed, refused = Preflight().passed(snapshot(BAD), None)
    assert passed.of_type(type_urls.ROUTE) == {}
    assert len(refused) == 1


def test_the_refusal_names_the_field_and_the_line_of_the_document() -> None:
    _, (refused,) = Preflight().passed(snapshot(BAD), None)
    assert refused.message.startswith("not sent")
    assert "virtual_hosts[0].routes[1].match.headers[0]" in refused.message
    assert "routes.yaml:14 spec.rules[0]" in refused.message


def test_nobody_is_asked_twice_about_one_content() -> None:
    asked: list[bytes] = []

    def check(type_url: str, body: bytes) -> list[tuple[str, str]]:
        asked.append(body)
        return _core.check(type_url, body)

    preflight = Preflight(check=check)
    for generation in range(3):
        preflight.passed(snapshot(SOUND, replace(BAD, name="other"), generation=generation), None)
    assert len(asked) == 2


def test_only_native_proxies_are_looked_after() -> None:
    node = NodeId("default", "web", "0")
    native = Registration(node=node, data_plane=DataPlaneKind.NATIVE)
    assert concerns(native)
    assert not concerns(replace(native, data_plane=DataPlaneKind.ENVOY))
    assert not concerns(replace(native, kind=NodeKind.GRPC))

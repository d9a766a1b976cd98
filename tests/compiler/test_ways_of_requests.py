"""Where requests go by what the compiler makes: asked of the native data plane's own decisions."""

from __future__ import annotations

from typing import Any

import pytest
from compiler_scenarios import BY_NAME, SCENARIOS, Scenario
from mesh_worlds import endpoints, mesh_routes, node, rule, service, sid, to, topology

from ripstop._core import Match, Rules, Snapshot
from ripstop.compiler import Compiler
from ripstop.model.policy import EffectivePolicy, Fallback, FallbackTrigger, Retry
from ripstop.model.topology import HttpMatch, Topology, ValueMatch
from ripstop.model.workload import NodeKind, Registration

PRODUCTPAGE = "spiffe://ripstop.local/ns/default/sa/productpage"


def as_written(port: int) -> int:
    return port


def core_of(topology: Topology, registration: Registration) -> Snapshot:
    made = Compiler().compile(topology, registration)
    return Snapshot([(r.type_url, r.body) for by_name in made.resources.values() for r in by_name.values()])


def world(name: str) -> Snapshot:
    return core_of(*BY_NAME[name].make(as_written))


def called(name: str, authority: str = "reviews", path: str = "/", **fields: Any) -> Match:
    return world(name).match("outbound", fields.pop("method", "GET"), authority, path, **fields)


def cluster(found: Match) -> str:
    assert found.forward is not None, found
    return found.forward.cluster


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_native_data_plane_takes_all_that_a_proxy_is_sent(scenario: Scenario) -> None:
    topology, registration = scenario.make(as_written)
    if registration.kind is not NodeKind.GRPC:
        assert core_of(topology, registration).faults == []


# --- routes ---


def test_testers_go_to_the_canary_and_others_by_weight() -> None:
    assert cluster(called("canary", headers=[("X-Tester", "yes")])) == "out/default/reviews-v2/80"
    split = called("canary", headers=[("x-tester", "no")])
    assert split.forward is not None
    assert split.forward.shares == [("out/default/reviews-v1/80", 90), ("out/default/reviews-v2/80", 10)]
    assert {cluster(called("canary", random=r)) for r in (0, 89)} == {"out/default/reviews-v1/80"}
    tagged = called("canary", random=90).forward
    assert tagged is not None
    assert ("x-canary", "100%") in tagged.headers


def test_a_route_that_was_passed_over_says_why_and_which_line_it_is() -> None:
    found = called("canary", headers=[("x-tester", "no")])
    first = found.candidates[0]
    assert first.miss is not None
    assert (first.miss.part, first.miss.name, first.miss.wanted, first.miss.found) == (
        "header",
        "x-tester",
        '"yes"',
        "no",
    )
    assert first.metadata["ripstop"]["source"] == "mesh.yaml:1 spec"
    assert found.route is not None
    assert found.candidates[found.route].miss is None


def test_a_request_is_sent_on_as_the_filters_say() -> None:
    sent = called("filters", path="/v1/books?id=1", method="PUT").forward
    assert sent is not None
    assert (sent.authority, sent.path) == ("v2.example.com", "/v2/books?id=1")
    assert ("x-a", "1") in sent.headers
    assert [name for name, _ in sent.mirrors] == ["out/default/ratings/80"]


def test_a_prefix_that_is_stripped_leaves_a_slash() -> None:
    for path in ("/strip", "/strip/"):
        sent = called("filters", path=path).forward
        assert sent is not None
        assert sent.path == "/"


def test_a_redirect_answers_with_its_place() -> None:
    found = called("filters", path="/old?a=b")
    assert (found.outcome, found.status, found.location) == ("answered", 301, "https://reviews/new?a=b")


def test_backends_that_cannot_be_used_are_answered_500() -> None:
    gone = called("filters", path="/gone")
    assert (gone.outcome, gone.status) == ("answered", 500)
    half = {called("filters", path="/half", random=share).status for share in (0, 1)}
    assert half == {0, 500}


def test_nothing_in_the_mesh_of_that_name_is_404() -> None:
    found = called("canary", "nobody")
    assert (found.outcome, found.status, found.scope) == ("not_found", 404, "nobody")
    assert found.route_configuration is None


def test_a_service_is_found_by_each_of_its_names_and_at_its_port_only() -> None:
    for authority in ("reviews", "reviews.default", "reviews.default.mesh", "reviews:80"):
        assert cluster(called("one_service", authority)) == "out/default/reviews/80"
    assert called("one_service", "reviews:81").status == 404


def test_bytes_of_a_tcp_service_are_tunnelled_by_weight() -> None:
    found = called("tcp", "db:5432", method="CONNECT")
    assert found.forward is not None
    assert found.forward.shares == [("out/default/db/5432", 3), ("out/default/db-new/5432", 1)]
    local = world("tcp").match("upstream/15432", random=2**64 - 1)
    assert (local.outcome, cluster(local)) == ("tunnelled", "out/default/db-new/5432")


def test_requests_that_may_be_repeated_are_and_others_are_not() -> None:
    policy = EffectivePolicy(retry=Retry(attempts=2, codes=(503,)))
    made = topology([service("reviews", policy=policy)], {"reviews": endpoints("reviews", "127.0.0.1:1")})
    core = core_of(made, node("caller", as_written))
    get = core.match("outbound", "GET", "reviews").forward
    assert get is not None and get.retry is not None
    assert (get.retry.num_retries, 503 in get.retry.statuses) == (2, True)
    post = core.match("outbound", "POST", "reviews").forward
    assert post is not None
    assert post.retry is None or 503 not in post.retry.statuses
    keyed = core.match("outbound", "POST", "reviews", headers=[("idempotency-key", "1")]).forward
    assert keyed is not None and keyed.retry is not None
    assert keyed.retry.by_key


def test_a_fallback_chain_is_told_hop_by_hop() -> None:
    found = called("fallback").forward
    assert found is not None
    assert [(hop.service, hop.on) for hop in found.fallbacks] == [
        ("default/reviews-dr", ["noHealthy"]),
        ("default/archive", ["noHealthy", "breakerOpen"]),
    ]
    assert found.members[0] == "out/default/reviews/80"


def test_a_policy_of_a_route_counts_before_the_service_s() -> None:
    chain = (Fallback(service=sid("spare"), triggers=frozenset({FallbackTrigger.TIMEOUT})),)
    own = rule(
        "HTTPRoute/default/reviews/0/0",
        to("reviews"),
        match=HttpMatch(headers=(ValueMatch(name="x-a", value="1"),)),
        policy=EffectivePolicy(fallbacks=chain),
    )
    rest = rule("HTTPRoute/default/reviews/1/0", to("reviews"))
    made = topology([service("reviews"), service("spare")], routes=[mesh_routes("reviews", own, rest)])
    core = core_of(made, node("caller", as_written))
    with_policy = core.match("outbound", "GET", "reviews", headers=[("x-a", "1")]).forward
    without = core.match("outbound", "GET", "reviews").forward
    assert with_policy is not None and without is not None
    assert ([hop.on for hop in with_policy.fallbacks], without.fallbacks) == ([["timeout"]], [])


# --- gateways ---


def test_a_hostname_of_a_gateway_keeps_what_is_its_own() -> None:
    """The listener for shop.example.com has no routes: a wider listener's do not stand in for them."""
    core = world("gateway_http")
    listener = "gateway/127.0.0.1/15280"
    own = core.match(listener, "GET", "shop.example.com:15280")
    assert (own.status, own.candidates[0].name) == (404, "no-route")
    assert cluster(core.match(listener, "GET", "a.example.com", "/wild")) == "out/default/reviews/80"
    moved = core.match(listener, "GET", "plain.test", "/secure")
    assert (moved.status, moved.location) == (302, "https://plain.test/secure")


def test_tls_of_a_gateway_is_told_apart_by_its_name() -> None:
    core = world("gateway_https")
    listener = "gateway/127.0.0.1/15443"
    assert core.match(listener, server_name="db.example.com").outcome == "tunnelled"
    shop = core.match(listener, "GET", "shop.example.com", server_name="shop.example.com")
    assert cluster(shop) == "out/default/reviews/80"
    assert core.match(listener, "GET", "a.b", server_name="elsewhere.test").outcome != "forwarded"


# --- authorization ---


def inbound(path: str, *, method: str = "GET", caller: str = PRODUCTPAGE, team: str = "a") -> Match:
    headers = [("x-team", team)] if team else []
    return world("authorization").match("inbound", method, "reviews", path, headers, principals=[caller])


def enforced(found: Match, action: str) -> Rules:
    rules = [r for f in found.filters for r in f.rules if r.action == action and not r.is_shadow]
    (one,) = rules
    return one


def test_who_is_allowed_reaches_the_application_and_the_policy_is_named() -> None:
    found = inbound("/reviews/1")
    assert (found.outcome, cluster(found)) == ("forwarded", "in/8080")
    assert (enforced(found, "ALLOW").policy, enforced(found, "ALLOW").rule) == ("default/callers", 0)


def test_a_denial_names_its_policy() -> None:
    found = inbound("/admin/x")
    assert (found.outcome, found.status) == ("denied", 403)
    assert enforced(found, "DENY").policy == "default/no-admin"


def test_who_is_not_allowed_is_told_the_closest_rule_and_what_it_lacks() -> None:
    found = inbound("/reviews/1", method="POST", team="")
    assert (found.outcome, found.forward) == ("denied", None)
    near = enforced(found, "ALLOW").closest
    assert near is not None
    assert (near.policy, near.rule) == ("default/callers", 1)
    assert [(unmet.part, unmet.found) for unmet in near.unmet] == [("principal", PRODUCTPAGE)]
    near = enforced(inbound("/reviews/1", method="POST"), "ALLOW").closest
    assert near is not None
    assert (near.rule, [(u.part, u.name, u.wanted, u.found) for u in near.unmet]) == (
        0,
        [("header", ":method", '"GET" or "HEAD"', "POST")],
    )


def test_a_caller_without_a_name_of_the_mesh_does_not_come_in() -> None:
    assert world("authorization").match("inbound", authority="reviews").details == "tls_is_required"
    stranger = inbound("/reviews", caller="spiffe://elsewhere/ns/default/sa/productpage")
    assert (stranger.outcome, stranger.details) == ("refused", "client_certificate_has_another_name")


# --- endpoints ---


def test_equal_seeds_pick_alike_and_a_key_keeps_to_one_endpoint() -> None:
    core = world("balancers")
    name = "out/default/maglev/80"
    first, again = (core.pick(name, 100, seed=7).as_dict() for _ in range(2))
    assert first == again
    hashed = called("balancers", "maglev", headers=[("x-user", "7")]).forward
    assert hashed is not None and hashed.hash is not None
    counts = [share.requests for share in core.pick(name, 50, hash=hashed.hash).shares]
    assert sorted(counts)[-1] == 50


def test_the_next_member_of_a_chain_serves_when_the_first_is_ill() -> None:
    core = world("fallback")
    ill = [share.address for share in core.pick("out/default/reviews/80", 1).shares]
    found = core.pick("fb/default/reviews/80", 100, unhealthy=ill)
    assert {share.cluster: share.requests for share in found.shares if share.requests} == {
        "out/default/reviews-dr/8080": 100
    }


# --- what is no question ---


def test_what_cannot_be_asked_is_refused_in_words() -> None:
    core = world("one_service")
    with pytest.raises(KeyError, match="nowhere"):
        core.pick("nowhere", 1)
    for fields in ({"headers": [("a b", "c")]}, {"headers": [("a", "b\r\n")]}, {"remote": "here"}):
        with pytest.raises(ValueError, match=r"is no (header field|address and port)"):
            core.match("outbound", **fields)
    with pytest.raises(ValueError, match="no type of resource"):
        Snapshot([("type.googleapis.com/x.Y", b"")])
    assert core.match("nobody").details == "no_listener"

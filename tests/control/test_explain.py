"""`explain` tells the way of a call, each step with the document line that is responsible."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ripstop.control.explain import Call, Explainer, Explanation
from ripstop.control.explain_steps import Step
from ripstop.control.trial import world
from ripstop.errors import NotFound
from ripstop.ids import ServiceId
from ripstop.model.parse import parse

SHOP = """\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: reviews}
spec:
  parentRefs: [{kind: Service, group: "", name: reviews}]
  rules:
  - matches: [{headers: [{name: x-user, value: "8"}]}]
    backendRefs: [{name: reviews-v2, port: 80}]
  - timeouts: {request: 3s}
    backendRefs: [{name: reviews-v1, port: 80, weight: 90}, {name: reviews-v2, port: 80, weight: 10}]
---
apiVersion: ripstop.dev/v1
kind: AuthorizationPolicy
metadata: {name: readers}
spec:
  targetRefs: [{kind: Service, name: reviews-v1}]
  action: Allow
  rules:
  - {from: {services: [batch]}}
  - {from: {services: [admin]}, to: {methods: [POST], ports: [9999]}}
  - {from: {services: [web]}, to: {methods: [GET], paths: [{prefix: /x}]}}
---
apiVersion: ripstop.dev/v1
kind: AuthorizationPolicy
metadata: {name: no-secrets}
spec:
  targetRefs: [{kind: Service, name: reviews-v2}]
  action: Deny
  rules: [{to: {paths: [{prefix: /secret}]}}]
---
apiVersion: ripstop.dev/v1
kind: TrafficPolicy
metadata: {name: reviews}
spec:
  targetRefs: [{kind: Service, name: reviews}]
  retry: {attempts: 2, codes: [503]}
"""
WEB = ServiceId("default", "web")


def asked(path: str = "/x", authority: str = "reviews", text: str = SHOP, **fields: Any) -> Explanation:
    parsed = parse([("shop.yaml", text)])
    assert parsed.faults == ()
    call = Call(**{"caller": WEB, "authority": authority, "path": path, **fields})
    return Explainer().explain(world(parsed.documents), call)


def steps(found: Explanation, side: str, kind: str) -> list[Step]:
    return [step for hop in found.hops if hop.side == side for step in hop.steps if step.kind == kind]


def test_a_call_is_followed_from_the_caller_to_the_application() -> None:
    found = asked()
    assert (found.outcome, [hop.node for hop in found.hops]) == (
        "forwarded",
        ["default/web/assumed", "default/reviews-v1/trial"],
    )
    (allowed,) = steps(found, "callee", "rules")
    assert allowed.text.startswith("AuthorizationPolicy default/readers allows")
    assert allowed.source == "shop.yaml:21 spec.rules[2]"


def test_a_route_that_was_passed_over_says_why_once_with_its_line() -> None:
    (passed,) = steps(asked(headers=(("x-user", "7"),)), "caller", "passed_over")
    assert 'header x-user is "7", wanted "8"' in passed.text
    assert passed.source == "shop.yaml:7 spec.rules[0].matches[0]"


def test_the_route_taken_and_each_policy_have_their_lines() -> None:
    found = asked()
    (route,) = steps(found, "caller", "route")
    assert route.source.startswith("shop.yaml:9 spec.rules[1]")
    by_text = {step.text.partition(" ")[0]: step.source for step in steps(found, "caller", "policy")}
    assert by_text["at"].startswith("shop.yaml:9")  # the timeout is the rule's own
    assert by_text["repeated"].startswith("shop.yaml:36 spec.retry")


def test_a_rule_that_is_taken_is_not_passed_over_as_well() -> None:
    """For a POST the first of its routes, which may be repeated freely, does not match."""
    found = asked(method="POST", path="/")
    assert steps(found, "caller", "route")[0].text.startswith("HTTPRoute/default/reviews/1/0")
    assert [step.text for step in steps(found, "caller", "passed_over") if "reviews/1/" in step.text] == []


def test_what_no_document_sets_is_called_a_default() -> None:
    tester = asked(headers=(("x-user", "8"),))
    assert [s.source for s in steps(tester, "caller", "policy") if s.text.startswith("at most")] == [
        "default"
    ]


def test_a_denial_names_the_closest_rule_and_what_it_lacks() -> None:
    found = asked(path="/y")
    assert (found.outcome, found.status) == ("denied", 403)
    closest = steps(found, "callee", "rules")[-1]
    assert closest.text.startswith("closest: AuthorizationPolicy default/readers")
    assert 'path is "/y"' in closest.text
    assert closest.source == "shop.yaml:21 spec.rules[2]"


def test_a_policy_that_forbids_is_named_with_its_line() -> None:
    found = asked(path="/secret/1", headers=(("x-user", "8"),))
    assert found.status == 403
    (rule,) = [step for step in steps(found, "callee", "rules") if "denies" in step.text]
    assert rule.source == "shop.yaml:29 spec.rules[0]"


def test_a_share_is_decided_by_the_number_that_is_given() -> None:
    nodes = {asked(random=random).hops[-1].node for random in (0, 99)}
    assert nodes == {"default/reviews-v1/trial", "default/reviews-v2/trial"}


def test_a_name_that_nobody_has_is_told() -> None:
    found = asked(authority="nobody")
    assert (found.outcome, found.status) == ("not_found", 404)
    assert "nothing in the mesh is called nobody" in found.hops[0].steps[0].text


def test_a_service_without_endpoints_is_told() -> None:
    text = "apiVersion: v1\nkind: Service\nmetadata: {name: empty}\nspec: {selector: {app: none}, ports: [{port: 80}]}\n"
    parsed = parse([("shop.yaml", text)])
    made = replace(world(parsed.documents), endpoints={})
    found = Explainer().explain(made, Call(caller=WEB, authority="empty"))
    assert (found.outcome, found.status) == ("no_endpoint", 503)


EDGE = """\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: ripstop
  listeners: [{name: web, port: 8080, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop}
spec:
  parentRefs: [{name: edge}]
  hostnames: [shop.example.com]
  rules:
  - matches: [{path: {type: PathPrefix, value: /reviews}}]
    timeouts: {request: 2s}
    backendRefs: [{name: reviews-v1, port: 80}]
---
"""


@pytest.mark.parametrize("authority", ["shop.example.com:8080", "shop.example.com"])
def test_a_call_from_outside_goes_by_the_gateway(authority: str) -> None:
    """The URL's port, or the only one that there is: something may stand before it."""
    found = asked("/reviews/x", authority=authority, text=EDGE + SHOP, caller=ServiceId("default", "edge"))
    assert [hop.side for hop in found.hops] == ["gateway", "callee"]
    (route,) = steps(found, "gateway", "route")
    assert route.source.startswith("shop.yaml:15 spec.rules[0]")
    assert steps(found, "gateway", "policy")[0].source.startswith("shop.yaml:15")
    assert (found.outcome, found.status) == ("denied", 403)  # it is not web, whom the policy names


def test_a_host_that_a_gateway_does_not_serve_is_404() -> None:
    found = asked(authority="other.test:8080", text=EDGE + SHOP, caller=ServiceId("default", "edge"))
    assert (found.status, len(found.hops)) == (404, 1)


def test_what_was_asked_before_does_not_outlive_a_change() -> None:
    asker, call = Explainer(), Call(caller=WEB, authority="reviews", path="/x")
    made = {text: world(parse([("shop.yaml", text)]).documents) for text in (SHOP, SHOP.replace("/x", "/z"))}
    outcomes = [asker.explain(topology, call).outcome for topology in (*made.values(), *made.values())]
    assert outcomes == ["forwarded", "denied"] * 2


def test_what_is_no_request_is_refused_in_words() -> None:
    with pytest.raises(NotFound, match="no request"):
        asked(headers=(("a b", "c"),))

"""`ripstop check` finds what no data plane would take, and names the document line, without anything running."""

from __future__ import annotations

from textwrap import dedent

from ripstop.control.trial import trial, world
from ripstop.errors import Fault
from ripstop.ids import ServiceId
from ripstop.model.check import check
from ripstop.model.parse import parse

LARGE = "((a{1,100}){1,100}){1,10}"
"""Sound as it is written; more than the native data plane gives to one expression."""


def tried(text: str) -> tuple[Fault, ...]:
    parsed = parse([("mesh.yaml", dedent(text))])
    assert parsed.faults == () and check(parsed.documents) == ()
    return trial(parsed.documents)


ROUTE = """\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shelf}
spec:
  parentRefs: [{kind: Service, group: "", name: shelf}]
  rules:
  - matches:
    - headers: [{name: x-user, type: RegularExpression, value: "[0-9]"}]
    - headers: [{name: x-user, type: RegularExpression, value: "PATTERN"}]
    backendRefs: [{name: shelf, port: 80}]
"""


def test_sound_documents_have_no_faults_although_nobody_runs_their_services() -> None:
    assert tried(ROUTE.replace("PATTERN", "a+")) == ()


def test_a_fault_is_told_once_at_the_line_of_the_match_that_has_it() -> None:
    (fault,) = tried(ROUTE.replace("PATTERN", LARGE))
    assert (fault.file, fault.line, fault.path) == ("mesh.yaml", 9, "spec.rules[0].matches[1]")
    assert "regular expression" in fault.message and "out/default/shelf" in fault.found


def test_a_fault_of_a_policy_is_told_at_its_document() -> None:
    (fault,) = tried(
        f"""\
        apiVersion: ripstop.dev/v1
        kind: AuthorizationPolicy
        metadata: {{name: no-secrets}}
        spec:
          targetRefs: [{{kind: Service, name: shelf}}]
          action: Deny
          rules: [{{from: {{services: [web]}}, to: {{paths: [{{regex: "{LARGE}"}}]}}}}]
        """
    )
    assert (fault.file, fault.document) == ("mesh.yaml", "AuthorizationPolicy default/no-secrets")


def test_gateways_and_everything_that_is_spoken_of_take_part() -> None:
    text = """\
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
      rules: [{backendRefs: [{name: shop, port: 80}, {name: books, namespace: lib, port: 80}]}]
    """
    made = world(parse([("mesh.yaml", dedent(text))]).documents)
    services = {node.service_id for node in made.nodes}
    assert services == {ServiceId("default", "edge"), ServiceId("default", "shop"), ServiceId("lib", "books")}

"""A compiler that remembers gives what a fresh one gives, whatever changed in between."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ripstop.compiler import Compiler
from ripstop.ids import NodeId, ServiceId
from ripstop.model.parse import parse
from ripstop.model.resolve import resolve
from ripstop.model.topology import Topology
from ripstop.model.workload import Registration, Upstream

SERVICES = ("a", "b", "c")
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(SERVICES), st.sampled_from(SERVICES), st.sampled_from(["route", "policy", "none"])
    ),
    min_size=1,
    max_size=5,
)


def registrations() -> tuple[Registration, ...]:
    upstream = Upstream(service=ServiceId("default", "b"), port=80, local_port=7000)
    return tuple(
        Registration(
            node=NodeId("default", name, "1"),
            app_port=8000 + n,
            inbound_port=9000 + n,
            outbound_port=10_000 + n,
            upstreams=(upstream,) if name == "a" else (),
        )
        for n, name in enumerate(SERVICES)
    )


def document(parent: str, target: str, what: str, number: int) -> str:
    if what == "route":
        return f"""
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: r-{parent}}}
spec:
  parentRefs: [{{group: "", kind: Service, name: {parent}}}]
  rules: [{{matches: [{{path: {{value: /{number}}}}}], backendRefs: [{{name: {target}, port: 80}}]}}]
"""
    return f"""
apiVersion: ripstop.dev/v1
kind: TrafficPolicy
metadata: {{name: p-{parent}}}
spec: {{targetRefs: [{{kind: Service, name: {parent}}}], timeouts: {{request: {number + 1}s}}}}
"""


@given(CHANGES)
def test_remembering_changes_nothing(changes: list[tuple[str, str, str]]) -> None:
    compiler, nodes = Compiler(), registrations()
    current: dict[str, str] = {}
    topology: Topology | None = None
    for number, (parent, target, what) in enumerate(changes):
        if what == "none":
            current.pop(parent, None)
        else:
            current[parent] = document(parent, target, what, number)
        parsed = parse(list(current.items()))
        assert not parsed.faults
        topology = resolve(parsed.documents, nodes, {}, generation=number, previous=topology)
        for node in nodes:
            assert compiler.compile(topology, node) == Compiler().compile(topology, node)

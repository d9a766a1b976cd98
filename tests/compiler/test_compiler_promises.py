"""What the compiler promises whatever the world is: the same bytes, consistent snapshots, little work for endpoints."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from compiler_scenarios import BY_NAME, SCENARIOS, Scenario
from hypothesis import given, settings
from hypothesis import strategies as st
from mesh_worlds import endpoints, gateway_node, node, service, sid, topology

from ripstop.compiler import Compiler
from ripstop.ids import NodeId
from ripstop.model.policy import EffectivePolicy, LoadBalancer
from ripstop.model.topology import Topology
from ripstop.model.workload import Endpoint, Health, Locality, NodeKind, Registration
from ripstop.xds import names, type_urls
from ripstop.xds.snapshot import Resource, Snapshot

each_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)


def as_written(port: int) -> int:
    return port


def everything(snapshot: Snapshot) -> dict[tuple[str, str], Resource]:
    return {(url, name): r for url, found in snapshot.resources.items() for name, r in found.items()}


def moved(topology: Topology, generation: int) -> Topology:
    """The same world after its instances have gone elsewhere: as `resolve_endpoints` makes it."""
    elsewhere = {
        key: tuple(replace(endpoint, port=endpoint.port + 1) for endpoint in found)
        for key, found in topology.endpoints.items()
    }
    return replace(topology, endpoints=elsewhere, generation=generation)


@each_scenario
def test_everything_that_a_snapshot_refers_to_is_in_it(scenario: Scenario) -> None:
    missing = Compiler().compile(*scenario.make(as_written)).missing_references()
    assert [name for _, name in missing if name != names.NO_BACKEND] == []


@each_scenario
def test_equal_worlds_give_equal_snapshots(scenario: Scenario) -> None:
    topology, node = scenario.make(as_written)
    again, same_node = scenario.make(as_written)
    again = replace(
        again,
        services=dict(reversed(again.services.items())),
        endpoints=dict(reversed(again.endpoints.items())),
    )
    assert Compiler().compile(topology, node) == Compiler().compile(again, same_node)


def test_snapshots_are_the_same_in_every_process() -> None:
    """Sets have another order in each process."""
    program = (
        "from test_compiler_promises import *\n"
        "for scenario in SCENARIOS:\n"
        "    for key, made in everything(Compiler().compile(*scenario.make(as_written))).items():\n"
        "        print(*key, made.version)\n"
    )
    outputs = {_run(program, seed) for seed in ("1", "2")}
    assert len(outputs) == 1


def _run(program: str, seed: str) -> str:
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": path}
    arguments = [sys.executable, "-c", program]
    return subprocess.run(arguments, env=environment, check=True, capture_output=True, text=True).stdout


@each_scenario
def test_a_change_of_endpoints_makes_only_their_assignments_anew(scenario: Scenario) -> None:
    topology, node = scenario.make(as_written)
    compiler = Compiler()
    before = everything(compiler.compile(topology, node))
    after = everything(compiler.compile(moved(topology, 2), node))
    assert before.keys() == after.keys()
    anew = {key for key, resource in after.items() if resource is not before[key]}
    assert {url for url, _ in anew} <= {type_urls.ENDPOINT}


def test_an_assignment_whose_endpoints_stayed_is_the_same_object() -> None:
    topology, node = BY_NAME["canary"].make(as_written)
    compiler = Compiler()
    before = compiler.compile(topology, node).of_type(type_urls.ENDPOINT)
    key = (sid("reviews-v1"), 80)
    one = replace(topology, endpoints={**topology.endpoints, key: endpoints("reviews-v1", "127.0.0.9:1")})
    after = compiler.compile(one, node).of_type(type_urls.ENDPOINT)
    changed = {name for name, resource in after.items() if resource is not before[name]}
    assert changed == {names.outbound_cluster(*key)}


def test_nodes_share_what_they_have_in_common() -> None:
    world = topology([service("reviews"), service("ratings")])
    compiler = Compiler()
    ports = {"outbound_port": 1, "inbound_port": 2, "app_port": 3}
    snapshots = [
        compiler.compile(world, Registration(node=NodeId("default", name, "0"), **ports))
        for name in ("reviews", "ratings")
    ]
    one, other = map(everything, snapshots)
    own = {"outbound", "inbound", "outbound/self", "in/3"}
    assert {name for key in one for name in key[1:] if one[key] is not other[key]} <= own


def test_a_registration_that_changes_changes_its_listener() -> None:
    world = topology([service("reviews")])
    compiler = Compiler()
    before = compiler.compile(world, node("reviews", as_written))
    after = compiler.compile(world, node("reviews", as_written, inbound_port=15007))
    assert _listener(before, "inbound") != _listener(after, "inbound")
    assert _listener(before, "outbound") == _listener(after, "outbound")


def _listener(snapshot: Snapshot, name: str) -> Resource:
    return snapshot.of_type(type_urls.LISTENER)[name]


def test_a_policy_that_changes_how_endpoints_are_seen_changes_their_assignment() -> None:
    """Endpoints are the same object before and after; what a balancer makes of them is not."""
    far = endpoints("reviews", "127.0.0.1:1", locality=Locality("us", "a"))
    near = endpoints("reviews", "127.0.0.1:2", locality=Locality("eu", "a"))
    caller = node("caller", as_written, locality=Locality("eu", "a"))
    before = topology([service("reviews")], {"reviews": (*far, *near)})
    policy = EffectivePolicy(load_balancer=LoadBalancer(prefer_local=False))
    changed = service("reviews", policy=policy)
    after = replace(before, services={changed.id: changed})
    compiler = Compiler()
    name = "out/default/reviews/80"
    versions = [
        compiler.compile(t, caller).of_type(type_urls.ENDPOINT)[name].version for t in (before, after)
    ]
    assert versions[0] != versions[1]


def test_calls_of_a_service_behind_an_egress_gateway_go_to_that_gateway() -> None:
    made, caller = BY_NAME["outside"].make(as_written)
    snapshot = Compiler().compile(made, caller)
    body = snapshot.of_type(type_urls.ENDPOINT)["out/default/billing/80"].body
    assert b"192.0.2.2" not in body
    gone = Compiler().compile(replace(made, nodes={}), caller)
    assert b"192.0.2.2" not in gone.of_type(type_urls.ENDPOINT)["out/default/billing/80"].body


def test_a_second_egress_gateway_is_seen_by_callers() -> None:
    made, caller = BY_NAME["outside"].make(as_written)
    compiler = Compiler()
    before = compiler.compile(made, caller).of_type(type_urls.ENDPOINT)
    second = replace(gateway_node("egress", address="127.0.0.3"), node=NodeId("default", "egress", "b"))
    second = replace(second, inbound_port=15009)
    after = compiler.compile(replace(made, nodes={**made.nodes, second.node: second}), caller)
    found = after.of_type(type_urls.ENDPOINT)
    assert b"127.0.0.3" in found["out/default/billing/80"].body
    assert found["out/default/api/443"] is before["out/default/api/443"]


def test_certificates_go_to_their_own_gateway_alone() -> None:
    made, edge = BY_NAME["gateway_https"].make(as_written)
    assert Compiler().compile(made, edge).of_type(type_urls.SECRET)
    for other in (node("reviews", as_written), gateway_node("inner"), replace(edge, kind=NodeKind.GRPC)):
        assert not Compiler().compile(made, other).of_type(type_urls.SECRET)


def test_what_envoy_cannot_do_is_said_with_its_document() -> None:
    snapshot = Compiler().compile(*BY_NAME["fallback"].make(as_written))
    assert snapshot.not_on_this_data_plane == ("TrafficPolicy default/reviews: fallback on breakerOpen",)


some_endpoints = st.lists(
    st.builds(
        Endpoint,
        address=st.sampled_from(["127.0.0.1", "127.0.0.2"]),
        port=st.integers(1, 65535),
        weight=st.integers(0, 3),
        health=st.sampled_from(Health),
        locality=st.builds(Locality, st.sampled_from(["", "eu", "us"]), st.sampled_from(["", "a", "b"])),
    ),
    max_size=6,
).map(tuple)


@settings(max_examples=50)
@given(first=some_endpoints, second=some_endpoints)
def test_a_compiler_that_remembers_says_what_a_new_one_does(
    first: tuple[Endpoint, ...], second: tuple[Endpoint, ...]
) -> None:
    caller = node("caller", as_written, locality=Locality("eu", "a"))
    world = topology([service("reviews")], {"reviews": first})
    later = replace(world, endpoints={(sid("reviews"), 80): second})
    compiler = Compiler()
    for each in (world, later, world):
        assert compiler.compile(each, caller) == Compiler().compile(each, caller)

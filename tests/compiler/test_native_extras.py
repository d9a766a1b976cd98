"""What the native data plane is told beyond Envoy's API, and what is said of each data plane."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from compiler_scenarios import BY_NAME
from mesh_worlds import endpoints, mesh_routes, node, rule, service, sid, source, to, topology

from ripstop.compiler import Compiler
from ripstop.compiler.native import KEY
from ripstop.model.policy import (
    Algorithm,
    EffectivePolicy,
    Fallback,
    FallbackTrigger,
    LoadBalancer,
    OutlierDetection,
)
from ripstop.model.topology import Service, Topology
from ripstop.model.workload import DataPlaneKind
from ripstop.xds import pb, type_urls

ALL = frozenset(FallbackTrigger)


def as_written(port: int) -> int:
    return port


def world_of(*services: Service) -> Topology:
    made = [*services, service("spare")]
    return topology(made, {each.id.name: endpoints(each.id.name, "127.0.0.1:25001") for each in made})


def extras(resource: Any, message: Any) -> dict[str, Any]:
    shown: dict[str, Any] = pb.to_dict(pb.from_bytes(message, resource.body))
    return shown.get("metadata", {}).get("filter_metadata", {}).get(KEY, {})


def route_extras(world: Topology, name: str) -> list[dict[str, Any]]:
    """Of the routes that forward, but for CONNECT."""
    found = Compiler().compile(world, node("caller", as_written)).of_type(type_urls.ROUTE)[name]
    shown = pb.to_dict(pb.from_bytes(pb.RouteConfiguration, found.body))
    routes = [route for host in shown["virtual_hosts"] for route in host["routes"] if "route" in route]
    return [
        route.get("metadata", {}).get("filter_metadata", {}).get(KEY, {})
        for route in routes
        if not route["name"].startswith("connect/")
    ]


def test_a_chain_is_told_with_every_trigger_and_the_cluster_before_it() -> None:
    chain = (Fallback(service=sid("spare"), triggers=ALL, statuses=(500, 503)),)
    world = world_of(service("reviews", policy=EffectivePolicy(fallbacks=chain)))
    hop = {
        "cluster": "out/default/spare/80",
        "service": "default/spare",
        "on": {
            "noHealthy": True,
            "breakerOpen": True,
            "overflow": True,
            "timeout": True,
            "status": ["500", "503"],
        },
    }
    told = route_extras(world, "out/default/reviews")
    assert [each["fallbacks"] for each in told] == [[hop], [hop]]
    assert {each["primary"] for each in told} == {"out/default/reviews/80"}


def test_a_hop_whose_service_is_not_there_is_left_out() -> None:
    chain = (Fallback(service=sid("nobody")), Fallback(service=sid("spare")))
    world = world_of(service("reviews", policy=EffectivePolicy(fallbacks=chain)))
    told = route_extras(world, "out/default/reviews")
    assert [hop["service"] for hop in told[0]["fallbacks"]] == ["default/spare"]


def test_shares_with_one_chain_have_it_and_shares_with_two_have_none() -> None:
    to_spare = EffectivePolicy(fallbacks=(Fallback(service=sid("spare")),))
    one, two = service("one", policy=to_spare), service("two", policy=to_spare)
    split = rule("HTTPRoute/split", to("one"), to("two"))
    same = replace(world_of(service("reviews"), one, two), routes=(mesh_routes("reviews", split),))
    told = route_extras(same, "out/default/reviews")
    assert all("fallbacks" in each and "primary" not in each for each in told)
    other = replace(world_of(service("reviews"), one, service("two")), routes=same.routes)
    assert not any("fallbacks" in each for each in route_extras(other, "out/default/reviews"))


def test_a_key_makes_repeating_safe_where_the_method_does_not() -> None:
    idempotent, others = route_extras(world_of(service("reviews")), "out/default/reviews")
    assert "retryWithKey" not in idempotent
    assert others["retryWithKey"] is True


def cluster_extras(policy: EffectivePolicy) -> dict[str, Any]:
    world = world_of(service("reviews", policy=policy))
    found = Compiler().compile(world, node("caller", as_written)).of_type(type_urls.CLUSTER)
    return extras(found["out/default/reviews/80"], pb.Cluster)


def test_the_default_balancer_is_peak_ewma_and_endpoints_come_back_by_a_ramp() -> None:
    assert cluster_extras(EffectivePolicy()) == {"balancer": "peak_ewma", "halfOpen": True, "rampMs": 5000}


def test_a_balancer_that_a_document_asks_for_is_that_one() -> None:
    least = LoadBalancer(algorithm=Algorithm.LEAST_REQUEST)
    assert cluster_extras(EffectivePolicy(load_balancer=least, outlier=None)) == {}
    slow = EffectivePolicy(load_balancer=LoadBalancer(slow_start_s=10.0), outlier=OutlierDetection())
    assert "balancer" not in cluster_extras(slow)


def test_what_a_data_plane_cannot_do_is_said_of_that_one_alone() -> None:
    chain = (Fallback(service=sid("spare"), triggers=ALL, statuses=(503,)),)
    said = (("loadBalancer.algorithm", source("TrafficPolicy default/reviews")),)
    world = world_of(service("reviews", policy=EffectivePolicy(fallbacks=chain, sources=said)))
    compiler, caller = Compiler(), node("caller", as_written)
    native = replace(caller, data_plane=DataPlaneKind.NATIVE)
    on_envoy = compiler.compile(world, caller).not_on_this_data_plane
    assert any("fallback on status" in text for text in on_envoy)
    assert any("PeakEwma" in text for text in on_envoy)
    assert compiler.compile(world, native).not_on_this_data_plane == ()


def test_both_data_planes_are_sent_the_same_bytes() -> None:
    for name in ("fallback", "balancers"):
        made, caller = BY_NAME[name].make(as_written)
        native = replace(caller, data_plane=DataPlaneKind.NATIVE)
        assert Compiler().compile(made, caller).resources == Compiler().compile(made, native).resources

"""LoadBalancer -> `Cluster.load_balancing_policy` and `RouteAction.hash_policy`."""

from __future__ import annotations

from ripstop.compiler.extension import typed, uint32
from ripstop.model.policy import Algorithm, HashKey, LoadBalancer
from ripstop.xds import pb

_PREFIX = "envoy.load_balancing_policies."


def load_balancing_policy(balancer: LoadBalancer) -> pb.Message:
    """The `LoadBalancingPolicy` of a cluster; PeakEwma is not in Envoy and becomes LeastRequest."""
    name, config = _config(balancer)
    return pb.LoadBalancingPolicy(policies=[{"typed_extension_config": typed(_PREFIX + name, config)}])


def _config(balancer: LoadBalancer) -> tuple[str, pb.Message]:
    match balancer.algorithm:
        case Algorithm.ROUND_ROBIN:
            return "round_robin", pb.RoundRobin(slow_start_config=_slow_start(balancer))
        case Algorithm.RANDOM:
            return "random", pb.Random()
        case Algorithm.RING_HASH:
            return "ring_hash", pb.RingHash(minimum_ring_size=pb.UInt64Value(value=balancer.ring_size_min))
        case Algorithm.MAGLEV:
            return "maglev", pb.Maglev(table_size=pb.UInt64Value(value=balancer.maglev_table_size))
        case Algorithm.LEAST_REQUEST | Algorithm.PEAK_EWMA:
            choices = uint32(max(2, balancer.choice_count))
            slow_start = _slow_start(balancer)
            return "least_request", pb.LeastRequest(choice_count=choices, slow_start_config=slow_start)


def _slow_start(balancer: LoadBalancer) -> pb.Message | None:
    """`SlowStartConfig`: a new endpoint's weight grows for `slow_start_s` seconds."""
    if not balancer.slow_start_s:
        return None
    return pb.SlowStartConfig(
        slow_start_window=pb.duration(balancer.slow_start_s),
        aggression={"default_value": balancer.slow_start_aggression, "runtime_key": "ripstop.slow_start"},
        min_weight_percent=pb.Percent(value=balancer.slow_start_min_percent),
    )


def hash_policies(keys: tuple[HashKey, ...]) -> list[pb.Message]:
    """What consistent hashing hashes, in order."""
    return [_hash_policy(key) for key in keys]


def _hash_policy(key: HashKey) -> pb.Message:
    policy = pb.RouteAction.HashPolicy(terminal=key.terminal)
    match key.kind:
        case "header":
            policy.header.header_name = key.name
        case "cookie":
            policy.cookie.name, policy.cookie.path = key.name, key.path
            if key.ttl_s is not None:
                policy.cookie.ttl.CopyFrom(pb.duration(key.ttl_s))
        case "queryParameter":
            policy.query_parameter.name = key.name
        case _:
            policy.connection_properties.source_ip = True
    return policy

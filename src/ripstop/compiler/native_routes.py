"""What routes tell the native data plane: the chain of services to ask in turn, and what a key makes safe to repeat."""

from __future__ import annotations

from typing import Any

from ripstop.compiler.world import Uses, World, fallback_hops
from ripstop.model.policy import EffectivePolicy, Fallback, FallbackTrigger, Retry
from ripstop.xds import names, pb

_FLAGS = (
    FallbackTrigger.NO_HEALTHY,
    FallbackTrigger.BREAKER_OPEN,
    FallbackTrigger.OVERFLOW,
    FallbackTrigger.TIMEOUT,
)


def route_extras(
    world: World,
    uses: Uses,
    action: pb.Message,
    policy: EffectivePolicy | None,
    retry: Retry | None,
    *,
    is_idempotent: bool,
) -> dict[str, Any]:
    """The chain of services to ask in turn, and whether a key makes repeating safe. `policy` is the rule's own."""
    extras: dict[str, Any] = {}
    clusters = [w.name for w in action.weighted_clusters.clusters] or [action.cluster]
    chains = [_chain(world, uses, cluster, policy) for cluster in clusters if cluster != names.NO_BACKEND]
    # One chain for the whole route: shares that fall back differently do so by their aggregate clusters.
    if chains and chains[0] and all(chain == chains[0] for chain in chains):
        extras["fallbacks"] = chains[0]
        if action.cluster:
            extras["primary"] = uses.by_name[action.cluster].members[0]
    if retry is not None and not is_idempotent and not retry.all_methods and action.HasField("retry_policy"):
        extras["retryWithKey"] = True
    return extras


def _chain(world: World, uses: Uses, cluster: str, policy: EffectivePolicy | None) -> list[dict[str, Any]]:
    use = uses.by_name.get(cluster)
    if use is None or not use.members:
        return []
    service = world.services[use.service]
    port = service.port(use.port)
    assert port is not None, f"{use.name} names a port that {service.id} has not"
    hops = fallback_hops(world, port, (policy or service.policy).fallbacks)
    return [
        {
            "cluster": names.outbound_cluster(target.id, target_port.port),
            "service": str(target.id),
            "on": _on(hop),
        }
        for hop, target, target_port in hops
    ]


def _on(hop: Fallback) -> dict[str, Any]:
    told: dict[str, Any] = {flag.value: True for flag in _FLAGS if flag in hop.triggers}
    if FallbackTrigger.STATUS in hop.triggers:
        told["status"] = [str(status) for status in hop.statuses]
    return told

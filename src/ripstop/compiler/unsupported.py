"""What documents ask for and a kind of data plane cannot do: said in `status`, never left out in silence."""

from __future__ import annotations

from collections.abc import Iterator

from ripstop.compiler.native import is_peak_ewma
from ripstop.compiler.world import Use, World
from ripstop.model.policy import Algorithm, EffectivePolicy, FallbackTrigger
from ripstop.model.topology import Service
from ripstop.model.workload import DataPlaneKind


def not_on(kind: DataPlaneKind, world: World, use: Use) -> Iterator[str]:
    """``TrafficPolicy default/reviews: fallback on breakerOpen``, for the policies of a service and of its route."""
    check = _not_on_envoy if kind is DataPlaneKind.ENVOY else _not_on_native
    service = world.services[use.service]
    for policy in (service.policy, use.policy):
        if policy is not None:
            yield from check(service, policy)


def _not_on_envoy(service: Service, policy: EffectivePolicy) -> Iterator[str]:
    yield from _fallbacks(service, policy)
    if asks_for_peak_ewma(policy):
        where = document_of(service, policy, "loadBalancer")
        yield f"{where}: load balancer PeakEwma (LeastRequest is used)"


def _not_on_native(service: Service, policy: EffectivePolicy) -> Iterator[str]:
    if asks_for_peak_ewma(policy) and not is_peak_ewma(policy):
        where = document_of(service, policy, "loadBalancer")
        yield f"{where}: load balancer PeakEwma with slowStart (LeastRequest is used)"


ALL_TRACES = 100.0


def of_the_mesh(world: World) -> Iterator[str]:
    """What the Mesh document asks for: routes are found by host, and there is no route for hosts that nobody named."""
    if world.mesh.egress_allowed:
        yield f"Mesh {world.mesh.name}: egress.mode Allow (name the hosts by a Service with mesh: false)"
    if world.mesh.tracing_sample_percent != ALL_TRACES:
        yield f"Mesh {world.mesh.name}: tracing.samplePercent (traces are passed on, none is begun)"


def _fallbacks(service: Service, policy: EffectivePolicy) -> Iterator[str]:
    """Envoy's aggregate cluster goes on when no endpoint is healthy, and on nothing else."""
    beyond = {t for hop in policy.fallbacks for t in hop.triggers} - {FallbackTrigger.NO_HEALTHY}
    for trigger in sorted(beyond):
        yield f"{document_of(service, policy, 'fallback')}: fallback on {trigger.value}"


def asks_for_peak_ewma(policy: EffectivePolicy) -> bool:
    """Whether a document does: as the default it is silently least request where there is none."""
    is_set = any(name == "loadBalancer.algorithm" for name, _ in policy.sources)
    return is_set and policy.load_balancer.algorithm is Algorithm.PEAK_EWMA


def document_of(service: Service, policy: EffectivePolicy, field: str) -> str:
    """The document that set `field` or a part of it; the service when no document is known."""
    found = (source.document for name, source in policy.sources if name.split(".")[0] == field)
    return next(found, f"Service {service.id}")

"""What only the native data plane does: `metadata.filter_metadata["ripstop.native"]` of routes and clusters.

Every node gets it, so that resources are shared; Envoy does not look at it and does what the rest of the resource says:
the aggregate cluster goes on when nobody is healthy, least request chooses. Read by `ripstop-core`,
`decode/extras.rs`. What routes say is made in `native_routes.py`.
"""

from __future__ import annotations

from typing import Any

from ripstop.model.policy import Algorithm, EffectivePolicy
from ripstop.xds import pb

KEY = "ripstop.native"
RAMP_S = 5.0
"""How long an endpoint that was set aside takes back to its full share, once a probe came through."""


def cluster_extras(policy: EffectivePolicy) -> dict[str, Any]:
    """Peak EWMA, and how an endpoint that was set aside comes back: by one request, then a ramp."""
    extras: dict[str, Any] = {}
    if is_peak_ewma(policy):
        extras["balancer"] = "peak_ewma"
    if policy.outlier is not None:
        extras |= {"halfOpen": True, "rampMs": round(RAMP_S * 1000)}
    return extras


def is_peak_ewma(policy: EffectivePolicy) -> bool:
    """Slow start goes with other balancers only: where a document asks for it, least request is used."""
    balancer = policy.load_balancer
    return balancer.algorithm is Algorithm.PEAK_EWMA and not balancer.slow_start_s


def put(message: pb.Message, extras: dict[str, Any]) -> None:
    """Write extras into the metadata of a route or a cluster."""
    if extras:
        message.metadata.filter_metadata[KEY].update(extras)

"""One ADS stream of one node as a state machine: SotW or delta, no input or output.

Source: Envoy's xDS protocol page, "Streaming gRPC subscriptions" and "Eventual consistency considerations".
"""

from __future__ import annotations

from ripstop.xds.ads.messages import (
    Acked,
    Action,
    Converged,
    Event,
    Nack,
    Nacked,
    PatienceEnded,
    Refuse,
    Requested,
    ResourceState,
    Send,
    SnapshotChanged,
)
from ripstop.xds.ads.stream import AdsServerStream
from ripstop.xds.ads.subscription import MAX_SUBSCRIPTIONS

__all__ = [
    "MAX_SUBSCRIPTIONS",
    "Acked",
    "Action",
    "AdsServerStream",
    "Converged",
    "Event",
    "Nack",
    "Nacked",
    "PatienceEnded",
    "Refuse",
    "Requested",
    "ResourceState",
    "Send",
    "SnapshotChanged",
]

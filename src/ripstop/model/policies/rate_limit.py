"""RateLimit: a local token bucket at the server's sidecar."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ripstop.model.field_types import Count, PositiveDuration
from ripstop.model.references import ServiceTarget
from ripstop.model.spec import Items, Spec


class RateLimitSpec(Spec):
    """How many requests each instance takes."""

    target_refs: Items[ServiceTarget] = Field(min_length=1, max_length=64)
    """The Services that it protects."""
    requests: Count
    """So many requests,"""
    per: PositiveDuration = 1.0
    """in each of these times,"""
    burst: Count | None = None
    """and so many at once; `requests` when left out."""
    status: Literal[429, 503] = 429
    """What the rest is answered."""

"""RateLimit -> the local rate limit filter's configuration, at the server's sidecar."""

from __future__ import annotations

from ripstop.compiler.extension import always, uint32
from ripstop.model.policy import RateLimit
from ripstop.xds import pb

_SHORTEST_FILL_S = 0.05
"""Envoy fills buckets no more often (`LocalRateLimit.token_bucket`)."""


def local_rate_limit(limit: RateLimit) -> pb.Message:
    """A `LocalRateLimit` for `typed_per_filter_config`: one bucket for all callers of this instance."""
    return pb.HttpLocalRateLimit(
        stat_prefix="rate_limit",
        status={"code": limit.status},
        token_bucket=pb.TokenBucket(
            max_tokens=limit.burst or limit.requests,
            tokens_per_fill=uint32(limit.requests),
            fill_interval=pb.duration(max(limit.per_s, _SHORTEST_FILL_S)),
        ),
        filter_enabled=always(),
        filter_enforced=always(),
        rate_limited_as_resource_exhausted=True,
    )


def off() -> pb.Message:
    """The filter where no limit is set: without a bucket it lets everything pass."""
    return pb.HttpLocalRateLimit(stat_prefix="rate_limit")

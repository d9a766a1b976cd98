"""Mesh: what holds everywhere."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ripstop.model.field_types import PositiveDuration
from ripstop.model.policies.traffic import TrafficFields
from ripstop.model.spec import Spec


class Egress(Spec):
    """Calls to hosts that no document names."""

    mode: Literal["Deny", "Allow"] = "Deny"
    """Deny answers 404; Allow lets plain HTTP pass."""


class AccessLogFields(Spec):
    """What sidecars write about each request."""

    enabled: bool = True
    """Whether a JSON line is written for each request."""


class TracingFields(Spec):
    """W3C trace context."""

    sample_percent: float = Field(default=100.0, ge=0, le=100)
    """Percent of new traces that are sampled."""


class IdentityFields(Spec):
    """Certificates of services."""

    svid_ttl: PositiveDuration = 86400.0
    """How long a certificate is valid; it is renewed at half of that."""


class MeshSpec(Spec):
    """What holds everywhere. There is at most one; its trust domain is given to `ripstop up`."""

    defaults: TrafficFields = TrafficFields()
    """What holds for calls to every service, unless a TrafficPolicy says otherwise."""
    egress: Egress = Egress()
    """Calls to hosts that no document names."""
    access_log: AccessLogFields = AccessLogFields()
    """What sidecars write about each request."""
    tracing: TracingFields = TracingFields()
    """W3C trace context."""
    identity: IdentityFields = IdentityFields()
    """Certificates of services."""

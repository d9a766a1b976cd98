"""FaultInjection: delays and errors put in on purpose."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from ripstop.model.field_types import ErrorStatus, Percent, PositiveDuration
from ripstop.model.filters import Header
from ripstop.model.references import TargetRef
from ripstop.model.spec import Issue, Items, Spec


class DelayFault(Spec):
    """A delay before the request is sent."""

    duration: PositiveDuration
    """How long."""
    percent: Percent = 100.0
    """Percent of requests."""


class AbortFault(Spec):
    """An error instead of sending the request."""

    status: ErrorStatus | None = None
    """The HTTP status."""
    grpc_status: int | None = Field(default=None, ge=1, le=16)
    """The gRPC status."""
    percent: Percent = 100.0
    """Percent of requests."""

    def issues(self) -> Iterator[Issue]:
        """Exactly one status."""
        if (self.status is None) == (self.grpc_status is None):
            yield Issue((), "one status must be given", "write status or grpcStatus")


class FaultInjectionSpec(Spec):
    """Faults put in on purpose, by the caller's sidecar."""

    target_refs: Items[TargetRef] = Field(min_length=1, max_length=64)
    """The Services and routes whose calls get them."""
    delay: DelayFault | None = None
    """A delay."""
    abort: AbortFault | None = None
    """An error."""
    headers: Items[Header] = ()
    """Only requests that carry all of these."""

    def issues(self) -> Iterator[Issue]:
        """At least one fault."""
        if self.delay is None and self.abort is None:
            yield Issue((), "there is no fault", "write delay or abort")

"""How one document points at another: parents, backends, targets (Gateway API references)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from ripstop.model.field_types import Label, ObjectName, Port
from ripstop.model.spec import Issue, Spec

GATEWAY_GROUP = "gateway.networking.k8s.io"


class ParentRef(Spec):
    """The Gateway or Service that a route is for."""

    group: str = GATEWAY_GROUP
    """`gateway.networking.k8s.io` for a Gateway, empty for a Service."""
    kind: Literal["Gateway", "Service"] = "Gateway"
    """What the parent is: a Gateway (traffic from outside) or a Service (calls in the mesh)."""
    namespace: Label | None = None
    """The parent's namespace; the route's own when left out."""
    name: ObjectName
    """The parent's name."""
    section_name: ObjectName | None = None
    """One listener of a Gateway, or one port of a Service, by name."""
    port: Port | None = None
    """One port of the parent."""

    def issues(self) -> Iterator[Issue]:
        """A Service is in the core group."""
        if self.kind == "Service" and "group" in self.model_fields_set and self.group not in ("", "core"):
            yield Issue(("group",), "a Service is in the core group", 'write group: ""')
        if self.kind == "Gateway" and self.group != GATEWAY_GROUP:
            yield Issue(("group",), "a Gateway is in another group", f"write group: {GATEWAY_GROUP}")


class ObjectRef(Spec):
    """Another document, by kind and name."""

    group: str = ""
    """The API group; empty for the core group."""
    kind: str = "Service"
    """The kind of the document."""
    namespace: Label | None = None
    """Its namespace; this document's own when left out. Another one needs a ReferenceGrant there."""
    name: ObjectName
    """Its name."""


class BackendRef(ObjectRef):
    """Where requests are sent."""

    port: Port | None = None
    """The Service's port."""
    weight: int = Field(default=1, ge=0, le=1_000_000)
    """The share of requests, in proportion to the sum of the rule's weights; 0 gets none."""


class SecretRef(ObjectRef):
    """A certificate and key."""

    kind: str = "Secret"


class TargetRef(Spec):
    """What a policy holds for, in the policy's own namespace."""

    group: str = ""
    """The API group of the target; it may be left out."""
    kind: Literal["Service", "HTTPRoute", "GRPCRoute"] = "Service"
    """What the target is."""
    name: ObjectName
    """The target's name."""
    section_name: ObjectName | None = None
    """One rule of a route, by its name."""


class ServiceTarget(Spec):
    """The Service that a policy holds for, in the policy's own namespace."""

    group: str = ""
    """The API group of the target; it may be left out."""
    kind: Literal["Service"] = "Service"
    """What the target is."""
    name: ObjectName
    """The Service's name."""

"""A document: its envelope and its spec. The table of kinds is here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from ripstop.ids import DEFAULT_NAMESPACE
from ripstop.model import gateways, mesh, routes, services
from ripstop.model.field_types import Label, ObjectName
from ripstop.model.policies import authorization, fault, rate_limit, traffic
from ripstop.model.policy import Source
from ripstop.model.spec import Items, Spec
from ripstop.model.yaml_text import Path

_GATEWAY_API = "gateway.networking.k8s.io/"
_V1 = (_GATEWAY_API + "v1", _GATEWAY_API + "v1beta1")
_ALPHA = (_GATEWAY_API + "v1", *(_GATEWAY_API + f"v1alpha{n}" for n in (2, 3)))
OWN = ("ripstop.dev/v1",)
_CORE = ("v1",)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of document looks like. `has_spec` is False where the content is beside `metadata` (core/v1)."""

    api_versions: tuple[str, ...]
    model: type[Spec]
    has_spec: bool = True
    needs_spec: bool = True
    is_namespaced: bool = True


KINDS: dict[str, Kind] = {
    "HTTPRoute": Kind(_V1, routes.HttpRouteSpec),
    "GRPCRoute": Kind(_ALPHA, routes.GrpcRouteSpec),
    "TLSRoute": Kind(_ALPHA, routes.TlsRouteSpec),
    "TCPRoute": Kind(_ALPHA, routes.TcpRouteSpec),
    "Gateway": Kind(_V1, gateways.GatewaySpec),
    "GatewayClass": Kind(_V1, gateways.GatewayClassSpec, is_namespaced=False),
    "ReferenceGrant": Kind((_GATEWAY_API + "v1beta1", _GATEWAY_API + "v1"), gateways.ReferenceGrantSpec),
    "BackendTLSPolicy": Kind(_ALPHA, gateways.BackendTlsPolicySpec),
    "Namespace": Kind(_CORE, gateways.NamespaceSpec, needs_spec=False, is_namespaced=False),
    "Secret": Kind(_CORE, gateways.SecretBody, has_spec=False),
    "ConfigMap": Kind(_CORE, gateways.ConfigMapBody, has_spec=False),
    "Service": Kind((*OWN, *_CORE), services.ServiceSpec, needs_spec=False),
    "Mesh": Kind(OWN, mesh.MeshSpec, needs_spec=False, is_namespaced=False),
    "TrafficPolicy": Kind(OWN, traffic.TrafficPolicySpec),
    "AuthorizationPolicy": Kind(OWN, authorization.AuthorizationPolicySpec),
    "RateLimit": Kind(OWN, rate_limit.RateLimitSpec),
    "FaultInjection": Kind(OWN, fault.FaultInjectionSpec),
}
PLANNED = ("RequestAuthentication", "Telemetry")
"""Kinds of the design that are not built yet: refused by name."""


class Metadata(Spec):
    """Who a document is."""

    name: ObjectName
    """The document's name."""
    namespace: Label = DEFAULT_NAMESPACE
    """Its namespace."""
    labels: dict[str, str] = {}
    """Labels; those of a Namespace are what listeners select by."""
    annotations: dict[str, str] = {}
    """Notes for other programs; Ripstop does not read them."""
    creation_timestamp: str | None = None
    """When it was made (RFC 3339): of two equal routes the older goes first."""
    generation: int | None = None
    resource_version: str | None = None
    uid: str | None = None
    finalizers: Items[str] = ()
    owner_references: Items[dict[str, Any]] = ()
    managed_fields: Items[dict[str, Any]] = ()


class Envelope(Spec):
    """The Kubernetes envelope."""

    api_version: str
    """The API group and version."""
    kind: str
    """The kind."""
    metadata: Metadata
    """Who it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document, read and found sound by itself. `text` is its own YAML; `lines` says where each path is.

    `created_at` is wall seconds: of two equal routes the older goes first.
    """

    kind: str
    namespace: str
    name: str
    file: str
    line: int
    text: str
    spec: Any = field(repr=False)
    metadata: Metadata = field(repr=False)
    lines: dict[Path, int] = field(default_factory=dict, repr=False, compare=False)
    created_at: float = 0.0

    @property
    def key(self) -> tuple[str, str, str]:
        """(kind, namespace, name)."""
        return (self.kind, self.namespace, self.name)

    @property
    def title(self) -> str:
        """``Kind namespace/name``, as people and faults say it."""
        return f"{self.kind} {self.namespace}/{self.name}"

    def line_of(self, path: Path) -> int:
        """The line of a path, or of its nearest ancestor that was written."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, self.line)

    def source(self, *path: str | int) -> Source:
        """The document line of a path, for status, logs and `explain`."""
        return Source(file=self.file, line=self.line_of(path), document=self.title, path=path_text(path))


def path_text(path: Path) -> str:
    """``spec.rules[0].matches``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
    return text


def model_of(kind: str) -> type[BaseModel]:
    """The model of a kind's content."""
    return KINDS[kind].model

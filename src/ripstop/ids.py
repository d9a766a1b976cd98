"""Names of things: services, instances, nodes, SPIFFE identities. Parsed once, at the door.

Identity is SPIFFE: ``spiffe://<trust-domain>/ns/<namespace>/sa/<service>`` (SPIFFE-ID specification, section 2).
"""

from __future__ import annotations

import re
from typing import NamedTuple

DEFAULT_NAMESPACE = "default"
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_TRUST_DOMAIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,254}")


class ServiceId(NamedTuple):
    """A service's namespace and name; prints as ``namespace/name``."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @classmethod
    def parse(cls, text: str, default_namespace: str = DEFAULT_NAMESPACE) -> ServiceId:
        """Read ``name`` or ``namespace/name``.

        Raises:
            ValueError: a part is not a DNS label (RFC 1123, section 2.1).
        """
        namespace, slash, name = text.rpartition("/")
        namespace = namespace if slash else default_namespace
        for part in (namespace, name):
            if not is_label(part):
                raise ValueError(f"{part!r} is not a name: use a-z, 0-9 and '-', at most 63 characters")
        return cls(namespace, name)


class NodeId(NamedTuple):
    """One connected data plane; prints as ``namespace/service/instance``."""

    namespace: str
    service: str
    instance: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.service}/{self.instance}"

    @property
    def service_id(self) -> ServiceId:
        """The service this node stands for."""
        return ServiceId(self.namespace, self.service)

    @classmethod
    def parse(cls, text: str) -> NodeId:
        """Read ``namespace/service/instance``.

        Raises:
            ValueError: there are not three parts, or one is not a DNS label.
        """
        parts = text.split("/")
        if len(parts) != 3 or not all(is_label(part) for part in parts):
            raise ValueError(f"{text!r} is not a node: expected namespace/service/instance")
        return cls(*parts)


class SpiffeId(NamedTuple):
    """The identity of a service in a trust domain."""

    trust_domain: str
    service: ServiceId

    def __str__(self) -> str:
        return f"spiffe://{self.trust_domain}/ns/{self.service.namespace}/sa/{self.service.name}"

    @classmethod
    def parse(cls, uri: str) -> SpiffeId:
        """Read a workload identity of this mesh.

        Raises:
            ValueError: the URI is not ``spiffe://<trust-domain>/ns/<namespace>/sa/<service>``.
        """
        match = re.fullmatch(r"spiffe://([^/]+)/ns/([^/]+)/sa/([^/]+)", uri)
        if (
            not match
            or not _TRUST_DOMAIN.fullmatch(match[1])
            or not is_label(match[2])
            or not is_label(match[3])
        ):
            raise ValueError(
                f"{uri!r} is not an identity of the form spiffe://DOMAIN/ns/NAMESPACE/sa/SERVICE"
            )
        return cls(match[1], ServiceId(match[2], match[3]))


CONTROL_PLANE = ServiceId("ripstop", "control-plane")
"""The control plane's own identity; its namespace is nobody else's."""
USER_AGENT = "ripstop"
"""What native data planes call themselves (`Node.user_agent_name`); Envoy's say `envoy`."""


def is_label(text: str) -> bool:
    """Whether `text` is a DNS label (RFC 1123): what namespaces, services and instances are called."""
    return bool(_LABEL.fullmatch(text))


def is_trust_domain(text: str) -> bool:
    """Whether `text` can be a SPIFFE trust domain: lower case letters, digits, dot, dash, underscore."""
    return bool(_TRUST_DOMAIN.fullmatch(text))

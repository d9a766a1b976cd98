"""Gateway, GatewayClass, ReferenceGrant, BackendTLSPolicy, and the core kinds they use: Namespace, Secret, ConfigMap."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import Field

from ripstop.model.field_types import Address, Hostname, Label, ObjectName, Port, PreciseHostname
from ripstop.model.references import SecretRef
from ripstop.model.spec import Issue, Items, Spec


class LabelExpression(Spec):
    """One condition on labels."""

    key: str
    """The label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How it is compared."""
    values: Items[str] = ()
    """With these."""


class LabelSelector(Spec):
    """Which labels are wanted; all conditions must hold."""

    match_labels: dict[str, str] = {}
    """Labels and their values."""
    match_expressions: Items[LabelExpression] = ()
    """Further conditions."""

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether `labels` are wanted."""
        exact = all(labels.get(key) == value for key, value in self.match_labels.items())
        return exact and all(_holds(condition, labels) for condition in self.match_expressions)


def _holds(condition: LabelExpression, labels: Mapping[str, str]) -> bool:
    match condition.operator:
        case "Exists":
            return condition.key in labels
        case "DoesNotExist":
            return condition.key not in labels
        case "In":
            return labels.get(condition.key) in condition.values
        case "NotIn":
            return labels.get(condition.key) not in condition.values


class RouteNamespaces(Spec):
    """Whose routes may attach."""

    from_: Literal["All", "Same", "Selector", "None"] = Field(default="Same", alias="from")
    """Routes of all namespaces, of the Gateway's own, of those that `selector` picks, or none."""
    selector: LabelSelector | None = None
    """Picks namespaces by the labels of their Namespace documents."""


class RouteKind(Spec):
    """A kind of route."""

    group: str = "gateway.networking.k8s.io"
    """The API group."""
    kind: str
    """The kind."""


class AllowedRoutes(Spec):
    """Which routes may attach to a listener."""

    namespaces: RouteNamespaces = RouteNamespaces()
    """Whose."""
    kinds: Items[RouteKind] = ()
    """Of which kinds; all that fit the protocol when left out."""


class ListenerTls(Spec):
    """TLS of a listener."""

    mode: Literal["Terminate", "Passthrough"] = "Terminate"
    """Whether TLS ends here or is passed through."""
    certificate_refs: Items[SecretRef] = ()
    """Secrets of type kubernetes.io/tls."""
    options: dict[str, str] = Field(default={}, max_length=0)


class Listener(Spec):
    """A port that a gateway listens on."""

    name: ObjectName
    """The listener's name, unique in the Gateway."""
    hostname: Hostname | None = None
    """The host it is for; all when left out."""
    port: Port
    """The port."""
    protocol: Literal["HTTP", "HTTPS", "TLS", "TCP"]
    """What is spoken there."""
    tls: ListenerTls | None = None
    """TLS, for HTTPS and TLS."""
    allowed_routes: AllowedRoutes = AllowedRoutes()
    """Which routes may attach."""

    def issues(self) -> Iterator[Issue]:
        """TLS where the protocol has it, and only there."""
        has_tls = self.protocol in ("HTTPS", "TLS")
        if has_tls and self.tls is None:
            yield Issue(("tls",), f"{self.protocol} needs tls", "write tls: {certificateRefs: [{name: ...}]}")
        if not has_tls and self.tls is not None:
            yield Issue(("tls",), f"{self.protocol} has no tls", "remove it, or use HTTPS or TLS")
        if self.tls and self.protocol == "HTTPS" and self.tls.mode == "Passthrough":
            yield Issue(("tls", "mode"), "HTTPS is not passed through", "use protocol: TLS with a TLSRoute")
        if self.tls and self.tls.mode == "Terminate" and not self.tls.certificate_refs:
            yield Issue(("tls", "certificateRefs"), "there is no certificate", "name a Secret with one")
        if self.protocol == "TCP" and self.hostname:
            yield Issue(("hostname",), "TCP has no host names", "remove it")


class GatewayAddress(Spec):
    """An address to listen on."""

    type: Literal["IPAddress"] = "IPAddress"
    """What `value` is."""
    value: Address
    """The address; 0.0.0.0 for all of the host's."""


class GatewaySpec(Spec):
    """What a gateway listens on. The proxies that `ripstop gateway NAME` starts run it."""

    gateway_class_name: ObjectName = "ripstop"
    """The class; other implementations use it."""
    listeners: Items[Listener] = Field(min_length=1, max_length=64)
    """The ports."""
    addresses: Items[GatewayAddress] = Field(default=(), max_length=16)
    """Addresses to listen on; loopback when left out."""

    def issues(self) -> Iterator[Issue]:
        """Listeners differ in name, and in (port, protocol, hostname)."""
        names: set[str] = set()
        for index, listener in enumerate(self.listeners):
            if listener.name in names:
                at = ("listeners", index, "name")
                yield Issue(at, f"two listeners are called {listener.name}", "give each its own name")
            names.add(listener.name)
        yield from self._conflicts()

    def _conflicts(self) -> Iterator[Issue]:
        seen: dict[tuple[int, str], str] = {}
        families: dict[int, str] = {}
        for index, listener in enumerate(self.listeners):
            key = (listener.port, listener.hostname or "")
            family = _family(listener)
            if key in seen:
                message = f"listener {seen[key]} has the same port and hostname"
                yield Issue(("listeners", index, "port"), message, "change the port or the hostname")
            elif families.setdefault(listener.port, family) != family:
                message = f"port {listener.port} is used for {families[listener.port]} already"
                yield Issue(("listeners", index, "protocol"), message, "use another port")
            seen[key] = listener.name


def _family(listener: Listener) -> str:
    return "TLS" if listener.protocol in ("HTTPS", "TLS") else listener.protocol


class GatewayClassSpec(Spec):
    """A class of gateways; accepted so that files of other implementations work unchanged."""

    controller_name: str
    """Who runs gateways of this class."""
    description: str | None = None
    """What it is for."""


class GrantFrom(Spec):
    """Who may refer."""

    group: str
    """The API group of the documents that refer."""
    kind: str
    """Their kind."""
    namespace: Label
    """Their namespace."""


class GrantTo(Spec):
    """What may be referred to."""

    group: str
    """The API group; empty for the core group."""
    kind: str
    """The kind."""
    name: ObjectName | None = None
    """One document; all of the kind when left out."""


class ReferenceGrantSpec(Spec):
    """Lets documents of another namespace refer to those of this one."""

    from_: Items[GrantFrom] = Field(alias="from", min_length=1, max_length=16)
    """Who may refer."""
    to: Items[GrantTo] = Field(min_length=1, max_length=16)
    """To what."""


class CaRef(Spec):
    """A ConfigMap with `ca.crt`."""

    group: str = ""
    """The API group; empty for the core group."""
    kind: Literal["ConfigMap"] = "ConfigMap"
    """What it is."""
    name: ObjectName
    """Its name."""


class SubjectAltName(Spec):
    """A name that the server's certificate must have."""

    type: Literal["Hostname", "URI"]
    """What it is."""
    hostname: PreciseHostname | None = None
    """A host name."""
    uri: str | None = None
    """A URI, such as a SPIFFE identity."""

    def issues(self) -> Iterator[Issue]:
        """The field that `type` names is given."""
        if (self.hostname if self.type == "Hostname" else self.uri) is None:
            name = self.type.lower()
            yield Issue((name,), f"the type {self.type} needs {name}", f"write {name}: ...")


class TlsValidation(Spec):
    """How a server's certificate is checked."""

    ca_certificate_refs: Items[CaRef] = ()
    """ConfigMaps with the authorities to trust."""
    well_known_ca_certificates: Literal["System"] | None = Field(
        default=None, alias="wellKnownCACertificates"
    )
    """The authorities that the system trusts."""
    hostname: PreciseHostname
    """The name asked for (SNI) and checked."""
    subject_alt_names: Items[SubjectAltName] = ()
    """Names to check instead of `hostname`."""

    def issues(self) -> Iterator[Issue]:
        """One kind of authority."""
        if bool(self.ca_certificate_refs) == bool(self.well_known_ca_certificates):
            cure = "write caCertificateRefs or wellKnownCACertificates: System"
            yield Issue((), "one kind of authority must be given", cure)


class BackendTarget(Spec):
    """The Service that TLS is spoken to."""

    group: str = ""
    """The API group; empty for the core group."""
    kind: Literal["Service"] = "Service"
    """What it is."""
    name: ObjectName
    """Its name."""
    section_name: ObjectName | None = None
    """One port, by name; not built yet."""

    def issues(self) -> Iterator[Issue]:
        """One port alone cannot be told apart yet, and TLS for the others is not to come by surprise."""
        if self.section_name:
            yield Issue(
                ("sectionName",),
                "TLS for one port alone is not built yet",
                "leave it out, or split the Service",
            )


class BackendTlsPolicySpec(Spec):
    """TLS towards a Service outside the mesh."""

    target_refs: Items[BackendTarget] = Field(min_length=1, max_length=16)
    """The Services that TLS is spoken to."""
    validation: TlsValidation
    """How certificates are checked."""


class NamespaceSpec(Spec):
    """A namespace; its labels are what listeners select by."""

    finalizers: Items[str] = ()


class SecretBody(Spec):
    """A certificate and its key, for listeners."""

    type: Literal["kubernetes.io/tls"] = "kubernetes.io/tls"
    """What it holds."""
    data: dict[str, str] = Field(default={}, repr=False)
    """`tls.crt` and `tls.key`, base64."""
    string_data: dict[str, str] = Field(default={}, repr=False)
    """The same as text."""
    immutable: bool = False

    def issues(self) -> Iterator[Issue]:
        """Both parts are there and are PEM."""
        for key, marker in (("tls.crt", "CERTIFICATE"), ("tls.key", "PRIVATE KEY")):
            if f"{marker}-----" not in self.pem(key):
                yield Issue(
                    ("data",), f"{key} is not there, or is no PEM text", f"write {key}, base64 of PEM"
                )

    def pem(self, key: str) -> str:
        """One part as text; empty when it is not there or not readable."""
        if key in self.string_data:
            return self.string_data[key]
        try:
            return base64.b64decode(self.data.get(key, ""), validate=True).decode()
        except (binascii.Error, ValueError):
            return ""


class ConfigMapBody(Spec):
    """Certificates of authorities, for BackendTLSPolicy."""

    data: dict[str, str] = {}
    """`ca.crt`: PEM."""
    immutable: bool = False

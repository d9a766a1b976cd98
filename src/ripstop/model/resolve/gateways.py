"""Gateways: listeners, the routes attached to each, and the hostnames where both meet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from ripstop.ids import ServiceId
from ripstop.model.document import Document
from ripstop.model.gateways import GatewaySpec, Listener
from ripstop.model.policy import MeshSettings
from ripstop.model.references import ParentRef
from ripstop.model.resolve.routes import ROUTE_KINDS, condition, resolved_refs
from ripstop.model.resolve.rules import Placed, RuleMaker, in_order
from ripstop.model.resolve.world import Documents, References
from ripstop.model.topology import Certificate, Condition, Gateway, GatewayListener, SniRoute, VirtualHost

_KINDS_OF = {
    "HTTP": ("HTTPRoute", "GRPCRoute"),
    "HTTPS": ("HTTPRoute", "GRPCRoute"),
    "TLS": ("TLSRoute", "TCPRoute"),
    "TCP": ("TCPRoute",),
}


class Attachments:
    """Which route is attached to which listener. `conditions` say what came of each."""

    def __init__(self, documents: Documents, references: References, mesh: MeshSettings) -> None:
        self._documents, self._references, self._mesh = documents, references, mesh
        self._maker = RuleMaker(references)
        self.conditions: list[Condition] = []
        self._attached = self._attach_all()

    def gateways(self) -> dict[ServiceId, Gateway]:
        """All gateways, in order."""
        found = sorted(self._documents.of_kind("Gateway"), key=lambda d: (d.namespace, d.name))
        return {ServiceId(d.namespace, d.name): self._gateway(d) for d in found}

    # --- attachment ---

    def _attach_all(self) -> dict[tuple[ServiceId, str], list[Document]]:
        attached: dict[tuple[ServiceId, str], list[Document]] = defaultdict(list)
        for route in self._documents.of_kind(*ROUTE_KINDS):
            for ref in route.spec.parent_refs:
                if ref.kind == "Gateway":
                    self._attach(route, ref, attached)
        return attached

    def _attach(
        self, route: Document, ref: ParentRef, attached: dict[tuple[ServiceId, str], list[Document]]
    ) -> None:
        gateway_id = ServiceId(ref.namespace or route.namespace, ref.name)
        parent = f"Gateway {gateway_id}" + (f" {ref.section_name}" if ref.section_name else "")
        document = self._documents.find("Gateway", *gateway_id)
        if document is None:
            message = f"there is no Gateway {gateway_id}"
            self.conditions.append(condition(route, parent, "Accepted", "NoMatchingParent", message))
            return
        listeners, reason = self._listeners_for(document, route, ref)
        for listener in listeners:
            if route not in attached[gateway_id, listener.name]:
                attached[gateway_id, listener.name].append(route)
        self.conditions.append(condition(route, parent, "Accepted", reason))
        if listeners:
            self.conditions.append(resolved_refs(route, parent, self._references))

    def _listeners_for(
        self, gateway: Document, route: Document, ref: ParentRef
    ) -> tuple[list[Listener], str]:
        """The listeners that take a route, or why none does (Gateway API, RouteConditionReason)."""
        named = [
            listener
            for listener in gateway.spec.listeners
            if ref.section_name in (None, listener.name) and ref.port in (None, listener.port)
        ]
        if not named:
            return [], "NoMatchingParent"
        allowed = [listener for listener in named if self._allows(gateway, listener, route)]
        if not allowed:
            return [], "NotAllowedByListeners"
        fitting = [listener for listener in allowed if hostnames_of(listener, route)]
        return fitting, "Accepted" if fitting else "NoMatchingListenerHostname"

    def _allows(self, gateway: Document, listener: Listener, route: Document) -> bool:
        kinds = [k.kind for k in listener.allowed_routes.kinds] or list(_KINDS_OF[listener.protocol])
        if route.kind not in kinds or route.kind not in _KINDS_OF[listener.protocol]:
            return False
        rule = listener.allowed_routes.namespaces
        if rule.from_ == "Selector":
            labels = self._documents.namespace_labels(route.namespace)
            return rule.selector is not None and rule.selector.selects(labels)
        return rule.from_ == "All" or (rule.from_ == "Same" and route.namespace == gateway.namespace)

    # --- listeners ---

    def _gateway(self, document: Document) -> Gateway:
        spec: GatewaySpec = document.spec
        gateway_id = ServiceId(document.namespace, document.name)
        return Gateway(
            id=gateway_id,
            listeners=tuple(
                self._listener(document, gateway_id, index, listener)
                for index, listener in enumerate(spec.listeners)
            ),
            addresses=tuple(address.value for address in spec.addresses),
            source=document.source("spec"),
        )

    def _listener(
        self, document: Document, gateway_id: ServiceId, index: int, listener: Listener
    ) -> GatewayListener:
        routes = self._attached.get((gateway_id, listener.name), [])
        made = GatewayListener(
            name=listener.name,
            port=listener.port,
            protocol=listener.protocol,
            hostname=listener.hostname or "",
            tls_mode=listener.tls.mode if listener.tls else "",
            source=document.source("spec", "listeners", index),
        )
        certificates, problem = self._certificates(document, listener)
        parent = f"listener {listener.name}"
        reason = problem or "Programmed"
        self.conditions.append(condition(document, parent, "Programmed", reason))
        if listener.protocol in ("HTTP", "HTTPS"):
            made = replace(made, virtual_hosts=tuple(self._virtual_hosts(listener, routes)))
        else:
            made = replace(made, sni_routes=tuple(self._sni_routes(listener, routes)))
        return replace(made, certificates=certificates, invalid=problem)

    def _certificates(self, document: Document, listener: Listener) -> tuple[tuple[Certificate, ...], str]:
        if listener.tls is None or listener.tls.mode != "Terminate":
            return (), ""
        made: list[Certificate] = []
        problem = ""
        for ref in listener.tls.certificate_refs:
            secret = self._documents.find("Secret", ref.namespace or document.namespace, ref.name)
            if ref.kind != "Secret" or ref.group not in ("", "core"):
                problem = "InvalidCertificateRef"
            elif not self._documents.is_granted(document, ref, "Secret"):
                problem = "RefNotPermitted"
            elif secret is None:
                problem = "InvalidCertificateRef"
            else:
                made.append(_certificate(secret))
        return tuple(made), "" if made else problem

    def _virtual_hosts(self, listener: Listener, routes: list[Document]) -> Iterator[VirtualHost]:
        placed: dict[str, list[Placed]] = defaultdict(list)
        for route in routes:
            rules = self._maker.rules(route)
            for hostname in hostnames_of(listener, route):
                placed[hostname] += [Placed(route, rule, index) for index, rule in enumerate(rules)]
        for hostname in sorted(placed, key=specificity):
            yield VirtualHost(hostname=hostname, rules=in_order(placed[hostname]))

    def _sni_routes(self, listener: Listener, routes: list[Document]) -> Iterator[SniRoute]:
        ordered = sorted(
            routes, key=lambda r: (r.metadata.creation_timestamp or "", r.created_at, r.namespace, r.name)
        )
        taken: set[str] = set()
        for route in ordered:
            names = tuple(name for name in hostnames_of(listener, route) if name not in taken)
            taken.update(names)
            if names:
                yield SniRoute(
                    name=f"{route.kind}/{route.namespace}/{route.name}",
                    hostnames=tuple(name for name in names if name != "*"),
                    backends=self._references.plain(route, route.spec.rules[0].backend_refs),
                    source=route.source("spec", "rules", 0),
                )


def _certificate(secret: Document) -> Certificate:
    return Certificate(
        name=f"{secret.namespace}/{secret.name}",
        certificate_pem=secret.spec.pem("tls.crt"),
        key_pem=secret.spec.pem("tls.key"),
    )


# --- hostnames ---


def hostnames_of(listener: Listener, route: Document) -> tuple[str, ...]:
    """Where a listener's hostname and a route's meet; ``*`` for any, empty when they do not (Gateway API, `hostnames`)."""
    wanted: Iterable[str] = getattr(route.spec, "hostnames", ()) or ("*",)
    met = (intersection(listener.hostname or "*", hostname) for hostname in wanted)
    return tuple(dict.fromkeys(hostname for hostname in met if hostname))


def intersection(one: str, other: str) -> str:
    """The names that both stand for: the narrower of the two, or nothing."""
    if one == other or other == "*":
        return one
    if one == "*":
        return other
    if covers(one, other):
        return other
    return one if covers(other, one) else ""


def covers(pattern: str, hostname: str) -> bool:
    """Whether ``*.example.com`` stands for a name (or a narrower pattern); it does not for ``example.com``."""
    return (
        pattern.startswith("*.")
        and hostname.removeprefix("*").endswith(pattern[1:])
        and hostname != pattern[2:]
    )


def specificity(hostname: str) -> tuple[object, ...]:
    """Whole names first, then longer patterns, ``*`` last."""
    return (hostname == "*", hostname.startswith("*"), -len(hostname), hostname)

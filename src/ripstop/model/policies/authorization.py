"""AuthorizationPolicy: who may call what. DENY first; once an ALLOW exists the rest is denied."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from ripstop.model.field_types import HeaderName, Label, Method, Port, ServiceName, regex_fault
from ripstop.model.references import ServiceTarget
from ripstop.model.spec import Issue, Items, Spec


class TextMatch(Spec):
    """One way to compare."""

    exact: str | None = None
    """The whole value."""
    prefix: str | None = None
    """How it starts."""
    suffix: str | None = None
    """How it ends."""
    regex: str | None = None
    """An RE2 expression for the whole value."""

    def issues(self) -> Iterator[Issue]:
        """Exactly one; expressions are RE2."""
        if len([v for v in (self.exact, self.prefix, self.suffix, self.regex) if v is not None]) != 1:
            yield Issue((), "one way to compare must be given", "write exact, prefix, suffix or regex")
        if self.regex is not None and (fault := regex_fault(self.regex)):
            yield Issue(("regex",), fault, "use RE2 syntax")


class HeaderRule(Spec):
    """A header of the request."""

    name: HeaderName
    """Its name."""
    exact: str | None = None
    """The whole value."""
    prefix: str | None = None
    """How it starts."""
    suffix: str | None = None
    """How it ends."""
    regex: str | None = None
    """An RE2 expression for the whole value."""
    present: bool | None = None
    """That it is there, whatever its value."""

    def issues(self) -> Iterator[Issue]:
        """Exactly one; expressions are RE2."""
        ways = (self.exact, self.prefix, self.suffix, self.regex, self.present)
        if len([v for v in ways if v is not None]) != 1:
            yield Issue(
                (), "one way to compare must be given", "write exact, prefix, suffix, regex or present: true"
            )
        if self.present is False:
            yield Issue(
                ("present",), "absence is not matched", "write present: true, or leave the header out"
            )
        if self.regex is not None and (fault := regex_fault(self.regex)):
            yield Issue(("regex",), fault, "use RE2 syntax")


class CallersRule(Spec):
    """Who calls; every part that is given must match, within a part any value may."""

    services: Items[ServiceName] = ()
    """Services of this mesh: `name` (of the policy's namespace) or `namespace/name`."""
    namespaces: Items[Label] = ()
    """All services of these namespaces."""
    principals: Items[str] = ()
    """SPIFFE identities; a `*` at the end stands for anything."""
    not_services: Items[ServiceName] = ()
    """All but these services."""
    not_namespaces: Items[Label] = ()
    """All but these namespaces."""
    not_principals: Items[str] = ()
    """All but these identities."""

    def issues(self) -> Iterator[Issue]:
        """Identities are SPIFFE."""
        for name, values in (("principals", self.principals), ("notPrincipals", self.not_principals)):
            for index, value in enumerate(values):
                if not value.startswith("spiffe://") or "*" in value[:-1]:
                    cure = "write spiffe://DOMAIN/ns/NAMESPACE/sa/SERVICE, or a start of that and *"
                    yield Issue((name, index), "this is not a SPIFFE identity", cure)


class CalledRule(Spec):
    """What is called; every part that is given must match, within a part any value may."""

    methods: Items[Method] = ()
    """HTTP methods."""
    not_methods: Items[Method] = ()
    """All but these methods."""
    paths: Items[TextMatch] = ()
    """Paths, without the query."""
    not_paths: Items[TextMatch] = ()
    """All but these paths."""
    ports: Items[Port] = ()
    """Ports of the service or of the application."""
    headers: Items[HeaderRule] = ()
    """Headers; all of them must match."""


class AuthorizationRuleSpec(Spec):
    """One rule. Parts left out match all."""

    from_: CallersRule = Field(default=CallersRule(), alias="from")
    """Who calls."""
    to: CalledRule = CalledRule()
    """What is called."""


class AuthorizationPolicySpec(Spec):
    """Who may call what, by proven identity. A policy without rules matches nothing."""

    target_refs: Items[ServiceTarget] = Field(default=(), max_length=64)
    """The Services that it protects; all of the namespace when left out."""
    action: Literal["Allow", "Deny", "Audit"] = "Allow"
    """Deny goes first; once there is an Allow, what none allows is denied. Audit counts what `audits` would do."""
    audits: Literal["Allow", "Deny"] = "Deny"
    """For Audit: the action that is tried out."""
    rules: Items[AuthorizationRuleSpec] = Field(default=(), max_length=256)
    """Any of these must match."""

"""Authorizations -> RBAC. One RBAC policy per document, called ``namespace/name``, so that a denial names it.

A rule is one `Principal`: principals can look at headers and paths too, while permissions cannot look at who is asking.
Order is DENY, then ALLOW once there is any; AUDIT documents are shadow rules of filters of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from ripstop.model.policy import Action, Authorization, AuthorizationRule, StringMatch
from ripstop.xds import pb

AUDIT_DENY = "audit_deny_"
AUDIT_ALLOW = "audit_allow_"
_HTTP_PARTS = ("methods", "not_methods", "paths", "not_paths", "headers")


class Rules:
    """The authorizations of one service as its sidecar evaluates them for one port.

    `ports` are all numbers that the port goes by; rules for others do not hold here.
    """

    def __init__(
        self,
        authorizations: tuple[Authorization, ...],
        trust_domain: str,
        ports: frozenset[int],
        *,
        is_http: bool,
    ) -> None:
        self._trust_domain = trust_domain
        self._ports = ports
        self._is_http = is_http
        self._all = authorizations

    def enforced(self, action: Action) -> pb.Message | None:
        """The `RBAC` of DENY or ALLOW documents; None when there are none of them."""
        return self._rbac(action, [a for a in self._all if a.action is action])

    def allows(self) -> str:
        """The names of the ALLOW documents: what a call that none of them lets through is told."""
        return ", ".join(f"{a.namespace}/{a.name}" for a in self._all if a.action is Action.ALLOW)

    def audited(self, action: Action) -> pb.Message | None:
        """The `RBAC` that AUDIT documents would be, had they said `action`."""
        audits = [a for a in self._all if a.action is Action.AUDIT and a.audits is action]
        return self._rbac(action, audits)

    def _rbac(self, action: Action, documents: list[Authorization]) -> pb.Message | None:
        if not documents:
            return None
        made = pb.RBAC(action=pb.RBAC.ALLOW if action is Action.ALLOW else pb.RBAC.DENY)
        for document in documents:
            principals = list(self._principals(action, document.rules))
            if principals:
                name = f"{document.namespace}/{document.name}"
                policy = pb.Policy(permissions=[pb.Permission(any=True)], principals=principals)
                made.policies[name].CopyFrom(policy)
        return made

    def _principals(self, action: Action, rules: Iterable[AuthorizationRule]) -> Iterator[pb.Message]:
        for rule in rules:
            if rule.ports and not self._ports.intersection(rule.ports):
                continue
            if not self._is_http and any(getattr(rule, part) for part in _HTTP_PARTS):
                if action is Action.ALLOW:
                    continue  # what cannot be seen on TCP cannot be allowed by it,
                unseen: dict[str, Any] = dict.fromkeys(_HTTP_PARTS, ())
                rule = replace(rule, **unseen)  # and is denied without looking
            yield self._principal(rule)

    def _principal(self, rule: AuthorizationRule) -> pb.Message:
        """Every part that is given must match; within a part any value may."""
        parts = [
            self._any(rule.principals, _authenticated),
            self._any(rule.namespaces, self._in_namespace),
            self._none(rule.not_principals, _authenticated),
            self._none(rule.not_namespaces, self._in_namespace),
            self._any(rule.methods, _method),
            self._none(rule.not_methods, _method),
            self._any(rule.paths, _path),
            self._none(rule.not_paths, _path),
            *(_header(name, wanted) for name, wanted in rule.headers),
        ]
        given = [part for part in parts if part is not None]
        return pb.Principal(and_ids={"ids": given}) if given else pb.Principal(any=True)

    @staticmethod
    def _any(values: tuple[pb.Message, ...], make: pb.Message) -> pb.Message | None:
        return pb.Principal(or_ids={"ids": [make(value) for value in values]}) if values else None

    @classmethod
    def _none(cls, values: tuple[pb.Message, ...], make: pb.Message) -> pb.Message | None:
        matched = cls._any(values, make)
        return pb.Principal(not_id=matched) if matched is not None else None

    def _in_namespace(self, wanted: StringMatch) -> pb.Message:
        """A namespace is a part of the URI: ``spiffe://<trust domain>/ns/<namespace>/sa/<service>``."""
        start, value = re.escape(f"spiffe://{self._trust_domain}/ns/"), re.escape(wanted.value)
        middle = {
            "exact": value,
            "prefix": value + "[^/]*",
            "suffix": "[^/]*" + value,
            "regex": f"(?:{wanted.value})",
        }
        pattern = f"{start}{middle.get(wanted.kind, '[^/]+')}/sa/[^/]+"
        return _authenticated(StringMatch(kind="regex", value=pattern))


def _authenticated(wanted: StringMatch) -> pb.Message:
    """The peer's URI SAN (`Principal.authenticated`); without a name: any peer with a certificate."""
    if wanted.kind == "present":
        return pb.Principal(authenticated=pb.Principal.Authenticated())
    return pb.Principal(authenticated={"principal_name": _string(wanted)})


def _method(method: str) -> pb.Message:
    return pb.Principal(header={"name": ":method", "string_match": {"exact": method}})


def _path(wanted: StringMatch) -> pb.Message:
    """The path without its query (`Principal.url_path`)."""
    return pb.Principal(url_path={"path": _string(wanted)})


def _header(name: str, wanted: StringMatch) -> pb.Message:
    name = ":authority" if name.lower() == "host" else name.lower()
    if wanted.kind == "present":
        return pb.Principal(header={"name": name, "present_match": True})
    return pb.Principal(header={"name": name, "string_match": _string(wanted)})


def _string(wanted: StringMatch) -> pb.Message:
    match wanted.kind:
        case "prefix" | "suffix" if not wanted.value:
            return pb.StringMatcher(safe_regex={"regex": ".*"})
        case "regex":
            return pb.StringMatcher(safe_regex={"regex": wanted.value})
        case "present":
            return pb.StringMatcher(safe_regex={"regex": ".+"})
        case kind:
            return pb.StringMatcher(**{kind: wanted.value})

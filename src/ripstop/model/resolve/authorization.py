"""AuthorizationPolicy documents -> what holds at each service's sidecars."""

from __future__ import annotations

from ripstop.ids import ServiceId, SpiffeId
from ripstop.model.document import Document
from ripstop.model.policies.authorization import AuthorizationRuleSpec, HeaderRule, TextMatch
from ripstop.model.policy import Action, Authorization, AuthorizationRule, StringMatch
from ripstop.model.resolve.world import Documents


def authorizations(documents: Documents, service: ServiceId, trust_domain: str) -> tuple[Authorization, ...]:
    """The policies that hold for a service: those that target it and those of its whole namespace, by name."""
    found = [
        document
        for document in documents.of_kind("AuthorizationPolicy")
        if document.namespace == service.namespace and _targets(document, service.name)
    ]
    return tuple(_authorization(d, trust_domain) for d in sorted(found, key=lambda d: d.name))


def _targets(document: Document, name: str) -> bool:
    refs = document.spec.target_refs
    return not refs or any(ref.name == name for ref in refs)


def _authorization(document: Document, trust_domain: str) -> Authorization:
    spec = document.spec
    return Authorization(
        name=document.name,
        namespace=document.namespace,
        action=Action(spec.action),
        audits=Action(spec.audits),
        rules=tuple(_rule(document, index, trust_domain) for index in range(len(spec.rules))),
        source=document.source("spec"),
    )


def _rule(document: Document, index: int, trust_domain: str) -> AuthorizationRule:
    rule: AuthorizationRuleSpec = document.spec.rules[index]
    namespace = document.namespace
    callers, called = rule.from_, rule.to
    return AuthorizationRule(
        principals=_principals(callers.services, callers.principals, namespace, trust_domain),
        not_principals=_principals(callers.not_services, callers.not_principals, namespace, trust_domain),
        namespaces=tuple(StringMatch(kind="exact", value=value) for value in callers.namespaces),
        not_namespaces=tuple(StringMatch(kind="exact", value=value) for value in callers.not_namespaces),
        methods=called.methods,
        not_methods=called.not_methods,
        paths=tuple(_text(path) for path in called.paths),
        not_paths=tuple(_text(path) for path in called.not_paths),
        ports=called.ports,
        headers=tuple((header.name.lower(), _text(header)) for header in called.headers),
        source=document.source("spec", "rules", index),
    )


def _principals(
    services: tuple[str, ...], principals: tuple[str, ...], namespace: str, trust_domain: str
) -> tuple[StringMatch, ...]:
    exact = [str(SpiffeId(trust_domain, ServiceId.parse(name, namespace))) for name in services]
    return (
        *(StringMatch(kind="exact", value=value) for value in exact),
        *(_pattern(value) for value in principals),
    )


def _pattern(value: str) -> StringMatch:
    if value.endswith("*"):
        return StringMatch(kind="prefix", value=value[:-1])
    return StringMatch(kind="exact", value=value)


def _text(match: TextMatch | HeaderRule) -> StringMatch:
    for kind in ("exact", "prefix", "suffix", "regex"):
        value = getattr(match, kind)
        if value is not None:
            return StringMatch(kind=kind, value=value)
    return StringMatch(kind="present")

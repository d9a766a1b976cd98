"""Documents of the cases."""

from __future__ import annotations

import json
from typing import Any

API = "gateway.networking.k8s.io/v1"


def document(
    kind: str, name: str, spec: dict[str, Any], namespace: str = "default", version: str = API
) -> str:
    value = {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }
    return "\n---\n" + json.dumps(value)  # JSON is YAML


def http_route(name: str, rules: list[dict[str, Any]], **more: Any) -> str:
    """`more`: namespace, hostnames, section, parent, parent_namespace."""
    parent = more.get("parent") or {"name": "edge"}
    if more.get("section"):
        parent = {**parent, "sectionName": more["section"]}
    if more.get("parent_namespace"):
        parent = {**parent, "namespace": more["parent_namespace"]}
    spec: dict[str, Any] = {"parentRefs": [parent], "rules": rules}
    if more.get("hostnames"):
        spec["hostnames"] = more["hostnames"]
    return document("HTTPRoute", name, spec, more.get("namespace", "default"))


def grant(namespace: str, to_namespace: str) -> str:
    """HTTPRoutes of `to_namespace` may refer to the Services of `namespace`."""
    who = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": to_namespace}
    spec = {"from": [who], "to": [{"group": "", "kind": "Service"}]}
    return document("ReferenceGrant", "grant", spec, namespace, "gateway.networking.k8s.io/v1beta1")

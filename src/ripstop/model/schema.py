"""The JSON Schema of documents, for editors (`ripstop schema`)."""

from __future__ import annotations

from typing import Any

from ripstop.model.document import KINDS, Kind, Metadata

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """One schema for a document of any kind."""
    definitions: dict[str, Any] = {"Metadata": _shape(Metadata, "Metadata", {})}
    branches = [_branch(name, kind, definitions) for name, kind in sorted(KINDS.items())]
    return {
        "$schema": _DRAFT,
        "title": "A Ripstop document",
        "type": "object",
        "required": ["apiVersion", "kind", "metadata"],
        "oneOf": branches,
        "$defs": definitions,
    }


def _branch(name: str, kind: Kind, definitions: dict[str, Any]) -> dict[str, Any]:
    content = _shape(kind.model, name, definitions)
    properties: dict[str, Any] = {
        "apiVersion": {"enum": list(kind.api_versions)},
        "kind": {"const": name},
        "metadata": {"$ref": "#/$defs/Metadata"},
    }
    required = ["apiVersion", "kind", "metadata"]
    if kind.has_spec:
        properties["spec"] = content
        required += ["spec"] if kind.needs_spec else []
        properties["status"] = {
            "type": "object",
            "description": "What other implementations wrote; not read.",
        }
    else:
        properties |= content.get("properties", {})
    return {
        "type": "object",
        "description": content.get("description", ""),
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _shape(model: Any, name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """A model's schema; what it refers to goes into `definitions` (models of one name are one model)."""
    shape: dict[str, Any] = model.model_json_schema(ref_template="#/$defs/{model}", mode="validation")
    definitions.update(shape.pop("$defs", {}))
    shape.pop("title", None)
    return shape

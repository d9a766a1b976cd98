"""YAML text -> documents and faults: every fault of every file in one answer."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from ripstop.errors import Fault
from ripstop.model.document import KINDS, PLANNED, Document, Envelope, Kind, path_text
from ripstop.model.spec import names_at
from ripstop.model.yaml_text import Path, YamlDocument, documents_of

FOUND_CHARACTERS_MAX = 80
_TOP = ("apiVersion", "kind", "metadata")


@dataclass(frozen=True, slots=True)
class Parsed:
    """What files hold: sound documents, and what is wrong with the rest."""

    documents: tuple[Document, ...]
    faults: tuple[Fault, ...]


def parse(files: Iterable[tuple[str, str]]) -> Parsed:
    """Read (file name, YAML text) pairs. Nothing is raised: what is wrong is in `faults`, by file and line."""
    documents: list[Document] = []
    faults: list[Fault] = []
    for file, text in files:
        for read in documents_of(text):
            reader = _Reader(file, read)
            document = reader.document()
            faults += reader.faults
            if document is not None and not reader.faults:
                documents.append(document)
    return Parsed(tuple(documents), tuple(sorted(faults, key=lambda f: (f.file, f.line, f.path))))


class _Reader:
    """Reads one YAML document, collecting faults."""

    def __init__(self, file: str, read: YamlDocument) -> None:
        self.file, self.read, self.title = file, read, ""
        self.faults: list[Fault] = []
        for trouble in read.troubles:
            self._fault(trouble.path, trouble.message, trouble.cure, trouble.found, trouble.line)

    def document(self) -> Document | None:
        value = self.read.value
        if value is None:
            return None
        if not isinstance(value, dict):
            self._fault((), "a document is a mapping", "start with apiVersion, kind, metadata", _shown(value))
            return None
        if value.get("kind") == "List" and isinstance(value.get("items"), list):
            self._fault(
                ("kind",), "a List is not read", "write the items as documents of their own, split by ---"
            )
            return None
        self.title = _title(value)
        envelope = self._envelope(value)
        kind = self._kind(value)
        spec = self._content(value, kind) if kind else None
        if envelope is None or kind is None or spec is None:
            return None
        return self._document(envelope, kind, spec)

    def _document(self, envelope: Envelope, kind: Kind, spec: Any) -> Document:
        metadata = envelope.metadata
        return Document(
            kind=envelope.kind,
            namespace=metadata.namespace if kind.is_namespaced else "",
            name=metadata.name,
            file=self.file,
            line=self.read.line,
            text=self.read.text,
            spec=spec,
            metadata=metadata,
            lines=self.read.lines,
        )

    def _envelope(self, value: dict[str, Any]) -> Envelope | None:
        given = {key: value[key] for key in _TOP if key in value}
        envelope: Envelope | None = self._validated(Envelope, given, ())
        return envelope

    def _kind(self, value: dict[str, Any]) -> Kind | None:
        name, version = value.get("kind"), value.get("apiVersion")
        if not isinstance(name, str):
            return None
        kind = KINDS.get(name)
        if kind is None:
            cure = (
                "it is planned; remove it for now"
                if name in PLANNED
                else _nearest(name, list(KINDS), "write ")
            )
            self._fault(("kind",), "this kind is not known", cure or f"use one of {', '.join(KINDS)}", name)
        elif isinstance(version, str) and version not in kind.api_versions:
            cure = f"write {' or '.join(kind.api_versions)}"
            self._fault(("apiVersion",), f"{name} is not of this version", cure, version)
        return kind

    def _content(self, value: dict[str, Any], kind: Kind) -> Any:
        top = (*_TOP, "status")
        rest = {key: content for key, content in value.items() if key not in top}
        if not kind.has_spec:
            return self._validated(kind.model, rest, ())
        for key in rest:
            if key != "spec":
                cure = _nearest(key, ["spec", "metadata", "status"], "did you mean ") or "remove it"
                self._fault((key,), "the field is not known", cure, _shown(rest[key]))
        if "spec" not in rest and kind.needs_spec:
            self._fault(("spec",), "there is no spec", "write spec: with the fields of the kind")
            return None
        return self._validated(kind.model, {} if rest.get("spec") is None else rest["spec"], ("spec",))

    def _validated(self, model: type[BaseModel], value: Any, prefix: Path) -> Any:
        try:
            return model.model_validate(value)
        except ValidationError as error:
            for item in error.errors(include_url=False):
                self._violation(model, item, prefix)
            return None

    def _violation(self, model: type[BaseModel], item: Any, prefix: Path) -> None:
        path = prefix + tuple(part for part in item["loc"] if part != "[key]")
        context = item.get("ctx", {})
        if item["type"] == "issues":
            for issue in context["issues"]:
                self._fault(path + issue.path, issue.message, issue.cure)
            return
        message, cure = _words(model, item, tuple(item["loc"]))
        missing = item["type"] == "missing"
        self._fault(path, message, context.get("cure", cure), "" if missing else _shown(item.get("input")))

    def _fault(self, path: Path, message: str, cure: str, found: str = "", line: int = 0) -> None:
        line = line or self.read.line_of(path)
        secret = "Secret" in self.title and path[:1] in (("data",), ("stringData",))
        self.faults.append(
            Fault(
                file=self.file,
                line=line,
                path=path_text(path) or "document",
                message=message,
                found="" if secret else found,
                cure=cure,
                document=self.title,
            )
        )


_KINDS_OF_VALUE = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def _words(model: type[BaseModel], item: Any, location: Path) -> tuple[str, str]:
    """(message, cure) for an error of pydantic, in our words."""
    kind, context = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        near = _nearest(str(location[-1]), names_at(model, location[:-1]), "did you mean ")
        return "the field is not known", near or "remove it"
    if kind == "missing":
        return "the field must be given", f"write {location[-1]}: ..."
    if kind in _KINDS_OF_VALUE:
        return f"this must be {_KINDS_OF_VALUE[kind]}", f"write {_KINDS_OF_VALUE[kind]}"
    if kind == "literal_error":
        return "this value is not known", f"write one of {context['expected']}"
    bounds = [f"{name} {context[key]}" for key, name in _BOUNDS.items() if key in context]
    if bounds:
        return "the value is out of bounds", f"write {' and '.join(bounds)}"
    return str(item["msg"]), "see `ripstop schema`"


_BOUNDS = {
    "ge": "at least",
    "gt": "more than",
    "le": "at most",
    "lt": "less than",
    "min_length": "at least this many:",
    "max_length": "at most this many:",
}


def _nearest(word: str, known: list[str], before: str) -> str:
    found = difflib.get_close_matches(word, known, 1)
    return (
        f"{before}{found[0]}?" if found and before.startswith("did") else (before + found[0] if found else "")
    )


def _title(value: dict[str, Any]) -> str:
    metadata = value.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    namespace, name = metadata.get("namespace", "default"), metadata.get("name", "?")
    return f"{str(value.get('kind', '?'))[:63]} {str(namespace)[:63]}/{str(name)[:63]}"


def _shown(value: Any) -> str:
    text = "nothing" if value is None else value if isinstance(value, str) else repr(value)
    text = text.replace("\n", "\\n")
    return text if len(text) <= FOUND_CHARACTERS_MAX else text[:FOUND_CHARACTERS_MAX] + "…"

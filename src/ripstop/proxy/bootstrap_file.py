"""An Envoy bootstrap from a file, as bytes: YAML and JSON are checked against the message, `.pb` is taken as it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ripstop.errors import Fault, InvalidDocuments, NotFound
from ripstop.model.yaml_text import YamlDocument, documents_of
from ripstop.xds import pb

_WHERE = re.compile(r' at "?Bootstrap\.?([\w.\[\]]*?)"?\.*(?:\n.*)?$', re.DOTALL)
_NESTING = re.compile(r"^(?:Failed to parse \w+ field: )+")
_FIELDS = re.compile(r"Failed to parse (\w+) field: ")
_STEP = re.compile(r"\w+")


def read_bootstrap(path: Path) -> bytes:
    """The serialized `config.bootstrap.v3.Bootstrap` of a file.

    Raises:
        NotFound: there is no such file.
        InvalidDocuments: it is not YAML or JSON, or not a Bootstrap; told with its line and path.
    """
    if not path.is_file():
        raise NotFound(f"{path} is no file", cure="name an Envoy bootstrap: .yaml, .json or .pb")
    if path.suffix == ".pb":
        return path.read_bytes()
    document = _one_document(path)
    content = document.value
    if not isinstance(content, dict):
        raise _fault(path, document.line, "", "a bootstrap is a mapping", "begin with static_resources:")
    return _checked(path, document, content)


def _one_document(path: Path) -> YamlDocument:
    """JSON is YAML too, but for tabs between its tokens."""
    try:
        text = path.read_text()
    except UnicodeDecodeError:
        cure = "give it the suffix .pb if it is a serialized Bootstrap"
        raise _fault(path, 0, "", "this is not text", cure) from None
    if path.suffix == ".json":
        text = text.replace("\t", "  ")
    documents = list(documents_of(text))
    troubles = [trouble for document in documents for trouble in document.troubles]
    if troubles:
        raise InvalidDocuments(
            tuple(
                Fault(file=str(path), line=t.line, path="", message=t.message, found=t.found, cure=t.cure)
                for t in troubles
            )
        )
    if len(documents) != 1:
        raise _fault(path, 0, "", f"there are {len(documents)} documents in it", "write one bootstrap")
    return documents[0]


def _checked(path: Path, document: YamlDocument, content: dict[str, Any]) -> bytes:
    try:
        return pb.to_bytes(pb.from_dict(pb.Bootstrap, content))
    except pb.Unreadable as error:
        words = str(error)
    where = _place(words)
    message = _NESTING.sub("", words).partition("\n")[0]
    message = _WHERE.sub("", message).rstrip(". ")
    steps = tuple(int(step) if step.isdigit() else step for step in _STEP.findall(where))
    raise _fault(path, document.line_of(steps), where, message, "write it as Envoy's reference has it")


def _place(words: str) -> str:
    """The path that protobuf tells, or the names of the fields it was in."""
    told = _WHERE.search(words)
    return told[1] if told and told[1] else ".".join(_FIELDS.findall(words))


def _fault(path: Path, line: int, where: str, message: str, cure: str) -> InvalidDocuments:
    return InvalidDocuments((Fault(file=str(path), line=line, path=where, message=message, cure=cure),))

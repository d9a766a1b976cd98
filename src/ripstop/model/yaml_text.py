"""YAML text to plain values that still know their lines.

Documents are split at `---` before anything is parsed (YAML 1.2, section 9.1.2: a `---` at the start of a line is always a
marker), so a syntax error in one document does not hide the faults of the next. Scalars follow the YAML 1.2 core schema:
`on` and `yes` are words, not booleans. Tags are refused, never executed; aliases are bounded by what they expand to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

FILE_CHARACTERS_MAX = 4 * 1024 * 1024
DOCUMENT_VALUES_MAX = 100_000
"""Values in one document after aliases are expanded: the bound on "billion laughs"."""
DEPTH_MAX = 40

Path = tuple[str | int, ...]
Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]

_MARKER = re.compile(r"(?:---|\.\.\.)(?:[ \t\r]|$)")
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_BASED = re.compile(r"0o[0-7]{1,20}|0x[0-9a-fA-F]{1,16}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,3})?")
_PLAIN_WORDS: dict[str, bool | None] = {"null": None, "true": True, "false": False}
_WORDS: dict[str, bool | None] = {"": None, "~": None}
for _word, _value in _PLAIN_WORDS.items():
    _WORDS |= dict.fromkeys((_word, _word.capitalize(), _word.upper()), _value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What the text has wrong at a line, before it is known which document it is."""

    line: int
    message: str
    cure: str
    path: Path = ()
    found: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlDocument:
    """One document of a file: its value, the line of each path in it, its text and where that starts."""

    value: Plain
    lines: dict[Path, int]
    text: str
    line: int
    troubles: tuple[Trouble, ...]

    def line_of(self, path: Path) -> int:
        """The line of `path`, or of its nearest ancestor that was written."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, self.line)


class _Stop(Exception):
    """The document cannot be read on."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.message)
        self.trouble = trouble


@dataclass(slots=True)
class _Node:
    """A composed value. Aliases share nodes: what they cost is counted when they are expanded."""

    line: int
    scalar: bool | int | float | str | None = None
    items: list[_Node] | None = None
    entries: dict[str, tuple[int, _Node]] | None = None
    pending: tuple[int, str] | None = None


def documents_of(text: str) -> Iterator[YamlDocument]:
    """The documents of a file, those with syntax errors too (with the trouble, without a value)."""
    if len(text) > FILE_CHARACTERS_MAX:
        message = f"the file has more than {FILE_CHARACTERS_MAX} characters"
        yield _unreadable(Trouble(line=1, message=message, cure="split it into several files"), "", 1)
        return
    for first_line, chunk in _chunks(text.removeprefix("\ufeff")):
        document = _read(chunk, first_line)
        if document.value is not None or document.troubles:
            yield document


def _chunks(text: str) -> Iterator[tuple[int, str]]:
    """(first line number, text) of each document; directives and comments alone are none."""
    start, kept = 1, list[str]()
    for number, line in enumerate(text.split("\n"), 1):
        if _MARKER.match(line):
            yield from _chunk(start, kept)
            start, kept = number, [line if line.startswith("---") else ""]
        else:
            kept.append(line)
    yield from _chunk(start, kept)


def _chunk(start: int, lines: list[str]) -> Iterator[tuple[int, str]]:
    content = [line for line in lines if line.strip() and not line.startswith(("#", "%"))]
    if content and content != ["---"]:
        yield start, "\n".join(" " if line.startswith("%") else line for line in lines)


def _read(chunk: str, first_line: int) -> YamlDocument:
    composer = _Composer(first_line)
    try:
        root = composer.compose(YAML(typ="safe", pure=True).parse(chunk))
        value = None if root is None else composer.expand(root, ())
    except _Stop as stop:
        return _unreadable(stop.trouble, chunk, first_line, composer.troubles)
    except YAMLError as error:
        return _unreadable(_syntax(error, first_line), chunk, first_line, composer.troubles)
    except Exception as error:  # the parser's own slips on odd input: the text is still what is wrong
        message = f"this is not YAML ({type(error).__name__})"
        trouble = Trouble(line=first_line, message=message, cure="check the indentation and the quotes")
        return _unreadable(trouble, chunk, first_line, composer.troubles)
    return YamlDocument(
        value=value,
        lines=composer.lines,
        text=chunk,
        line=composer.lines.get((), first_line),
        troubles=tuple(composer.troubles),
    )


def _unreadable(trouble: Trouble, text: str, line: int, others: Iterable[Trouble] = ()) -> YamlDocument:
    return YamlDocument(value=None, lines={}, text=text, line=line, troubles=(*others, trouble))


def _syntax(error: YAMLError, first_line: int) -> Trouble:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = first_line + mark.line if mark is not None else first_line
    problem = error.problem if isinstance(error, MarkedYAMLError) else str(error).splitlines()[0]
    cure = "check the indentation, the quotes and the brackets here and in the line before"
    return Trouble(line=line, message=f"this is not YAML: {problem}", cure=cure)


@dataclass(slots=True)
class _Composer:
    """Builds one document from parser events without recursion, then expands it to plain values."""

    first_line: int
    lines: dict[Path, int] = field(default_factory=dict)
    troubles: list[Trouble] = field(default_factory=list)
    _anchors: dict[str, _Node] = field(default_factory=dict)
    _count: int = 0

    def compose(self, events: Iterable[Any]) -> _Node | None:
        """The document's root; None when there is no content."""
        root: _Node | None = None
        stack: list[_Node] = []
        for event in events:
            if isinstance(event, MappingEndEvent | SequenceEndEvent):
                stack.pop()
            if not isinstance(event, NodeEvent):
                continue
            node = self._node(event)
            if stack:
                self._put(stack[-1], event, node)
            elif root is None:
                root = node
            if isinstance(event, MappingStartEvent | SequenceStartEvent):
                stack.append(node)
                if len(stack) > DEPTH_MAX:
                    raise self._stop(
                        node.line, f"values are nested more than {DEPTH_MAX} deep", "write it flatter"
                    )
        return root

    def _node(self, event: Any) -> _Node:
        line = self.first_line + event.start_mark.line
        if isinstance(event, AliasEvent):
            if event.anchor not in self._anchors:
                raise self._stop(
                    line, f"the alias *{event.anchor} has no anchor", f"define &{event.anchor} before"
                )
            return self._anchors[event.anchor]
        self._refuse_tag(event, line)
        if isinstance(event, ScalarEvent):
            node = _Node(line, scalar=self._scalar(event, line))
        elif isinstance(event, MappingStartEvent):
            node = _Node(line, entries={})
        else:
            node = _Node(line, items=[])
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _put(self, parent: _Node, event: Any, node: _Node) -> None:
        line = self.first_line + event.start_mark.line
        if parent.items is not None:
            parent.items.append(node)
        elif parent.pending is None:
            if not isinstance(event, ScalarEvent):
                raise self._stop(line, "a key is not a plain word", "write keys as plain words")
            parent.pending = (line, event.value)
        else:
            assert parent.entries is not None
            key_line, key = parent.pending
            parent.pending = None
            if key in parent.entries:
                found = f"first at line {parent.entries[key][0]}"
                trouble = Trouble(
                    line=key_line,
                    message=f"the key {key!r} is given twice",
                    cure="keep one",
                    path=(key,),
                    found=found,
                )
                self.troubles.append(trouble)
            else:
                parent.entries[key] = (key_line, node)

    def _refuse_tag(self, event: Any, line: int) -> None:
        tag = str(event.ctag) if getattr(event, "ctag", None) is not None else ""
        if tag and tag not in ("None", "tag:yaml.org,2002:str", "!"):
            raise self._stop(
                line, f"the tag {tag!r} is not understood", "remove the tag: values are plain YAML"
            )

    def _scalar(self, event: Any, line: int) -> bool | int | float | str | None:
        text: str = event.value
        if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
            raise self._stop(
                line, "the text has half a character (a lone surrogate)", "write the whole character"
            )
        return _core_schema(text) if event.style is None and event.ctag is None else text

    def expand(self, node: _Node, path: Path) -> Plain:
        """The plain value of `node`, noting the line of everything in it."""
        self._count += 1
        self.lines.setdefault(path, node.line)
        if len(path) > DEPTH_MAX:
            raise self._stop(node.line, f"values are nested more than {DEPTH_MAX} deep", "write it flatter")
        if self._count > DOCUMENT_VALUES_MAX:
            message = f"the document has more than {DOCUMENT_VALUES_MAX} values, aliases expanded"
            raise self._stop(node.line, message, "use fewer aliases, or several documents")
        if node.items is not None:
            return [self.expand(item, (*path, i)) for i, item in enumerate(node.items)]
        if node.entries is None:
            return node.scalar
        for key, (line, _) in node.entries.items():
            self.lines[(*path, key)] = line
        return {key: self.expand(value, (*path, key)) for key, (_, value) in node.entries.items()}

    def _stop(self, line: int, message: str, cure: str) -> _Stop:
        return _Stop(Trouble(line=line, message=message, cure=cure))


def _core_schema(text: str) -> bool | int | float | str | None:
    """A plain scalar's value by YAML 1.2's core schema; numbers too long to be meant as numbers stay text."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if len(text) < 64 and _FLOAT.fullmatch(text):
        number = float(text)
        return number if abs(number) != float("inf") else text
    return text

"""What can go wrong, as values a person can act on.

RipstopError            every error we raise on purpose: a message and a cure
├── InvalidDocuments    one or more faults in documents; nothing was applied
├── NotFound            the thing asked for is not there
├── Refused             who asked may not have it
├── Conflict            the state changed under the caller
└── Unavailable         a peer or a disk is not there now; trying later may help
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing wrong with one document.

    `file` and `line` (from 1; 0 when unknown) say where, `path` which field (``spec.rules[0].matches[1].path``),
    `found` what was there, `cure` what to write instead. `document` is ``Kind namespace/name`` when known.
    """

    file: str
    line: int
    path: str
    message: str
    found: str = ""
    cure: str = ""
    document: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        found = f" (found {self.found})" if self.found else ""
        cure = f"\n    cure: {self.cure}" if self.cure else ""
        return f"{place} {self.path}: {self.message}{found}{cure}"


class RipstopError(Exception):
    """An error with a message for people and, where there is one, a cure."""

    def __init__(self, message: str, *, cure: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure

    def told(self) -> str:
        """What people are told, in lines."""
        cure = f"\n  cure: {self.cure}" if self.cure else ""
        return f"ripstop: {self.message}{cure}"


class InvalidDocuments(RipstopError):
    """Documents have faults; all of them are in `faults`, ordered by file and line."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__(f"{len(faults)} fault{'s' if len(faults) != 1 else ''} in the documents")
        self.faults = faults

    def told(self) -> str:
        """Every fault with its place and cure, then how many there are."""
        return "\n".join([*map(str, self.faults), super().told()])


class NotFound(RipstopError):
    """The thing asked for is not there."""


class Refused(RipstopError):
    """Who asked may not have it."""


class Conflict(RipstopError):
    """The state changed under the caller."""


class Unavailable(RipstopError):
    """A peer or a disk is not there now; trying later may help."""

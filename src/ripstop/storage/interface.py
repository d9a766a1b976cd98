"""What a store must do, whichever it is: memory, SQLite, later etcd.

A store keeps four things: documents (current set, with the text they came from), registrations, issued certificates, and
the history of changes. Every write is one transaction and is durable when the call returns; a failed write leaves the
old state and raises `Unavailable`. Calls block for milliseconds: rims run them in a worker thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDocument:
    """A document as written: its YAML text, where it came from, and since when (wall seconds)."""

    kind: str
    namespace: str
    name: str
    text: str
    file: str
    line: int
    created_at: float
    generation: int

    @property
    def key(self) -> tuple[str, str, str]:
        """(kind, namespace, name)."""
        return (self.kind, self.namespace, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One acknowledged change: which generation it made, when (wall seconds), by whom, what."""

    generation: int
    at: float
    actor: str
    summary: str
    applied: tuple[str, ...]
    deleted: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedCertificate:
    """A certificate the CA signed. `serial` is hexadecimal; times are wall seconds."""

    serial: str
    spiffe_id: str
    instance: str
    not_before: float
    not_after: float
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinToken:
    """A join token as kept: only its hash. `uses_left` is None when it may be used until it expires."""

    token_hash: str
    namespace: str
    service: str
    expires_at: float
    uses_left: int | None


class Store(Protocol):
    """Where the control plane keeps what must survive it."""

    def documents(self) -> list[StoredDocument]:
        """All current documents, ordered by kind, namespace, name."""
        ...

    def generation(self) -> int:
        """The last acknowledged generation; 0 in a new store."""
        ...

    def change_documents(
        self,
        *,
        put: Iterable[StoredDocument],
        delete: Iterable[tuple[str, str, str]],
        actor: str,
        summary: str,
        now: float,
        expected_generation: int | None = None,
    ) -> int:
        """Put and delete in one transaction and append to the history; returns the new generation.

        Raises:
            Conflict: `expected_generation` is given and is not the current one.
            Unavailable: the disk refused; nothing changed.
        """
        ...

    def history(self, limit: int = 100) -> list[Change]:
        """The newest changes first."""
        ...

    def registrations(self) -> list[bytes]:
        """Every registration, as its JSON text (the model room reads it)."""
        ...

    def put_registrations(self, items: Mapping[str, bytes]) -> None:
        """Write registrations by node name (`namespace/service/instance`), in one transaction."""
        ...

    def delete_registrations(self, nodes: Iterable[str]) -> None:
        """Forget registrations; unknown ones are no error."""
        ...

    def record_certificate(self, certificate: IssuedCertificate) -> None:
        """Remember a certificate before it is handed out."""
        ...

    def certificates(self, *, live_at: float | None = None) -> list[IssuedCertificate]:
        """Certificates issued, newest first; with `live_at`, those not yet expired then."""
        ...

    def put_join_token(self, token: JoinToken) -> None:
        """Keep a new join token."""
        ...

    def take_join_token(self, token_hash: str, now: float) -> JoinToken | None:
        """Use a token once, atomically: None when unknown, expired or used up."""
        ...

    def put_blob(self, name: str, value: bytes) -> None:
        """Keep one small named value (the CA's wrapped state, settings of the mesh)."""
        ...

    def get_blob(self, name: str) -> bytes | None:
        """A value put before, or None."""
        ...

    def close(self) -> None:
        """Flush and let go of files."""
        ...

"""A store in memory: for tests, demos and `ripstop up --state none`. It promises all that a store does, but survival."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace

from ripstop.errors import Conflict
from ripstop.storage import limits
from ripstop.storage.interface import Change, IssuedCertificate, JoinToken, StoredDocument

Key = tuple[str, str, str]


class MemoryStore:
    """Everything in dictionaries, behind one lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._generation = 0
        self._documents: dict[Key, StoredDocument] = {}
        self._history: list[Change] = []
        self._registrations: dict[str, bytes] = {}
        self._certificates: dict[str, IssuedCertificate] = {}
        self._tokens: dict[str, JoinToken] = {}
        self._blobs: dict[str, bytes] = {}

    def documents(self) -> list[StoredDocument]:
        """All current documents, ordered by kind, namespace, name."""
        with self._lock:
            return [self._documents[key] for key in sorted(self._documents)]

    def generation(self) -> int:
        """The last acknowledged generation; 0 in a new store."""
        with self._lock:
            return self._generation

    def change_documents(
        self,
        *,
        put: Iterable[StoredDocument],
        delete: Iterable[Key],
        actor: str,
        summary: str,
        now: float,
        expected_generation: int | None = None,
    ) -> int:
        """Delete, put, and append to the history, at once; returns the new generation.

        Raises:
            Conflict: `expected_generation` is given and is not the current one.
        """
        put, delete = tuple(put), tuple(delete)
        with self._lock:
            if expected_generation not in (None, self._generation):
                raise conflict(expected_generation, self._generation)
            generation = self._generation + 1
            deleted = sorted({key for key in delete if key in self._documents})
            kept = {key: document for key, document in self._documents.items() if key not in deleted}
            for document in put:
                kept[document.key] = stamped(document, self._documents.get(document.key), generation, now)
            applied = tuple(limits.name_of(key) for key in sorted({document.key for document in put}))
            gone = tuple(limits.name_of(key) for key in deleted if key not in kept)
            self._history.append(
                Change(
                    generation=generation,
                    at=now,
                    actor=actor,
                    summary=summary,
                    applied=applied,
                    deleted=gone,
                )
            )
            del self._history[: -limits.MAX_HISTORY]
            self._documents = kept
            self._generation = generation
            return generation

    def history(self, limit: int = 100) -> list[Change]:
        """The newest changes first."""
        with self._lock:
            return self._history[::-1][: max(limit, 0)]

    def registrations(self) -> list[bytes]:
        """Every registration, as its JSON text, ordered by node."""
        with self._lock:
            return [self._registrations[node] for node in sorted(self._registrations)]

    def put_registrations(self, items: Mapping[str, bytes]) -> None:
        """Write registrations by node name."""
        with self._lock:
            self._registrations.update(items)

    def delete_registrations(self, nodes: Iterable[str]) -> None:
        """Forget registrations; unknown ones are no error."""
        with self._lock:
            for node in nodes:
                self._registrations.pop(node, None)

    def record_certificate(self, certificate: IssuedCertificate) -> None:
        """Remember a certificate before it is handed out."""
        with self._lock:
            if certificate.serial in self._certificates:
                raise Conflict(f"a certificate with the serial {certificate.serial} was issued before")
            self._certificates[certificate.serial] = certificate
            old = list(self._certificates.values())[: -limits.MAX_EXPIRED_CERTIFICATES]
            for forgotten in (c for c in old if c.not_after < certificate.not_before):
                del self._certificates[forgotten.serial]

    def certificates(self, *, live_at: float | None = None) -> list[IssuedCertificate]:
        """Certificates issued, newest first; with `live_at`, those not yet expired then."""
        with self._lock:
            newest_first = list(self._certificates.values())[::-1]
        return [c for c in newest_first if live_at is None or c.not_after > live_at]

    def put_join_token(self, token: JoinToken) -> None:
        """Keep a new join token."""
        with self._lock:
            self._tokens[token.token_hash] = token

    def take_join_token(self, token_hash: str, now: float) -> JoinToken | None:
        """Use a token once, atomically: None when unknown, expired or used up. Returns it as it was before this use."""
        with self._lock:
            self._tokens = {h: t for h, t in self._tokens.items() if t.expires_at > now}
            token = self._tokens.get(token_hash)
            if token is None or token.uses_left is None:
                return token
            if token.uses_left > 1:
                self._tokens[token_hash] = replace(token, uses_left=token.uses_left - 1)
            else:
                del self._tokens[token_hash]
            return token if token.uses_left > 0 else None

    def put_blob(self, name: str, value: bytes) -> None:
        """Keep one small named value."""
        with self._lock:
            self._blobs[name] = value

    def get_blob(self, name: str) -> bytes | None:
        """A value put before, or None."""
        with self._lock:
            return self._blobs.get(name)

    def close(self) -> None:
        """Nothing to let go of."""


def stamped(
    document: StoredDocument, before: StoredDocument | None, generation: int, now: float
) -> StoredDocument:
    """`document` as a store keeps it: of this generation, and as old as the first of its name."""
    return replace(document, generation=generation, created_at=before.created_at if before else now)


def conflict(expected: int | None, current: int) -> Conflict:
    """What a writer hears who has not seen the last change."""
    return Conflict(
        f"the documents are at generation {current}, and generation {expected} was expected",
        cure="read the documents again and repeat the change",
    )

"""The store in one SQLite file: what a control plane on one host needs, with nothing to run beside it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path

from ripstop.storage import limits
from ripstop.storage.database import Database
from ripstop.storage.interface import Change, IssuedCertificate, JoinToken, StoredDocument
from ripstop.storage.memory import conflict, stamped

Key = tuple[str, str, str]
_DOCUMENT = "kind, namespace, name, text, file, line, created_at, generation"
_CERTIFICATE = "serial, spiffe_id, instance, not_before, not_after, how"


class SqliteStore:
    """A store that survives; see `database.Database` for how."""

    def __init__(self, path: Path) -> None:
        """Open the database file `path`, or make it.

        Raises:
            Conflict: another control plane has it open.
            Unavailable: the disk refused, or the file is damaged or of a newer Ripstop.
        """
        self._database = Database(path)

    def documents(self) -> list[StoredDocument]:
        """All current documents, ordered by kind, namespace, name."""
        query = f"SELECT {_DOCUMENT} FROM documents ORDER BY kind, namespace, name"  # noqa: S608 - constants only
        with self._database.reading() as connection:
            return [_document(row) for row in connection.execute(query)]

    def generation(self) -> int:
        """The last acknowledged generation; 0 in a new store."""
        with self._database.reading() as connection:
            return _generation(connection)

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
        """Delete, put, and append to the history in one transaction, on disk when it returns; the new generation.

        Raises:
            Conflict: `expected_generation` is given and is not the current one.
            Unavailable: the disk refused; nothing changed.
        """
        written = {document.key: document for document in put}
        unwanted = set(delete)
        with self._database.writing() as connection:
            current = _generation(connection)
            if expected_generation not in (None, current):
                raise conflict(expected_generation, current)
            before = {key: found for key in {*written, *unwanted} if (found := _find(connection, key))}
            deleted = sorted(key for key in unwanted if key in before)
            for key in deleted:
                connection.execute("DELETE FROM documents WHERE (kind, namespace, name) = (?, ?, ?)", key)
            for key, document in written.items():
                _write(connection, stamped(document, before.get(key), current + 1, now))
            change = Change(
                generation=current + 1,
                at=now,
                actor=actor,
                summary=summary,
                applied=tuple(map(limits.name_of, sorted(written))),
                deleted=tuple(limits.name_of(key) for key in deleted if key not in written),
            )
            _append(connection, change)
        return change.generation

    def history(self, limit: int = 100) -> list[Change]:
        """The newest changes first."""
        query = "SELECT generation, at, actor, summary, applied, deleted FROM history ORDER BY generation DESC LIMIT ?"
        with self._database.reading() as connection:
            return [_change(row) for row in connection.execute(query, (max(limit, 0),))]

    def registrations(self) -> list[bytes]:
        """Every registration, as its JSON text, ordered by node."""
        with self._database.reading() as connection:
            return [
                bytes(body) for (body,) in connection.execute("SELECT body FROM registrations ORDER BY node")
            ]

    def put_registrations(self, items: Mapping[str, bytes]) -> None:
        """Write registrations by node name, in one transaction. Agents repeat them, so the disk is not waited for."""
        with self._database.writing(synced=False) as connection:
            connection.executemany("INSERT OR REPLACE INTO registrations VALUES (?, ?)", items.items())

    def delete_registrations(self, nodes: Iterable[str]) -> None:
        """Forget registrations; unknown ones are no error."""
        with self._database.writing(synced=False) as connection:
            connection.executemany("DELETE FROM registrations WHERE node = ?", [(node,) for node in nodes])

    def record_certificate(self, certificate: IssuedCertificate) -> None:
        """Remember a certificate before it is handed out."""
        values = tuple(getattr(certificate, name) for name in _CERTIFICATE.split(", "))
        with self._database.writing() as connection:
            connection.execute(f"INSERT INTO certificates ({_CERTIFICATE}) VALUES (?, ?, ?, ?, ?, ?)", values)  # noqa: S608
            connection.execute(
                "DELETE FROM certificates WHERE not_after < ? AND sequence <= (SELECT max(sequence) FROM certificates) - ?",
                (certificate.not_before, limits.MAX_EXPIRED_CERTIFICATES),
            )

    def certificates(self, *, live_at: float | None = None) -> list[IssuedCertificate]:
        """Certificates issued, newest first; with `live_at`, those not yet expired then."""
        query = (
            f"SELECT {_CERTIFICATE} FROM certificates WHERE ? IS NULL OR not_after > ? ORDER BY sequence DESC"  # noqa: S608
        )
        with self._database.reading() as connection:
            return [_certificate(row) for row in connection.execute(query, (live_at, live_at))]

    def put_join_token(self, token: JoinToken) -> None:
        """Keep a new join token."""
        values = (token.token_hash, token.namespace, token.service, token.expires_at, token.uses_left)
        with self._database.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO join_tokens VALUES (?, ?, ?, ?, ?)", values)

    def take_join_token(self, token_hash: str, now: float) -> JoinToken | None:
        """Use a token once, atomically: None when unknown, expired or used up. Returns it as it was before this use."""
        with self._database.writing() as connection:
            connection.execute(
                "DELETE FROM join_tokens WHERE expires_at <= ? OR coalesce(uses_left, 1) < 1", (now,)
            )
            query = "SELECT namespace, service, expires_at, uses_left FROM join_tokens WHERE token_hash = ?"
            row = connection.execute(query, (token_hash,)).fetchone()
            connection.execute(
                "UPDATE join_tokens SET uses_left = uses_left - 1 WHERE token_hash = ?", (token_hash,)
            )
        if row is None:
            return None
        return JoinToken(
            token_hash=token_hash, namespace=row[0], service=row[1], expires_at=row[2], uses_left=row[3]
        )

    def put_blob(self, name: str, value: bytes) -> None:
        """Keep one small named value."""
        with self._database.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO blobs VALUES (?, ?)", (name, value))

    def get_blob(self, name: str) -> bytes | None:
        """A value put before, or None."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT value FROM blobs WHERE name = ?", (name,)).fetchone()
        return bytes(row[0]) if row else None

    def close(self) -> None:
        """Flush and let go of the file and its lock."""
        self._database.close()


def _generation(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT coalesce(max(generation), 0) FROM history").fetchone()[0])


def _find(connection: sqlite3.Connection, key: Key) -> StoredDocument | None:
    query = f"SELECT {_DOCUMENT} FROM documents WHERE (kind, namespace, name) = (?, ?, ?)"  # noqa: S608
    row = connection.execute(query, key).fetchone()
    return _document(row) if row else None


def _write(connection: sqlite3.Connection, document: StoredDocument) -> None:
    values = tuple(getattr(document, name) for name in _DOCUMENT.split(", "))
    connection.execute(
        f"INSERT OR REPLACE INTO documents ({_DOCUMENT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
        values,
    )


def _append(connection: sqlite3.Connection, change: Change) -> None:
    values = (
        change.generation,
        change.at,
        change.actor,
        change.summary,
        json.dumps(change.applied),
        json.dumps(change.deleted),
    )
    connection.execute("INSERT INTO history VALUES (?, ?, ?, ?, ?, ?)", values)
    connection.execute(
        "DELETE FROM history WHERE generation <= ?", (limits.history_floor(change.generation),)
    )


def _document(row: tuple[str, str, str, str, str, int, float, int]) -> StoredDocument:
    kind, namespace, name, text, file, line, created_at, generation = row
    return StoredDocument(
        kind=kind,
        namespace=namespace,
        name=name,
        text=text,
        file=file,
        line=line,
        created_at=created_at,
        generation=generation,
    )


def _change(row: tuple[int, float, str, str, str, str]) -> Change:
    generation, at, actor, summary, applied, deleted = row
    return Change(
        generation=generation,
        at=at,
        actor=actor,
        summary=summary,
        applied=tuple(json.loads(applied)),
        deleted=tuple(json.loads(deleted)),
    )


def _certificate(row: tuple[str, str, str, float, float, str]) -> IssuedCertificate:
    serial, spiffe_id, instance, not_before, not_after, how = row
    return IssuedCertificate(
        serial=serial,
        spiffe_id=spiffe_id,
        instance=instance,
        not_before=not_before,
        not_after=not_after,
        how=how,
    )

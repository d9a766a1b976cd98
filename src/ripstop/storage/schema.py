"""The tables of the SQLite store, as a list of steps: a database at version n has had the first n of them.

Steps are only ever added. `PRAGMA user_version` holds the version and `PRAGMA application_id` says the file is ours
(https://www.sqlite.org/pragma.html).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from ripstop.errors import Unavailable

APPLICATION_ID = 0x52495053
"""``RIPS``."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE documents (
            kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, text TEXT NOT NULL, file TEXT NOT NULL,
            line INTEGER NOT NULL, created_at REAL NOT NULL, generation INTEGER NOT NULL,
            PRIMARY KEY (kind, namespace, name)) WITHOUT ROWID""",
        """CREATE TABLE history (
            generation INTEGER PRIMARY KEY, at REAL NOT NULL, actor TEXT NOT NULL, summary TEXT NOT NULL,
            applied TEXT NOT NULL, deleted TEXT NOT NULL)""",
        "CREATE TABLE registrations (node TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID",
        """CREATE TABLE certificates (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT, serial TEXT NOT NULL UNIQUE, spiffe_id TEXT NOT NULL,
            instance TEXT NOT NULL, not_before REAL NOT NULL, not_after REAL NOT NULL, how TEXT NOT NULL)""",
        "CREATE INDEX certificates_by_end ON certificates (not_after)",
        """CREATE TABLE join_tokens (
            token_hash TEXT PRIMARY KEY, namespace TEXT NOT NULL, service TEXT NOT NULL, expires_at REAL NOT NULL,
            uses_left INTEGER) WITHOUT ROWID""",
        "CREATE TABLE blobs (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    ),
)


def migrate(connection: sqlite3.Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Bring a database to the last version, in one transaction: wholly or not at all.

    Raises:
        Unavailable: the database is another program's, or of a newer Ripstop.
    """
    version = _pragma(connection, "user_version")
    _refuse_strangers(connection, version, len(migrations))
    if version == len(migrations):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in (s for step in migrations[version:] for s in step):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _refuse_strangers(connection: sqlite3.Connection, version: int, known: int) -> None:
    application = _pragma(connection, "application_id")
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application != APPLICATION_ID and (tables or version or application):
        raise Unavailable("the database is another program's", cure="choose another --state directory")
    if version > known:
        raise Unavailable(
            f"the database is of a newer Ripstop (schema {version}; this one knows {known})",
            cure="start the newer Ripstop, or restore the state directory from before the upgrade",
        )


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])

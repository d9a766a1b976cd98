"""One SQLite file that one process has: its directory, its lock, its connection, and what its errors mean.

Write-ahead log with `synchronous=FULL`: a commit is on disk when it returns (https://www.sqlite.org/wal.html,
https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

from ripstop.errors import Conflict, RipstopError, Unavailable
from ripstop.storage import schema

BUSY_TIMEOUT_S = 5.0
"""How long a transaction waits for a reader of the file outside of us (a backup) before it gives up."""

_FULL = ("SQLITE_FULL", "SQLITE_IOERR")
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_READ_ONLY = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")


class Database:
    """An open database file. Transactions are one at a time, from any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mutex = threading.Lock()
        self._lock_descriptor = -1
        self._connection: sqlite3.Connection | None = None
        try:
            with self._meaning():
                _make_directory(path.parent)
                self._lock_descriptor = _take_lock(path.with_suffix(".lock"))
                _make_file(path)
                self._connection = self._connect()
        except BaseException:
            self.close()
            raise

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA wal_autocheckpoint = 1000")
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise _damaged(self.path, str(found))
            schema.migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for queries."""
        with self._mutex, self._meaning():
            yield self._open()

    @contextlib.contextmanager
    def writing(self, *, synced: bool = True) -> Iterator[sqlite3.Connection]:
        """A transaction: committed at the end, undone by any error.

        With `synced` False it survives the death of our process but perhaps not of the machine: enough for what is
        soon told again.
        """
        with self._mutex, self._meaning():
            connection = self._open()
            connection.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Let go of the file and its lock; again is no error."""
        with self._mutex:
            if self._connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.close()
                self._connection = None
            if self._lock_descriptor >= 0:
                os.close(self._lock_descriptor)
                self._lock_descriptor = -1

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise Unavailable(f"the store {self.path} is closed")
        return self._connection

    @contextlib.contextmanager
    def _meaning(self) -> Iterator[None]:
        """Errors of SQLite and the disk, as errors with a cure."""
        try:
            yield
        except sqlite3.IntegrityError as error:
            raise Conflict(f"the store {self.path} has this already: {error}") from error
        except sqlite3.Error as error:
            raise _meaning(self.path, error) from error
        except OSError as error:
            raise Unavailable(
                f"cannot use the state in {self.path.parent}: {error.strerror or error}",
                cure="choose a --state directory that this user may write, on a disk with room",
            ) from error


def _meaning(path: Path, error: sqlite3.Error) -> RipstopError:
    name: str = getattr(error, "sqlite_errorname", "")
    if name.startswith(_DAMAGED):
        return _damaged(path, str(error))
    if name.startswith(_FULL):
        return Unavailable(
            f"the disk refused to write {path} ({error}); nothing was changed",
            cure=f"make room on the disk of {path.parent} and repeat",
        )
    if name.startswith(_READ_ONLY):
        return Unavailable(
            f"{path} cannot be written ({error}); nothing was changed",
            cure=f"make {path.parent} and the files in it writable for this user",
        )
    return Unavailable(f"the store {path} failed: {error}; nothing was changed", cure="repeat the request")


def _damaged(path: Path, found: str) -> Unavailable:
    return Unavailable(
        f"the store {path} is damaged: {found}",
        cure=f"restore it from a backup; or try `sqlite3 {path.name} .recover`; or move {path.name}* away, start "
        "again and apply the documents again (the CA's keys beside it stay valid)",
    )


def _make_directory(directory: Path) -> None:
    """Make the directory for our eyes only; one that others can write to is refused."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    found = directory.stat()
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Unavailable(
            f"others may write to the state directory {directory} (mode {stat.S_IMODE(found.st_mode):04o})",
            cure=f"choose a directory of your own for --state, or: chmod 700 {directory}",
        )


def _take_lock(path: Path) -> int:
    """Hold `path` (flock(2)) for as long as the descriptor lives; the kernel lets go when we die."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise Conflict(
            f"another control plane{f' (process {holder})' if holder else ''} has the state in {path.parent}",
            cure="stop it first, or give this one another --state",
        ) from error
    except BaseException:
        os.close(descriptor)
        raise
    with contextlib.suppress(OSError):  # who holds it is a courtesy; a full disk must not stop a start
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _make_file(path: Path) -> None:
    """The file is ours alone before SQLite writes to it; SQLite gives the log beside it the same mode."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)

"""Where documents and registrations are kept.

`open_store(path)` opens the SQLite store in the file `path`, or a store in memory when there is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ripstop.storage.interface import Change, IssuedCertificate, JoinToken, Store, StoredDocument

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Change", "IssuedCertificate", "JoinToken", "Store", "StoredDocument", "open_store"]


def open_store(path: Path | None) -> Store:
    """The store in the database file `path` (made when it is not there), or one in memory.

    Raises:
        Conflict: another control plane has it open.
        Unavailable: the disk refused, or the file is damaged or of a newer Ripstop.
    """
    if path is None:
        from ripstop.storage.memory import MemoryStore

        return MemoryStore()
    from ripstop.storage.sqlite import SqliteStore

    return SqliteStore(path)

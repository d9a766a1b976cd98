"""Documents in a directory: read once, and again whenever a file changes. Looked at twice a second, on every platform."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = (".yaml", ".yml")
LOOK_EVERY_S = 0.5
FILES_MAX = 10_000

Stamp = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a directory at one moment; `unreadable` says which could not be read and why."""

    texts: tuple[tuple[str, str], ...]
    unreadable: tuple[tuple[str, str], ...] = ()


def read_files(paths: list[Path]) -> Files:
    """Read files and directories (with everything below them) as documents' text."""
    texts: list[tuple[str, str]] = []
    unreadable: list[tuple[str, str]] = []
    for path in paths:
        for file in _files_under(path) if path.is_dir() else [path]:
            try:
                texts.append((str(file), file.read_text(encoding="utf-8")))
            except UnicodeDecodeError:
                unreadable.append((str(file), "it is not UTF-8 text"))
            except OSError as error:
                unreadable.append((str(file), error.strerror or str(error)))
    return Files(tuple(texts), tuple(unreadable))


def _files_under(directory: Path) -> list[Path]:
    """Documents of a directory, sorted; hidden files (editors' own) are left out."""
    found = (
        path
        for path in directory.rglob("*")
        if path.suffix in SUFFIXES and not any(p.startswith(".") for p in path.relative_to(directory).parts)
    )
    return sorted(path for path in found if path.is_file())[:FILES_MAX]


def _stamp(directory: Path) -> Stamp:
    made = []
    for path in _files_under(directory):
        try:
            stat = path.stat()
        except OSError:
            continue
        made.append((str(path), stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return tuple(made)


async def follow(directory: Path, every_s: float = LOOK_EVERY_S) -> AsyncIterator[Files]:
    """The directory's files now, and again after every change."""
    last: Stamp | None = None
    while True:
        stamp = await asyncio.to_thread(_stamp, directory)
        if stamp != last:
            last = stamp
            yield await asyncio.to_thread(read_files, [directory])
        await asyncio.sleep(every_s)

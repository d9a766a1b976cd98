"""The current documents: changed all at once or not at all, by the API or by a directory that is followed."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from ripstop.errors import Conflict, Fault, InvalidDocuments, NotFound, RipstopError
from ripstop.model.check import check
from ripstop.model.document import Document
from ripstop.model.parse import parse
from ripstop.server.plane import Plane
from ripstop.sources.directory import Files, follow
from ripstop.storage import StoredDocument

Key = tuple[str, str, str]
log = structlog.get_logger("ripstop.documents")


@dataclass(frozen=True, slots=True)
class Applied:
    """What an apply did. `change` numbers it in the history; `generation` is what nodes will run."""

    generation: int
    change: int
    applied: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """What applying one document would do: `action` is create, change, same or delete."""

    document: str
    action: str
    text: str = ""


class DocumentKeeper:
    """Keeps the documents of a plane in its store."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self.directory: Path | None = None
        self.directory_faults: tuple[Fault, ...] = ()
        self._current: dict[Key, Document] = {}

    @property
    def current(self) -> tuple[Document, ...]:
        """All current documents, by key."""
        return tuple(self._current[key] for key in sorted(self._current))

    async def load(self) -> tuple[Document, ...]:
        """Read what the store kept. Documents that this version no longer takes are left out, and told of."""
        stored = await asyncio.to_thread(self._plane.store.documents)
        for item in stored:
            document, faults = _read_stored(item)
            if document is None:
                log.error("stored_document_refused", document=item.name, faults=[str(f) for f in faults])
                self.directory_faults += faults
            else:
                self._current[document.key] = document
        return self.current

    def find(self, kind: str, namespace: str, name: str) -> Document:
        """One document; kinds are found without regard to case.

        Raises:
            NotFound: there is none.
        """
        for key, document in self._current.items():
            if key[0].lower() == kind.lower() and key[1] in (namespace, "") and key[2] == name:
                return document
        raise NotFound(f"there is no {kind} {namespace}/{name}", cure=f"see `ripstop get {kind}`")

    # --- questions ---

    def check(self, files: Iterable[tuple[str, str]]) -> tuple[tuple[Document, ...], tuple[Fault, ...]]:
        """(documents, faults) of files, together with what is there already."""
        parsed = parse(files)
        fresh = {document.key for document in parsed.documents}
        others = [document for key, document in self._current.items() if key not in fresh]
        faults = [*parsed.faults, *check([*others, *parsed.documents])]
        return parsed.documents, tuple(sorted(faults, key=lambda f: (f.file, f.line, f.path)))

    def proposed(self, files: Iterable[tuple[str, str]]) -> tuple[Document, ...]:
        """All documents as they would be after applying files.

        Raises:
            InvalidDocuments: they have faults.
        """
        fresh = {document.key: document for document in self._sound(files)}
        return tuple({**self._current, **fresh}.values())

    def difference(self, files: Iterable[tuple[str, str]]) -> list[Difference]:
        """What applying files would do.

        Raises:
            InvalidDocuments: they have faults.
        """
        return [self._difference(document) for document in self._sound(files)]

    def _difference(self, document: Document) -> Difference:
        before = self._current.get(document.key)
        if before is not None and _same(before, document):
            return Difference(document.title, "same")
        if document.kind == "Secret":
            return Difference(document.title, "change" if before else "create", "(secret)\n")
        old = before.text.strip().splitlines(keepends=True) if before else []
        new = document.text.strip().splitlines(keepends=True)
        text = "".join(difflib.unified_diff(old, new, "current", document.file))
        return Difference(document.title, "change" if before else "create", text)

    def _sound(self, files: Iterable[tuple[str, str]]) -> tuple[Document, ...]:
        documents, faults = self.check(files)
        if faults:
            raise InvalidDocuments(faults)
        return documents

    # --- changes ---

    async def apply(self, files: Iterable[tuple[str, str]], actor: str) -> Applied:
        """Make the documents of files current, all or none.

        Raises:
            InvalidDocuments: there are faults; all of them are told.
            Conflict: one of them follows a file of the directory.
        """
        async with self._plane.documents_lock:
            documents = self._sound(files)
            faults = tuple(f for d in documents for f in self._owned(d))
            if faults:
                raise InvalidDocuments(faults)
            return await self._change(documents, (), actor)

    async def delete(self, keys: Iterable[Key], actor: str) -> Applied:
        """Take documents away, all or none.

        Raises:
            NotFound: one is not there.
            Conflict: one follows a file of the directory.
        """
        async with self._plane.documents_lock:
            found = [self.find(*key) for key in keys]
            for document in found:
                if self._follows_directory(document):
                    raise Conflict(
                        f"{document.title} follows {document.file}", cure="remove it from that file"
                    )
            remaining = [d for d in self.current if d not in found]
            faults = check(remaining)
            if faults:
                raise InvalidDocuments(faults)
            return await self._change((), tuple(d.key for d in found), actor)

    def _owned(self, document: Document) -> list[Fault]:
        before = self._current.get(document.key)
        if before is None or _same(before, document) or not self._follows_directory(before):
            return []
        message = f"{document.title} follows {before.file}:{before.line}, which `ripstop up` watches"
        fault = Fault(
            file=document.file,
            line=document.line,
            path="metadata.name",
            message=message,
            found=document.name,
            cure="edit that file",
            document=document.title,
        )
        return [fault]

    def _follows_directory(self, document: Document) -> bool:
        return self.directory is not None and Path(document.file).is_relative_to(self.directory)

    async def _change(self, put: tuple[Document, ...], delete: tuple[Key, ...], actor: str) -> Applied:
        """Write first, then let the mesh know: what is acknowledged is never lost."""
        changed = [d for d in put if (b := self._current.get(d.key)) is None or not _same(b, d)]
        unchanged = tuple(d.title for d in put if d not in changed)
        if not changed and not delete:
            generation = self._plane.topology.generation
            return Applied(generation, await asyncio.to_thread(self._plane.store.generation), (), unchanged)
        now = self._plane.clock.wall()
        changed = [self._dated(document, now) for document in changed]
        number = await asyncio.to_thread(
            lambda: self._plane.store.change_documents(
                put=[_stored(document) for document in changed],
                delete=delete,
                actor=actor,
                summary=_summary(changed, delete),
                now=now,
            )
        )
        for key in delete:
            self._current.pop(key, None)
        self._current.update({document.key: document for document in changed})
        generation = self._plane.set_documents(self.current)
        return Applied(
            generation,
            number,
            tuple(d.title for d in changed),
            unchanged,
            tuple(f"{kind} {namespace}/{name}" for kind, namespace, name in delete),
        )

    def _dated(self, document: Document, now: float) -> Document:
        before = self._current.get(document.key)
        return replace(document, created_at=before.created_at if before else now)

    # --- the directory ---

    async def follow(self, directory: Path) -> None:
        """Make the documents of a directory current, now and after each edit; a bad edit changes nothing and is told."""
        self.directory = directory
        async for files in follow(directory):
            try:
                await self._take(files)
            except RipstopError as error:
                log.error("directory_not_applied", reason=error.message)

    async def _take(self, files: Files) -> None:
        async with self._plane.documents_lock:
            documents, faults = self._check_directory(files)
            self.directory_faults = faults
            if faults:
                for fault in faults:
                    log.error("fault", fault=str(fault))
                return
            here = {document.key for document in documents}
            gone = tuple(d.key for d in self.current if self._follows_directory(d) and d.key not in here)
            done = await self._change(documents, gone, actor=f"directory {self.directory}")
            if done.applied or done.deleted:
                log.info("applied", generation=done.generation, applied=done.applied, deleted=done.deleted)

    def _check_directory(self, files: Files) -> tuple[tuple[Document, ...], tuple[Fault, ...]]:
        """The directory as a whole, with what the API put beside it; what follows the directory and is gone counts not."""
        parsed = parse(files.texts)
        here = {document.key for document in parsed.documents}
        beside = [d for d in self.current if not self._follows_directory(d) and d.key not in here]
        unreadable = [
            Fault(
                file=file,
                line=0,
                path="file",
                message=f"the file cannot be read: {why}",
                cure="save it as UTF-8 text that this user may read",
            )
            for file, why in files.unreadable
        ]
        found = [*unreadable, *parsed.faults, *check([*beside, *parsed.documents])]
        return parsed.documents, tuple(sorted(found, key=lambda f: (f.file, f.line, f.path)))


def _same(one: Document, other: Document) -> bool:
    """Whether nothing changed: neither what is said nor where."""
    return (one.text, one.file, one.line) == (other.text, other.file, other.line)


def _summary(put: list[Document], delete: tuple[Key, ...]) -> str:
    parts = [f"{len(put)} applied"] if put else []
    return ", ".join([*parts, f"{len(delete)} deleted"] if delete else parts)


def _stored(document: Document) -> StoredDocument:
    return StoredDocument(
        kind=document.kind,
        namespace=document.namespace,
        name=document.name,
        text=document.text,
        file=document.file,
        line=document.line,
        created_at=document.created_at,
        generation=0,
    )


def _read_stored(item: StoredDocument) -> tuple[Document | None, tuple[Fault, ...]]:
    """Read a stored document with the line numbers of the file that it came from."""
    parsed = parse([(item.file, item.text)])
    if parsed.faults or not parsed.documents:
        return None, parsed.faults
    offset = item.line - parsed.documents[0].line
    if offset > 0:
        parsed = parse([(item.file, "\n" * offset + item.text)])
    return replace(parsed.documents[0], text=item.text, line=item.line, created_at=item.created_at), ()

"""kill -9 at any moment loses no acknowledged change."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

from ripstop.storage import StoredDocument, open_store

KILLS = 100


def document(number: int) -> StoredDocument:
    return StoredDocument(
        kind="Service",
        namespace="default",
        name=f"s{number}",
        text=f"number: {number}\n" + "x" * 2000,
        file="f.yaml",
        line=1,
        created_at=1.0,
        generation=0,
    )


def write_until_killed(database: Path, pipe: int, first: int) -> None:
    """Acknowledge each change by its number, once the store says it is kept."""
    store = open_store(database)
    number = first
    while True:
        store.change_documents(put=[document(number)], delete=[], actor="test", summary="one", now=1.0)
        store.put_registrations({f"default/s/{number}": b'{"n": %d}' % number})
        os.write(pipe, b"%d\n" % number)
        number += 1


def test_no_acknowledged_change_is_lost(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    database = tmp_path / "store.db"
    open_store(database).close()
    acknowledged: set[int] = set()
    for _ in range(KILLS):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            try:
                write_until_killed(database, writing, max(acknowledged, default=0) + 1000)
            finally:
                os._exit(1)
        os.close(writing)
        time.sleep(chance.uniform(0.005, 0.08))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(reading, "rb") as pipe:
            acknowledged.update(
                int(line) for line in pipe.read().splitlines(keepends=True) if line.endswith(b"\n")
            )
    store = open_store(database)
    names = {d.name for d in store.documents()}
    assert {f"s{n}" for n in acknowledged} <= names
    assert len(store.registrations()) >= len(acknowledged)
    changes = [change.generation for change in store.history(10_000)]
    assert changes == sorted(set(changes), reverse=True)
    assert store.generation() >= len(acknowledged) > KILLS / 4
    store.close()

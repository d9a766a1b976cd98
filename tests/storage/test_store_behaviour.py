"""What every store promises, asked of each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ripstop.errors import Conflict
from ripstop.storage import IssuedCertificate, JoinToken, Store, StoredDocument, limits, open_store

Open = Callable[[], Store]


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = open_store(None if request.param == "memory" else tmp_path / "state" / "ripstop.db")
    yield opened
    opened.close()


def document(
    name: str, text: str = "spec: {}", kind: str = "Service", namespace: str = "default"
) -> StoredDocument:
    return StoredDocument(
        kind=kind,
        namespace=namespace,
        name=name,
        text=text,
        file="a.yaml",
        line=3,
        created_at=0,
        generation=0,
    )


def change(
    store: Store, *put: StoredDocument, delete: tuple[tuple[str, str, str], ...] = (), now: float = 1.0
) -> int:
    return store.change_documents(put=put, delete=delete, actor="ana", summary="apply", now=now)


def certificate(serial: str, not_before: float, not_after: float) -> IssuedCertificate:
    return IssuedCertificate(
        serial=serial,
        spiffe_id="spiffe://mesh/ns/default/sa/web",
        instance="web-1",
        not_before=not_before,
        not_after=not_after,
        how="token",
    )


def token(uses_left: int | None, expires_at: float = 100.0) -> JoinToken:
    return JoinToken(
        token_hash="h", namespace="default", service="web", expires_at=expires_at, uses_left=uses_left
    )


def test_a_new_store_is_empty(store: Store) -> None:
    assert (store.generation(), store.documents(), store.history()) == (0, [], [])
    assert (store.registrations(), store.certificates(), store.get_blob("x")) == ([], [], None)


def test_documents_come_back_ordered_and_stamped(store: Store) -> None:
    assert change(store, document("b"), document("a"), document("z", kind="HTTPRoute"), now=5.0) == 1
    found = store.documents()
    assert [d.key for d in found] == [
        ("HTTPRoute", "default", "z"),
        ("Service", "default", "a"),
        ("Service", "default", "b"),
    ]
    assert {(d.generation, d.created_at, d.line, d.file) for d in found} == {(1, 5.0, 3, "a.yaml")}


def test_a_rewritten_document_keeps_its_age(store: Store) -> None:
    change(store, document("a"), now=5.0)
    change(store, document("a", text="spec: {x: 1}"), now=9.0)
    (found,) = store.documents()
    assert (found.created_at, found.generation, found.text) == (5.0, 2, "spec: {x: 1}")


def test_put_and_delete_are_one_change_in_the_history(store: Store) -> None:
    change(store, document("a"), document("b"))
    change(
        store, document("c"), delete=(("Service", "default", "a"), ("Service", "default", "nobody")), now=7.0
    )
    assert [d.name for d in store.documents()] == ["b", "c"]
    newest, oldest = store.history()
    assert (newest.generation, newest.at, newest.actor, newest.summary) == (2, 7.0, "ana", "apply")
    assert (newest.applied, newest.deleted) == (("Service default/c",), ("Service default/a",))
    assert oldest.applied == ("Service default/a", "Service default/b")
    assert [c.generation for c in store.history(limit=1)] == [2]


def test_a_document_both_deleted_and_put_is_there(store: Store) -> None:
    change(store, document("a"))
    change(store, document("a", text="new"), delete=(("Service", "default", "a"),))
    assert [d.text for d in store.documents()] == ["new"]
    assert store.history()[0].deleted == ()


def test_a_writer_who_missed_a_change_is_told(store: Store) -> None:
    change(store, document("a"))
    with pytest.raises(Conflict) as caught:
        store.change_documents(
            put=[document("b")], delete=[], actor="bo", summary="", now=2, expected_generation=0
        )
    assert "generation 1" in caught.value.message
    assert [d.name for d in store.documents()] == ["a"]
    again = store.change_documents(
        put=[document("b")], delete=[], actor="bo", summary="", now=2, expected_generation=1
    )
    assert again == 2


def test_an_error_in_what_is_put_changes_nothing(store: Store) -> None:
    def broken() -> Iterator[StoredDocument]:
        yield document("a")
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        store.change_documents(put=broken(), delete=[], actor="ana", summary="", now=1)
    assert (store.generation(), store.documents()) == (0, [])


def test_history_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_HISTORY", 3)
    for _ in range(5):
        change(store)
    assert [c.generation for c in store.history()] == [5, 4, 3]
    assert store.generation() == 5


def test_registrations_are_put_replaced_and_forgotten(store: Store) -> None:
    store.put_registrations({"default/web/1": b"one", "default/api/1": b"two"})
    store.put_registrations({"default/web/1": b"three"})
    assert store.registrations() == [b"two", b"three"]
    store.delete_registrations(["default/api/1", "default/nobody/1"])
    assert store.registrations() == [b"three"]
    assert store.generation() == 0


def test_certificates_are_newest_first_and_can_be_asked_for_alive(store: Store) -> None:
    store.record_certificate(certificate("01", 0, 10))
    store.record_certificate(certificate("02", 5, 20))
    assert [c.serial for c in store.certificates()] == ["02", "01"]
    assert [c.serial for c in store.certificates(live_at=10)] == ["02"]


def test_a_serial_is_used_once(store: Store) -> None:
    store.record_certificate(certificate("01", 0, 10))
    with pytest.raises(Conflict):
        store.record_certificate(certificate("01", 0, 10))


def test_old_expired_certificates_are_forgotten_and_live_ones_never(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_EXPIRED_CERTIFICATES", 2)
    store.record_certificate(certificate("old", 0, 10))
    store.record_certificate(certificate("long", 0, 1000))
    for n in range(3):
        store.record_certificate(certificate(f"new{n}", 50, 60))
    assert [c.serial for c in store.certificates()] == ["new2", "new1", "new0", "long"]


def test_a_join_token_for_once_is_taken_once(store: Store) -> None:
    store.put_join_token(token(uses_left=1))
    assert store.take_join_token("h", now=1) == token(uses_left=1)
    assert store.take_join_token("h", now=1) is None


def test_a_join_token_can_have_more_uses_or_no_limit(store: Store) -> None:
    store.put_join_token(token(uses_left=2))
    assert [bool(store.take_join_token("h", now=1)) for _ in range(3)] == [True, True, False]
    store.put_join_token(token(uses_left=None))
    assert [bool(store.take_join_token("h", now=1)) for _ in range(3)] == [True, True, True]


def test_an_expired_or_unknown_join_token_is_not_taken(store: Store) -> None:
    store.put_join_token(token(uses_left=1, expires_at=10))
    assert store.take_join_token("other", now=1) is None
    assert store.take_join_token("h", now=10) is None


def test_a_token_is_taken_by_one_of_many_threads(store: Store) -> None:
    store.put_join_token(token(uses_left=1))
    taken: list[JoinToken] = []

    def take() -> None:
        if found := store.take_join_token("h", now=1):
            taken.append(found)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1


def test_writers_in_many_threads_each_get_their_own_generation(store: Store) -> None:
    seen: list[int] = []

    def write(n: int) -> None:
        for m in range(5):
            seen.append(change(store, document(f"d{n}-{m}")))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == list(range(1, 21))
    assert len(store.documents()) == 20


def test_blobs_are_put_and_replaced(store: Store) -> None:
    store.put_blob("mesh", b"\x00one")
    store.put_blob("mesh", b"two")
    assert store.get_blob("mesh") == b"two"

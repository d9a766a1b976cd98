from __future__ import annotations

from ripstop.demo import documents
from ripstop.model.check import check
from ripstop.model.parse import parse

FILES = {
    **documents.directory(8080),
    "canary.yaml": documents.canary(90, 10),
    "refusal.yaml": documents.refusal(),
}


def test_the_documents_of_the_shop_have_no_faults_alone_or_together() -> None:
    parsed = parse(FILES.items())
    assert [str(fault) for fault in parsed.faults] == []
    assert [str(fault) for fault in check(parsed.documents)] == []


def test_what_scenes_apply_is_not_in_the_directory() -> None:
    followed = {d.key for d in parse(documents.directory(8080).items()).documents}
    applied = {d.key for d in parse([("c", documents.canary(1, 1)), ("r", documents.refusal())]).documents}
    assert applied
    assert not followed & applied


def test_the_canary_has_the_weights_asked_for() -> None:
    (route,) = parse([("c", documents.canary(70, 30))]).documents
    by_header, by_weight = route.spec.rules
    assert [backend.name for backend in by_header.backend_refs] == ["reviews-v2"]
    assert [backend.weight for backend in by_weight.backend_refs] == [70, 30]

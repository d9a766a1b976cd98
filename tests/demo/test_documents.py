from __future__ import annotations

from ripstop import model
from ripstop.demo import documents

FILES = {
    **documents.directory(8080),
    "canary.yaml": documents.canary(90, 10),
    "refusal.yaml": documents.refusal(),
}


def test_the_documents_of_the_shop_have_no_faults_alone_or_together() -> None:
    parsed = model.parse(FILES.items())
    assert [str(fault) for fault in parsed.faults] == []
    assert [str(fault) for fault in model.check(parsed.documents)] == []


def test_what_scenes_apply_is_not_in_the_directory() -> None:
    followed = {d.key for d in model.parse(documents.directory(8080).items()).documents}
    applied = {
        d.key for d in model.parse([("c", documents.canary(1, 1)), ("r", documents.refusal())]).documents
    }
    assert applied
    assert not followed & applied


def test_the_canary_has_the_weights_asked_for() -> None:
    (route,) = model.parse([("c", documents.canary(70, 30))]).documents
    by_header, by_weight = route.spec.rules
    assert [backend.name for backend in by_header.backend_refs] == ["reviews-v2"]
    assert [backend.weight for backend in by_weight.backend_refs] == [70, 30]

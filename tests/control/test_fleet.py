"""Who runs what: `apply --wait` and `status` depend on it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ripstop.control.fleet import Fleet, NodeState
from ripstop.ids import NodeId
from ripstop.model.workload import NodeKind
from ripstop.xds.ads import Nack

A, B = NodeId("default", "a", "1"), NodeId("default", "b", "1")


def fleet(*nodes: NodeId) -> Fleet:
    made = Fleet()
    for node in nodes:
        made.connected(NodeState(node, NodeKind.SIDECAR, 0.0, "delta"))
    return made


def test_a_generation_is_live_when_every_node_has_answered() -> None:
    made = fleet(A, B)
    for node in (A, B):
        made.targeted(node, 1, ())
    made.converged(A, 1, ())
    assert made.rollout(1).waiting == (B,)
    made.converged(B, 1, ())
    assert made.rollout(1).is_done and made.rollout(1).summary() == "generation 1 live on 2 of 2"


def test_a_refusal_is_told_with_its_reason() -> None:
    made = fleet(A)
    made.targeted(A, 3, ())
    nack = Nack(
        "type.googleapis.com/envoy.config.route.v3.RouteConfiguration", 3, "bad regex", ("out/default/shop",)
    )
    made.converged(A, 3, (nack,))
    rollout = made.rollout(3)
    assert rollout.is_done and "default/a/1 rejects out/default/shop: bad regex" in rollout.summary()
    made.targeted(A, 4, ())
    made.converged(A, 4, ())
    assert made.rollout(4).refused == ()


def test_who_is_not_concerned_is_not_waited_for() -> None:
    made = fleet(A, B)
    for node in (A, B):
        made.targeted(node, 1, ())
        made.converged(node, 1, ())
    made.targeted(A, 2, ())
    made.unaffected(B, 2)
    assert made.rollout(2).waiting == (A,)


def test_an_answer_to_an_older_generation_counts_when_nothing_new_came_since() -> None:
    made = fleet(A)
    made.targeted(A, 1, ())
    made.unaffected(A, 2)
    assert made.rollout(2).waiting == (A,)
    made.converged(A, 1, ())
    assert made.rollout(2).is_done


def test_a_second_stream_stands_in_for_the_first() -> None:
    made = fleet(A)
    made.connected(NodeState(A, NodeKind.SIDECAR, 1.0, "delta"))
    made.disconnected(A)
    assert A in made.nodes
    made.disconnected(A)
    assert A not in made.nodes


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=30))
def test_whoever_answers_its_newest_snapshot_is_current(steps: list[tuple[bool, bool]]) -> None:
    """Any mix of generations that concern the node or not, answered at once or later: in the end nobody is waited for."""
    made, newest, handed = fleet(A), 0, 0
    for concerns, answers in steps:
        newest += 1
        if concerns:
            made.targeted(A, newest, ())
            handed = newest
        else:
            made.unaffected(A, newest)
        if answers and handed:
            made.converged(A, handed, ())
    if handed:
        made.converged(A, handed, ())
        assert made.rollout(newest).is_done

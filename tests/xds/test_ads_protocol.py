"""The xDS protocol by example: subscriptions, answers, refusals, order and limits."""

from __future__ import annotations

import pytest
from client import NAMED, SILENT, Client
from conversation import Conversation
from worlds import (
    CDS,
    EDS,
    LDS,
    RDS,
    SRDS,
    cluster,
    endpoints,
    made,
    outbound,
    routes,
    scope,
    service,
    snapshot,
)

from ripstop.xds import pb
from ripstop.xds.ads import (
    Acked,
    Action,
    AdsServerStream,
    Converged,
    Nacked,
    PatienceEnded,
    Refuse,
    Requested,
    Send,
    SnapshotChanged,
)
from ripstop.xds.snapshot import Resource

A, B = "out/shop/a/80", "out/shop/b/80"
WORLD = (*service(A), outbound(), scope("scope/a", "out/shop/a"), routes("out/shop/a", A))
BOTH = pytest.mark.parametrize("delta", [True, False], ids=["delta", "sotw"])


def settled(delta: bool, *resources: Resource) -> Conversation:
    """A client that runs these resources."""
    talk = Conversation(Client(delta))
    talk.change(snapshot(1, *resources))
    talk.settle()
    assert talk.is_converged
    talk.log.clear()
    return talk


def ask(
    stream: AdsServerStream, type_url: str, subscribe=(), unsubscribe=(), nonce="", **more
) -> list[Action]:
    """A delta request."""
    return stream.step(
        Requested(
            pb.DeltaDiscoveryRequest(
                type_url=type_url,
                resource_names_subscribe=subscribe,
                resource_names_unsubscribe=unsubscribe,
                response_nonce=nonce,
                **more,
            )
        )
    )


def list_names(stream: AdsServerStream, type_url: str, names=(), nonce="", error="") -> list[Action]:
    """A SotW request."""
    request = pb.DiscoveryRequest(type_url=type_url, resource_names=names, response_nonce=nonce)
    if error:
        request.error_detail.message = error
    return stream.step(Requested(request))


def answer(stream: AdsServerStream, actions: list[Action]) -> list[Action]:
    """ACK the one response among `actions` (delta)."""
    message = only_response(actions)
    return ask(stream, message.type_url, nonce=message.nonce)


def responses(actions: list[Action]) -> list[pb.Message]:
    return [action.message for action in actions if isinstance(action, Send)]


def only_response(actions: list[Action]) -> pb.Message:
    (message,) = responses(actions)
    return message


def names(message: pb.Message) -> list[str]:
    """Names in a delta response."""
    return [resource.name for resource in message.resources]


def running(*resources: Resource) -> AdsServerStream:
    """A delta stream that nobody has asked anything of yet."""
    stream = AdsServerStream(True)
    assert stream.step(SnapshotChanged(snapshot(1, *resources))) in ([], [Converged(1)])
    return stream


# --- what a change costs ---


@BOTH
def test_an_endpoint_only_change_sends_that_cluster_load_assignment_alone(delta):
    talk = settled(delta, *WORLD, *service(B))
    talk.change(snapshot(2, *WORLD, cluster(B), endpoints(B, revision=1)))
    talk.settle()
    message = only_response(talk.log)
    assert message.type_url == EDS
    assert len(message.resources) == 1
    assert talk.client.held[EDS][B].version == endpoints(B, revision=1).version


@BOTH
def test_an_endpoint_change_does_not_wait_for_a_listener_to_be_acknowledged(delta):
    talk = settled(delta, *WORLD)
    talk.change(snapshot(2, cluster(A), endpoints(A), outbound(1), *WORLD[3:]))
    actions = talk.change(snapshot(3, cluster(A), endpoints(A, 1), outbound(1), *WORLD[3:]))
    assert [message.type_url for message in responses(actions)] == [EDS]


@BOTH
def test_a_snapshot_of_the_same_content_sends_nothing(delta):
    talk = settled(delta, *WORLD)
    assert talk.change(snapshot(2, *WORLD)) == [Converged(2)]


def test_snapshots_that_come_while_an_answer_is_owed_are_skipped():
    stream = running(*service(A))
    first = ask(stream, CDS)
    for generation in range(2, 9):
        assert stream.step(SnapshotChanged(snapshot(generation, *service(A, revision=generation)))) == []
    (resource,) = only_response(answer(stream, first)).resources
    assert resource.version == cluster(A, revision=8).version


# --- order ---


def test_additions_go_out_in_order_and_removals_come_last_from_routes_down():
    talk = settled(True, *WORLD)
    new = (*service(B), outbound(), scope("scope/b", "out/shop/b"), routes("out/shop/b", B))
    talk.change(snapshot(2, *new))
    talk.settle()
    sent = responses(talk.log)
    made_of = [m.type_url for m in sent if m.resources]
    assert made_of == [CDS, EDS, SRDS, RDS]
    removals = sent[len(made_of) :]
    assert not any(m.resources for m in removals)
    order = [m.type_url for m in removals]
    assert order == [url for url in (SRDS, RDS, CDS, EDS) if url in order]
    assert {SRDS, CDS} <= set(order)


def test_an_updated_cluster_gets_its_unchanged_endpoints_once_more():
    talk = settled(True, *WORLD)
    talk.change(snapshot(2, cluster(A, revision=1), *WORLD[1:]))
    talk.settle()
    assert [(m.type_url, names(m)) for m in responses(talk.log)] == [(CDS, [A]), (EDS, [A])]
    assert not talk.client.warming()


@BOTH
def test_a_new_cluster_that_shares_endpoints_warms(delta):
    talk = settled(delta, *WORLD)
    talk.change(snapshot(2, *WORLD, cluster(A + "@canary", assignment=A)))
    talk.settle()
    assert not talk.client.warming()


def test_listeners_wait_until_the_client_asks_for_the_endpoints_of_its_clusters():
    stream = running(*WORLD)
    clusters = ask(stream, CDS)
    assert responses(ask(stream, LDS)) == []
    assert responses(answer(stream, clusters)) == []
    assert stream.lacks_subscriptions
    assignments = ask(stream, EDS, [A])
    assert names(only_response(assignments)) == [A]
    assert names(only_response(answer(stream, assignments))) == ["outbound"]


def test_a_client_that_never_asks_for_endpoints_gets_its_listeners_when_patience_ends():
    stream = running(*WORLD)
    ask(stream, LDS)
    answer(stream, ask(stream, CDS))
    assert stream.lacks_subscriptions
    assert names(only_response(stream.step(PatienceEnded()))) == ["outbound"]


def test_a_client_is_not_converged_before_it_asked_for_its_scopes():
    stream = running(outbound(), *service(A), routes("out/shop/a", A), scope("scope/a", "out/shop/a"))
    answer(stream, ask(stream, CDS))
    answer(stream, ask(stream, EDS, [A]))
    assert answer(stream, ask(stream, LDS)) == [Acked(LDS, 1)]
    scopes = answer(stream, ask(stream, SRDS))
    assert scopes == [Acked(SRDS, 1)]
    assert answer(stream, ask(stream, RDS, ["out/shop/a"])) == [Acked(RDS, 1), Converged(1)]


# --- subscriptions ---


def test_a_name_subscribed_to_again_is_answered_though_it_was_sent_before():
    stream = running(*service(A))
    answer(stream, ask(stream, EDS, [A]))
    assert names(only_response(ask(stream, EDS, [A]))) == [A]


def test_an_identical_sotw_request_is_answered_again():
    stream = AdsServerStream(False)
    stream.step(SnapshotChanged(snapshot(1, *service(A))))
    list_names(stream, CDS)
    list_names(stream, CDS, nonce="1")
    (sent,) = responses(list_names(stream, EDS, [A]))
    assert responses(list_names(stream, EDS, [A], nonce=sent.nonce)) == []
    assert len(only_response(list_names(stream, EDS, [A], nonce=sent.nonce)).resources) == 1


def test_a_resource_that_does_not_exist_is_said_to_be_removed_and_sent_once_it_does():
    stream = running(*service(A))
    told = ask(stream, EDS, ["nowhere"])
    assert list(only_response(told).removed_resources) == ["nowhere"]
    answer(stream, told)
    later = stream.step(SnapshotChanged(snapshot(2, *service(A), endpoints("nowhere"))))
    assert names(only_response(later)) == ["nowhere"]


def test_what_is_unsubscribed_from_is_neither_updated_nor_removed():
    stream = running(*service(A), *service(B))
    answer(stream, ask(stream, CDS))
    answer(stream, ask(stream, EDS, [A, B]))
    ask(stream, EDS, unsubscribe=[A])
    assert stream.step(SnapshotChanged(snapshot(2, cluster(A), endpoints(A, 1), *service(B)))) == []


def test_a_first_request_without_names_is_for_everything():
    assert sorted(names(only_response(ask(running(*service(A), *service(B)), CDS)))) == [A, B]


def test_an_explicit_wildcard_can_be_left_and_taken_up_again():
    stream = running(*service(A), *service(B))
    answer(stream, ask(stream, CDS, ["*", A]))
    ask(stream, CDS, unsubscribe=["*"])
    assert stream.step(SnapshotChanged(snapshot(2, *service(A)))) == []
    stream.step(SnapshotChanged(snapshot(3, *service(A), *service(B))))
    assert names(only_response(ask(stream, CDS, ["*"]))) == [B]


def test_a_name_left_under_a_wildcard_is_answered_with_what_it_still_is():
    stream = running(*service(A), *service(B))
    answer(stream, ask(stream, CDS, ["*", A]))
    assert names(only_response(ask(stream, CDS, unsubscribe=[A]))) == [A]


def test_once_names_were_listed_an_empty_sotw_list_means_none():
    stream = AdsServerStream(False)
    stream.step(SnapshotChanged(snapshot(1, *service(A), *service(B))))
    (first,) = responses(list_names(stream, CDS, [A]))
    assert len(first.resources) == 1
    assert responses(list_names(stream, CDS, [], nonce=first.nonce)) == []
    assert responses(stream.step(SnapshotChanged(snapshot(2, *service(A, revision=1))))) == []


def test_a_wildcard_request_is_answered_even_when_there_is_nothing():
    assert names(only_response(ask(running(), LDS))) == []


def test_a_type_that_is_not_served_is_never_answered():
    assert ask(running(*WORLD), "type.googleapis.com/envoy.service.runtime.v3.Runtime") == []


def test_a_reconnected_client_is_sent_only_what_it_lacks():
    talk = settled(True, *WORLD, *service(B))
    talk.newest = snapshot(2, *WORLD, cluster(B), endpoints(B, revision=1))
    talk.reconnect()
    talk.settle()
    assert [names(m) for m in responses(talk.log) if m.resources] == [[B]]


# --- answers ---


def test_a_second_answer_with_the_same_nonce_changes_nothing():
    stream = running(*service(A))
    first = ask(stream, CDS)
    assert Acked(CDS, 1) in answer(stream, first)
    refusal = pb.Status(message=f"{A} is bad")
    assert ask(stream, CDS, nonce=only_response(first).nonce, error_detail=refusal) == []


def test_a_delta_answer_to_an_older_response_is_ignored():
    stream = running(*service(A))
    first = ask(stream, CDS)
    answer(stream, first)
    second = stream.step(SnapshotChanged(snapshot(2, *service(A, revision=1))))
    assert answer(stream, first) == []
    assert Acked(CDS, 2) in answer(stream, second)


@pytest.mark.parametrize("error", ["", f"{A} is bad"], ids=["ack", "nack"])
def test_a_stale_sotw_request_is_ignored_whole(error):
    stream = AdsServerStream(False)
    stream.step(SnapshotChanged(snapshot(1, *service(A), *service(B))))
    (first,) = responses(list_names(stream, EDS, [A]))
    assert responses(list_names(stream, EDS, [A], nonce=first.nonce)) == []
    change = SnapshotChanged(snapshot(2, cluster(A), endpoints(A, 1), *service(B)))
    (second,) = responses(stream.step(change))
    assert list_names(stream, EDS, [A, B], nonce=first.nonce, error=error) == []
    actions = list_names(stream, EDS, [A, B], nonce=second.nonce)
    assert actions[0] == Acked(EDS, 2)
    assert len(only_response(actions).resources) == 1


@BOTH
@pytest.mark.parametrize("fault", [NAMED, SILENT])
def test_a_refused_cluster_keeps_no_other_from_being_used(delta, fault):
    talk = settled(delta, *WORLD)
    more = [resource for i in range(7) for resource in service(f"out/shop/s{i}/80")]
    talk.change(snapshot(2, *WORLD, *more, cluster(B, fault=fault), endpoints(B)))
    talk.settle()
    assert talk.client.active[CDS].keys() == {A, *(f"out/shop/s{i}/80" for i in range(7))}
    (converged,) = [action for action in talk.log if isinstance(action, Converged)]
    assert [(nack.type_url, nack.names) for nack in converged.nacks] == [(CDS, (B,))]


@BOTH
def test_a_refused_version_is_not_sent_again_and_the_next_one_is(delta):
    talk = settled(delta, *WORLD)
    talk.change(snapshot(2, cluster(A, 1, fault=NAMED), *WORLD[1:]))
    talk.settle()
    talk.log.clear()
    assert [type(action) for action in talk.change(snapshot(3, cluster(A, 1, fault=NAMED), *WORLD[1:]))] == [
        Converged
    ]
    talk.change(snapshot(4, cluster(A, 2), *WORLD[1:]))
    talk.settle()
    assert talk.client.active[CDS][A].version == cluster(A, 2).version
    assert talk.log[-1] == Converged(4)


def test_routes_to_a_refused_cluster_stay_as_they_were():
    talk = settled(True, *WORLD)
    bad = cluster(B, fault=NAMED)
    talk.change(snapshot(2, *WORLD[:-1], bad, endpoints(B), routes("out/shop/a", B)))
    talk.settle()
    assert talk.client.active[RDS]["out/shop/a"].version == WORLD[-1].version
    assert not list(talk.client.broken())


def test_what_an_unrefused_older_version_uses_is_kept_with_its_endpoints():
    talk = settled(True, *WORLD)
    talk.change(snapshot(2, *service(B), *WORLD[2:4], routes("out/shop/a", B, fault=NAMED)))
    talk.settle()
    assert talk.client.active[CDS].keys() == {A, B}
    assert talk.client.held[EDS].keys() == {A, B}


def test_an_error_that_names_one_of_two_similar_resources_blames_that_one():
    stream = running(outbound(), made(LDS, "gateway/a"), made(LDS, "gateway/a.b"))
    sent = only_response(ask(stream, LDS))
    refusal = pb.Status(message="Error adding/updating listener(s) gateway/a.b: no certificate.")
    actions = ask(stream, LDS, nonce=sent.nonce, error_detail=refusal)
    (nacked,) = [action for action in actions if isinstance(action, Nacked)]
    assert nacked.nack.names == ("gateway/a.b",)


# --- limits ---


def test_a_stream_with_too_many_subscriptions_is_refused_and_stays_silent():
    stream = AdsServerStream(True, max_subscriptions=3)
    stream.step(SnapshotChanged(snapshot(1, *service(A))))
    assert ask(stream, EDS, ["a", "b"])
    (refusal,) = ask(stream, RDS, ["c", "d"])
    assert isinstance(refusal, Refuse)
    assert refusal.status == "RESOURCE_EXHAUSTED"
    assert ask(stream, CDS) == []
    assert stream.step(SnapshotChanged(snapshot(2, *service(A, revision=1)))) == []


def test_large_sets_are_sent_in_several_responses():
    big = [Resource.of(EDS, f"out/shop/s{i}/80", bytes([i]) * 1_000_000) for i in range(5)]
    stream = running(*big)
    sent, actions = [], ask(stream, EDS, [resource.name for resource in big])
    while responses(actions):
        sent.append(len(only_response(actions).resources))
        actions = answer(stream, actions)
    assert sent == [2, 2, 1]

"""The ADS state machine of one stream: ``step(event) -> list[action]``.

Source: xDS protocol, "Eventual consistency considerations" (make before break): clusters, endpoints, listeners, scopes,
routes, each waiting until the former is acknowledged; removals last, what refers before what it refers to. What to send
is computed anew at each step from what the client holds and the newest snapshot, so snapshots that arrive while a step
is being waited for cost nothing and only the newest counts. One response per type is outstanding at any time.
"""

from __future__ import annotations

from collections.abc import Iterator

from ripstop.xds import type_urls
from ripstop.xds.ads import wire
from ripstop.xds.ads.channel import Channel, Reference, Response
from ripstop.xds.ads.messages import (
    Acked,
    Action,
    Converged,
    Event,
    Nack,
    Nacked,
    PatienceEnded,
    Refuse,
    Requested,
    ResourceState,
    Send,
    SnapshotChanged,
)
from ripstop.xds.ads.subscription import MAX_SUBSCRIPTIONS, WILDCARD, Subscription
from ripstop.xds.pb import Message
from ripstop.xds.snapshot import Resource, Snapshot

_POSITION = {url: index for index, url in enumerate(type_urls.MAKE_ORDER)}
_LAST = len(type_urls.MAKE_ORDER)
_BREAK_ORDER = (
    type_urls.LISTENER,
    type_urls.SCOPED_ROUTE,
    type_urls.ROUTE,
    type_urls.CLUSTER,
    type_urls.ENDPOINT,
    type_urls.SECRET,
)
"""Removals: what refers goes before what it refers to (Envoy: "stale CDS clusters and related EDS endpoints")."""
_UNREFERRED = (type_urls.LISTENER, type_urls.SCOPED_ROUTE)
_BLOCKED_WITHOUT_ALL = {
    type_urls.CLUSTER: _POSITION[type_urls.CLUSTER],
    type_urls.LISTENER: _LAST - 1,
    type_urls.SCOPED_ROUTE: _LAST - 1,
}
"""Types that clients ask for as a whole: what comes after this position waits until they do."""


class AdsServerStream:
    """One stream of one node; `delta` says which of the two protocols it speaks."""

    def __init__(self, delta: bool, *, max_subscriptions: int = MAX_SUBSCRIPTIONS) -> None:
        self._delta = delta
        self._max_subscriptions = max_subscriptions
        self._channels: dict[str, Channel] = {}
        self._target: Snapshot | None = None
        self._nonce = 0
        self._announced = -1
        self._waived: set[Reference] = set()
        self._lacking: dict[Reference, int] | None = None
        self._unwarmed: set[str] = set()
        self._refused = False

    def step(self, event: Event) -> list[Action]:
        """Take one event; what is to be done about it, in order."""
        if self._refused:
            return []
        match event:
            case Requested(request):
                actions = self._requested(request)
            case SnapshotChanged(snapshot):
                actions = self._retarget(snapshot)
            case PatienceEnded():
                self._waived |= self._missing().keys()
                self._lacking, actions = None, []
        return actions if self._refused else actions + list(self._pump())

    @property
    def lacks_subscriptions(self) -> bool:
        """Whether nothing is on its way and the client has yet to ask for what its resources refer to.

        Envoy asks for a new cluster's endpoints just after it took the cluster: listeners wait for that. When it lasts,
        the rim ends the wait with `PatienceEnded`.
        """
        idle = all(channel.outstanding is None for channel in self._channels.values())
        return self._target is not None and idle and bool(self._missing())

    # --- requests ---

    def _requested(self, request: Message) -> list[Action]:
        channel = self._channel(request.type_url)
        if channel is None:  # a type that Ripstop does not serve is never answered
            return []
        actions = self._acknowledged(channel, request)
        if self._delta:
            self._change_delta(channel, request)
        elif wire.is_current(channel, request):
            self._change_sotw(channel, request, bool(actions))
        return [*actions, *self._check_limit()]

    def _channel(self, type_url: str) -> Channel | None:
        if type_url not in _POSITION:
            return None
        if type_url not in self._channels:
            is_full = not self._delta and type_url in type_urls.WILDCARD_TYPES
            self._channels[type_url] = Channel(type_url, is_full, Subscription(type_url))
            self._lacking = None
        return self._channels[type_url]

    def _change_sotw(self, channel: Channel, request: Message, is_answer: bool) -> None:
        change = channel.subscription.replace(request.resource_names)
        channel.asked(change)
        if change.asks or change.removed or change.lost_wildcard:
            self._lacking = None
        elif request.response_nonce and not is_answer and not request.HasField("error_detail"):
            channel.asked_again()

    def _change_delta(self, channel: Channel, request: Message) -> None:
        change = channel.subscription.change(
            request.resource_names_subscribe, request.resource_names_unsubscribe
        )
        versions = {} if channel.last_nonce else dict(request.initial_resource_versions)
        channel.remember(versions)
        if self._target is not None:
            channel.recognise(self._target.of_type(channel.type_url))
        channel.asked(change, versions)
        if channel.type_url == type_urls.ENDPOINT and versions:
            self._send_endpoints_again(channel)
        if change.asks or change.removed or change.lost_wildcard or versions:
            self._lacking = None

    def _check_limit(self) -> list[Action]:
        count = sum(len(c.subscription.names) for c in self._channels.values())
        if count <= self._max_subscriptions:
            return []
        self._refused = True
        self._channels.clear()
        text = f"this stream subscribes to {count} names; at most {self._max_subscriptions} are served"
        return [Refuse("RESOURCE_EXHAUSTED", text)]

    # --- ACK and NACK ---

    def _acknowledged(self, channel: Channel, request: Message) -> list[Action]:
        if channel.outstanding is None or request.response_nonce != channel.outstanding.nonce:
            return []
        if channel.type_url != type_urls.ENDPOINT:  # endpoints refer to nothing
            self._lacking = None
        if request.HasField("error_detail"):
            nack = channel.reject(request.error_detail.message)
            if self._target is not None:  # the refused version may be out of date by now
                channel.retarget(self._target.of_type(channel.type_url))
            return [Nacked(nack)] if nack else []
        response = channel.accept()
        assert response is not None
        if channel.type_url == type_urls.LISTENER:  # a new one may be what makes the client ask for scopes
            self._waived.discard((type_urls.SCOPED_ROUTE, WILDCARD))
        return [Acked(channel.type_url, response.generation)]

    def _warm(self, response: Response, before: dict[str, Resource]) -> None:
        """An updated cluster warms until its endpoints arrive once more, and Envoy need not ask for them again.

        They follow the clusters at once: Envoy's ACK of clusters waits for them.
        Source: xDS protocol, "Resource warming": the ClusterLoadAssignment is required even when it did not change.
        """
        for cluster in response.changed:
            names = [name for url, name in cluster.references if url == type_urls.ENDPOINT]
            self._unwarmed.update(names or ([cluster.name] if cluster.name in before else []))
        endpoints = self._channels.get(type_urls.ENDPOINT)
        if endpoints is not None:
            self._send_endpoints_again(endpoints)

    def _send_endpoints_again(self, endpoints: Channel) -> None:
        endpoints.force(name for name in self._unwarmed if endpoints.has_sent(name))
        self._unwarmed.clear()

    # --- the newest snapshot ---

    def _retarget(self, snapshot: Snapshot) -> list[Action]:
        before, self._target = self._target, snapshot
        for url, channel in self._channels.items():
            if before is None or before.of_type(url) is not snapshot.of_type(url):
                channel.retarget(snapshot.of_type(url))
        self._lacking = None
        self._waived = {
            ref for ref in self._waived if ref[1] == WILDCARD or ref[1] in snapshot.of_type(ref[0])
        }
        return []

    def _pump(self) -> Iterator[Action]:
        """Send whatever may be sent now: additions in order, then removals, then say that all is done."""
        if self._target is None:
            return
        unusable = self._unusable(self._target)
        is_open = True
        for index, url in enumerate(type_urls.MAKE_ORDER):
            is_open = is_open and not self._is_missing_before(index)
            channel = self._channels.get(url)
            if channel is None:
                continue
            if channel.outstanding is None:
                yield from self._send_additions(channel, self._target, is_open, unusable)
            is_open = is_open and channel.outstanding is None and not self._has_additions(channel, unusable)
        if is_open and not self._is_missing_before(_LAST):
            yield from self._finish(self._target)

    def _unusable(self, target: Snapshot) -> set[Reference]:
        """What the client refused and has in no version, and clusters that never warm without such endpoints."""
        refused = {ref for channel in self._channels.values() for ref in channel.refused()}
        if not refused:
            return refused
        clusters = target.of_type(type_urls.CLUSTER).values()
        needs = (type_urls.ENDPOINT, type_urls.SECRET)
        lost = {ref for ref in refused if ref[0] in needs}
        return refused | {(c.type_url, c.name) for c in clusters if not c.references.isdisjoint(lost)}

    def _has_additions(self, channel: Channel, unusable: set[Reference]) -> bool:
        assert self._target is not None
        return bool(channel.additions(self._target.of_type(channel.type_url), unusable))

    def _send_additions(
        self, channel: Channel, target: Snapshot, is_open: bool, unusable: set[Reference]
    ) -> Iterator[Action]:
        resources = target.of_type(channel.type_url)
        changed = channel.additions(resources, unusable)
        # Endpoints go out at once, whatever else is being waited for: whoever asks for them has the cluster already, and
        # Envoy holds back its ACK of clusters until their endpoints have come (it pauses CDS while clusters warm).
        if not is_open and channel.type_url != type_urls.ENDPOINT:
            return
        absent = channel.absent(resources)
        if not self._delta:  # SotW says nothing about what does not exist: it is not in the answer
            channel.forced.difference_update(absent)
            absent = []
        if changed or absent or channel.is_due:
            yield self._send(channel, tuple(channel.cut(changed)), tuple(absent))

    def _finish(self, target: Snapshot) -> Iterator[Action]:
        for url in _BREAK_ORDER:
            channel = self._channels.get(url)
            removed = self._removable(channel, target) if channel else ()
            if channel is None or not removed:
                continue
            if self._delta or channel.is_full:
                yield self._send(channel, (), removed)
                return
            channel.drop(removed)
        if self._announced < target.generation:
            self._announced = target.generation
            yield Converged(target.generation, self._nacks())

    def _removable(self, channel: Channel, target: Snapshot) -> tuple[str, ...]:
        """What may go: held, not in the snapshot, and not used by anything the client keeps (after a NACK)."""
        removed = channel.removals(target.of_type(channel.type_url))
        if not removed or channel.type_url in _UNREFERRED:
            return tuple(removed)
        used = self._used(target)
        if used is None:
            return ()
        return tuple(name for name in removed if (channel.type_url, name) not in used)

    def _used(self, target: Snapshot) -> set[Reference] | None:
        """All that kept resources refer to, and what that refers to in turn; None when nobody can know."""
        used: set[Reference] = set()
        kept = []
        for url, channel in self._channels.items():
            kept += [(url, name) for name in channel.held if name in target.of_type(url)]
        while kept:
            url, name = kept.pop()
            holder = self._channels.get(url)
            if holder is None or name not in holder.held:
                continue
            if name in holder.recalled:
                return None
            new = holder.held[name].references - used
            used |= new
            kept += new
        return used

    def _send(self, channel: Channel, changed: tuple[Resource, ...], removed: tuple[str, ...] = ()) -> Send:
        assert self._target is not None
        self._nonce += 1
        response = Response(str(self._nonce), self._target.generation, changed, removed)
        if channel.type_url == type_urls.CLUSTER:
            self._warm(response, channel.held)
        channel.send(response, removed)
        if self._delta:
            message = wire.delta_response(channel.type_url, response)
            return Send(message, channel.type_url, response.generation, sum(len(r.body) for r in changed))
        resources = channel.full_set(response) if channel.is_full else changed
        message = wire.sotw_response(channel.type_url, response, resources)
        return Send(message, channel.type_url, response.generation, sum(len(r.body) for r in resources))

    # --- what the client has yet to ask for ---

    def _is_missing_before(self, index: int) -> bool:
        return any(position < index for position in self._missing().values())

    def _missing(self) -> dict[Reference, int]:
        """What held resources refer to, the snapshot has and the client does not want yet; with the step it delays."""
        if self._lacking is None:
            self._lacking = dict(self._find_missing()) if self._target is not None else {}
        return self._lacking

    def _find_missing(self) -> Iterator[tuple[Reference, int]]:
        assert self._target is not None
        for url, channel in self._channels.items():
            for resource in channel.held.values():
                for ref in resource.references:
                    if ref not in self._waived and not self._is_wanted(ref):
                        yield ref, max(_POSITION[url], _POSITION[ref[0]])
        for url, position in _BLOCKED_WITHOUT_ALL.items():
            everything = (url, WILDCARD)
            if url not in self._channels and everything not in self._waived and self._target.of_type(url):
                yield everything, position

    def _is_wanted(self, ref: Reference) -> bool:
        """Whether the client asked for it, or there is nothing to ask for."""
        assert self._target is not None
        channel = self._channels.get(ref[0])
        return bool(channel and channel.subscription.wants(ref[1])) or ref[1] not in self._target.of_type(
            ref[0]
        )

    # --- questions ---

    def _nacks(self) -> tuple[Nack, ...]:
        found = (channel.current_nack() for channel in self._channels.values())
        return tuple(nack for nack in found if nack)

    def resources(self) -> Iterator[ResourceState]:
        """Every resource that the client wants, holds or was sent, for CSDS."""
        for channel in self._channels.values():
            target = self._target.of_type(channel.type_url) if self._target else {}
            yield from wire.resource_states(channel, target)

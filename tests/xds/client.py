"""A small xDS client that subscribes, warms and refuses as Envoy does, and says when it was left without a reference.

A resource's body is JSON (`worlds.py` writes it): its name, its references, and whether this client refuses it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from ripstop.xds import pb, type_urls
from ripstop.xds.snapshot import content_version

Reference = tuple[str, str]
BY_NAME = (type_urls.SECRET, type_urls.ENDPOINT, type_urls.ROUTE)
SOTW_FULL = type_urls.WILDCARD_TYPES
ENTRIES = (type_urls.LISTENER, type_urls.SCOPED_ROUTE)
"""Where traffic comes in."""
NAMED, SILENT = "named", "silent"
WARMS_FOR = {
    type_urls.CLUSTER: {type_urls.ENDPOINT, type_urls.SECRET},
    type_urls.LISTENER: {type_urls.ROUTE, type_urls.SECRET},
    type_urls.SCOPED_ROUTE: {type_urls.ROUTE},
}
"""What Envoy can only ask for once it has the resource, and waits for before it uses it."""


@dataclass(frozen=True)
class Held:
    """A resource as the client read it. `fault` is why it would be refused: by name, without a name, or not at all."""

    name: str
    version: str
    references: frozenset[Reference]
    fault: str

    @classmethod
    def read(cls, body: bytes) -> Held:
        content = json.loads(body)
        references = frozenset((url, name) for url, name in content["references"])
        return cls(content["name"], content_version(body), references, content["fault"])


@dataclass
class Talk:
    """One type on the present stream: what was said, what was heard, and the answer that is still owed."""

    spoken: set[str] | None = None
    nonce: str = ""
    owes: bool = False
    error: str = ""


@dataclass
class Client:
    """`is_atomic`: a response with one fault is refused whole; otherwise its good part is used, as Envoy does."""

    delta: bool
    is_atomic: bool = False
    held: dict[str, dict[str, Held]] = field(default_factory=lambda: {u: {} for u in type_urls.MAKE_ORDER})
    active: dict[str, dict[str, Held]] = field(default_factory=lambda: {u: {} for u in type_urls.MAKE_ORDER})
    talks: dict[str, Talk] = field(default_factory=lambda: {u: Talk() for u in type_urls.MAKE_ORDER})
    awaits_endpoints: set[str] = field(default_factory=set)
    refused: set[Reference] = field(default_factory=set)
    has_refused: bool = False

    # --- what it wants ---

    def names(self, type_url: str) -> set[str]:
        """Names of EDS, RDS and SDS: what its resources refer to, those in use and those still warming."""
        if type_url not in BY_NAME:
            return set()
        return {
            name
            for resources in (*self.held.values(), *self.active.values())
            for resource in resources.values()
            for url, name in resource.references
            if url == type_url
        }

    def is_open(self, type_url: str) -> bool:
        """Whether it asks for this type at all: SRDS starts with the listener that uses it."""
        if type_url == type_urls.SCOPED_ROUTE:
            return "outbound" in self.held[type_urls.LISTENER]
        return type_url not in BY_NAME or bool(self.names(type_url))

    # --- what it says ---

    def has_something_to_say(self, type_url: str) -> bool:
        talk = self.talks[type_url]
        if talk.spoken is None:
            return self.is_open(type_url)
        return talk.owes or talk.spoken != self.names(type_url)

    def speak(self, type_url: str) -> pb.Message:
        """The next request of this type: an owed answer and all changes of names since the last one."""
        talk = self.talks[type_url]
        request = self._delta_request(type_url, talk) if self.delta else self._sotw_request(type_url, talk)
        if talk.error:
            request.error_detail.message = talk.error
        talk.spoken, talk.owes, talk.error = self.names(type_url), False, ""
        self._forget_unwanted(type_url)
        return request

    def _forget_unwanted(self, type_url: str) -> None:
        """What is unsubscribed from is kept until the server is told, so that wanting it again costs nothing."""
        for resources in (self.held[type_url], self.active[type_url]) if type_url in BY_NAME else ():
            for name in resources.keys() - self.names(type_url):
                del resources[name]

    def _sotw_request(self, type_url: str, talk: Talk) -> pb.Message:
        return pb.DiscoveryRequest(
            type_url=type_url, resource_names=sorted(self.names(type_url)), response_nonce=talk.nonce
        )

    def _delta_request(self, type_url: str, talk: Talk) -> pb.Message:
        now, before = self.names(type_url), talk.spoken or set()
        versions = {name: resource.version for name, resource in self.held[type_url].items()}
        return pb.DeltaDiscoveryRequest(
            type_url=type_url,
            resource_names_subscribe=sorted(now - before),
            resource_names_unsubscribe=sorted(before - now),
            initial_resource_versions=versions if talk.spoken is None else {},
            response_nonce=talk.nonce if talk.owes else "",
        )

    def reconnect(self) -> None:
        """A new stream. Clusters that still warm find their endpoints in Envoy's cache of them (EDS cache for ADS)."""
        self.talks = {url: Talk() for url in type_urls.MAKE_ORDER}
        for url in type_urls.MAKE_ORDER:
            self._forget_unwanted(url)
        self.awaits_endpoints.clear()
        self._settle()

    # --- what it hears ---

    def hear(self, response: pb.Message) -> None:
        """Use what is good of a response and owe the server an answer."""
        talk = self.talks[response.type_url]
        talk.nonce, talk.owes = response.nonce, True
        resources = [self._read(entry) for entry in response.resources]
        bad = [resource for resource in resources if resource.fault]
        if bad:
            self.has_refused = True
            self.refused |= {(response.type_url, resource.name) for resource in bad}
            named = ", ".join(sorted(resource.name for resource in bad if resource.fault == NAMED))
            talk.error = f"cannot use {named or 'something'}: it is bad"
        if not (bad and self.is_atomic):
            self._use(response, resources)
        self._settle()

    def _read(self, entry: pb.Message) -> Held:
        if not self.delta:
            return Held.read(entry.value)
        resource = Held.read(entry.resource.value)
        assert entry.name == resource.name
        assert entry.version == resource.version, "a version is the hash of the content"
        return resource

    def _use(self, response: pb.Message, resources: list[Held]) -> None:
        url = response.type_url
        if self.delta:
            gone = set(response.removed_resources)
        else:
            gone = self.held[url].keys() - {r.name for r in resources} if url in SOTW_FULL else set()
        for name in gone:
            self.held[url].pop(name, None)
            self.active[url].pop(name, None)
        for resource in resources:
            if not resource.fault:
                self._take(url, resource)

    def _take(self, url: str, resource: Held) -> None:
        if url in BY_NAME and resource.name not in self.names(url):
            return
        before = self.held[url].get(resource.name)
        self.held[url][resource.name] = resource
        if url == type_urls.CLUSTER and before != resource:
            self.awaits_endpoints.add(resource.name)
        if url == type_urls.ENDPOINT:
            self.awaits_endpoints -= {
                name
                for name, c in self.held[type_urls.CLUSTER].items()
                if (url, resource.name) in c.references
            }

    # --- warming ---

    def _settle(self) -> None:
        """Put to use what has warmed."""
        for url in type_urls.MAKE_ORDER:
            for name, resource in self.held[url].items():
                if self.active[url].get(name) != resource and self.is_warm(url, resource):
                    self.active[url][name] = resource
                    self.refused.discard((url, name))
            for name, resource in list(self.active[url].items()):
                if self._is_stuck(url, resource) and not all(
                    self._has(url, ref) for ref in resource.references
                ):
                    del self.active[url][name]  # broken by its own fault: from now on like new
        self.awaits_endpoints &= self.held[type_urls.CLUSTER].keys()

    def is_warm(self, url: str, resource: Held) -> bool:
        awaited = [ref for ref in resource.references if ref[0] in WARMS_FOR.get(url, ())]
        if url == type_urls.CLUSTER and awaited and resource.name in self.awaits_endpoints:
            return False
        return all(name in self.held[kind] for kind, name in awaited)

    def warming(self) -> list[Reference]:
        """What it holds and does not use yet."""
        return [
            (url, name)
            for url, resources in self.held.items()
            for name, resource in resources.items()
            if self.active[url].get(name) != resource
        ]

    # --- what would be noticed in traffic ---

    def broken(self) -> Iterator[tuple[Reference, Reference]]:
        """Resources in use whose references it lacks, unless it refused those itself."""
        for user in self._in_use():
            for ref in self.active[user[0]][user[1]].references:
                if not self._has(user[0], ref) and not self._is_own_fault(ref):
                    yield user, ref

    def _in_use(self) -> set[Reference]:
        """What is active and, of EDS, RDS and SDS, referred to; not what is old only because the new was refused.

        Once something was refused, clusters count only when traffic can reach them: others may have come along with
        what was refused, and no route uses them before the server knows.
        """
        steady = {
            (url, name): resource.references
            for url, resources in self.active.items()
            for name, resource in resources.items()
            if not self._is_stuck(url, resource)
        }
        entries = ENTRIES if self.has_refused else (*ENTRIES, type_urls.CLUSTER)
        queue = [root for root in steady if root[0] in entries]
        used: set[Reference] = set()
        while queue:
            user = queue.pop()
            if user in steady and user not in used:
                used.add(user)
                queue += steady[user]
        return used

    def _is_stuck(self, url: str, resource: Held) -> bool:
        """Whether a newer version would be in use had the client not refused what that one waits for."""
        newest = self.held[url].get(resource.name, resource)
        return newest != resource and any(self._is_own_fault(ref) for ref in newest.references)

    def _has(self, user: str, ref: Reference) -> bool:
        """An aggregate cluster needs its members to be there; traffic (routes, listeners) needs them warm."""
        url, name = ref
        return name in (self.held if user == type_urls.CLUSTER else self.active)[url]

    def _is_own_fault(self, ref: Reference) -> bool:
        url, name = ref
        held = self.held[url].get(name)
        return ref in self.refused or (held is not None and not held.references.isdisjoint(self.refused))

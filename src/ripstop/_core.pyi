"""The data core, in Rust (crates/ripstop-python): the native data plane's own decisions, asked without traffic."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, final

__all__ = [
    "EndpointShare",
    "Fallback",
    "Fault",
    "Filter",
    "Forward",
    "Match",
    "NearRule",
    "Picks",
    "Retry",
    "Route",
    "Rules",
    "Snapshot",
    "Unmet",
    "check",
]

def check(type_url: str, body: bytes) -> list[tuple[str, str]]:
    """Every fault that the native data plane finds in a resource, as (path, problem); empty when it takes it.

    Files that it names are taken to be there. A type of resource that it does not know is a ValueError.
    """

@final
class Snapshot:
    """The resources of one node as the native data plane would run them: (type URL, serialised message) each.

    Those with `faults` are left out, as it would leave them out. A type that it does not know is a ValueError.
    """

    def __new__(cls, resources: Sequence[tuple[str, bytes]]) -> Snapshot: ...
    @property
    def faults(self) -> list[Fault]: ...
    @property
    def clusters(self) -> list[str]:
        """The names of clusters, sorted."""

    def match(
        self,
        listener: str,
        method: str = "GET",
        authority: str = "",
        path: str = "/",
        headers: Sequence[tuple[str, str]] = ...,
        *,
        principals: Sequence[str] = ...,
        remote: str = "127.0.0.1:1",
        local: str = "127.0.0.1:0",
        server_name: str = "",
        alpn: Sequence[str] = ...,
        is_tls: bool | None = None,
        random: int = 0,
    ) -> Match:
        """What becomes of a request that arrives at `listener`.

        `principals` are the URI SANs of the caller's certificate; `is_tls` None: when there are any, or a `server_name`
        or `alpn`. `remote` and `local` are addresses with ports. `random` (64 bits) decides shares, as the worker's
        number does. A header or an address that is none is a ValueError.
        """

    def pick(
        self,
        cluster: str,
        requests: int,
        seed: int = 0,
        hash: int | None = None,  # noqa: A002
        *,
        in_flight: int = 0,
        unhealthy: Sequence[str] = ...,
        ejected: Sequence[str] = ...,
        latency_s: Mapping[str, float] = ...,
        keys: Sequence[str] = ...,
        subset: Sequence[tuple[str, str]] = ...,
    ) -> Picks:
        """Where so many requests to a cluster would go; equal seeds give equal answers.

        `hash` is `Forward.hash`, of every request; or `keys` take turns. `unhealthy` and `ejected` are addresses
        (``10.0.0.1:8080``); `latency_s` is how long one takes for an answer (others take 1 ms) while `in_flight` requests
        are under way at a time. A cluster that is not there is a KeyError.
        """

@final
class Fault:
    """What is wrong with a resource; `path` leads from the resource to the field."""

    @property
    def type_url(self) -> str: ...
    @property
    def resource(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def problem(self) -> str: ...
    def as_dict(self) -> dict[str, Any]: ...

@final
class Match:
    """The way of a request, as far as it came. Parts that it did not come to are None or empty."""

    @property
    def outcome(
        self,
    ) -> Literal["forwarded", "tunnelled", "answered", "denied", "not_found", "refused"]: ...
    @property
    def status(self) -> int:
        """Of an answer made here; 0 when there is none."""

    @property
    def details(self) -> str:
        """Envoy's `response_code_details`, or why the connection is closed."""

    @property
    def location(self) -> str:
        """`Location` of a redirect."""

    @property
    def listener(self) -> str | None: ...
    @property
    def filter_chain(self) -> str | None: ...
    @property
    def connection_rules(self) -> list[Rules]:
        """Network RBAC."""

    @property
    def scope(self) -> str | None:
        """The key that the RouteConfiguration was looked for by."""

    @property
    def route_configuration(self) -> str | None: ...
    @property
    def path(self) -> str:
        """The path that routes see, made normal."""

    @property
    def virtual_host(self) -> str | None: ...
    @property
    def candidates(self) -> list[Route]:
        """Routes in order: up to the one that matched and three more; all when none matched."""

    @property
    def route(self) -> int | None:
        """The place of the route that matched in `candidates`."""

    @property
    def filters(self) -> list[Filter]:
        """HTTP filters in order, until one answered."""

    @property
    def forward(self) -> Forward | None: ...
    def as_dict(self) -> dict[str, Any]: ...

@final
class Route:
    """A route that was looked at. `metadata["ripstop"]` has `source`, the document line, and `service`."""

    @property
    def index(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def target(self) -> str:
        """A cluster, several with their weights, or the status it answers with."""

    @property
    def metadata(self) -> dict[str, dict[str, Any]]: ...
    @property
    def miss(self) -> Unmet | None:
        """The first condition that does not hold; None: it matches."""

    def as_dict(self) -> dict[str, Any]: ...

@final
class Unmet:
    """A condition that did not hold.

    `part` is path, share, grpc, header or query of a route; of rules also principal, address, port, sni, or any and all for
    conditions that go together.
    """

    @property
    def part(self) -> str: ...
    @property
    def name(self) -> str:
        """Of a header or parameter."""

    @property
    def wanted(self) -> str: ...
    @property
    def found(self) -> str | None: ...
    def as_dict(self) -> dict[str, Any]: ...

@final
class Filter:
    """What an HTTP filter does. `set_by`: listener, route_configuration, virtual_host, route or weighted_cluster."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def set_by(self) -> str: ...
    @property
    def is_on(self) -> bool: ...
    @property
    def does(self) -> str:
        """In words; what chance or a bucket decides is told with its share and passes."""

    @property
    def rules(self) -> list[Rules]: ...
    def as_dict(self) -> dict[str, Any]: ...

@final
class Rules:
    """What authorization rules say. `policy` is the document (``namespace/name``), `rule` its principal."""

    @property
    def action(self) -> Literal["ALLOW", "DENY", "LOG"]: ...
    @property
    def is_shadow(self) -> bool: ...
    @property
    def allowed(self) -> bool: ...
    @property
    def policy(self) -> str | None: ...
    @property
    def rule(self) -> int | None: ...
    @property
    def closest(self) -> NearRule | None:
        """Where no policy matches: the rule with the fewest conditions that do not hold."""

    def as_dict(self) -> dict[str, Any]: ...

@final
class NearRule:
    """A rule that did not match, and why."""

    @property
    def policy(self) -> str: ...
    @property
    def rule(self) -> int: ...
    @property
    def unmet(self) -> list[Unmet]: ...
    def as_dict(self) -> dict[str, Any]: ...

@final
class Forward:
    """Where a request is sent, and how."""

    @property
    def cluster(self) -> str: ...
    @property
    def is_known(self) -> bool:
        """Whether the snapshot has the cluster."""

    @property
    def shares(self) -> list[tuple[str, int]]:
        """All clusters of the route with their weights."""

    @property
    def members(self) -> list[str]:
        """Of an aggregate cluster, in order."""

    @property
    def method(self) -> str: ...
    @property
    def authority(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def headers(self) -> list[tuple[str, str]]: ...
    @property
    def timeout_s(self) -> float:
        """Of the whole request; 0 means none."""

    @property
    def idle_timeout_s(self) -> float | None:
        """None means the listener's."""

    @property
    def max_stream_s(self) -> float | None:
        """None means the listener's."""

    @property
    def retry(self) -> Retry | None: ...
    @property
    def hash(self) -> int | None: ...
    @property
    def subset(self) -> list[tuple[str, str]]: ...
    @property
    def mirrors(self) -> list[tuple[str, float]]:
        """Clusters that get a copy, with their shares in percent."""

    @property
    def fallbacks(self) -> list[Fallback]: ...
    @property
    def is_high_priority(self) -> bool: ...
    def as_dict(self) -> dict[str, Any]: ...

@final
class Retry:
    """When a request is repeated; `on` has Envoy's words."""

    @property
    def on(self) -> list[str]: ...
    @property
    def statuses(self) -> list[int]: ...
    @property
    def num_retries(self) -> int: ...
    @property
    def per_try_timeout_s(self) -> float: ...
    @property
    def by_key(self) -> bool:
        """Only because the request has an `Idempotency-Key`."""

    def as_dict(self) -> dict[str, Any]: ...

@final
class Fallback:
    """One hop of a fallback chain; `on` has the triggers as documents say them."""

    @property
    def cluster(self) -> str: ...
    @property
    def service(self) -> str: ...
    @property
    def on(self) -> list[str]: ...
    def as_dict(self) -> dict[str, Any]: ...

@final
class Picks:
    """Where simulated requests went."""

    @property
    def shares(self) -> list[EndpointShare]: ...
    @property
    def healthy_percent(self) -> list[int]:
        """What each priority gets."""

    @property
    def without_host(self) -> int:
        """Requests that found no healthy endpoint, or none."""

    @property
    def dropped(self) -> int: ...
    def as_dict(self) -> dict[str, Any]: ...

@final
class EndpointShare:
    """What one endpoint got."""

    @property
    def cluster(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def zone(self) -> str: ...
    @property
    def priority(self) -> int: ...
    @property
    def availability(self) -> Literal["healthy", "degraded", "unhealthy"]: ...
    @property
    def requests(self) -> int: ...
    def as_dict(self) -> dict[str, Any]: ...

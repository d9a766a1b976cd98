"""What goes into an ADS stream's state machine (events) and what comes out of it (actions)."""

from __future__ import annotations

from dataclasses import dataclass

from ripstop.xds.pb import Message
from ripstop.xds.snapshot import Snapshot

# --- events ---


@dataclass(frozen=True, slots=True)
class Requested:
    """The client sent a DiscoveryRequest (SotW) or a DeltaDiscoveryRequest (delta)."""

    request: Message


@dataclass(frozen=True, slots=True)
class SnapshotChanged:
    """The node should run `snapshot` from now on; it stands in for every earlier one."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class PatienceEnded:
    """The client had long enough to ask for what its resources refer to; go on without (see `lacks_subscriptions`)."""


Event = Requested | SnapshotChanged | PatienceEnded


# --- actions ---


@dataclass(frozen=True, slots=True)
class Nack:
    """What a client refuses to run, of one type. `names` are the resources known to be at fault."""

    type_url: str
    generation: int
    message: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Send:
    """Write `message` to the client. `size` counts the bytes of its resources."""

    message: Message
    type_url: str
    generation: int
    size: int


@dataclass(frozen=True, slots=True)
class Acked:
    """The client took a response of this type."""

    type_url: str
    generation: int


@dataclass(frozen=True, slots=True)
class Nacked:
    """The client refused a response. `nack.names` is empty while the culprit is still being searched for."""

    nack: Nack


@dataclass(frozen=True, slots=True)
class Converged:
    """Nothing is left to send of this generation. `nacks` holds what the client refused of it: empty means live."""

    generation: int
    nacks: tuple[Nack, ...] = ()


@dataclass(frozen=True, slots=True)
class Refuse:
    """End the stream with this gRPC status (its name, such as ``RESOURCE_EXHAUSTED``)."""

    status: str
    message: str


Action = Send | Acked | Nacked | Converged | Refuse


# --- what can be asked of a stream (CSDS) ---


@dataclass(frozen=True, slots=True)
class ResourceState:
    """One resource at the client. `status` is a word of `admin.v3.ClientResourceStatus`."""

    type_url: str
    name: str
    version: str
    status: str
    body: bytes = b""
    error: str = ""

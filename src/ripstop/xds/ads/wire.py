"""Responses as messages, and the few things that differ between SotW and delta on the wire."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ripstop.xds import pb
from ripstop.xds.ads.channel import Channel, Response
from ripstop.xds.ads.messages import ResourceState
from ripstop.xds.pb import Message
from ripstop.xds.snapshot import Resource


def sotw_response(type_url: str, response: Response, resources: Iterable[Resource]) -> Message:
    """`service.discovery.v3.DiscoveryResponse`; the version is the generation."""
    return pb.DiscoveryResponse(
        version_info=str(response.generation),
        type_url=type_url,
        nonce=response.nonce,
        resources=[pb.any_of(type_url, resource.body) for resource in resources],
    )


def delta_response(type_url: str, response: Response) -> Message:
    """`service.discovery.v3.DeltaDiscoveryResponse`."""
    return pb.DeltaDiscoveryResponse(
        system_version_info=str(response.generation),
        type_url=type_url,
        nonce=response.nonce,
        removed_resources=response.removed,
        resources=[
            pb.DiscoveryResource(name=r.name, version=r.version, resource=pb.any_of(type_url, r.body))
            for r in response.changed
        ],
    )


def is_current(channel: Channel, request: Message) -> bool:
    """SotW: a request that answers an older response than the newest is stale and ignored whole.

    Source: xDS protocol, "ACK and NACK semantics summary". A request without a nonce changes names only; a nonce from
    an earlier stream comes with the first request at the latest.
    """
    nonce = request.response_nonce
    return not nonce or not channel.last_nonce or nonce == channel.last_nonce


def resource_states(channel: Channel, target: Mapping[str, Resource]) -> Iterator[ResourceState]:
    """What CSDS says of one type: ACKED, NACKED, REQUESTED (sent or about to be) or DOES_NOT_EXIST."""
    nack = channel.current_nack()
    wanted = {resource.name: resource for resource in channel.subscription.select(target)}
    for name in sorted(channel.subscription.names | wanted.keys() | channel.held.keys()):
        held, newest = channel.held.get(name), wanted.get(name)
        shown = held or newest
        if nack and name in nack.names:
            status = "NACKED"
        elif held is None:
            status = "REQUESTED" if newest else "DOES_NOT_EXIST"
        else:
            status = "ACKED" if newest is None or newest.version == held.version else "REQUESTED"
        yield ResourceState(
            channel.type_url,
            name,
            shown.version if shown else "",
            status,
            shown.body if shown else b"",
            nack.message if nack and status == "NACKED" else "",
        )

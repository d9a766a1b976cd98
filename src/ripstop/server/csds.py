"""CSDS: what each data plane was sent and what it made of it, for Envoy's own tools.

Source: `envoy.service.status.v3.ClientStatusDiscoveryService`. A peer sees the nodes of its own service; the control
plane's own identity sees all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import grpc
import grpc.aio

from ripstop.ids import CONTROL_PLANE, NodeId, ServiceId
from ripstop.server.peer import peer_identity
from ripstop.xds import pb
from ripstop.xds.ads import AdsServerStream, ResourceState

SERVICE = "envoy.service.status.v3.ClientStatusDiscoveryService"
_CONFIG_STATUS = {"ACKED": "SYNCED", "NACKED": "ERROR", "REQUESTED": "STALE", "DOES_NOT_EXIST": "NOT_SENT"}


class Streams:
    """The state machines of the open streams, by node."""

    def __init__(self) -> None:
        self._machines: dict[NodeId, AdsServerStream] = {}

    def opened(self, node: NodeId, machine: AdsServerStream) -> None:
        """A stream began; it stands in for an earlier one of its node."""
        self._machines[node] = machine

    def closed(self, node: NodeId, machine: AdsServerStream) -> None:
        """A stream ended."""
        if self._machines.get(node) is machine:
            del self._machines[node]

    def of_service(self, service: ServiceId) -> Iterator[tuple[NodeId, AdsServerStream]]:
        """The streams that an identity may see."""
        for node, machine in sorted(self._machines.items()):
            if service in (node.service_id, CONTROL_PLANE):
                yield node, machine


class ClientStatus:
    """The handlers of the service."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    def handler(self) -> Any:
        """What a gRPC server is given."""
        options = {
            "request_deserializer": pb.ClientStatusRequest.FromString,
            "response_serializer": lambda message: message.SerializeToString(),
        }
        methods = {
            "FetchClientStatus": grpc.unary_unary_rpc_method_handler(self._fetch, **options),
            "StreamClientStatus": grpc.stream_stream_rpc_method_handler(self._stream, **options),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    async def _fetch(self, request: Any, context: Any) -> Any:
        return await self._answer(request, context)

    async def _stream(self, requests: AsyncIterator[Any], context: Any) -> None:
        async for request in requests:
            await context.write(await self._answer(request, context))

    async def _answer(self, request: Any, context: Any) -> Any:
        identity = peer_identity(context)
        if identity is None:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "no identity of this mesh was shown")
            return None
        wanted = {m.node_id.exact for m in request.node_matchers if m.HasField("node_id")}
        found = (
            item
            for item in self._streams.of_service(identity.service)
            if not wanted or str(item[0]) in wanted
        )
        return pb.ClientStatusResponse(config=[_config(node, machine.resources()) for node, machine in found])


def _config(node: NodeId, resources: Iterable[ResourceState]) -> Any:
    return pb.ClientConfig(
        node={"id": str(node), "cluster": str(node.service_id)},
        generic_xds_configs=[_resource(state) for state in resources],
    )


def _resource(state: ResourceState) -> Any:
    """One resource. Secrets are named, never shown."""
    made = pb.ClientConfig.GenericXdsConfig(
        type_url=state.type_url,
        name=state.name,
        version_info=state.version,
        config_status=pb.ConfigStatus.Value(_CONFIG_STATUS[state.status]),
        client_status=pb.ClientResourceStatus.Value(state.status),
    )
    if state.body and not state.type_url.endswith(".Secret"):
        made.xds_config.CopyFrom(pb.any_of(state.type_url, state.body))
    if state.error:
        made.error_state.details = state.error
    return made

"""ADS over gRPC: the rim around `xds.ads`. State of the world and delta, mTLS, each node its own resources only.

Source: `envoy.service.discovery.v3.AggregatedDiscoveryService`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import structlog

from ripstop.control.fleet import NodeState
from ripstop.errors import Refused, Unavailable
from ripstop.ids import NodeId
from ripstop.model.workload import NodeKind
from ripstop.server.csds import ClientStatus, Streams
from ripstop.server.peer import peer_identity
from ripstop.server.plane import Plane, Watch
from ripstop.xds import pb
from ripstop.xds.ads import (
    Acked,
    Action,
    AdsServerStream,
    Converged,
    Event,
    Nacked,
    PatienceEnded,
    Refuse,
    Requested,
    Send,
    SnapshotChanged,
)

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
PATIENCE_S = 3.0
"""How long a client may take to ask for what its resources refer to."""
ACK_S = 60.0
"""A client that takes longer to answer is told of in the log; nobody waits for it."""
MESSAGE_BYTES_MAX = 16 * 1024 * 1024
STREAMS_MAX = 20_000

log = structlog.get_logger("ripstop.ads")


class Aggregated:
    """The handlers of the service."""

    def __init__(self, plane: Plane, streams: Streams) -> None:
        self._plane, self._streams = plane, streams

    def handler(self) -> Any:
        """What a gRPC server is given."""
        methods = {
            "StreamAggregatedResources": self._method(False, pb.DiscoveryRequest),
            "DeltaAggregatedResources": self._method(True, pb.DeltaDiscoveryRequest),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    def _method(self, delta: bool, request: Any) -> Any:
        async def serve(requests: AsyncIterator[Any], context: Any) -> None:
            await Stream(self._plane, self._streams, requests, context, delta=delta).run()

        return grpc.stream_stream_rpc_method_handler(
            serve,
            request_deserializer=request.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )


class Stream:
    """One ADS stream: requests and snapshots in, responses out."""

    def __init__(
        self, plane: Plane, streams: Streams, requests: AsyncIterator[Any], context: Any, *, delta: bool
    ) -> None:
        self._plane, self._streams = plane, streams
        self._requests, self._context, self._delta = requests, context, delta
        self._machine = AdsServerStream(delta)
        self._events: asyncio.Queue[Event | None] = asyncio.Queue(maxsize=64)

    async def run(self) -> None:
        """Serve until the client goes, or is refused."""
        first = await anext(aiter(self._requests), None)
        if first is None:
            return
        try:
            node = self._node_of(first)
        except Refused as error:
            log.warning("ads_refused", reason=error.message)
            await self._context.abort(grpc.StatusCode.PERMISSION_DENIED, error.message)
            return
        is_grpc = first.node.user_agent_name.startswith("gRPC")
        watch = self._plane.watch(node, is_grpc=is_grpc)
        self._plane.fleet.connected(self._state(node, first, is_grpc))
        if watch.snapshot is not None:
            self._plane.fleet.targeted(node, watch.generation, watch.snapshot.not_on_this_data_plane)
            self._plane.fleet.withheld(node, watch.withheld)
        self._streams.opened(node, self._machine)
        try:
            await self._serve(first, watch)
        finally:
            self._streams.closed(node, self._machine)
            self._plane.unwatch(watch)
            self._plane.fleet.disconnected(node)
            with contextlib.suppress(RuntimeError):
                await self._plane.progressed(watch.generation)

    def _node_of(self, request: Any) -> NodeId:
        """The node, when the peer's certificate is of its service.

        Raises:
            Refused: it is another's.
        """
        identity = peer_identity(self._context)
        if identity is None:
            raise Refused("no identity of this mesh was shown")
        try:
            node = NodeId.parse(request.node.id)
        except ValueError as error:
            raise Refused(f"the node is not named namespace/service/instance: {error}") from None
        if identity.trust_domain != self._plane.authority.trust_domain or identity.service != node.service_id:
            raise Refused(f"{identity} may not ask for the resources of {node}")
        return node

    def _state(self, node: NodeId, first: Any, is_grpc: bool) -> NodeState:
        registration = self._plane.topology.nodes.get(node)
        kind = NodeKind.GRPC if is_grpc else registration.kind if registration else NodeKind.SIDECAR
        protocol = "delta" if self._delta else "sotw"
        agent = first.node.user_agent_name
        return NodeState(node, kind, self._plane.clock.wall(), protocol, user_agent=agent)

    # --- events ---

    async def _serve(self, first: Any, watch: Watch) -> None:
        tasks = [
            asyncio.create_task(self._read(first)),
            asyncio.create_task(self._follow(watch)),
        ]
        try:
            while (event := await self._next()) is not None:
                if not await self._do(self._machine.step(event), watch):
                    return
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _next(self) -> Event | None:
        if not self._machine.lacks_subscriptions:
            return await self._events.get()
        try:
            return await asyncio.wait_for(self._events.get(), PATIENCE_S)
        except TimeoutError:
            return PatienceEnded()

    async def _read(self, first: Any) -> None:
        try:
            await self._events.put(Requested(first))
            async for request in self._requests:
                await self._events.put(Requested(request))
        finally:
            with contextlib.suppress(asyncio.QueueFull):
                self._events.put_nowait(None)

    async def _follow(self, watch: Watch) -> None:
        while True:
            await watch.wake.wait()
            watch.wake.clear()
            if watch.snapshot is not None:
                await self._events.put(SnapshotChanged(watch.snapshot))

    # --- actions ---

    async def _do(self, actions: list[Action], watch: Watch) -> bool:
        for action in actions:
            if isinstance(action, Refuse):
                log.warning("ads_refused", node=str(watch.node), reason=action.message)
                await self._context.abort(getattr(grpc.StatusCode, action.status), action.message)
                return False
            await self._one(action, watch.node)
        return True

    async def _one(self, action: Action, node: NodeId) -> None:
        plane = self._plane
        match action:
            case Send(message, type_url, _, size):
                await self._context.write(message)
                plane.fleet.sent(node, size)
                plane.metrics.pushes.labels(type_url.rpartition(".")[2]).inc()
                plane.metrics.bytes.inc(size)
            case Nacked(nack):
                plane.fleet.refused(node, nack)
                plane.metrics.nacks.labels(nack.type_url.rpartition(".")[2]).inc()
                log.warning("nack", node=str(node), names=nack.names, message=nack.message)
            case Converged(generation, nacks):
                plane.fleet.converged(node, generation, nacks)
                await plane.progressed(generation)
            case Acked():
                pass
            case Refuse():
                raise AssertionError("handled before")


async def start_ads(plane: Plane, address: str, certificate_pem: bytes, key_pem: bytes) -> tuple[Any, int]:
    """A gRPC server with mTLS at `address`; (server, port). A client without a certificate of ours is not let in."""
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
            ("grpc.max_concurrent_streams", STREAMS_MAX),
            ("grpc.so_reuseport", 0),
            ("grpc.keepalive_time_ms", 30_000),
            ("grpc.keepalive_timeout_ms", 10_000),
            ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
            ("grpc.keepalive_permit_without_calls", 1),
        ]
    )
    streams = Streams()
    server.add_generic_rpc_handlers((Aggregated(plane, streams).handler(), ClientStatus(streams).handler()))
    credentials = grpc.ssl_server_credentials(
        [(key_pem, certificate_pem)], root_certificates=plane.authority.trust_pem, require_client_auth=True
    )
    try:
        port = server.add_secure_port(address, credentials)
    except RuntimeError:
        raise Unavailable(
            f"cannot listen on {address}",
            cure="choose another address with --ads HOST:PORT (port 0 takes a free one)",
        ) from None
    await server.start()
    return server, port

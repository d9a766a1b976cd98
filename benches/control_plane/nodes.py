"""Many data planes in one process: delta ADS streams that take everything and answer at once, as Envoy would ask.

Run as ``python -m benches.control_plane.nodes FILE``: FILE says who they are; commands come on stdin, answers go to
stdout, one JSON value a line.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from ripstop.xds import pb, type_urls

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
QUIET_S = 0.25


@dataclass
class Totals:
    """What all nodes have seen."""

    messages: int = 0
    bytes: int = 0
    last: float = 0.0
    resources: int = 0
    failures: list[str] = field(default_factory=list)


class Node:
    """One data plane."""

    def __init__(self, name: str, totals: Totals) -> None:
        self.name, self.totals = name, totals
        self.outgoing: asyncio.Queue[Any] = asyncio.Queue()
        self.subscribed: dict[str, set[str]] = {type_urls.ENDPOINT: set(), type_urls.ROUTE: set()}
        self.is_ready = asyncio.Event()

    async def run(self, channel: Any) -> None:
        """Hold a stream open for ever."""
        call = channel.stream_stream(METHOD)(self._requests())
        for type_url in (type_urls.CLUSTER, type_urls.LISTENER, type_urls.SCOPED_ROUTE):
            self.ask(type_url, [])
        try:
            async for raw in call:
                self._take(raw)
        except asyncio.CancelledError:
            return
        except grpc.aio.AioRpcError as error:
            self.totals.failures.append(f"{self.name}: {error.code().name} {error.details()}")

    async def _requests(self) -> Any:
        first = True
        while True:
            request = await self.outgoing.get()
            if first:
                request.node.id = self.name
                first = False
            yield request.SerializeToString()

    def ask(self, type_url: str, names: list[str], nonce: str = "") -> None:
        self.outgoing.put_nowait(
            pb.DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=names, response_nonce=nonce)
        )

    def _take(self, raw: bytes) -> None:
        response = pb.DeltaDiscoveryResponse.FromString(raw)
        totals = self.totals
        totals.messages += 1
        totals.bytes += len(raw)
        totals.resources += len(response.resources)
        totals.last = time.monotonic()
        if response.type_url == type_urls.CLUSTER:
            names = [
                r.name for r in response.resources if r.name.startswith("out/") and r.name.count("/") == 3
            ]
            self._subscribe(type_urls.ENDPOINT, names)
        elif response.type_url == type_urls.SCOPED_ROUTE:
            found = (pb.ScopedRouteConfiguration.FromString(r.resource.value) for r in response.resources)
            self._subscribe(type_urls.ROUTE, [f.route_configuration_name for f in found])
        elif response.type_url == type_urls.LISTENER:
            self._subscribe(type_urls.ROUTE, ["in/8080"])
        elif response.type_url == type_urls.ROUTE:
            self.is_ready.set()
        self.ask(response.type_url, [], response.nonce)

    def _subscribe(self, type_url: str, names: list[str]) -> None:
        fresh = [name for name in dict.fromkeys(names) if name not in self.subscribed[type_url]]
        self.subscribed[type_url].update(fresh)
        if fresh:
            self.ask(type_url, fresh)


async def settled(totals: Totals) -> None:
    """Wait until nothing has come for a while."""
    while time.monotonic() - totals.last < QUIET_S:  # noqa: ASYNC110 (quiet is no event)
        await asyncio.sleep(0.05)


async def main(plan: Any) -> None:
    """Connect when told, and tell what came."""
    totals = Totals()
    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[None]] = []
    channels: list[Any] = []
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = line.strip()
        if command == "connect":
            for channel in channels:  # ends their streams
                await channel.close()
            await asyncio.gather(*tasks, return_exceptions=True)
            totals.messages = totals.bytes = totals.resources = 0
            totals.failures.clear()  # of the streams that ended
            nodes, channels, tasks = [], [], []
            for who in plan["nodes"]:
                credentials = grpc.ssl_channel_credentials(
                    plan["trust"].encode(), who["key"].encode(), who["certificate"].encode()
                )
                options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
                channel = grpc.aio.secure_channel(plan["ads"], credentials, options=options)
                node = Node(who["node"], totals)
                nodes.append(node)
                channels.append(channel)
                tasks.append(asyncio.create_task(node.run(channel)))
            await asyncio.gather(*(node.is_ready.wait() for node in nodes))
            await settled(totals)
        elif command == "reset":
            totals.messages = totals.bytes = totals.resources = 0
        elif command == "settle":
            await settled(totals)
        told = {
            "messages": totals.messages,
            "bytes": totals.bytes,
            "last": totals.last,
            "failures": totals.failures[:3],
        }
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))

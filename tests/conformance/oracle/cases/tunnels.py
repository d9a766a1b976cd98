"""Upgrades, CONNECT and bytes as they are."""

from __future__ import annotations

import asyncio

from .. import wire
from ..case import Cluster, Stage, case, request, to, typed
from ..h2peer import H2Call, H2Host
from ..upstreams import BlackHole, Bytes, Call, Refused, Upstream, answer

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: x\r\n\r\n"
WEBSOCKET = {"upgrade_configs": [{"upgrade_type": "websocket"}]}
ASK = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec_websocket_key": "abc",
    "sec_websocket_version": "13",
}


async def echo_tunnel(call: Call) -> bool:
    await call.send(SWITCH)
    while data := await call.reader.read(1000):
        await call.send(b"<" + data + b">")
    return False


@case(manager=WEBSOCKET, up=[echo_tunnel])
async def a_websocket(s: Stage) -> None:
    client = await s.connect()
    await client.send(request("/chat", **ASK))
    await client.answer()
    await client.send(b"one")
    await client.read(5)
    await client.send(b"two")
    await client.read(5)


@case(manager=WEBSOCKET, up=[answer(400, b"no upgrade"), answer()])
async def a_websocket_that_the_upstream_refuses(s: Stage) -> None:
    client = await s.connect()
    await client.send(request("/chat", **ASK))
    await client.answer()
    await client.ends()


@case(up=[echo_tunnel])
async def a_websocket_where_none_is_configured(s: Stage) -> None:
    await s.ask("/chat", **ASK)


@case(manager=WEBSOCKET, routes=[to(upgrade_configs=[{"upgrade_type": "websocket", "enabled": False}])])
async def a_websocket_that_the_route_forbids(s: Stage) -> None:
    await s.ask("/chat", **ASK)


async def h2_echo_tunnel(call: H2Call) -> None:
    await call.head(200)
    sent = 0
    while not call.stream.ended and call.stream.reset is None and not call.peer.closed.is_set():
        call.stream.changed.clear()
        if len(call.stream.body) > sent:
            data, sent = call.stream.body[sent:], len(call.stream.body)
            await call.data(b"<" + data + b">")
        await call.stream.changed.wait()
    await call.data(b"", end=True)


@case(
    manager=WEBSOCKET, clusters={"up": Cluster([H2Host((h2_echo_tunnel,), extended_connect=True)], h2=True)}
)
async def a_websocket_over_http2_upstream(s: Stage) -> None:
    client = await s.connect()
    await client.send(request("/chat", **ASK))
    await client.answer()
    await client.send(b"one")
    await client.read(5)


@case(manager=WEBSOCKET | {"http2_protocol_options": {"allow_connect": True}}, up=[echo_tunnel])
async def a_websocket_by_extended_connect(s: Stage) -> None:
    client = await s.h2()
    await client.settled.wait()
    stream = await client.raw_open(
        [
            *[(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/chat")],
            *[(":authority", "a.test"), ("sec-websocket-version", "13")],
        ],
        end=False,
    )
    await asyncio.wait_for(stream.head.wait(), 5)
    await client.data(stream.id, b"one")
    for _ in range(50):
        if len(stream.body) >= 5:
            break
        await asyncio.sleep(0.05)
    s.note(headers=stream.headers, body=stream.body.decode())


async def echo_bytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
    got = b""
    while data := await reader.read(65536):
        got += data
        await wire.write(writer, b"<" + data + b">" if len(data) < 100 else data)
    upstream.seen.append({"bytes": wire.short(got)})
    await wire.write(writer, b"bye")


CONNECT = {
    "match": {"connect_matcher": {}},
    "route": {"cluster": "@up", "upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}]},
}


@case(
    manager={
        "upgrade_configs": [{"upgrade_type": "CONNECT"}],
        "http2_protocol_options": {"allow_connect": True},
    },
    routes=[CONNECT],
    clusters={"up": Cluster([Bytes(echo_bytes)])},
)
async def connect_ends_here(s: Stage) -> None:
    client = await s.connect()
    await client.send(b"CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n")
    await client.answer("CONNECT")
    await client.send(b"one")
    await client.read(5)
    await client.close()
    second = await s.h2()
    stream = await second.raw_open([(":method", "CONNECT"), (":authority", "a.test:443")], end=False)
    await asyncio.wait_for(stream.head.wait(), 5)
    await second.data(stream.id, b"two", end=True)
    await second.answer(stream)


@case(
    manager={"upgrade_configs": [{"upgrade_type": "CONNECT"}]},
    routes=[CONNECT],
    clusters={"up": Cluster([Refused()])},
)
async def connect_to_nobody(s: Stage) -> None:
    await s.send(b"CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n", method="X")


@case()
async def connect_where_none_is_configured(s: Stage) -> None:
    await s.send(b"CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n", method="X")


def tcp(**fields: object) -> list[dict[str, object]]:
    config = typed("extensions.filters.network.tcp_proxy.v3.TcpProxy", **({"cluster": "@up"} | fields))
    return [{"name": "tcp", "typed_config": config}]


TCP_LOG = dict.fromkeys(("method", "path", "protocol", "details", "grpc", "attempts"), "-")


@case(network=tcp(), clusters={"up": Cluster([Bytes(echo_bytes)])}, log=TCP_LOG)
async def bytes_pass_both_ways_until_both_have_ended(s: Stage) -> None:
    client = await s.connect()
    await client.send(b"one")
    await client.read(5)
    client.writer.write_eof()
    await client.rest()


async def speaks_first(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream
) -> None:
    await wire.write(writer, b"220 ready\r\n")
    await reader.read(100)


@case(network=tcp(), clusters={"up": Cluster([Bytes(speaks_first)])}, log=TCP_LOG)
async def a_server_may_speak_first(s: Stage) -> None:
    client = await s.connect()
    await client.read(11)


async def closes_first(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream
) -> None:
    await wire.write(writer, b"bye")
    writer.write_eof()
    rest = await reader.read(-1)
    upstream.seen.append({"rest": wire.short(rest)})


@case(network=tcp(), clusters={"up": Cluster([Bytes(closes_first)])}, log=TCP_LOG)
async def a_server_may_end_first(s: Stage) -> None:
    client = await s.connect()
    await client.rest()
    await client.send(b"still here")
    client.writer.write_eof()
    await s.pause(0.2)


async def breaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
    await reader.read(10)
    wire.reset(writer)


@case(network=tcp(), clusters={"up": Cluster([Bytes(breaks)])}, log=TCP_LOG)
async def a_tcp_upstream_that_resets(s: Stage) -> None:
    client = await s.connect()
    await client.send(b"x")
    await client.ends()


@case(network=tcp(), clusters={"up": Cluster([Refused()])}, log=TCP_LOG)
async def a_tcp_upstream_that_refuses(s: Stage) -> None:
    client = await s.connect()
    await client.ends()


@case(
    network=tcp(max_connect_attempts=3),
    clusters={"up": Cluster([BlackHole()], extra={"connect_timeout": "0.2s"})},
    log=TCP_LOG,
)
async def a_tcp_upstream_that_takes_too_long(s: Stage) -> None:
    client = await s.connect()
    await client.ends()


@case(network=tcp(idle_timeout="0.3s"), clusters={"up": Cluster([Bytes(echo_bytes)])}, log=TCP_LOG)
async def a_silent_tcp_connection_ends(s: Stage) -> None:
    client = await s.connect()
    await client.send(b"x")
    await client.read(3)
    await client.ends()


BIG = bytes(range(256)) * 8192


@case(network=tcp(), clusters={"up": Cluster([Bytes(echo_bytes)])}, log=TCP_LOG)
async def two_megabytes_of_bytes(s: Stage) -> None:
    client = await s.connect()

    async def send() -> None:
        await client.send(BIG)
        client.writer.write_eof()

    await asyncio.gather(send(), client.rest())


@case(network=tcp(), clusters={"up": Cluster([])}, log=TCP_LOG)
async def a_tcp_cluster_without_endpoints(s: Stage) -> None:
    client = await s.connect()
    await client.ends()

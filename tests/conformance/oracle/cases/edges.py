"""Limits, listeners and what is rarely met."""

from __future__ import annotations

import asyncio

from envoy.extensions.filters.listener.proxy_protocol.v3 import proxy_protocol_pb2

from .. import wire
from ..case import Cluster, Stage, case, http_filter, request, to, typed
from ..h2peer import H2Call, H2Host, h2_answer
from ..identities import INSPECTOR, client_context, identity, server_context
from ..upstreams import Bytes, Call, Refused, Script, Upstream, answer, raw
from .retries import retry
from .tls import ask
from .tunnels import TCP_LOG, echo_bytes, tcp

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
BIG = bytes(range(256)) * 4096


@case(routes=retry("5xx", 2, per_try_idle_timeout="0.3s"), up=[raw(2.0), answer(200, b"good")])
async def an_attempt_that_is_idle_is_retried(s: Stage) -> None:
    await s.ask("/")


@case(
    routes=retry(
        "retriable-status-codes",
        1,
        retriable_status_codes=[429],
        rate_limited_retry_back_off={
            "reset_headers": [{"name": "retry-after", "format": "SECONDS"}],
            "max_interval": "5s",
        },
    ),
    up=[answer(429, b"no", headers={"retry-after": "1"}), answer()],
)
async def a_retry_waits_as_long_as_the_upstream_says(s: Stage) -> None:
    loop = asyncio.get_running_loop()
    before = loop.time()
    await s.ask("/")
    s.note(waited=loop.time() - before > 0.9)


@case(routes=[to(retry_policy={"retry_on": "5xx"})], up=[answer(503, b"no"), answer()])
async def one_retry_is_the_default(s: Stage) -> None:
    await s.ask("/")


@case(hosts={"retry_policy": {"retry_on": "5xx", "num_retries": 1}}, up=[answer(503, b"no"), answer()])
async def a_virtual_host_has_a_retry_policy(s: Stage) -> None:
    await s.ask("/")


@case(routes=retry("5xx", 1), up=[answer(503, b"no"), answer(200, b"good")])
async def head_and_delete_are_retried_too(s: Stage) -> None:
    await s.ask("/", method="HEAD")
    await s.ask("/", method="DELETE")


@case(manager={"max_request_headers_kb": 8})
async def fields_that_are_too_large(s: Stage) -> None:
    await s.ask("/", x_large="a" * 4000)
    client = await s.connect()
    await client.send(request("/", x_large="a" * 9000))
    await client.answer()
    await client.ends()


@case(up=[answer(headers={"x-large": "a" * 50_000}), answer(headers={"x-large": "a" * 70_000})])
async def an_answer_whose_fields_are_too_large(s: Stage) -> None:
    for _ in range(2):
        await s.ask("/")


@case(clusters={"up": Cluster(extra={"max_requests_per_connection": 2})})
async def an_upstream_connection_is_used_for_so_many_requests(s: Stage) -> None:
    client = await s.connect()
    for _ in range(5):
        await client.send(request("/"))
        await client.answer()
    s.note(connections=s.up().connections)


async def slow_reader(call: Call) -> bool:
    await asyncio.sleep(0.5)
    await wire.read_body(call.reader, call.request)
    await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n%7d" % len(call.request.body))
    return True


@case(clusters={"up": Cluster([Script((slow_reader,), True)])})
async def an_upload_waits_for_a_slow_upstream(s: Stage) -> None:
    await s.ask("/", method="POST", body=BIG * 4)
    client = await s.h2()
    await client.ask("/", method="POST", body=BIG * 4)


async def slow_h2(call: H2Call) -> None:
    call.peer.consume = True
    await call.stream.done.wait()
    await call.head(200)
    await call.data(str(len(call.stream.body)).encode(), end=True)


@case(clusters={"up": Cluster([H2Host((slow_h2,))], h2=True)})
async def a_long_upload_to_http2(s: Stage) -> None:
    await s.ask("/", method="POST", body=BIG * 2)


async def h1_slow_body(call: Call) -> bool:
    await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n")
    for piece in (b"ab", b"cd", b"ef"):
        await asyncio.sleep(0.3)
        await call.send(piece)
    return True


@case(routes=[to(timeout="0.75s")], up=[h1_slow_body])
async def the_timeout_of_a_route_covers_the_body(s: Stage) -> None:
    client = await s.connect()
    await client.send(request("/"))
    await client.answer()


@case(routes=[to(timeout="0.5s")], up=[answer()])
async def a_slow_upload_is_not_timed_out_by_the_route(s: Stage) -> None:
    client = await s.connect()
    await client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab")
    await s.pause(0.8)
    await client.send(b"cd")
    await client.answer()


@case(
    manager={"max_request_headers_kb": 60, "stream_idle_timeout": "0.3s"},
    routes=[to(timeout="0s")],
    up=[raw(2.0)],
)
async def the_manager_has_an_idle_timeout(s: Stage) -> None:
    await s.ask("/")
    client = await s.h2()
    await client.ask("/")


@case(manager={"common_http_protocol_options": {"max_stream_duration": "0.3s"}}, up=[raw(2.0)])
async def the_manager_bounds_every_stream(s: Stage) -> None:
    await s.ask("/")
    client = await s.h2()
    await client.ask("/")


@case(
    routes=[to(max_stream_duration={"max_stream_duration": "0.3s"})],
    up=[raw(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab", 2.0)],
)
async def a_stream_that_lasts_too_long_after_the_head(s: Stage) -> None:
    client = await s.connect()
    await client.send(request("/"))
    await client.answer()


@case(
    filters=[],
    network=[
        {
            "name": "rbac",
            "typed_config": typed(
                "extensions.filters.network.rbac.v3.RBAC",
                stat_prefix="x",
                rules={
                    "action": "DENY",
                    "policies": {
                        "all": {
                            "permissions": [{"any": True}],
                            "principals": [
                                {"direct_remote_ip": {"address_prefix": "127.0.0.0", "prefix_len": 8}}
                            ],
                        }
                    },
                },
            ),
        },
        *tcp(),
    ],
    clusters={"up": Cluster([Bytes(echo_bytes)])},
    log=TCP_LOG | {"cx": "%CONNECTION_TERMINATION_DETAILS%"},
)
async def a_connection_that_is_denied(s: Stage) -> None:
    client = await s.connect()
    await client.send(b"x")
    await client.ends()


@case(
    network=tcp(
        cluster=None,
        weighted_clusters={
            "clusters": [{"name": "@none", "weight": 1}, {"name": "@up", "weight": 4_000_000_000}]
        },
    ),
    clusters={"up": Cluster([Bytes(echo_bytes)]), "none": Cluster([Bytes(echo_bytes)])},
    log=TCP_LOG,
)
async def tcp_by_weight(s: Stage) -> None:
    client = await s.connect()
    await client.send(b"one")
    await client.read(5)
    client.writer.write_eof()
    await client.rest()


@case(
    listener=INSPECTOR,
    chains=[{"filter_chain_match": {"server_names": ["a.test"]}}],
    network=tcp(),
    clusters={"up": Cluster([Script()], tls=server_context(identity("backend"), asks=False))},
    log=TCP_LOG | {"name": "%REQUESTED_SERVER_NAME%", "sent": "-"},
)
async def tls_passes_through_by_name(s: Stage) -> None:
    await ask(s, client_context())
    await ask(s, client_context(), server_name="other.test")


assert proxy_protocol_pb2, "what a bootstrap names must be known"
PROXIED = {
    "listener_filters": [
        {
            "name": "proxy_protocol",
            "typed_config": typed("extensions.filters.listener.proxy_protocol.v3.ProxyProtocol"),
        }
    ]
}


@case(
    listener=PROXIED,
    manager={"use_remote_address": True},
    log={"remote": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"},
)
async def addresses_told_by_proxy_protocol(s: Stage) -> None:
    await s.send(b"PROXY TCP4 10.1.2.3 10.4.5.6 1000 2000\r\n" + request("/"))
    v2 = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x0a\x01\x02\x04\x0a\x04\x05\x06\x03\xe8\x07\xd0"
    await s.send(v2 + request("/"))
    client = await s.connect()
    await client.send(request("/"))
    await client.ends()


@case(
    routes=[to("@first", "/")],
    clusters={
        "first": Cluster(
            [Refused(), Script()],
            extra={
                "lb_policy": "ROUND_ROBIN",
                "outlier_detection": {
                    "consecutive_local_origin_failure": 1,
                    "split_external_local_origin_errors": True,
                    "base_ejection_time": "60s",
                    "interval": "60s",
                    "max_ejection_percent": 100,
                },
            },
        )
    },
    log={"upstream": "-", "failure": "-"},
)
async def a_host_that_refuses_is_ejected(s: Stage) -> None:
    for _ in range(2):
        await s.ask("/")
    s.seen.clear()
    for _ in range(4):
        await s.ask("/")
    s.up("first", 1).seen.clear()


ENVOY = http_filter("router", "router.v3.Router")


@case(
    manager={"http_filters": [ENVOY]},
    routes=[to(prefix="/a", prefix_rewrite="/b"), to()],
    up=[answer(headers={"x-envoy-upstream-service-time": "7"})],
)
async def envoys_own_fields_where_they_are_wanted(s: Stage) -> None:
    await s.ask("/a/x")


@case(
    clusters={
        "up": Cluster(
            [
                H2Host(
                    (
                        h2_answer(304, b"", etag="x"),
                        h2_answer(204, b""),
                        h2_answer(200, b"", content_length="5"),
                    )
                )
            ],
            h2=True,
        )
    }
)
async def http2_answers_without_a_body(s: Stage) -> None:
    client = await s.connect()
    for method in ("GET", "GET", "HEAD"):
        await client.send(request("/", method=method))
        await client.answer(method)


async def short_h2(call: H2Call) -> None:
    await call.head(200, content_length="5")
    await call.data(b"abc", end=True)


@case(clusters={"up": Cluster([H2Host((short_h2,))], h2=True)})
async def an_http2_answer_shorter_than_its_length(s: Stage) -> None:
    client = await s.h2()
    await client.ask("/")


async def serve_two(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
    await reader.readuntil(b"\r\n\r\n")
    await wire.write(writer, OK + OK)
    await reader.read(100)


@case(clusters={"up": Cluster([Bytes(serve_two)])})
async def two_answers_for_one_request(s: Stage) -> None:
    client = await s.connect()
    for _ in range(2):
        await client.send(request("/"))
        await client.answer()
        await s.pause(0.1)


@case(listener=INSPECTOR)
async def plaintext_where_tls_is_looked_for(s: Stage) -> None:
    await s.ask("/")
    client = await s.h2()
    await client.ask("/")
    client = await s.connect()
    await client.send(b"G")
    await s.pause(0.1)
    await client.send(request("/")[1:])
    await client.answer()


@case(network=tcp(), clusters={"up": Cluster([Bytes(echo_bytes)])}, log=TCP_LOG)
async def bytes_that_come_with_their_end(s: Stage) -> None:
    for text in (b"GET", b"x" * 90):
        client = await s.connect()
        client.writer.write(text)
        client.writer.write_eof()
        await client.rest()

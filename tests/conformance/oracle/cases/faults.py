"""Upstreams that fail, and what the client is told of it."""

from __future__ import annotations

from ..case import Cluster, Stage, case, request, to
from ..upstreams import BlackHole, Refused, Script, answer, raw, then_reset

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@case(clusters={"up": Cluster([Refused()])})
async def a_connection_refused(s: Stage) -> None:
    await s.ask("/")
    await s.ask("/", method="HEAD")
    await s.ask("/", content_type="application/grpc")


@case(clusters={"up": Cluster([BlackHole()], extra={"connect_timeout": "0.3s"})})
async def a_connection_that_takes_too_long(s: Stage) -> None:
    await s.ask("/")


@case(clusters={"up": Cluster([])})
async def a_cluster_without_endpoints(s: Stage) -> None:
    await s.ask("/")
    await s.ask("/", content_type="application/grpc")


@case(up=[then_reset()])
async def a_reset_before_the_head(s: Stage) -> None:
    await s.ask("/")


@case(up=[raw(keep=False)])
async def a_close_without_a_byte_on_a_fresh_connection(s: Stage) -> None:
    await s.ask("/")
    await s.ask("/", method="POST", body=b"x")


@case(up=[answer(), raw(keep=False), answer()])
async def a_close_without_a_byte_on_a_reused_connection(s: Stage) -> None:
    client = await s.connect()
    for _ in range(3):
        await client.send(request("/"))
        await client.answer()


@case(up=[answer(), then_reset(), answer()])
async def a_reset_without_a_byte_on_a_reused_connection(s: Stage) -> None:
    client = await s.connect()
    for _ in range(3):
        await client.send(request("/", method="POST", body=b"x"))
        await client.answer()


@case(up=[then_reset(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")])
async def a_reset_after_the_head(s: Stage) -> None:
    client = await s.connect()
    await client.send(request("/"))
    await client.answer()


@case(up=[raw(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", 0.05, keep=False)])
async def a_body_shorter_than_its_length(s: Stage) -> None:
    client = await s.connect()
    await client.send(request("/"))
    await client.answer()
    await client.ends()


@case(up=[raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel", 0.05, keep=False)])
async def a_chunk_that_is_cut_off(s: Stage) -> None:
    client = await s.connect()
    await client.send(request("/"))
    await client.answer()
    await client.ends()


@case(up=[raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", 0.2, b"zz\r\n", 0.1)])
async def a_chunk_size_that_is_none(s: Stage) -> None:
    client = await s.connect()
    await client.send(request("/"))
    await client.answer()
    await client.ends()


@case(
    up=[
        raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
        raw(b"HTTP/1.1 abc\r\n\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n"),
    ]
)
async def garbage_instead_of_http(s: Stage) -> None:
    for _ in range(3):
        await s.ask("/")


@case(up=[raw(b"HTTP/1.1 200 OK\r\ncontent-len", 0.05, keep=False)])
async def a_head_that_is_cut_off(s: Stage) -> None:
    await s.ask("/")


@case(up=[raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok-and-more"), answer()])
async def more_bytes_than_the_answer_has(s: Stage) -> None:
    client = await s.connect()
    for _ in range(2):
        await client.send(request("/"))
        await client.answer()
        await s.pause(0.1)


@case(
    up=[
        raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc"),
        raw(
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
        ),
        raw(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\nab"),
        raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nab"),
    ]
)
async def answers_whose_length_is_in_doubt(s: Stage) -> None:
    for _ in range(4):
        await s.ask("/")


@case(routes=[to(timeout="0.3s")], up=[raw(2.0, OK)])
async def a_head_that_comes_too_late(s: Stage) -> None:
    await s.ask("/")
    await s.ask("/", content_type="application/grpc")


@case(routes=[to(timeout="0.3s")], up=[raw(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhalf"[:-2], 2.0)])
async def a_body_that_comes_too_late(s: Stage) -> None:
    client = await s.connect()
    await client.send(request("/"))
    await client.answer()
    await client.ends()


@case(routes=[to(idle_timeout="0.3s", timeout="0s")], up=[raw(2.0, OK)])
async def a_stream_that_is_idle_before_the_head(s: Stage) -> None:
    await s.ask("/")
    client = await s.connect()
    await client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nhalf")
    await client.answer()
    await client.ends()


@case(
    routes=[to(idle_timeout="0.3s", timeout="0s")],
    up=[raw(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha", 2.0)],
)
async def a_stream_that_is_idle_after_the_head(s: Stage) -> None:
    client = await s.connect()
    await client.send(request("/"))
    await client.answer()
    await client.ends()


@case(routes=[to(max_stream_duration={"max_stream_duration": "0.3s"})], up=[raw(2.0, OK)])
async def a_stream_that_lasts_too_long(s: Stage) -> None:
    await s.ask("/")


@case(
    routes=[to(max_stream_duration={"max_stream_duration": "0s", "grpc_timeout_header_max": "0s"})],
    up=[raw(2.0, OK)],
)
async def a_grpc_timeout_of_the_client(s: Stage) -> None:
    await s.ask("/", content_type="application/grpc", grpc_timeout="300m")


@case(manager={"request_headers_timeout": "0.3s"})
async def a_head_of_a_client_that_is_slow(s: Stage) -> None:
    client = await s.connect()
    await client.send(b"GET / HTTP/1.1\r\nhost:")
    await client.answer()
    await client.ends()


@case(manager={"request_timeout": "0.3s"})
async def a_request_that_takes_too_long_to_come(s: Stage) -> None:
    client = await s.connect()
    await client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nhalf")
    await client.answer()
    await client.ends()


@case(manager={"common_http_protocol_options": {"idle_timeout": "0.4s"}, "drain_timeout": "0.1s"})
async def an_idle_connection_ends(s: Stage) -> None:
    client = await s.connect()
    await client.send(request("/"))
    await client.answer()
    await client.ends()


@case(manager={"common_http_protocol_options": {"max_requests_per_connection": 2}})
async def a_connection_ends_after_its_last_request(s: Stage) -> None:
    client = await s.connect()
    for _ in range(2):
        await client.send(request("/"))
        await client.answer()
    await client.ends()


@case(clusters={"up": Cluster([Script((raw(1.0, OK),))])})
async def a_client_that_goes_away(s: Stage) -> None:
    client = await s.connect()
    await client.send(request("/"))
    await s.pause(0.2)
    await client.close()
    await s.pause(0.2)


BREAKER = {
    "circuit_breakers": {
        "thresholds": [{"max_connections": 1, "max_pending_requests": 1, "max_requests": 100}]
    }
}


@case(clusters={"up": Cluster([Script((raw(0.4, OK),))], extra=BREAKER)})
async def a_breaker_for_pending_requests(s: Stage) -> None:
    first, second, third = await s.connect(), await s.connect(), await s.connect()
    await first.send(request("/1"))
    await s.pause(0.1)
    await second.send(request("/2"))
    await s.pause(0.1)
    await third.send(request("/3"))
    for client in (third, first, second):
        await client.answer()


@case(
    clusters={
        "up": Cluster(
            [Script((raw(0.4, OK),))], extra={"circuit_breakers": {"thresholds": [{"max_requests": 1}]}}
        )
    }
)
async def a_breaker_for_requests(s: Stage) -> None:
    first, second = await s.connect(), await s.connect()
    await first.send(request("/1"))
    await s.pause(0.1)
    await second.send(request("/2"))
    await second.answer()
    await first.answer()


EJECT = {
    "outlier_detection": {
        "consecutive_5xx": 2,
        "interval": "60s",
        "base_ejection_time": "60s",
        "max_ejection_percent": 100,
        "enforcing_consecutive_5xx": 100,
        "consecutive_gateway_failure": 100,
    }
}


@case(
    clusters={
        "up": Cluster(
            [Script((answer(500, b"bad"),))],
            extra=EJECT | {"common_lb_config": {"healthy_panic_threshold": {"value": 0}}},
        ),
        "calm": Cluster([Script((answer(500, b"bad"),))], extra=EJECT),
    },
    routes=[to("@calm", "/calm"), to()],
)
async def an_endpoint_that_fails_is_ejected(s: Stage) -> None:
    for _ in range(3):
        await s.ask("/")
    for _ in range(3):
        await s.ask("/calm")


OWN = {
    "response_headers_to_add": [{"header": {"key": "x-route", "value": "%RESPONSE_CODE%"}}],
    "response_headers_to_remove": ["server"],
}


@case(
    routes=[
        to("@refused", "/refused") | OWN,
        to("@empty", "/empty") | OWN,
        to("@up", "/slow", timeout="0.2s") | OWN,
        to("@up", "/idle", idle_timeout="0.2s", timeout="0s") | OWN,
        {"match": {"prefix": "/moved"}, "redirect": {"path_redirect": "/x"}} | OWN,
        {"match": {"prefix": "/nowhere"}, "route": {"cluster_header": "x-to"}} | OWN,
    ],
    clusters={"up": Cluster([Script((raw(2.0),))]), "refused": Cluster([Refused()]), "empty": Cluster([])},
    hosts={"response_headers_to_add": [{"header": {"key": "x-host", "value": "1"}}]},
)
async def header_changes_of_a_route_apply_to_our_own_answers(s: Stage) -> None:
    for path in ("/refused", "/empty", "/slow", "/idle", "/moved", "/nowhere", "/unknown"):
        await s.ask(path)

"""HTTP/1.1 at both ends: framing, connections, interim answers."""

from __future__ import annotations

from ..case import Cluster, Stage, case, request
from ..upstreams import Script, answer, raw

MEGABYTE = bytes(range(256)) * 4096
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n"


@case()
async def a_connection_carries_one_request_after_the_other(s: Stage) -> None:
    client = await s.connect()
    for path in ("/1", "/2", "/3"):
        await client.send(request(path))
        await client.answer()
    s.note(connections=s.up().connections)


@case(up=[raw(0.1, b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1"), answer(body=b"2"), answer(body=b"3")])
async def pipelined_requests_are_answered_in_order(s: Stage) -> None:
    client = await s.connect()
    await client.send(request("/1") + request("/2", method="POST", body=b"two") + request("/3"))
    for _ in range(3):
        await client.answer()


@case(
    up=[
        answer(204),
        answer(304, headers={"etag": "x"}),
        answer(205, b""),
        answer(200, b""),
        answer(404, b"no"),
    ]
)
async def answers_without_a_body(s: Stage) -> None:
    client = await s.connect()
    for _ in range(5):
        await client.send(request("/"))
        await client.answer()


@case(
    up=[
        answer(200, b"body that is not sent"),
        raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
        raw(b"HTTP/1.1 200 OK\r\n\r\n"),
        answer(404, b"x"),
    ]
)
async def head_is_answered_by_a_head(s: Stage) -> None:
    client = await s.connect()
    for _ in range(4):
        await client.send(request("/", method="HEAD"))
        await client.answer("HEAD")


@case(
    up=[
        raw(CHUNKED + b"\r\n3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\n\r\n"),
        raw(CHUNKED + b"trailer: x-t\r\n\r\n3\r\nabc\r\n0\r\nx-t: 1\r\nX-U: 2\r\n\r\n"),
        raw(CHUNKED + b"\r\n", 0.05, b"1\r\na\r", 0.05, b"\n1\r\nb\r\n0\r", 0.05, b"\n\r\n"),
        raw(b"HTTP/1.0 200 OK\r\n\r\nuntil the end", keep=False),
        raw(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nuntil the end", keep=False),
    ]
)
async def chunked_answers_and_those_without_a_length(s: Stage) -> None:
    client = await s.connect()
    for _ in range(5):
        await client.send(request("/"))
        await client.answer()


@case(manager={"http_protocol_options": {"enable_trailers": True}})
async def chunked_requests(s: Stage) -> None:
    client = await s.connect()
    head = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n"
    await client.send(head + b"\r\n3\r\nabc\r\n0\r\n\r\n")
    await client.answer()
    await client.send(head + b"trailer: x-t\r\n\r\n3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n")
    await client.answer()
    await client.send(head + b"\r\nA\r\n0123")
    await s.pause(0.05)
    await client.send(b"456789\r\n0")
    await s.pause(0.05)
    await client.send(b"\r\n\r\n")
    await client.answer()


@case()
async def bodies_of_all_methods(s: Stage) -> None:
    client = await s.connect()
    for method in ("GET", "DELETE", "PUT", "PATCH", "OPTIONS", "PROPFIND"):
        await client.send(request("/", method=method, body=b"body"))
        await client.answer()
    for method in ("POST", "PUT", "DELETE", "TRACE"):
        await client.send(request("/", method=method))
        await client.answer(method)


@case()
async def the_client_is_told_to_continue(s: Stage) -> None:
    client = await s.connect()
    await client.send(b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n")
    await client.answer(interim=True)
    await client.send(b"body")
    await client.answer()


@case(
    manager={"proxy_100_continue": True},
    up=[raw(b"HTTP/1.1 100 Continue\r\n\r\n", 0.1, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")],
    clusters={
        "up": Cluster(
            [
                Script(
                    (
                        raw(
                            b"HTTP/1.1 100 Continue\r\n\r\n",
                            0.2,
                            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
                        ),
                    ),
                    True,
                )
            ]
        )
    },
)
async def the_upstream_tells_to_continue(s: Stage) -> None:
    client = await s.connect()
    await client.send(b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n")
    await client.answer(interim=True)
    await client.send(b"body")
    await client.answer()


@case(
    up=[
        raw(
            b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n",
            0.05,
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        )
    ]
)
async def early_hints(s: Stage) -> None:
    client = await s.connect()
    await client.send(request("/"))
    await client.answer()


@case()
async def http_1_0_is_refused_unless_accepted(s: Stage) -> None:
    client = await s.connect()
    await client.send(b"GET / HTTP/1.0\r\nhost: a\r\n\r\n")
    await client.answer()
    await client.ends()


@case(
    manager={"http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": "old.test"}},
    up=[answer(), raw(CHUNKED + b"\r\n3\r\nabc\r\n0\r\n\r\n"), answer()],
)
async def http_1_0_is_spoken(s: Stage) -> None:
    client = await s.connect()
    await client.send(b"GET /1 HTTP/1.0\r\nhost: a\r\n\r\n")
    await client.answer()
    await client.ends()
    client = await s.connect()
    await client.send(b"GET /2 HTTP/1.0\r\n\r\n")
    await client.answer()
    await client.ends()
    client = await s.connect()
    await client.send(b"GET /3 HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n")
    await client.answer()
    await client.ends(0.5)


@case()
async def the_client_closes_after_its_last_request(s: Stage) -> None:
    client = await s.connect()
    await client.send(request("/", connection="close"))
    await client.answer()
    await client.ends()


@case(up=[answer(headers={"connection": "close"}), answer()])
async def the_upstream_closes_and_the_client_stays(s: Stage) -> None:
    client = await s.connect()
    for _ in range(2):
        await client.send(request("/"))
        await client.answer()
    await client.ends(0.3)


@case(manager={"http_protocol_options": {"allow_absolute_url": True}})
async def absolute_form_and_asterisk_form(s: Stage) -> None:
    await s.send(b"GET http://other.test:81/a?b HTTP/1.1\r\nhost: a\r\n\r\n")
    await s.send(b"GET http://other.test HTTP/1.1\r\nhost: a\r\n\r\n")
    await s.send(b"GET https://other.test/x HTTP/1.1\r\nhost: a\r\n\r\n")
    await s.send(b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", method="OPTIONS")
    await s.send(b"OPTIONS http://other.test HTTP/1.1\r\nhost: a\r\n\r\n", method="OPTIONS")


@case(up=[answer(body=MEGABYTE)])
async def a_megabyte_each_way(s: Stage) -> None:
    await s.ask("/", method="POST", body=MEGABYTE)


async def answer_at_once(call) -> bool:  # type: ignore[no-untyped-def]
    await call.send(b"HTTP/1.1 405 No\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno")
    return False


@case(
    clusters={
        "up": Cluster(
            [Script((raw(b"HTTP/1.1 405 No\r\ncontent-length: 2\r\n\r\nno", 0.3, keep=False),), True)]
        )
    }
)
async def an_answer_before_the_request_is_complete(s: Stage) -> None:
    client = await s.connect()
    await client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nhalf")
    await client.answer()
    await client.ends(1.5)


@case(clusters={"up": Cluster([Script((answer_at_once,), True)])})
async def an_answer_before_a_long_request_is_complete(s: Stage) -> None:
    client = await s.connect()
    await client.send(request("/", method="POST", body=b"x" * 300_000))
    await client.answer()


@case(clusters={"up": Cluster([Script((raw(2.0),), True)])})
async def a_request_that_is_never_finished(s: Stage) -> None:
    client = await s.connect()
    await client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nhalf")
    await s.pause(0.3)
    await client.close()
    await s.pause(0.2)

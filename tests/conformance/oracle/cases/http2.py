"""HTTP/2 downstream and upstream, gRPC, flow control, resets."""

from __future__ import annotations

import asyncio

from ..case import Cluster, Stage, case, request
from ..h2peer import H2Call, H2Host, h2_answer
from ..upstreams import Script, answer, raw, then_reset

MEGABYTE = bytes(range(256)) * 4096
GRPC = {"content_type": "application/grpc", "te": "trailers"}
MESSAGE = b"\x00\x00\x00\x00\x05hello"


def h2_cluster(*steps: object, **host: object) -> dict[str, Cluster]:
    return {"up": Cluster([H2Host(steps or (h2_answer(),), **host)], h2=True)}  # type: ignore[arg-type]


@case()
async def http2_down_and_http1_up(s: Stage) -> None:
    client = await s.h2()
    await client.ask("/a?b", x_own="1")
    await client.ask("/", method="POST", body=b"body")
    await client.ask("/", method="POST", body=b"body", content_length="4")
    await client.ask("/", method="HEAD")
    await client.ask("/", cookie="a=b")
    await client.raw_open(
        [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a.test"),
            (":path", "/"),
            ("cookie", "a=1"),
            ("cookie", "b=2"),
        ]
    )
    await client.answer(client.streams[11])


@case(clusters=h2_cluster())
async def http2_down_and_up(s: Stage) -> None:
    client = await s.h2()
    await client.ask("/a?b", x_own="1")
    await client.ask("/", method="POST", body=b"body")
    await client.ask("/", method="POST", body=b"body", content_length="4")
    await client.ask("/", method="HEAD")
    s.note(connections=s.up().connections)


@case(clusters=h2_cluster())
async def http1_down_and_http2_up(s: Stage) -> None:
    client = await s.connect()
    for _ in range(2):
        await client.send(request("/a?b", x_own="1", connection="keep-alive", te="trailers"))
        await client.answer()
    await client.send(request("/", method="POST", body=b"body"))
    await client.answer()
    await client.send(
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    )
    await client.answer()


async def grpc_echo(call: H2Call) -> None:
    await call.head(200, content_type="application/grpc")
    await call.stream.done.wait()
    await call.data(call.stream.body)
    await call.trailers(grpc_status="0", x_trailer="1")


async def grpc_only_trailers(call: H2Call) -> None:
    await call.head(
        200, end=True, content_type="application/grpc", grpc_status="5", grpc_message="not%20found"
    )


@case(clusters=h2_cluster(grpc_echo, grpc_only_trailers))
async def grpc_with_trailers_and_trailers_only(s: Stage) -> None:
    client = await s.h2()
    await client.ask("/a.B/c", method="POST", body=MESSAGE, **GRPC)
    await client.ask("/a.B/c", method="POST", body=MESSAGE, **GRPC)


async def says_trailers(call: H2Call) -> None:
    await call.stream.done.wait()
    await call.head(200)
    await call.data(b"ok", end=True)


@case(clusters=h2_cluster(says_trailers))
async def trailers_of_a_request(s: Stage) -> None:
    client = await s.h2()
    stream = await client.open("/", method="POST", end=False)
    await client.data(stream.id, b"body")
    await client.heads(stream.id, [("x-t", "1")], end=True)
    await client.answer(stream)


@case(clusters=h2_cluster(h2_answer(200, MEGABYTE)))
async def a_megabyte_each_way_by_http2(s: Stage) -> None:
    client = await s.h2()
    await client.ask("/", method="POST", body=MEGABYTE)


@case(up=[answer(body=MEGABYTE)])
async def a_slow_reader_gets_all(s: Stage) -> None:
    client = await s.h2(consume=False)
    stream = await client.open("/")
    await s.pause(0.3)
    s.note(first=len(stream.body))
    while not stream.ended:
        client.conn.increment_flow_control_window(65_535)
        client.conn.increment_flow_control_window(65_535, stream.id)
        await client.flush()
        await asyncio.sleep(0.01)
        if client.closed.is_set():
            break
    await client.answer(stream)


async def slow_upstream(call: H2Call) -> None:
    await call.stream.done.wait()
    await call.head(200)
    await call.data(str(len(call.stream.body)).encode(), end=True)


@case(clusters=h2_cluster(slow_upstream))
async def several_streams_at_a_time(s: Stage) -> None:
    client = await s.h2()
    streams = [await client.open(f"/{n}", method="POST", end=False) for n in range(20)]
    await asyncio.gather(*(client.data(stream.id, b"x" * 30_000, end=True) for stream in streams))
    for stream in streams:
        await client.answer(stream)
    s.up().seen.sort(key=lambda entry: str(entry["headers"]))


async def answer_405(call: H2Call) -> None:
    await call.head(405)
    await call.data(b"no", end=True)
    await call.reset(0)


@case(clusters=h2_cluster(answer_405))
async def an_answer_before_the_end_of_a_request_by_http2(s: Stage) -> None:
    client = await s.h2()
    stream = await client.open("/", method="POST", end=False)
    await client.data(stream.id, b"x" * 1000)
    await client.answer(stream)


async def h1_405(call: object) -> bool:
    await call.send(b"HTTP/1.1 405 No\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno")  # type: ignore[attr-defined]
    return False


@case(clusters={"up": Cluster([Script((h1_405,), True)])})
async def an_answer_before_the_end_of_a_long_upload(s: Stage) -> None:
    client = await s.h2()
    stream = await client.open("/", method="POST", end=False)
    sending = asyncio.create_task(client.data(stream.id, b"x" * 300_000, end=True))
    await client.answer(stream)
    sending.cancel()
    await client.ask("/again", method="POST", body=b"y")


async def hang(call: H2Call) -> None:
    await asyncio.sleep(1.0)


@case(clusters=h2_cluster(hang))
async def a_stream_that_the_client_resets(s: Stage) -> None:
    client = await s.h2()
    stream = await client.open("/")
    await s.pause(0.2)
    await client.rst(stream.id, 8)
    await s.pause(0.3)


@case(up=[raw(1.0)])
async def a_stream_that_the_client_resets_over_http1(s: Stage) -> None:
    client = await s.h2()
    stream = await client.open("/")
    await s.pause(0.2)
    await client.rst(stream.id, 8)
    await s.pause(0.3)


def resets(code: int, *, after_head: bool) -> object:
    async def step(call: H2Call) -> None:
        if after_head:
            await call.head(200)
            await call.data(b"half")
            await asyncio.sleep(0.1)
        await call.reset(code)

    return step


@case(clusters=h2_cluster(*(resets(code, after_head=False) for code in (0, 1, 2, 7, 8, 11))))
async def streams_that_the_upstream_resets_before_the_head(s: Stage) -> None:
    client = await s.h2()
    for _ in range(6):
        await client.ask("/")


@case(clusters=h2_cluster(*(resets(code, after_head=True) for code in (2, 8))))
async def streams_that_the_upstream_resets_after_the_head(s: Stage) -> None:
    client = await s.h2()
    for _ in range(2):
        await client.ask("/")
    first = await s.connect()
    await first.send(request("/"))
    await first.answer()


async def goaway(call: H2Call) -> None:
    await call.head(200)
    await call.go_away()
    await call.data(b"last", end=True)


@case(clusters=h2_cluster(h2_answer(), goaway, h2_answer()))
async def an_upstream_that_goes_away_well(s: Stage) -> None:
    client = await s.h2()
    for _ in range(3):
        await client.ask("/")
        await s.pause(0.1)


async def cut(call: H2Call) -> None:
    call.peer.writer.transport.abort()


async def cut_after_head(call: H2Call) -> None:
    await call.head(200)
    await call.data(b"half")
    await asyncio.sleep(0.1)
    call.peer.writer.transport.abort()


@case(clusters=h2_cluster(cut, cut_after_head, h2_answer()))
async def an_upstream_that_cuts_the_connection(s: Stage) -> None:
    client = await s.h2()
    for _ in range(3):
        await client.ask("/")
        await s.pause(0.1)


async def takes_its_time(call: H2Call) -> None:
    await asyncio.sleep(0.8)
    await h2_answer()(call)


@case(clusters=h2_cluster(h2_answer(), takes_its_time, max_streams=1))
async def an_upstream_with_one_stream_at_a_time(s: Stage) -> None:
    """Of a new connection a proxy does not know that before its SETTINGS came: the next request waits for that."""
    client = await s.h2()
    await client.ask("/first")
    streams = []
    for n in range(4):
        streams.append(await client.open(f"/{n}"))
        await s.pause(0.15)
    for stream in streams:
        await client.answer(stream)
    s.up().seen.sort(key=lambda entry: str(entry["headers"]))


@case(
    clusters={
        "up": Cluster(
            [
                Script(
                    (then_reset(), raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", 0.05, keep=False))
                )
            ]
        )
    }
)
async def faults_of_http1_told_by_http2(s: Stage) -> None:
    client = await s.h2()
    await client.ask("/")
    await client.ask("/")
    await client.ask("/ok")


@case(clusters={"up": Cluster([Script((raw(b"junk junk junk junk junk\r\n\r\n"),))], h2=True)})
async def an_upstream_that_does_not_speak_http2(s: Stage) -> None:
    await s.ask("/")


async def hints(call: H2Call) -> None:
    await call.head(100)
    await call.stream.done.wait()
    await call.head(200, end=True)


@case(clusters=h2_cluster(hints))
async def interim_answers_by_http2(s: Stage) -> None:
    client = await s.h2()
    await client.ask("/")


@case(manager={"common_http_protocol_options": {"max_requests_per_connection": 2}})
async def an_http2_connection_ends_after_its_last_request(s: Stage) -> None:
    client = await s.h2()
    for _ in range(2):
        await client.ask("/")
    await client.ends(1.5)

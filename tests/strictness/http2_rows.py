"""Frames that HTTP/2 forbids, requests that are malformed, and floods: what each must get (RFC 9113)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED = 1, 4, 8
NO, PROTOCOL, INTERNAL, FLOW, _, CLOSED, SIZE, REFUSED, CANCEL, COMPRESSION, _, CALM = range(12)


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


OPEN = PREFACE + frame(SETTINGS)
GOOD = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")]
POST = [(":method", "POST"), *GOOD[1:]]


def block(headers: list[tuple[str, str]]) -> bytes:
    """Literals without indexing, so that blocks do not depend on each other."""
    return b"".join(
        b"\x00" + integer(len(name.encode())) + name.encode() + integer(len(value.encode())) + value.encode()
        for name, value in headers
    )


def integer(value: int) -> bytes:
    """An integer with a prefix of seven bits (RFC 7541, section 5.1)."""
    if value < 127:
        return bytes([value])
    out, value = [127], value - 127
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes([*out, value])


def ask(stream: int = 1, headers: list[tuple[str, str]] | None = None, *, end: bool = True) -> bytes:
    flags = END_HEADERS | (END_STREAM if end else 0)
    return frame(HEADERS, flags, stream, block(GOOD if headers is None else headers))


def setting(code: int, value: int) -> bytes:
    return struct.pack(">HI", code, value)


@dataclass(frozen=True)
class Row:
    """What is sent, and how the connection or its first stream must end."""

    name: str
    sent: bytes
    goaway: tuple[int, ...] = ()
    """Codes of which one must be told before the connection is closed."""
    reset: tuple[int, ...] = ()
    """Codes of which one must reset the stream; the connection goes on."""
    status: int = 0
    """The answer on the first stream."""
    ends: bool = False
    """Closed, with or without a word."""
    why: str = ""


def fatal(name: str, sent: bytes, *codes: int, why: str = "") -> Row:
    return Row(name, OPEN + sent, goaway=codes or (PROTOCOL,), why=why)


def malformed(name: str, headers: list[tuple[str, str]], why: str = "9113 8.1.1") -> Row:
    return Row(name, OPEN + ask(1, headers), reset=(PROTOCOL,), why=why)


EASY = hpack.Encoder()

ROWS = [
    Row("a plain request", OPEN + ask(), status=200),
    Row("a frame of an unknown type", OPEN + frame(200, 255, 0, b"x") + ask(), status=200, why="9113 5.5"),
    Row(
        "an unknown setting",
        PREFACE + frame(SETTINGS, 0, 0, setting(999, 1)) + ask(),
        status=200,
        why="9113 6.5.2",
    ),
    Row("a compressed head", OPEN + frame(HEADERS, 5, 1, EASY.encode(GOOD)), status=200, why="7541"),
    Row(
        "a head in many pieces",
        OPEN
        + frame(HEADERS, 1, 1, block(GOOD)[:9])
        + frame(CONTINUATION, 0, 1, block(GOOD)[9:20])
        + frame(CONTINUATION, 4, 1, block(GOOD)[20:]),
        status=200,
        why="9113 6.10",
    ),
    Row(
        "a preface that is none",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX" + frame(SETTINGS),
        ends=True,
        why="9113 3.4",
    ),
    Row(
        "a first frame that is no SETTINGS",
        PREFACE + frame(PING, 0, 0, bytes(8)),
        goaway=(PROTOCOL,),
        why="9113 3.4",
    ),
    # frames
    fatal("DATA on stream 0", frame(DATA, 0, 0, b"x"), why="9113 6.1"),
    fatal("HEADERS on stream 0", frame(HEADERS, 5, 0, block(GOOD)), why="9113 6.2"),
    fatal("RST_STREAM on stream 0", frame(RST, 0, 0, bytes(4)), why="9113 6.4"),
    fatal("SETTINGS on a stream", frame(SETTINGS, 0, 1), why="9113 6.5"),
    fatal("PING on a stream", frame(PING, 0, 1, bytes(8)), why="9113 6.7"),
    fatal("GOAWAY on a stream", frame(GOAWAY, 0, 1, bytes(8)), why="9113 6.8"),
    fatal("a stream of the server's own number", ask(2), why="9113 5.1.1"),
    fatal("a stream number that goes back", ask(5) + ask(3), PROTOCOL, CLOSED, why="9113 5.1.1"),
    fatal("DATA on an idle stream", frame(DATA, 0, 1, b"x"), why="9113 5.1"),
    fatal("RST_STREAM on an idle stream", frame(RST, 0, 1, bytes(4)), why="9113 6.4"),
    fatal("WINDOW_UPDATE on an idle stream", frame(WINDOW, 0, 1, struct.pack(">I", 1)), why="9113 5.1"),
    fatal(
        "PUSH_PROMISE of a client",
        ask(1, end=False) + frame(PUSH, 4, 1, struct.pack(">I", 2) + block(GOOD)),
        why="9113 8.4",
    ),
    fatal("CONTINUATION without a head", frame(CONTINUATION, 4, 1, block(GOOD)), why="9113 6.10"),
    fatal(
        "a head that something else interrupts",
        frame(HEADERS, 1, 1, block(GOOD)[:9]) + frame(PING, 0, 0, bytes(8)),
        why="9113 6.10",
    ),
    fatal(
        "CONTINUATION of another stream",
        frame(HEADERS, 1, 1, block(GOOD)[:9]) + frame(CONTINUATION, 4, 3, b""),
        why="9113 6.10",
    ),
    fatal(
        "padding longer than its frame", frame(HEADERS, 5 | PADDED, 1, b"\xff" + block(GOOD)), why="9113 6.2"
    ),
    fatal(
        "DATA with padding longer than its frame",
        ask(1, POST, end=False) + frame(DATA, PADDED, 1, b"\xffx"),
        why="9113 6.1",
    ),
    fatal("a frame above the largest size", frame(DATA, 0, 1, bytes(16_385)), SIZE, PROTOCOL, why="9113 4.2"),
    fatal("PING of seven bytes", frame(PING, 0, 0, bytes(7)), SIZE, why="9113 6.7"),
    fatal("RST_STREAM of three bytes", ask(1, end=False) + frame(RST, 0, 1, bytes(3)), SIZE, why="9113 6.4"),
    fatal("WINDOW_UPDATE of three bytes", frame(WINDOW, 0, 0, bytes(3)), SIZE, why="9113 6.9"),
    fatal("SETTINGS of five bytes", frame(SETTINGS, 0, 0, bytes(5)), SIZE, why="9113 6.5"),
    fatal("an acknowledgement with content", frame(SETTINGS, 1, 0, setting(1, 1)), SIZE, why="9113 6.5"),
    fatal("ENABLE_PUSH of 2", frame(SETTINGS, 0, 0, setting(2, 2)), why="9113 6.5.2"),
    fatal(
        "INITIAL_WINDOW_SIZE beyond its range",
        frame(SETTINGS, 0, 0, setting(4, 2**31)),
        FLOW,
        why="9113 6.5.2",
    ),
    fatal("MAX_FRAME_SIZE below its range", frame(SETTINGS, 0, 0, setting(5, 100)), why="9113 6.5.2"),
    fatal(
        "a connection window of more than 31 bits",
        frame(WINDOW, 0, 0, struct.pack(">I", 2**31 - 1)),
        FLOW,
        why="9113 6.9.1",
    ),
    fatal("a connection window increment of 0", frame(WINDOW, 0, 0, bytes(4)), why="9113 6.9"),
    fatal(
        "a block that is no HPACK",
        frame(HEADERS, 5, 1, b"\xff\xff\xff\xff\xff\xff\xff"),
        COMPRESSION,
        why="7541 2.3.3",
    ),
    fatal("an index that is not in the table", frame(HEADERS, 5, 1, b"\xc8"), COMPRESSION, why="7541 2.3.3"),
    fatal(
        "a table size above what was allowed",
        frame(HEADERS, 5, 1, b"\x3f\xff\xff\x7f" + block(GOOD)),
        COMPRESSION,
        why="7541 4.2",
    ),
    Row(
        "a stream window of more than 31 bits",
        OPEN + ask(1, POST, end=False) + frame(WINDOW, 0, 1, struct.pack(">I", 2**31 - 1)),
        reset=(FLOW,),
        why="9113 6.9.1",
    ),
    Row(
        "a stream window increment of 0",
        OPEN + ask(1, POST, end=False) + frame(WINDOW, 0, 1, bytes(4)),
        reset=(PROTOCOL,),
        why="9113 6.9",
    ),
    # requests
    malformed("a name in capitals", [*GOOD, ("X-Upper", "1")], "9113 8.2"),
    malformed("an empty name", [*GOOD, ("", "1")], "9113 8.2.1"),
    malformed("a name with a space", [*GOOD, ("a b", "1")], "9113 8.2.1"),
    malformed("a name with a colon", [*GOOD, ("a:b", "1")], "9113 8.2.1"),
    malformed("NUL in a value", [*GOOD, ("x", "a\0b")], "9113 8.2.1"),
    malformed("LF in a value", [*GOOD, ("x", "a\nb: c")], "9113 8.2.1"),
    malformed("CR in a value", [*GOOD, ("x", "a\rb")], "9113 8.2.1"),
    malformed("a space before a value", [*GOOD, ("x", " a")], "9113 8.2.1"),
    malformed("Connection", [*GOOD, ("connection", "close")], "9113 8.2.2"),
    malformed("Transfer-Encoding", [*GOOD, ("transfer-encoding", "chunked")], "9113 8.2.2"),
    malformed("Keep-Alive", [*GOOD, ("keep-alive", "1")], "9113 8.2.2"),
    malformed("Proxy-Connection", [*GOOD, ("proxy-connection", "close")], "9113 8.2.2"),
    malformed("Upgrade", [*GOOD, ("upgrade", "h2c")], "9113 8.2.2"),
    malformed("TE other than trailers", [*GOOD, ("te", "gzip")], "9113 8.2.2"),
    malformed("no method", GOOD[1:], "9113 8.3.1"),
    malformed("no scheme", [GOOD[0], *GOOD[2:]], "9113 8.3.1"),
    malformed("no path", GOOD[:3], "9113 8.3.1"),
    malformed("an empty path", [*GOOD[:3], (":path", "")], "9113 8.3.1"),
    malformed("two methods", [GOOD[0], *GOOD], "9113 8.3"),
    malformed("two paths", [*GOOD, (":path", "/b")], "9113 8.3"),
    malformed("an unknown pseudo field", [*GOOD, (":odd", "1")], "9113 8.3"),
    malformed("a status", [*GOOD, (":status", "200")], "9113 8.3"),
    malformed("a pseudo field behind others", [*GOOD[:3], ("x", "1"), GOOD[3]], "9113 8.3"),
    malformed("another Host", [*GOOD, ("host", "b")], "9113 8.3.1"),
    malformed("a method that is no token", [(":method", "GE T"), *GOOD[1:]], "9113 8.3.1"),
    malformed("a path with a space", [*GOOD[:3], (":path", "/a b")], "9113 8.3.1"),
    malformed("a path without a slash", [*GOOD[:3], (":path", "a")], "9113 8.3.1"),
    malformed("an authority with a user", [*GOOD[:2], (":authority", "u@a"), GOOD[3]], "9113 8.3.1"),
    malformed("a length with no body", [*POST, ("content-length", "3")], "9113 8.1.1"),
    malformed("a length that is no number", [*POST, ("content-length", "x")], "9113 8.1.1"),
    malformed("differing lengths", [*POST, ("content-length", "0"), ("content-length", "1")], "9113 8.1.1"),
    Row(
        "a body shorter than its length",
        OPEN + ask(1, [*POST, ("content-length", "3")], end=False) + frame(DATA, 1, 1, b"ab"),
        reset=(PROTOCOL,),
        why="9113 8.1.1",
    ),
    Row(
        "a body longer than its length",
        OPEN + ask(1, [*POST, ("content-length", "1")], end=False) + frame(DATA, 1, 1, b"ab"),
        reset=(PROTOCOL,),
        why="9113 8.1.1",
    ),
    Row(
        "trailers with a pseudo field",
        OPEN + ask(1, POST, end=False) + ask(1, [(":path", "/")]),
        reset=(PROTOCOL,),
        why="9113 8.1",
    ),
    Row(
        "trailers that do not end the stream",
        OPEN + ask(1, POST, end=False) + ask(1, [("x", "1")], end=False),
        reset=(PROTOCOL,),
        why="9113 8.1",
    ),
    # floods
    fatal(
        "streams that are reset at once",
        b"".join(ask(n) + frame(RST, 0, n, struct.pack(">I", 8)) for n in range(1, 20_001, 2)),
        CALM,
        why="CVE-2023-44487",
    ),
    fatal(
        "a head of endless pieces",
        frame(HEADERS, 1, 1, block(GOOD)) + frame(CONTINUATION, 0, 1, block([("x", "y" * 1000)])) * 2000,
        CALM,
        PROTOCOL,
        why="VU#421644",
    ),
    fatal(
        "a head of endless empty pieces",
        frame(HEADERS, 1, 1, block(GOOD)) + frame(CONTINUATION, 0, 1) * 20_000,
        CALM,
        PROTOCOL,
        why="VU#421644",
    ),
    fatal("a flood of SETTINGS", frame(SETTINGS) * 20_000, CALM, why="CVE-2019-9515"),
    fatal("a flood of PING", frame(PING, 0, 0, bytes(8)) * 20_000, CALM, why="CVE-2019-9512"),
    fatal(
        "a flood of empty DATA",
        ask(1, POST, end=False) + frame(DATA, 0, 1) * 20_000,
        CALM,
        why="CVE-2019-9518",
    ),
    fatal(
        "a flood of PRIORITY",
        ask(1, POST, end=False) + frame(PRIORITY, 0, 1, bytes(4) + b"\x10") * 200_000,
        CALM,
        why="CVE-2019-9513",
    ),
    fatal(
        "a flood of WINDOW_UPDATE",
        ask(1, POST, end=False) + frame(WINDOW, 0, 1, struct.pack(">I", 1)) * 200_000,
        CALM,
        why="CVE-2019-9511",
    ),
    fatal(
        "a flood of streams that are malformed",
        b"".join(ask(n, GOOD[1:]) for n in range(1, 20_001, 2)),
        CALM,
        why="CVE-2019-9514",
    ),
]
"""One row for each rule."""

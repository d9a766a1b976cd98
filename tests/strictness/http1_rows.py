"""Malformed and borderline HTTP/1.1 requests, and what each must get (RFC 9112, RFC 9110)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """Bytes of a client and what must follow."""

    name: str
    sent: bytes
    answers: tuple[int, ...]
    ends: bool
    """Whether the connection must be closed afterwards."""
    reaches: int = 0
    """How many requests the upstream gets to see."""
    why: str = ""


HOST = b"host: a\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST
POST = b"POST / HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"


def refused(name: str, sent: bytes, status: int = 400, why: str = "") -> Row:
    return Row(name, sent, (status,), True, 0, why)


def broken(name: str, sent: bytes, why: str = "") -> Row:
    """The head is good; the body is refused before an upstream saw anything."""
    return Row(name, sent, (400,), True, 0, why)


def passed(name: str, sent: bytes, count: int = 1, why: str = "") -> Row:
    return Row(name, sent, (200,) * count, False, count, why)


ROWS = [
    passed("a plain request", GET + b"\r\n"),
    passed("two requests at once", GET + b"\r\n" + GET + b"\r\n", 2),
    # request line
    refused("lines that end by LF alone", b"GET / HTTP/1.1\nhost: a\n\n", why="9112 2.2"),
    refused("one field that ends by LF alone", b"GET / HTTP/1.1\r\nhost: a\nx: y\r\n\r\n", why="9112 2.2"),
    refused("an empty line that ends by LF alone", GET + b"\n", why="9112 2.2"),
    refused("CR alone in the request line", b"GET /\rx HTTP/1.1\r\n" + HOST + b"\r\n", why="9112 2.2"),
    refused("CR alone in a field", b"GET / HTTP/1.1\r\nhost: a\r\nx: a\rb\r\n\r\n", why="9112 2.2"),
    refused("no version", b"GET /\r\n\r\n", why="9112 3"),
    refused("two spaces before the target", b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", why="9112 3"),
    refused("two spaces before the version", b"GET /  HTTP/1.1\r\n" + HOST + b"\r\n", why="9112 3"),
    refused("a space in the target", b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", why="9112 3.2"),
    refused("a tab between words", b"GET\t/ HTTP/1.1\r\n" + HOST + b"\r\n", why="9112 3"),
    refused("a space at the end of the line", b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n", why="9112 3"),
    refused("a space before the method", b" GET / HTTP/1.1\r\n" + HOST + b"\r\n", why="9112 3"),
    refused("a method that is no token", b"GE(T / HTTP/1.1\r\n" + HOST + b"\r\n", why="9110 9.1"),
    refused("an empty method", b" / HTTP/1.1\r\n" + HOST + b"\r\n", why="9110 9.1"),
    refused("a version in lower case", b"GET / http/1.1\r\n" + HOST + b"\r\n", why="9112 2.3"),
    refused("HTTP/2.0 said by HTTP/1", b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505, why="9110 15.6.6"),
    refused("a version of two digits", b"GET / HTTP/11.1\r\n" + HOST + b"\r\n", why="9112 2.3"),
    refused("a version without a minor number", b"GET / HTTP/1\r\n" + HOST + b"\r\n", why="9112 2.3"),
    refused("a target without a slash", b"GET a HTTP/1.1\r\n" + HOST + b"\r\n", why="9112 3.2"),
    refused("a target with a fragment", b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n", why="9112 3.2.1"),
    refused("a control character in the target", b"GET /\x01 HTTP/1.1\r\n" + HOST + b"\r\n", why="9112 3.2"),
    refused("NUL in the target", b"GET /\x00 HTTP/1.1\r\n" + HOST + b"\r\n", why="9112 3.2"),
    refused(
        "authority form without CONNECT", b"GET a.test:80 HTTP/1.1\r\n" + HOST + b"\r\n", why="9112 3.2.3"
    ),
    refused("asterisk form without OPTIONS", b"GET * HTTP/1.1\r\n" + HOST + b"\r\n", why="9112 3.2.4"),
    refused("CONNECT without a port", b"CONNECT a HTTP/1.1\r\nhost: a\r\n\r\n", why="9110 9.3.6"),
    refused("CONNECT with a path", b"CONNECT /a HTTP/1.1\r\nhost: a\r\n\r\n", why="9112 3.2.3"),
    refused(
        "a target of 100 KB",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        431,
        why="Envoy max_request_headers_kb",
    ),
    # host
    refused("no Host", b"GET / HTTP/1.1\r\n\r\n", why="9112 3.2"),
    refused("two Hosts", b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", why="9112 3.2"),
    refused("two equal Hosts", b"GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", why="9112 3.2"),
    refused("a Host with a path", b"GET / HTTP/1.1\r\nhost: a/b\r\n\r\n", why="9112 3.2"),
    refused("a Host with a user", b"GET / HTTP/1.1\r\nhost: u@a\r\n\r\n", why="9112 3.2"),
    refused("a Host with a space", b"GET / HTTP/1.1\r\nhost: a b\r\n\r\n", why="9112 3.2"),
    refused("a Host with a bad port", b"GET / HTTP/1.1\r\nhost: a:b\r\n\r\n", why="9112 3.2"),
    # fields
    refused("a space before the colon", GET + b"x : y\r\n\r\n", why="9112 5.1"),
    refused("a tab before the colon", GET + b"x\t: y\r\n\r\n", why="9112 5.1"),
    refused("a field without a colon", GET + b"nothing\r\n\r\n", why="9112 5"),
    refused("an empty name", GET + b": y\r\n\r\n", why="9112 5"),
    refused("a name with a space", GET + b"a b: y\r\n\r\n", why="9110 5.1"),
    refused("a name with a byte above 127", GET + b"x\xe9: y\r\n\r\n", why="9110 5.1"),
    refused("a folded field", GET + b"x: a\r\n b\r\n\r\n", why="9112 5.2"),
    refused("a folded first field", b"GET / HTTP/1.1\r\n x: a\r\nhost: a\r\n\r\n", why="9112 2.2"),
    refused("NUL in a value", GET + b"x: a\x00b\r\n\r\n", why="9110 5.5"),
    refused("a control character in a value", GET + b"x: a\x01b\r\n\r\n", why="9110 5.5"),
    refused("DEL in a value", GET + b"x: a\x7fb\r\n\r\n", why="9110 5.5"),
    passed("bytes above 127 in a value", GET + b"x: \xc3\xa9\r\n\r\n", why="9110 5.5: obs-text"),
    passed("a tab within a value", GET + b"x: a\tb\r\n\r\n", why="9110 5.5"),
    passed("an empty value", GET + b"x:\r\n\r\n", why="9110 5.5"),
    refused("fields of 100 KB", GET + b"x: " + b"a" * 100_000 + b"\r\n\r\n", 431, why="6585 5"),
    refused("a thousand fields", GET + b"x: y\r\n" * 1000 + b"\r\n", 431, why="Envoy max_headers_count"),
    # framing
    refused(
        "both Content-Length and Transfer-Encoding",
        POST + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        why="9112 6.1",
    ),
    refused(
        "differing Content-Lengths",
        POST + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        why="9112 6.3",
    ),
    refused(
        "a list of differing Content-Lengths", POST + b"content-length: 3, 4\r\n\r\nabcd", why="9112 6.3"
    ),
    refused("a negative Content-Length", POST + b"content-length: -1\r\n\r\n", why="9112 6.3"),
    refused("a Content-Length with a plus", POST + b"content-length: +3\r\n\r\nabc", why="9112 6.3"),
    refused("a Content-Length in hexadecimal", POST + b"content-length: 0x3\r\n\r\nabc", why="9112 6.3"),
    refused("a Content-Length with a fraction", POST + b"content-length: 3.0\r\n\r\nabc", why="9112 6.3"),
    refused("an empty Content-Length", POST + b"content-length: \r\n\r\n", why="9112 6.3"),
    refused(
        "a Content-Length beyond 64 bits",
        POST + b"content-length: 18446744073709551617\r\n\r\n",
        why="9112 6.3",
    ),
    refused("a Content-Length with letters", POST + b"content-length: 3a\r\n\r\nabc", why="9112 6.3"),
    refused("an unknown transfer coding", POST + b"transfer-encoding: gzip\r\n\r\n", 501, why="9112 6.1"),
    refused(
        "chunked and then gzip",
        POST + b"transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        501,
        why="9112 6.1",
    ),
    refused("chunked twice", POST + b"transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n", why="9112 6.1"),
    refused(
        "a coding that looks like chunked",
        POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        501,
        why="9112 6.1",
    ),
    refused(
        "chunked behind a vertical tab",
        POST + b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        why="9110 5.5",
    ),
    refused(
        "Transfer-Encoding in HTTP/1.0",
        b"POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        why="9112 6.1",
    ),
    passed(
        "Transfer-Encoding in capitals", POST + b"Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n", why="9112 7"
    ),
    # chunks
    passed("chunks", CHUNKED + b"3\r\nabc\r\n0\r\n\r\n"),
    passed("a chunk size with leading zeros", CHUNKED + b"003\r\nabc\r\n0\r\n\r\n", why="9112 7.1"),
    broken("a chunk size that is no number", CHUNKED + b"x\r\nabc\r\n0\r\n\r\n", why="9112 7.1"),
    broken("a negative chunk size", CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n", why="9112 7.1"),
    broken("a chunk size with 0x", CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n", why="9112 7.1"),
    broken("a chunk size beyond 64 bits", CHUNKED + b"10000000000000003\r\nabc\r\n0\r\n\r\n", why="9112 7.1"),
    broken("an empty chunk size", CHUNKED + b"\r\nabc\r\n0\r\n\r\n", why="9112 7.1"),
    broken("a space before the chunk size", CHUNKED + b" 3\r\nabc\r\n0\r\n\r\n", why="9112 7.1"),
    broken("a chunk size that ends by LF alone", CHUNKED + b"3\nabc\r\n0\r\n\r\n", why="9112 7.1"),
    broken("a chunk longer than its size", CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n", why="9112 7.1"),
    broken("a chunk that ends by LF alone", CHUNKED + b"3\r\nabc\n0\r\n\r\n", why="9112 7.1"),
    broken("LF in a chunk extension", CHUNKED + b"3;a\nb\r\nabc\r\n0\r\n\r\n", why="9112 7.1.1"),
    broken(
        "a chunk extension of 100 KB",
        CHUNKED + b"3;" + b"a" * 100_000 + b"\r\nabc\r\n0\r\n\r\n",
        why="9112 7.1.1",
    ),
    broken("a trailer that is no field", CHUNKED + b"0\r\nnothing\r\n\r\n", why="9112 7.1.2"),
]
"""One row for each rule."""

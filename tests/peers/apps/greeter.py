"""A grpcio server: unary and streaming, metadata, trailers, a status with a message."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc


def hello(request: bytes, context: Any) -> bytes:
    asked = dict(context.invocation_metadata())
    context.set_trailing_metadata((("x-trailer", "end"), ("x-you", asked.get("x-me", "?"))))
    if request == b"fail":
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now")
    return b"hello " + request + b" from " + sys.argv[-2].encode()


def count(request: bytes, context: Any) -> Iterator[bytes]:
    for number in range(int(request)):
        yield str(number).encode()


server = grpc.server(ThreadPoolExecutor(16))
handlers = {
    "Hello": grpc.unary_unary_rpc_method_handler(hello),
    "Count": grpc.unary_stream_rpc_method_handler(count),
}
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Greeter", handlers),))
server.add_insecure_port(f"127.0.0.1:{sys.argv[-1]}")
server.start()
server.wait_for_termination()

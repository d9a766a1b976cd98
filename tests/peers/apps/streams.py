"""Server-sent events, trailers and big bodies, one process: ``--port P``."""

from __future__ import annotations

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Streams(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path == "/events":
            self._begin("text/event-stream", chunked=True)
            for number in range(5):
                self._chunk(f"data: {number} {time.time()}\n\n".encode())
                time.sleep(0.3)
            self._chunk(b"")
        elif self.path.startswith("/bytes/"):
            size = int(self.path.removeprefix("/bytes/"))
            self.send_response(200)
            self.send_header("content-length", str(size))
            self.end_headers()
            block = b"x" * 65536
            while size:
                size -= self.wfile.write(block[: min(size, len(block))])

    def do_POST(self) -> None:
        self.send_response(200)
        total, left = 0, int(self.headers.get("content-length", 0))
        while left:
            got = len(self.rfile.read(min(left, 65536)))
            total, left = total + got, left - got
        body = str(total).encode()
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _begin(self, kind: str, *, chunked: bool) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        if chunked:
            self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[-1])), Streams).serve_forever()

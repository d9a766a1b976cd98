"""``python -m ripstop.testing.echo --port P``: an HTTP application that answers with what it was asked.

``POST /_behave`` with ``{"status": 500, "delay_s": 0.2}`` changes how it answers from then on; ``{}`` resets it.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

behaviour: dict[str, Any] = {}
counted = {"requests": 0}
"""``GET /_seen`` tells how many requests there were; it is none of them."""


class Echo(BaseHTTPRequestHandler):
    """Answers every method."""

    protocol_version = "HTTP/1.1"
    server_version = "echo"
    wbufsize = 1 << 16  # head and body in one packet: else Nagle's algorithm waits 40 ms for an ACK
    disable_nagle_algorithm = True

    def answer(self) -> None:
        """Say what came."""
        body = self._body()
        if self.path == "/_behave":
            behaviour.clear()
            behaviour.update(json.loads(body or b"{}"))
            self._send(200, {})
            return
        if self.path == "/_seen":
            self._send(200, {"seen": counted["requests"]})
            return
        counted["requests"] += 1
        time.sleep(float(behaviour.get("delay_s", 0)))
        self._send(int(behaviour.get("status", 200)), self._seen(len(body)))

    def _seen(self, body_bytes: int) -> dict[str, Any]:
        return {
            "service": os.environ.get("RIPSTOP_SERVICE", ""),
            "version": os.environ.get("RIPSTOP_VERSION", ""),
            "instance": os.environ.get("RIPSTOP_INSTANCE", ""),
            "method": self.command,
            "path": self.path,
            "host": self.headers.get("host", ""),
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body_bytes": body_bytes,
        }

    def _body(self) -> bytes:
        """What came with the request, by its length or in chunks (RFC 9112, section 6)."""
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers
        return body

    def _send(self, status: int, value: dict[str, Any]) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        for name, text in behaviour.get("headers", {}).items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_HEAD = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    _Server(("127.0.0.1", parser.parse_args().port), Echo).serve_forever()


if __name__ == "__main__":
    main()

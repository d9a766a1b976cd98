"""As much of a Redis server as redis-py needs (RESP2): PING, SET, GET, CLIENT, HELLO refused."""

from __future__ import annotations

import socketserver
import sys

kept: dict[bytes, bytes] = {}


class Resp(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while line := self.rfile.readline():
            words = []
            for _ in range(int(line[1:])):
                size = int(self.rfile.readline()[1:])
                words.append(self.rfile.read(size + 2)[:-2])
            self.wfile.write(self.answer(words))

    def answer(self, words: list[bytes]) -> bytes:
        match words[0].upper():
            case b"SET":
                kept[words[1]] = words[2]
                return b"+OK\r\n"
            case b"GET":
                found = kept.get(words[1])
                return b"$-1\r\n" if found is None else b"$%d\r\n%s\r\n" % (len(found), found)
            case b"PING":
                return b"+PONG\r\n"
            case b"CLIENT":
                return b"+OK\r\n"
        return b"-ERR unknown command\r\n"


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


Server(("127.0.0.1", int(sys.argv[-1])), Resp).serve_forever()

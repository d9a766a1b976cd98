"""The client of the control plane's API: over its unix socket on this host, over TLS from any other."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from ripstop.errors import Conflict, Fault, InvalidDocuments, NotFound, Refused, RipstopError, Unavailable
from ripstop.proxy.connections import FAILURES, Answer, Connections
from ripstop.settings import State

CONNECT_S, READ_S = 3.0, 10.0
_OF_PATHS = "/:?=&%,+~@"
"""Characters that stand for themselves in the paths we make; what an operator typed may hold any other."""
_KINDS: dict[int, type[RipstopError]] = {403: Refused, 404: NotFound, 409: Conflict, 503: Unavailable}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the control plane is: a unix socket, or an https URL with the PEM of the authority to trust."""

    socket: Path | None = None
    url: str = "http://ripstop"
    trust_pem: str = ""

    def __str__(self) -> str:
        return str(self.socket) if self.socket else self.url

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "socket": str(self.socket) if self.socket else None,
            "url": self.url,
            "trust_pem": self.trust_pem,
        }

    @classmethod
    def from_json(cls, value: Any) -> Place:
        """Read what `to_json` made.

        Raises:
            TypeError, KeyError: it is something else.
        """
        socket = Path(value["socket"]) if value["socket"] else None
        return cls(socket=socket, url=str(value["url"]), trust_pem=str(value["trust_pem"]))


class ControlClient:
    """Calls the API; answers are JSON values, refusals are our own errors."""

    def __init__(
        self, place: Place, *, token: str = "", certificate: tuple[bytes, bytes] | None = None
    ) -> None:
        self.place = place
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        if place.socket is not None:
            self._connections = Connections.unix(place.socket, CONNECT_S)
        else:
            self._connections = _by_tls(place.url, client_context(place.trust_pem, certificate))

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    def get(self, path: str, /, wait_s: float = 0.0, **query: Any) -> Any:
        """GET a path; `wait_s` is how much longer than usual the answer may take."""
        return self._call("GET", path, None, wait_s, query)

    def post(self, path: str, body: Any, wait_s: float = 0.0) -> Any:
        """POST JSON."""
        return self._call("POST", path, body, wait_s, {})

    def put(self, path: str, body: Any) -> Any:
        """PUT JSON."""
        return self._call("PUT", path, body, 0.0, {})

    def delete(self, path: str, body: Any = None, wait_s: float = 0.0) -> Any:
        """DELETE, with JSON where the route takes it."""
        return self._call("DELETE", path, body, wait_s, {})

    def text(self, path: str) -> str:
        """GET a path that answers text."""
        return self._answer("GET", path, None, 0.0, {}).body.decode(errors="replace")

    def _call(self, method: str, path: str, body: Any, wait_s: float, query: Mapping[str, Any]) -> Any:
        return _json(self._answer(method, path, body, wait_s, query), f"{self.place}{path}")

    def _answer(self, method: str, path: str, body: Any, wait_s: float, query: Mapping[str, Any]) -> Answer:
        target = quote(path, safe=_OF_PATHS) + (f"?{urlencode(query)}" if query else "")
        headers, content = self._headers, None
        if body is not None:
            headers, content = headers | {"content-type": "application/json"}, json.dumps(body).encode()
        try:
            answer = self._connections.ask(
                method, target, body=content, headers=headers, read_s=READ_S + wait_s
            )
        except FAILURES as error:
            raise Unavailable(
                f"the control plane does not answer on {self.place}: {str(error) or type(error).__name__}",
                cure="start it with `ripstop up`, or say where it is with --server, --state or RIPSTOP_SERVER",
            ) from None
        if answer.status >= 400:
            raise error_of(answer, f"{self.place}{path}")
        return answer


def _json(answer: Answer, where: str) -> Any:
    try:
        return json.loads(answer.body)
    except ValueError:
        raise _not_a_control_plane(answer, where) from None


def _not_a_control_plane(answer: Answer, where: str) -> Unavailable:
    return Unavailable(f"{where} answered {answer.status}, not as a control plane")


def error_of(answer: Answer, where: str) -> RipstopError:
    """A refusal as one of our errors."""
    try:
        told = json.loads(answer.body)["error"]
        faults = tuple(Fault(**fault) for fault in told["faults"])
        message, cure = told["message"], told["cure"]
    except (ValueError, KeyError, TypeError):
        return _not_a_control_plane(answer, where)
    if faults:
        return InvalidDocuments(faults)
    return _KINDS.get(answer.status, RipstopError)(message, cure=cure)


# --- TLS ---


def client_context(trust_pem: str, certificate: tuple[bytes, bytes] | None) -> ssl.SSLContext:
    """TLS 1.3 to the control plane; `certificate` is (chain, key) of an SVID to show."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if trust_pem:
        context.load_verify_locations(cadata=trust_pem)
    else:
        context.load_default_certs()
    if certificate is not None:
        with _in_memory(b"\n".join(certificate)) as path:
            context.load_cert_chain(path)
    return context


def _by_tls(url: str, context: ssl.SSLContext) -> Connections:
    """Connections to an https URL.

    Raises:
        RipstopError: it names no host and port.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise RipstopError(f"{url!r} is no control plane's URL", cure="write https://HOST:PORT")
    return Connections.tls(host, port, context, CONNECT_S)


@contextlib.contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """A file that is on no disk (memfd_create(2)): Python's ssl reads keys from files alone."""
    descriptor = os.memfd_create("svid", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def trusted_place(api: str, fingerprint: str) -> Place:
    """The control plane at `api` (HOST:PORT), once its authority is the one whose fingerprint a join token carries.

    Raises:
        Refused: it is another's. Nothing was told to it.
        Unavailable: nobody answers there.
    """
    url = f"https://{api}"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with contextlib.closing(_by_tls(url, context)) as connections:
            answer = connections.ask("GET", "/v1/trust", read_s=READ_S)
        pem = str(json.loads(answer.body)["trust_pem"])
        found = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    except (*FAILURES, ValueError, KeyError, TypeError) as error:
        raise Unavailable(
            f"no control plane answers on {url}: {error}",
            cure="check that it listens there (`ripstop up --api`)",
        ) from None
    if found != fingerprint:
        raise Refused(
            f"{url} is not the mesh that the join token is for: its authority has another fingerprint",
            cure="make a new token there, and check that nobody stands in between",
        )
    return Place(url=url, trust_pem=pem)


def find_place(state: State, env: Mapping[str, str] = os.environ) -> tuple[Place, str]:
    """(place, token): by RIPSTOP_TOKEN when it is a join token, by RIPSTOP_SERVER, else the socket of this host."""
    token = env.get("RIPSTOP_TOKEN", "")
    if token.startswith("rst1."):
        from ripstop.identity.token import read_join_token  # the rest of its package is not for agents

        told = read_join_token(token)
        return trusted_place(told.api, told.fingerprint), told.secret
    server = env.get("RIPSTOP_SERVER", "")
    if not server:
        return Place(socket=state.socket), token
    if server.startswith("/"):
        return Place(socket=Path(server)), token
    ca = env.get("RIPSTOP_CA", "")
    url = server if server.startswith("https://") else f"https://{server}"
    return Place(url=url, trust_pem=Path(ca).read_text() if ca else ""), token

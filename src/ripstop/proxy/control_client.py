"""The client of the control plane's API: over its unix socket on this host, over TLS from any other."""

from __future__ import annotations

import contextlib
import hashlib
import os
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from ripstop.errors import Conflict, Fault, InvalidDocuments, NotFound, Refused, RipstopError, Unavailable
from ripstop.identity import read_join_token
from ripstop.settings import State

CONNECT_S, READ_S = 3.0, 10.0
_KINDS: dict[int, type[RipstopError]] = {403: Refused, 404: NotFound, 409: Conflict, 503: Unavailable}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the control plane is: a unix socket, or an https URL with the PEM of the authority to trust."""

    socket: Path | None = None
    url: str = "http://ripstop"
    trust_pem: str = ""

    def __str__(self) -> str:
        return str(self.socket) if self.socket else self.url


class ControlClient:
    """Calls the API; answers are JSON values, refusals are our own errors."""

    def __init__(
        self, place: Place, *, token: str = "", certificate: tuple[bytes, bytes] | None = None
    ) -> None:
        self.place = place
        headers = {"authorization": f"Bearer {token}"} if token else {}
        timeout = httpx.Timeout(READ_S, connect=CONNECT_S)
        if place.socket is not None:
            transport = httpx.HTTPTransport(uds=str(place.socket))
        else:
            transport = httpx.HTTPTransport(verify=client_context(place.trust_pem, certificate))
        self._client = httpx.Client(base_url=place.url, transport=transport, timeout=timeout, headers=headers)

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, path: str, wait_s: float = 0.0, **query: Any) -> Any:
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
        return self._response("GET", path, None, 0.0, {}).text

    def _call(self, method: str, path: str, body: Any, wait_s: float, query: Mapping[str, Any]) -> Any:
        return self._response(method, path, body, wait_s, query).json()

    def _response(
        self, method: str, path: str, body: Any, wait_s: float, query: Mapping[str, Any]
    ) -> httpx.Response:
        timeout = httpx.Timeout(READ_S + wait_s, connect=CONNECT_S)
        try:
            response = self._client.request(
                method, path, json=body, params=dict(query) or None, timeout=timeout
            )
        except httpx.HTTPError as error:
            raise Unavailable(
                f"the control plane does not answer on {self.place}: {str(error) or type(error).__name__}",
                cure="start it with `ripstop up`, or say where it is with --server, --state or RIPSTOP_SERVER",
            ) from None
        if response.is_error:
            raise error_of(response)
        return response


def error_of(response: httpx.Response) -> RipstopError:
    """A refusal as one of our errors."""
    try:
        told = response.json()["error"]
        faults = tuple(Fault(**fault) for fault in told["faults"])
        message, cure = told["message"], told["cure"]
    except (ValueError, KeyError, TypeError):
        return Unavailable(f"{response.request.url} answered {response.status_code}, not as a control plane")
    if faults:
        return InvalidDocuments(faults)
    return _KINDS.get(response.status_code, RipstopError)(message, cure=cure)


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
        with httpx.Client(verify=context, timeout=READ_S) as client:
            pem = str(client.get(f"{url}/v1/trust").json()["trust_pem"])
            found = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
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

"""What the agent needs seldom and what needs much: keys with their certificate requests (cryptography), the bootstrap
(protobuf). A process of its own makes them and ends; its memory goes with it.

It reads one job a line on its standard input and answers each with one line; both are JSON. It is started as a file.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:] = json.loads(sys.argv[1])

from ripstop.errors import Unavailable
from ripstop.proxy.program import die_with_parent, python_file

ANSWER_S = 30.0


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """A new key and the request for its certificate (PEM)."""

    key_pem: bytes = field(repr=False)
    csr_pem: bytes


class Maker:
    """The process; use as a context."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Maker:
        self._process = await asyncio.create_subprocess_exec(
            *python_file(Path(__file__), json.dumps(sys.path)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is not for it
            preexec_fn=die_with_parent,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def key_request(self) -> KeyRequest:
        """A new key.

        Raises:
            Unavailable: the process failed.
        """
        made = await self._ask({"make": "key"})
        return KeyRequest(made["key_pem"].encode(), made["csr_pem"].encode())

    async def bootstrap(self, **settings: Any) -> None:
        """Write the Bootstrap to the file `path`; the other settings are those of `BootstrapSettings`.

        Raises:
            Unavailable: the process failed.
        """
        await self._ask({"make": "bootstrap", **settings})

    async def _ask(self, job: dict[str, Any]) -> dict[str, Any]:
        assert self._process is not None and self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            answer = await asyncio.wait_for(self._process.stdout.readline(), ANSWER_S)
            made: dict[str, Any] = json.loads(answer)
        except (OSError, ValueError, TimeoutError):
            raise Unavailable(
                f"the process that makes the {job['make']} failed", cure="see what it says above"
            ) from None
        return made


# --- in the process ---


def _key(_: dict[str, Any]) -> dict[str, Any]:
    from ripstop.identity import certificate_request, new_key

    key = new_key()
    return {"key_pem": key.decode(), "csr_pem": certificate_request(key).decode()}


def _bootstrap(job: dict[str, Any]) -> dict[str, Any]:
    from ripstop.ids import NodeId
    from ripstop.model.workload import DataPlaneKind, Locality
    from ripstop.proxy.bootstrap import BootstrapSettings, bootstrap
    from ripstop.settings import Address
    from ripstop.xds import pb

    settings = BootstrapSettings(
        node=NodeId(*job["node"]),
        ads=Address.parse(job["ads"]),
        trust_domain=job["trust_domain"],
        sds_socket=Path(job["sds_socket"]),
        admin_socket=Path(job["admin_socket"]),
        metrics_port=job["metrics_port"],
        locality=Locality(**job["locality"]),
        data_plane=DataPlaneKind(job["data_plane"]),
    )
    Path(job["path"]).write_bytes(pb.to_bytes(bootstrap(settings)))
    return {}


_MAKERS = {"key": _key, "bootstrap": _bootstrap}


def _work() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps(_MAKERS[job.pop("make")](job)), flush=True)


if __name__ == "__main__":
    _work()

"""What an agent keeps from one start to the next, so that its sidecar can start while the control plane is away.

Kept for instances that have a name of their own (`--instance`), in `agents/NAMESPACE/SERVICE/INSTANCE` of the state
directory (0700): who it was told to be, its certificate with the key (0600), and the data plane's last snapshot. An
instance whose name is made up at each start has nothing to come back to.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ripstop.errors import RipstopError
from ripstop.ids import NodeId
from ripstop.model.registration_json import registration_of_ours, registration_to_json
from ripstop.model.workload import Health, Registration
from ripstop.proxy.control_client import Place
from ripstop.proxy.sds import Svid
from ripstop.settings import Address, State

VALID_FOR_S = 60.0
"""A certificate that ends sooner is no good to start with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the agent knew when it last spoke to the control plane."""

    registration: Registration
    place: Place
    ads: Address
    trust_domain: str
    svid: Svid

    def is_good_for(self, registration: Registration) -> bool:
        """Whether an instance may start with it: it is the same in all that its configuration is made from, and its
        certificate is still valid."""
        is_valid = self.svid.expires_at > time.time() + VALID_FOR_S
        return is_valid and _lasting(self.registration) == _lasting(registration)


class AgentMemory:
    """The directory of one instance."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def of(cls, state: State, node: NodeId) -> AgentMemory:
        """An instance's place in a state directory."""
        return cls(state.agents.joinpath(*node))

    @property
    def snapshot(self) -> Path:
        """The data plane's last accepted resources; it writes them itself."""
        return self.directory / "snapshot"

    @property
    def _file(self) -> Path:
        return self.directory / "agent.json"

    def prepare(self) -> None:
        """Make the directory, for our user alone.

        Raises:
            OSError: it cannot be made.
        """
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.chmod(0o700)

    def read(self) -> Kept | None:
        """What was kept; None when there is nothing, or nothing that can be read and trusted."""
        try:
            with self._file.open("rb") as file:
                about = os.fstat(file.fileno())
                if about.st_uid != os.geteuid() or stat.S_IMODE(about.st_mode) & 0o077:
                    return None  # others may have written it
                return _from_json(json.load(file))
        except (OSError, ValueError, KeyError, TypeError, RipstopError):
            return None

    def write(self, kept: Kept) -> None:
        """Keep it: the old or the new is there, whatever happens.

        Raises:
            OSError: it cannot be written.
        """
        beside = self._file.with_suffix(".new")
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()  # its mode would stay
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w") as file:  # noqa: PTH123 (a descriptor)
            json.dump(_to_json(kept), file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._file)


def _lasting(registration: Registration) -> Registration:
    """Without what differs from start to start."""
    return replace(registration, admin_port=0, health=Health.HEALTHY, expires_at=0.0)


def _to_json(kept: Kept) -> dict[str, Any]:
    svid = kept.svid
    return {
        "registration": registration_to_json(kept.registration),
        "place": kept.place.to_json(),
        "ads": str(kept.ads),
        "trust_domain": kept.trust_domain,
        "svid": {
            "key_pem": svid.key_pem.decode(),
            "certificate_pem": svid.certificate_pem.decode(),
            "trust_pem": svid.trust_pem.decode(),
            "expires_at": svid.expires_at,
        },
    }


def _from_json(value: Any) -> Kept:
    svid = value["svid"]
    return Kept(
        registration=registration_of_ours(value["registration"]),
        place=Place.from_json(value["place"]),
        ads=Address.parse(value["ads"]),
        trust_domain=str(value["trust_domain"]),
        svid=Svid(
            key_pem=str(svid["key_pem"]).encode(),
            certificate_pem=str(svid["certificate_pem"]).encode(),
            trust_pem=str(svid["trust_pem"]).encode(),
            expires_at=float(svid["expires_at"]),
        ),
    )

"""Who asks, and what they may. Everything is refused but to operators, agents and their own services."""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass

from fastapi import Request

from ripstop.errors import Refused
from ripstop.identity import CertificateAuthority, secret_hash, spiffe_id_of
from ripstop.ids import ServiceId, SpiffeId
from ripstop.server.doors import NOBODY, Peer


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `is_local` is our own user (or root) on the unix socket; `identity` an SVID that was shown."""

    is_local: bool = False
    identity: SpiffeId | None = None
    is_operator: bool = False

    @property
    def name(self) -> str:
        """How the history speaks of them."""
        if self.identity:
            return str(self.identity)
        return "operator on this host" if self.is_local else "operator by token"


class Access:
    """Tells callers apart. The operator token is compared by its hash, in constant time."""

    def __init__(self, authority: CertificateAuthority, operator_token: str) -> None:
        self._trust_domain = authority.trust_domain
        self._operator_hash = secret_hash(operator_token)

    def caller(self, request: Request) -> Caller:
        """Who sent a request, by what the door knows and the header says."""
        peer: Peer = request.scope.get("state", {}).get("peer", NOBODY)
        is_local = peer.uid is not None and peer.uid in (0, os.getuid())
        identity = spiffe_id_of(peer.certificate) if peer.certificate else None
        if identity is not None and identity.trust_domain != self._trust_domain:
            identity = None
        return Caller(is_local, identity, is_local or self._has_token(request))

    def _has_token(self, request: Request) -> bool:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(
            secret_hash(token.strip()), self._operator_hash
        )

    def operator(self, request: Request) -> Caller:
        """The caller, who must be an operator.

        Raises:
            Refused: they are not.
        """
        caller = self.caller(request)
        if not caller.is_operator:
            raise Refused(
                "this is for operators",
                cure="run it as the control plane's user on its host, or set RIPSTOP_TOKEN to what operator.token holds",
            )
        return caller

    def agent(self, request: Request, service: ServiceId) -> Caller:
        """The caller, who must speak for a service: by its SVID, or as our own user on this host.

        Raises:
            Refused: they do not.
        """
        caller = self.caller(request)
        if caller.is_local or (caller.identity is not None and caller.identity.service == service):
            return caller
        who = str(caller.identity) if caller.identity else "a caller without an identity"
        raise Refused(
            f"{who} does not speak for {service}",
            cure=f"enrol with a join token of {service}: `ripstop token create --service {service}`",
        )

"""Endpoints by DNS: A, AAAA and SRV, looked up again when their time to live ends. A failure keeps the last answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import dns.asyncresolver
import dns.exception
import dns.rdatatype
import structlog

from ripstop.clock import Clock
from ripstop.model.resolve.endpoints import DnsName
from ripstop.model.workload import Endpoint

TTL_MIN_S, TTL_MAX_S, RETRY_S, LOOK_UP_S = 1.0, 300.0, 5.0, 5.0
Answers = dict[str, tuple[Endpoint, ...]]
Resolve = Callable[[DnsName], Awaitable[tuple[tuple[Endpoint, ...], float]]]

log = structlog.get_logger("ripstop.dns")


class DnsSource:
    """Keeps the answers for a set of names fresh and tells of changes."""

    def __init__(self, clock: Clock, resolve: Resolve | None = None) -> None:
        self._clock = clock
        self._resolve = resolve or look_up
        self._names: dict[str, DnsName] = {}
        self._due: dict[str, float] = {}
        self._wake = asyncio.Event()
        self.answers: Answers = {}
        self.failures: dict[str, str] = {}

    def want(self, names: Iterable[DnsName]) -> None:
        """The names to look up from now on."""
        self._names = {name.key: name for name in names}
        for key in list(self.answers):
            if key not in self._names:
                self.answers.pop(key)
                self._due.pop(key, None)
                self.failures.pop(key, None)
        self._wake.set()

    async def run(self, changed: Callable[[Answers], None]) -> None:
        """Look up what is due, for ever; `changed` is called with all answers after each change."""
        while True:
            due = [n for key, n in self._names.items() if self._due.get(key, 0.0) <= self._clock.monotonic()]
            before = dict(self.answers)
            await asyncio.gather(*(self._look_up(name) for name in due))
            if self.answers != before:
                changed(dict(self.answers))
            self._wake.clear()
            next_due = min(
                (self._due.get(key, 0.0) for key in self._names), default=self._clock.monotonic() + 60
            )
            wait = max(0.05, next_due - self._clock.monotonic())
            try:
                await asyncio.wait_for(self._wake.wait(), wait)
            except TimeoutError:
                continue

    async def _look_up(self, name: DnsName) -> None:
        try:
            endpoints, ttl = await self._resolve(name)
        except (dns.exception.DNSException, OSError) as error:
            if name.key not in self.failures:
                log.warning("dns_failed", name=name.name, error=str(error) or type(error).__name__)
            self.failures[name.key] = str(error) or type(error).__name__
            self._due[name.key] = self._clock.monotonic() + RETRY_S
            return
        self.failures.pop(name.key, None)
        self.answers[name.key] = endpoints
        self._due[name.key] = self._clock.monotonic() + min(max(ttl, TTL_MIN_S), TTL_MAX_S)


async def look_up(name: DnsName) -> tuple[tuple[Endpoint, ...], float]:
    """(endpoints, seconds that they hold) of a name, by the system's resolver.

    Raises:
        dns.exception.DNSException: there is no answer.
    """
    resolver = _resolver()
    if name.kind == "SRV":
        return await _services(resolver, name)
    return await _addresses(resolver, name.name, name.port, 1)


def _resolver() -> dns.asyncresolver.Resolver:
    """Made anew each time: the system's servers may be others by now."""
    made = dns.asyncresolver.Resolver()
    made.lifetime = LOOK_UP_S
    return made


async def _addresses(
    resolver: dns.asyncresolver.Resolver, host: str, port: int, weight: int
) -> tuple[tuple[Endpoint, ...], float]:
    """A and AAAA together; one of them is enough. Names of /etc/hosts are found by the system's own way."""
    found: list[Endpoint] = []
    ttl = TTL_MAX_S
    failure: Exception | None = None
    for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
        try:
            answer = await resolver.resolve(host, kind)
        except dns.exception.DNSException as error:
            failure = error
            continue
        ttl = min(ttl, answer.rrset.ttl if answer.rrset else ttl)
        found += [Endpoint(address=r.address, port=port, hostname=host, weight=weight) for r in answer]
    if not found:
        found = await _by_system(host, port, weight)
        ttl = 30.0
    if not found and failure:
        raise failure
    return _each_once(found), ttl


async def _by_system(host: str, port: int, weight: int) -> list[Endpoint]:
    loop = asyncio.get_running_loop()
    try:
        answers = await loop.getaddrinfo(host, port, type=1)
    except OSError:
        return []
    return [Endpoint(address=str(a[4][0]), port=port, hostname=host, weight=weight) for a in answers]


async def _services(
    resolver: dns.asyncresolver.Resolver, name: DnsName
) -> tuple[tuple[Endpoint, ...], float]:
    """SRV (RFC 2782): the lowest priority counts; weight 0 becomes 1, so that each gets a share."""
    answer = await resolver.resolve(name.name, dns.rdatatype.SRV)
    records = list(answer)
    best = min((r.priority for r in records), default=0)
    ttl = float(answer.rrset.ttl) if answer.rrset else TTL_MAX_S
    found: list[Endpoint] = []
    for record in records:
        if record.priority == best:
            host = str(record.target).rstrip(".")
            endpoints, held = await _addresses(resolver, host, record.port, max(1, record.weight))
            found += endpoints
            ttl = min(ttl, held)
    return _each_once(found), ttl


def _each_once(found: list[Endpoint]) -> tuple[Endpoint, ...]:
    places = {(endpoint.address, endpoint.port): endpoint for endpoint in found}
    return tuple(places[place] for place in sorted(places))

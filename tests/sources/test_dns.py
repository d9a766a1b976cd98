"""Endpoints by DNS: A, AAAA and SRV from a real server, asked again in time; a failure keeps the last answer."""

from __future__ import annotations

import asyncio
import socketserver
import threading
from collections.abc import Iterator

import dns.asyncresolver
import dns.exception
import dns.message
import dns.rrset
import pytest

from ripstop.ids import ServiceId
from ripstop.model.resolve.endpoints import DnsName
from ripstop.model.workload import Endpoint
from ripstop.sources import dns as source

RECORDS = {
    ("shop.test.", "A"): "30 IN A 10.0.0.2\nshop.test. 30 IN A 10.0.0.1",
    ("shop.test.", "AAAA"): "20 IN AAAA fd00::1",
    ("one.test.", "A"): "30 IN A 10.0.1.1",
    ("_http._tcp.shop.test.", "SRV"): (
        "60 IN SRV 1 5 8081 one.test.\n_http._tcp.shop.test. 60 IN SRV 2 5 9999 shop.test."
    ),
}


class Answers(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, sock = self.request
        query = dns.message.from_wire(data)
        name, kind = query.question[0].name, dns.rdatatype.to_text(query.question[0].rdtype)
        answer = dns.message.make_response(query)
        record = RECORDS.get((str(name), kind))
        if record:
            lines = [line if line.startswith(str(name)) else f"{name} {line}" for line in record.splitlines()]
            parts = [line.split(maxsplit=4) for line in lines]
            answer.answer.append(
                dns.rrset.from_text(name, int(parts[0][1]), "IN", kind, *(p[4] for p in parts))
            )
        sock.sendto(answer.to_wire(), self.client_address)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with socketserver.ThreadingUDPServer(("127.0.0.1", 0), Answers) as started:
        threading.Thread(target=started.serve_forever, daemon=True).start()

        def resolver() -> dns.asyncresolver.Resolver:
            made = dns.asyncresolver.Resolver(configure=False)
            made.nameservers, made.port, made.lifetime = ["127.0.0.1"], started.server_address[1], 3.0
            return made

        monkeypatch.setattr(source, "_resolver", resolver)
        yield
        started.shutdown()


def name(text: str, port: int, kind: str = "A") -> DnsName:
    return DnsName(ServiceId("default", "shop"), text, port, kind)


async def test_addresses_of_both_families(server: None) -> None:
    endpoints, ttl = await source.look_up(name("shop.test", 80))
    assert [(e.address, e.port) for e in endpoints] == [("10.0.0.1", 80), ("10.0.0.2", 80), ("fd00::1", 80)]
    assert ttl == 20


async def test_srv_has_ports_and_weights_of_the_best_priority(server: None) -> None:
    endpoints, ttl = await source.look_up(name("_http._tcp.shop.test", 0, "SRV"))
    assert [(e.address, e.port, e.weight) for e in endpoints] == [("10.0.1.1", 8081, 5)]
    assert ttl == 30


async def test_a_name_that_is_not_there_is_a_failure(server: None) -> None:
    with pytest.raises(dns.exception.DNSException):
        await source.look_up(name("nobody.test", 80))


class Time:
    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


async def test_answers_are_asked_for_again_and_failures_keep_them() -> None:
    clock, asked, told = Time(), list[float](), list[object]()
    address = "10.0.0.1"

    async def resolve(_: DnsName) -> tuple[tuple[Endpoint, ...], float]:
        asked.append(clock.now)
        if address == "fail":
            raise dns.exception.Timeout
        return (Endpoint(address=address, port=80),), 30.0

    kept = source.DnsSource(clock, resolve)
    kept.want([name("shop.test", 80)])
    task = asyncio.create_task(kept.run(told.append))

    async def step() -> None:
        kept._wake.set()
        for _ in range(20):
            await asyncio.sleep(0)

    await step()
    assert asked == [0.0] and len(told) == 1
    clock.now = 29.0
    await step()
    assert asked == [0.0]
    clock.now, address = 31.0, "10.0.0.2"
    await step()
    assert asked == [0.0, 31.0] and len(told) == 2
    clock.now, address = 62.0, "fail"
    await step()
    assert len(told) == 2 and kept.failures
    assert next(iter(kept.answers.values()))[0].address == "10.0.0.2"
    task.cancel()

"""Time from a change to the last node's answer, reconnect of all nodes, memory, bytes: at 1,000 services × 10 endpoints
and 1,000 nodes that use 20 services each.

`python -m benches.control_plane [--services N] [--endpoints N] [--nodes N] [--uses N] [--data-plane native|envoy]
[--json FILE]`
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ripstop.identity import certificate_request, new_key
from ripstop.testing import LocalMesh

TARGETS = {
    "endpoint_change_s": 1.0,
    "route_change_s": 2.0,
    "reconnect_s": 30.0,
    "memory_mb": 1024.0,
}


class Nodes:
    """The process that plays all nodes."""

    def __init__(self, plan: Path) -> None:
        command = [sys.executable, "-m", "benches.control_plane.nodes", str(plan)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, command: str) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        if told["failures"]:
            raise SystemExit(f"nodes failed: {told['failures']}")
        return told

    def close(self) -> None:
        self._process.kill()


def services_text(services: int, uses: int, chance: random.Random) -> str:
    made = []
    for number in range(services):
        calls = ", ".join(f"s{n}" for n in sorted(chance.sample(range(services), uses)))
        made.append(
            f"apiVersion: ripstop.dev/v1\nkind: Service\nmetadata: {{name: s{number}}}\n"
            f"spec: {{ports: [{{port: 80}}], calls: [{calls}]}}\n"
        )
    return "---\n".join(made)


def register(client: Any, service: str, instance: str, port: int, data_plane: str) -> None:
    body = {
        "node": ["default", service, instance],
        "data_plane": data_plane,
        "app_port": 8080,
        "inbound_port": port,
        "outbound_port": 15001,
    }
    body |= {"address": f"10.{port % 250}.{port // 250 % 250}.7", "lease_s": 3600}
    client.put(f"/v1/registrations/default/{service}/{instance}", body)


def enrol(client: Any, service: str, instance: str) -> dict[str, str]:
    key = new_key()
    body = {"csr_pem": certificate_request(key).decode(), "namespace": "default"}
    got = client.post("/v1/enrol", {**body, "service": service, "instance": instance})
    return {
        "node": f"default/{service}/{instance}",
        "key": key.decode(),
        "certificate": got["certificate_pem"],
    }


def memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def timed(nodes: Nodes, mesh: LocalMesh, change: Callable[[], Any]) -> dict[str, Any]:
    """Seconds from just before a change until every node that it concerns answered, as the control plane knows it."""
    nodes.tell("reset")
    before, began = cpu_s(mesh.control_pid), time.monotonic()
    generation = change()
    with mesh.client() as client:
        rollout = client.get(f"/v1/generations/{generation}?wait_s=30", wait_s=30)
    took = time.monotonic() - began
    told = nodes.tell("settle")
    spent = cpu_s(mesh.control_pid) - before
    assert rollout["done"], rollout["summary"]
    return {
        "s": round(took, 3),
        "bytes": told["bytes"],
        "messages": told["messages"],
        "cpu_s": round(spent, 3),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (
        ("services", 1000),
        ("endpoints", 10),
        ("nodes", 1000),
        ("uses", 20),
        ("seed", 7),
        ("rounds", 5),
    ):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument(
        "--data-plane", default="native", help="what nodes say they run (envoy: no pre-flight)"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, LocalMesh(Path(directory) / "m") as mesh:
        found = measure(mesh, options, Path(directory))
    show(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))
    return 0 if all(found[name] <= target for name, target in TARGETS.items()) else 1


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measure(mesh: LocalMesh, options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    chance = random.Random(options.seed)
    plan = directory / "plan.json"
    say(f"{options.services} services × {options.endpoints} endpoints …")
    began = time.monotonic()
    mesh.apply(services_text(options.services, options.uses, chance), wait_s=0)
    with mesh.client() as client:
        for number in range(options.services * options.endpoints):
            register(
                client,
                f"s{number % options.services}",
                f"i{number // options.services}",
                10_000 + number,
                options.data_plane,
            )
        say(f"registered in {time.monotonic() - began:.0f} s; enrolling {options.nodes} nodes …")
        who = [
            enrol(client, f"s{n % options.services}", f"i{n // options.services}")
            for n in range(options.nodes)
        ]
        trust = client.get("/v1/trust")["trust_pem"]
    plan.write_text(json.dumps({"ads": f"127.0.0.1:{mesh.ads_port}", "trust": trust, "nodes": who}))
    plan.chmod(0o600)
    nodes = Nodes(plan)
    try:
        return run(mesh, nodes, options, chance)
    finally:
        nodes.close()


def run(mesh: LocalMesh, nodes: Nodes, options: argparse.Namespace, chance: random.Random) -> dict[str, Any]:
    say("connecting …")
    began = time.monotonic()
    first = nodes.tell("connect")
    connect_s = time.monotonic() - began
    say(f"connected in {connect_s:.1f} s, {first['bytes'] / 1e6:.1f} MB")
    target = f"s{chance.randrange(options.services)}"
    endpoint_rounds = [
        timed(nodes, mesh, lambda n=n: move(mesh, target, 40_000 + n, options.data_plane))
        for n in range(options.rounds)
    ]
    route_rounds = [timed(nodes, mesh, lambda n=n: route(mesh, target, n)) for n in range(options.rounds)]
    memory = memory_mb(mesh.control_pid)
    say("killing and restarting the control plane …")
    mesh.stop_control_plane(kill=True)
    began = time.monotonic()
    mesh.start_control_plane()
    again = nodes.tell("connect")
    reconnect_s = time.monotonic() - began
    endpoint, routed = median(endpoint_rounds), median(route_rounds)
    return {
        "services": options.services,
        "endpoints": options.services * options.endpoints,
        "nodes": options.nodes,
        "uses": options.uses,
        "seed": options.seed,
        "first_connect_s": round(connect_s, 2),
        "first_connect_bytes": first["bytes"],
        "endpoint_change_s": endpoint["s"],
        "endpoint_change_bytes": endpoint["bytes"],
        "endpoint_change_messages": endpoint["messages"],
        "endpoint_change_cpu_s": endpoint["cpu_s"],
        "route_change_s": routed["s"],
        "route_change_bytes": routed["bytes"],
        "route_change_messages": routed["messages"],
        "route_change_cpu_s": routed["cpu_s"],
        "reconnect_s": round(reconnect_s, 2),
        "reconnect_bytes": again["bytes"],
        "memory_mb": round(max(memory, memory_mb(mesh.control_pid)), 1),
    }


def median(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    return sorted(rounds, key=lambda r: r["s"])[len(rounds) // 2]


def move(mesh: LocalMesh, service: str, port: int, data_plane: str) -> int:
    """One endpoint of a service is elsewhere now."""
    with mesh.client() as client:
        body = {
            "node": ["default", service, "i9"],
            "data_plane": data_plane,
            "app_port": 8080,
            "inbound_port": port,
            "outbound_port": 15001,
        }
        got = client.put(
            f"/v1/registrations/default/{service}/i9", body | {"address": "10.9.9.9", "lease_s": 3600}
        )
        return int(got["generation"])


def route(mesh: LocalMesh, service: str, number: int) -> int:
    """The route of a service changes."""
    text = f"""
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {service}}}
spec:
  parentRefs: [{{group: "", kind: Service, name: {service}}}]
  rules:
    - matches: [{{headers: [{{name: x-round, value: "{number}"}}]}}]
      backendRefs: [{{name: {service}, port: 80}}]
    - backendRefs: [{{name: {service}, port: 80}}]
"""
    return int(mesh.apply(text, wait_s=0)["generation"])


def show(found: dict[str, Any]) -> None:
    for name, value in found.items():
        target = TARGETS.get(name)
        held = (
            ""
            if target is None
            else f"   (target: under {target:g})" + ("" if value <= target else "   MISSED")
        )
        print(f"{name:28} {value}{held}")


if __name__ == "__main__":
    sys.exit(main())

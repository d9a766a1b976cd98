"""CPU time per request of a hop and of the mTLS mesh path, beside HAProxy, nginx, Envoy and the floor of the kernel.

`python -m benches.hop [--scenarios h1,h2] [--peers floor,native] [--rounds N] [--seconds N] [--json FILE]`
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
from pathlib import Path
from typing import Any

from benches.hop import certificates, peers, report
from benches.hop.bench import Bench, Cpus
from benches.hop.scenarios import SCENARIOS

MEMORY = "memory"


def main() -> int:
    given = _arguments()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    found, missing = peers.here(has_full_logs=given.full_logs)
    chosen = [peer for peer in found if not given.peers or peer.name in given.peers.split(",")]
    for name, why in missing.items():
        print(f"without {name}: {why}")
    cpus = Cpus.of_this_machine()
    told = {"machine": report.machine(cpus)}
    report.show_machine(told["machine"])
    wanted = given.scenarios.split(",") if given.scenarios else [*(s.name for s in SCENARIOS), MEMORY]
    with tempfile.TemporaryDirectory(prefix="ripstop-hop-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # workers of nginx have another user
        made = certificates.make(directory / "certificates")
        with Bench(directory, made, cpus) as bench:
            told["scenarios"] = _scenarios(bench, chosen, wanted, given)
            if MEMORY in wanted:
                memory = bench.memory(chosen)
                report.show_memory(memory)
                told["memory"] = [one.to_json() for one in memory]
                if any(peer.name == report.NATIVE for peer in chosen):
                    sidecar = bench.sidecar_memory()
                    report.show_sidecar(sidecar)
                    told["sidecar"] = sidecar._asdict()
    if given.json:
        given.json.write_text(json.dumps(told, indent=2) + "\n")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ", ".join([*(s.name for s in SCENARIOS), MEMORY])
    parser.add_argument("--scenarios", default="", help=f"of {names}; all when left out")
    parser.add_argument(
        "--peers", default="", help="of floor, haproxy, nginx, envoy, native; all when left out"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="of each turn")
    parser.add_argument("--full-logs", action="store_true", help="the mesh's own log lines and counters")
    parser.add_argument("--json", type=Path, help="write all figures there")
    return parser.parse_args()


def _scenarios(
    bench: Bench, chosen: list[peers.Peer], wanted: list[str], given: argparse.Namespace
) -> dict[str, Any]:
    told = {}
    for scenario in SCENARIOS:
        if scenario.name not in wanted:
            continue
        figures = bench.measure(scenario, chosen, given.rounds, given.seconds)
        report.show_scenario(scenario, figures)
        told[scenario.name] = {
            "figures": [one.to_json() for one in figures],
            "ratios": report.ratios(scenario, figures),
        }
    return told


if __name__ == "__main__":
    raise SystemExit(main())

"""The tables: every peer's figures, and the native data plane as a ratio of each peer that it is held to."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from benches.hop.bench import Cpus, Figures, Memory
from benches.hop.scenarios import IDLE_MB, SIDECAR_MB, Scenario
from ripstop.testing.memory import SidecarMemory

NATIVE = "native"


def machine(cpus: Cpus) -> dict[str, Any]:
    """What the figures were measured on."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "cpu": model,
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "proxy_on_cpu": cpus.proxy,
        "load_on_cpu": cpus.load,
        "load_average": os.getloadavg()[0],
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    """The first lines of what the other proxies say of themselves."""
    found = {}
    for name, words in (("haproxy", ["haproxy", "-v"]), ("nginx", ["nginx", "-v"])):
        try:
            done = subprocess.run(words, capture_output=True, text=True, check=False)
        except OSError:
            continue
        found[name] = (done.stdout + done.stderr).splitlines()[0]
    return found


def show_machine(told: dict[str, Any]) -> None:
    print(f"{told['cpu']}, {told['cpus']} CPUs, Linux {told['kernel']}")
    print(f"proxies on CPU {told['proxy_on_cpu']}, load and backend on CPU {told['load_on_cpu']}")
    for version in told["versions"].values():
        print(version)
    if told["proxy_on_cpu"] == told["load_on_cpu"]:
        print("one CPU for all: rates and times say little, CPU time per request still counts")
    if told["load_average"] > 1.0:
        print(f"the machine is busy (load average {told['load_average']:.1f}): figures will be off")


def show_scenario(scenario: Scenario, figures: list[Figures]) -> None:
    print(f"\n{scenario.title}")
    print(f"  {'':10}{'CPU µs/request':>15} {'min–max':>15}{'req/s':>9}{'p50 µs':>9}{'p99 µs':>9}  failed")
    for one in figures:
        spread = f"{one.cpu_min_us:.1f}–{one.cpu_max_us:.1f}"
        print(
            f"  {one.peer:10}{one.cpu_us:15.1f} {spread:>15}{one.per_s:9.0f}{one.p50_us:9.0f}{one.p99_us:9.0f}"
            f"  {one.failed or '-'}"
        )
    for line in ratios(scenario, figures):
        print(f"  {line['text']}")


def ratios(scenario: Scenario, figures: list[Figures]) -> list[dict[str, Any]]:
    """The native data plane's CPU time as a share of every other's; the bar where there is one."""
    by_peer = {one.peer: one.cpu_us for one in figures}
    ours = by_peer.pop(NATIVE, None)
    if ours is None:
        return []
    found = []
    for peer, cpu_us in by_peer.items():
        ratio = ours / cpu_us if cpu_us else 0.0
        has_bar = peer in scenario.at_most
        held = ratio <= 1.0
        verdict = f"   bar ≤ 1.00: {'held' if held else 'NOT held'}" if has_bar else ""
        entry = {"to": peer, "ratio": round(ratio, 3), "held": held if has_bar else None}
        found.append(entry | {"text": f"native/{peer:8} {ratio:5.2f}{verdict}"})
    return found


def show_memory(found: list[Memory]) -> None:
    print("\nmemory")
    print(f"  {'':10}{'idle PSS, MB':>15}{'KB per idle connection':>25}")
    for one in found:
        bar = ""
        if one.peer == NATIVE:
            bar = f"   bar ≤ {IDLE_MB:.0f} MB: {'held' if one.idle_mb <= IDLE_MB else 'NOT held'}"
        print(f"  {one.peer:10}{one.idle_mb:15.1f}{one.connection_kb:25.2f}{bar}")


def show_sidecar(found: SidecarMemory) -> None:
    whole = sum(found)
    held = "held" if whole <= SIDECAR_MB else "NOT held"
    print(
        f"  an idle sidecar: {found.data_plane_mb:.1f} MB + its agent {found.agent_mb:.1f} MB = {whole:.1f} MB",
        end="",
    )
    print(f"   bar ≤ {SIDECAR_MB:.0f} MB: {held}")

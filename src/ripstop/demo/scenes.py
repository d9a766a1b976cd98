"""The scenes: each changes something, looks at what callers got, and checks counts against what must be.

Counts come from the pages that customers got (who answered, with what) and from what applications say that they received,
never from the mesh's own opinion, except where the live table itself is checked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ripstop.demo import documents
from ripstop.demo.control_api import ControlApi
from ripstop.demo.load import Load, Window
from ripstop.demo.mesh import INSTANCES, ShopMesh
from ripstop.demo.report import Check
from ripstop.demo.shares import bounds, is_within
from ripstop.demo.table import WINDOW_S, Edge, edges_of

RATINGS = tuple(instance.name for instance in INSTANCES if instance.service == "ratings")
CACHE = "ratings-cache-1"
LOOK_S = 1.0
TABLE_LOOKS = 10
TRY_MS = 500
"""What the policy of ratings gives one try: pages that do not wait for ratings come sooner."""
PATIENCE_S = 40.0
"""For what must happen but takes the mesh a varying time: ejection times grow with each ejection."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What scenes play on. `is_quick` shortens what is measured."""

    mesh: ShopMesh
    load: Load
    say: Callable[[str], None]
    is_quick: bool

    @property
    def api(self) -> ControlApi:
        """The control plane."""
        return self.mesh.api

    def seconds(self, usual: float, quick: float) -> float:
        """How long to measure."""
        return quick if self.is_quick else usual


Play = Callable[[Stage], Awaitable[list[Check]]]


@dataclass(frozen=True, slots=True)
class Scene:
    """A scene: `title` is what is announced."""

    name: str
    title: str
    play: Play


def no_page_broken(window: Window) -> Check:
    """Every page of a window was whole, and there were some."""
    problems = ", ".join(f"{count}× {problem}" for problem, count in window.problems.most_common(5))
    measured = f"{window.broken} of {window.total}" + (f" ({problems})" if problems else "")
    return Check("pages that failed or lacked a part", "0", measured, window.total > 0 and window.broken == 0)


# --- 1 ---


async def canary(stage: Stage) -> list[Check]:
    """Nine of ten to v1, one of ten to v2; `x-user: beta` always to v2."""
    await stage.api.apply("canary.yaml", documents.canary(90, 10))
    split = await stage.load.window(stage.seconds(8, 5))
    beta = await stage.load.ask(50, headers={"x-user": documents.BETA_USER})
    return [
        split_check("v2 by weight 90/10", split, 0.10),
        Check(
            "v2 for x-user: beta", "50", beta.versions("reviews")["v2"], beta.versions("reviews")["v2"] == 50
        ),
        no_page_broken(Window((*split.pages, *beta.pages))),
    ]


def split_check(what: str, window: Window, share: float) -> Check:
    """v2 of reviews has got its share."""
    versions = window.versions("reviews")
    count, total = versions["v2"], versions.total()
    least, most = bounds(total, share)
    held = is_within(count, total, share)
    return Check(what, f"{least} to {most} of {total}", count, held)


# --- 2 ---


async def ejection(stage: Stage) -> list[Check]:
    """An instance of ratings answers 500: callers set it aside, and take it back when it is well."""
    victim, mark = RATINGS[1], time.monotonic()
    before = await _asked(stage, victim)
    await stage.mesh.fault(victim, status=500)
    calm, failures = await _calm_second(stage, victim)
    in_table = await _table_shows(stage, lambda edge: edge.ejected > 0)
    stage.say(f"   {victim} is set aside after {failures} failures; now it is well again")
    await stage.mesh.fault(victim)
    back = await _is_asked_again(stage, victim)
    return [
        Check(f"requests to {victim} in a second before", "1 or more", before, before >= 1),
        Check("failures until it is set aside", "5 or more", failures, failures >= 5),
        Check("requests to it in a second while it is set aside", "0", calm, calm == 0),
        Check("callers that have set it aside, in the table", "1 or more", in_table, in_table >= 1),
        Check("requests to it in a second after it is well", "5 or more", back, back >= 5),
        no_page_broken(await stage.load.since(mark)),
    ]


async def _calm_second(stage: Stage, instance: str) -> tuple[int, int]:
    """(requests to an instance in the first second without any, or else in the last one there was patience for;
    requests before that second)."""
    end, before = time.monotonic() + PATIENCE_S, 0
    while (asked := await _asked(stage, instance)) > 0 and time.monotonic() < end:
        before += asked
    return asked, before


async def _is_asked_again(stage: Stage, instance: str) -> int:
    end = time.monotonic() + PATIENCE_S
    while (asked := await _asked(stage, instance)) < 5 and time.monotonic() < end:
        pass
    return asked


async def _asked(stage: Stage, instance: str) -> int:
    """Requests that an application gets within LOOK_S."""
    before = await stage.mesh.count(instance)
    await stage.load.window(LOOK_S)
    return await stage.mesh.count(instance) - before


async def _table_shows(stage: Stage, wanted: Callable[[Edge], bool]) -> int:
    """Edges to ratings that are as wanted; sidecars report once a second, so it is looked for a little."""
    for _ in range(TABLE_LOOKS):
        edges = edges_of(await stage.api.edges(WINDOW_S))
        if found := sum(wanted(edge) for edge in edges if edge.destination == "ratings"):
            return found
        await asyncio.sleep(LOOK_S)
    return 0


# --- 3 ---


async def fallback(stage: Stage) -> list[Check]:
    """All of ratings become slow: their breaker opens and the cache answers, until they are quick again."""
    mark = time.monotonic()
    for instance in RATINGS:
        await stage.mesh.fault(instance, delay_s=3)
    cached = await _first_window(stage, _is_cached_at_once)
    opened = await _table_shows(stage, lambda edge: edge.breaker == "open")
    broken = (await stage.load.since(mark)).broken
    stage.say(
        f"   the cache answers for ratings, after {broken} pages without them; now they are quick again"
    )
    for instance in RATINGS:
        await stage.mesh.fault(instance)
    healed = await _first_window(stage, _is_all_from_ratings)
    waited = cached.latency_ms(90)
    return [
        Check(
            "ratings answered by the cache in a second", "all", _answers(cached), _is_all_from_cache(cached)
        ),
        Check("90th percentile of pages meanwhile, ms", "under 500", waited, waited < TRY_MS),
        Check("breakers to ratings that are open, in the table", "1 or more", opened, opened >= 1),
        Check(
            "ratings answered by themselves afterwards", "all", _answers(healed), _is_all_from_ratings(healed)
        ),
    ]


async def _first_window(stage: Stage, wanted: Callable[[Window], bool]) -> Window:
    """The first window of LOOK_S that is as wanted, or else the last one there was patience for."""
    end = time.monotonic() + PATIENCE_S
    while not wanted(window := await stage.load.window(LOOK_S)) and time.monotonic() < end:
        pass
    return window


def _is_all_from_cache(window: Window) -> bool:
    instances = window.instances("ratings")
    return window.total > 0 and window.broken == 0 and instances[CACHE] == window.total


def _is_cached_at_once(window: Window) -> bool:
    """Nobody tries ratings any more: that would take TRY_MS."""
    return _is_all_from_cache(window) and window.latency_ms(90) < TRY_MS


def _is_all_from_ratings(window: Window) -> bool:
    instances = window.instances("ratings")
    return (
        window.total > 0 and window.broken == 0 and sum(instances[name] for name in RATINGS) == window.total
    )


def _answers(window: Window) -> str:
    shares = [f"{name} {count}" for name, count in sorted(window.instances("ratings").items())]
    return ", ".join([*shares, f"{window.broken} broken of {window.total}"])


# --- 4 ---


async def killed(stage: Stage) -> list[Check]:
    """kill -9 of an instance with its sidecar: its calls go elsewhere, and it is forgotten when its lease ends."""
    victim, survivor, mark = "reviews-2", "reviews-1", time.monotonic()
    await stage.load.window(LOOK_S)
    before = (await stage.load.since(mark)).instances("reviews")[victim]
    dead_from = time.monotonic()
    await stage.mesh.kill(victim)
    await stage.load.window(stage.seconds(6, 4))
    dead = (await stage.load.since(dead_from + 0.5)).instances("reviews")
    if not stage.is_quick:
        await stage.mesh.until(lambda: _is_forgotten(stage, victim), f"{victim} is forgotten")
    stage.say(f"   {victim} is started again")
    await stage.mesh.revive(victim)
    alive = await _first_window(stage, lambda window: window.instances("reviews")[victim] > 0)
    again = alive.instances("reviews")[victim]
    return [
        Check(f"answers of {victim} before", "1 or more", before, before > 0),
        Check(f"answers of {victim} once killed", "0", dead[victim], dead[victim] == 0),
        Check(f"answers of {survivor} meanwhile", "1 or more", dead[survivor], dead[survivor] > 0),
        Check(f"answers of {victim} started again", "1 or more", again, again > 0),
        no_page_broken(await stage.load.since(mark)),
    ]


async def _is_forgotten(stage: Stage, instance: str) -> bool:
    states = await stage.mesh.node_states()
    return bool(states) and instance not in states


# --- 5 ---


async def forbidden(stage: Stage) -> list[Check]:
    """Web may not call orders any more; others may."""
    allowed = (await stage.load.ask(20, "/checkout")).with_status(200)
    await stage.api.apply("refusal.yaml", documents.refusal())
    before = await stage.mesh.count("orders-1")
    refused = await stage.load.ask(20, "/checkout")
    reached = await stage.mesh.count("orders-1") - before
    named = sum(page.policy == documents.REFUSAL_HEADER for page in refused.pages)
    others = (await stage.load.ask(20, "/orders")).with_status(200)
    edges = edges_of(await stage.api.edges(WINDOW_S))
    proven = sum(edge.mtls for edge in edges)
    return [
        Check("web → orders answered 200 before", "20", allowed, allowed == 20),
        Check("web → orders answered 403", "20", refused.with_status(403), refused.with_status(403) == 20),
        Check(f"of these with x-ripstop-policy: {documents.REFUSAL_HEADER}", "20", named, named == 20),
        Check("requests that reached orders", "0", reached, reached == 0),
        Check(
            "edges with proven identities (mTLS), in the table",
            f"{len(edges)}",
            proven,
            0 < proven == len(edges),
        ),
        Check("edge → orders answered 200", "20", others, others == 20),
    ]


# --- 6 ---


async def control_plane_killed(stage: Stage) -> list[Check]:
    """kill -9 of the control plane: nobody notices; started again it knows everything and can change things."""
    mark = time.monotonic()
    before = await stage.api.status() or {}
    await stage.mesh.kill_control_plane()
    alone = await stage.load.window(stage.seconds(6, 3))
    answered = "nobody" if await stage.api.status() is None else "the control plane"
    stage.say("   the control plane is started again")
    await stage.mesh.start_control_plane()
    await stage.mesh.until(stage.mesh.is_settled, "all nodes are connected again")
    after = await stage.api.status() or {}
    nodes = sum(node["connected"] for node in after["nodes"])
    await stage.api.apply("canary.yaml", documents.canary(50, 50))
    changed = await stage.load.window(stage.seconds(5, 3))
    return [
        Check("who answers operators meanwhile", "nobody", answered, answered == "nobody"),
        Check("pages without a control plane", "100 or more", alone.total, alone.total >= 100),
        Check(
            "documents afterwards",
            str(before["documents"]),
            after["documents"],
            before["documents"] == after["documents"],
        ),
        Check("nodes connected afterwards", str(stage.mesh.nodes), nodes, nodes == stage.mesh.nodes),
        split_check("v2 by a new weight 50/50", changed, 0.5),
        no_page_broken(await stage.load.since(mark)),
    ]


SCENES = (
    Scene("canary", "reviews v2 gets a tenth of the calls, and all of user beta's", canary),
    Scene("ejection", "ratings-2 answers 500", ejection),
    Scene("fallback", "all of ratings take 3 seconds", fallback),
    Scene("instance-killed", "reviews-2 is killed (-9), with its sidecar", killed),
    Scene("forbidden", "policy forbids web → orders", forbidden),
    Scene("control-plane-killed", "the control plane is killed (-9)", control_plane_killed),
)

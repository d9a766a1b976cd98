"""Callers that go on calling while something changes, and remember every call that was not answered well."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from types import TracebackType

import httpx


class Load:
    """Use as a context: `callers` threads call `url`, by the proxy of an instance where there is one, to the end of the
    context: GET and POST by turns (which nobody may send twice), each on connections of its own that it keeps alive;
    `strangers` more make a connection for each call."""

    def __init__(
        self,
        url: str,
        outbound_port: int | None = None,
        *,
        callers: int = 3,
        strangers: int = 0,
        pause_s: float = 0.002,
    ) -> None:
        self.url, self.outbound_port = url, outbound_port
        self.answered = 0
        self.failures: list[str] = []
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._lock = threading.Lock()
        keeps = [True] * callers + [False] * strangers
        self._threads = [threading.Thread(target=self._call, args=(kept,)) for kept in keeps]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self, keeps: bool) -> None:
        headers = {} if keeps else {"connection": "close"}
        proxy = f"http://127.0.0.1:{self.outbound_port}" if self.outbound_port else None
        with httpx.Client(proxy=proxy, timeout=20, headers=headers) as client:
            while not self._stop.is_set():
                for method in ("GET", "POST"):
                    self._note(self._one(client, method))
                    time.sleep(self._pause_s)

    def _one(self, client: httpx.Client, method: str) -> str:
        try:
            answer = client.request(method, self.url, content=b"x" if method == "POST" else None)
        except httpx.HTTPError as error:
            return f"{method}: {type(error).__name__}: {error}"
        return "" if answer.status_code == 200 else f"{method}: {answer.status_code}: {answer.text[:200]}"

    def _note(self, failure: str) -> None:
        with self._lock:
            if failure:
                self.failures.append(failure)
            else:
                self.answered += 1

    def wait_for(self, more: int, within_s: float = 30.0) -> None:
        """Until so many more calls were answered, that none of what is asserted be empty."""
        goal, deadline = self.answered + more, time.monotonic() + within_s
        while self.answered < goal and time.monotonic() < deadline:
            time.sleep(0.01)
        assert self.answered >= goal, f"{self.answered} of {goal} calls were answered; {self.failures[:3]}"


def eventually(
    is_so: Callable[[], bool],
    otherwise: str | Callable[[], str],
    within_s: float = 30.0,
    every_s: float = 0.1,
) -> None:
    """Wait until something is so, whatever the attempts before raise; else fail with what `otherwise` says then."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if is_so():
                return
        time.sleep(every_s)
    raise AssertionError(otherwise if isinstance(otherwise, str) else otherwise())

"""A gateway and four backends; each case brings its own documents and takes them away again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from ripstop.model.parse import parse
from ripstop.model.workload import DataPlaneKind
from ripstop.proxy.sidecar import free_port
from ripstop.testing import Instance, LocalMesh

GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: edge}}
spec:
  gatewayClassName: ripstop
  listeners:
    - {{name: http, port: {http}, protocol: HTTP, allowedRoutes: {{namespaces: {{from: All}}}}}}
    - {{name: same, port: {same}, protocol: HTTP}}
    - {{name: any, port: {many}, protocol: HTTP, allowedRoutes: {{namespaces: {{from: All}}}}}}
    - {{name: wild, port: {many}, protocol: HTTP, hostname: "*.example.com"}}
    - {{name: exact, port: {many}, protocol: HTTP, hostname: very.example.com}}
    - name: picked
      port: {picked}
      protocol: HTTP
      allowedRoutes: {{namespaces: {{from: Selector, selector: {{matchLabels: {{team: red}}}}}}}}
    - {{name: tcp, port: {tcp}, protocol: TCP}}
---
apiVersion: v1
kind: Namespace
metadata: {{name: red, labels: {{team: red}}}}
"""


@dataclass
class World:
    """The mesh, its gateway's ports, its backends by name."""

    mesh: LocalMesh
    ports: dict[str, int]
    backends: dict[str, Instance] = field(default_factory=dict)
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=10))

    @contextlib.contextmanager
    def documents(self, text: str) -> Iterator[Any]:
        """Apply documents, and delete them at the end."""
        parsed = parse([("case.yaml", text)])
        assert not parsed.faults, "\n".join(str(f) for f in parsed.faults)
        done = self.mesh.apply(text, file="case.yaml")
        assert done["rollout"]["done"] and not done["rollout"]["refused"], done["rollout"]
        try:
            yield done
        finally:
            with self.mesh.client() as client:
                keys = [list(d.key) for d in parsed.documents]
                client.delete("/v1/documents", {"documents": keys, "wait_s": 10}, wait_s=10)

    def ask(
        self, path: str = "/", host: str = "example.org", listener: str = "http", **more: Any
    ) -> httpx.Response:
        """One request to the gateway."""
        method = more.pop("method", "GET")
        headers = {"host": host, **more.pop("headers", {})}
        url = f"http://127.0.0.1:{self.ports[listener]}{path}"
        return self.client.request(method, url, headers=headers, follow_redirects=False, **more)

    @staticmethod
    def who(answer: httpx.Response) -> str:
        """The backend that answered, or the status when none did."""
        return str(answer.json()["service"]) if answer.status_code == 200 else str(answer.status_code)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, data_plane: DataPlaneKind) -> Iterator[World]:
    with LocalMesh(tmp_path_factory.mktemp("conformance"), data_plane=data_plane) as mesh:
        ports = {name: free_port() for name in ("http", "same", "many", "picked", "tcp")}
        made = World(mesh, ports)
        mesh.apply(GATEWAY.format(**ports))
        for name in ("one", "two", "three"):
            made.backends[name] = mesh.run(name, wait=False)
        made.backends["far"] = mesh.run("far", "--namespace", "red", wait=False)
        gateway = mesh.gateway("edge")
        for backend in (*made.backends.values(), gateway):
            mesh.wait_registered(backend)
        yield made

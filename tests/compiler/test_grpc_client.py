"""A real grpcio client takes the golden of `grpc_node` and calls by it: ``xds:///greeter:50051``, no sidecar."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
from compiler_scenarios import BY_NAME
from envoy_peer import control_plane, free_port

from ripstop.compiler import Compiler

CALL = """
import sys, grpc
with grpc.insecure_channel(sys.argv[1]) as channel:
    call = channel.unary_unary(sys.argv[2])
    try:
        print(call(b"", timeout=20, wait_for_ready=sys.argv[3] == "wait").decode())
    except grpc.RpcError as error:
        print(error.code().name, error.details())
"""


@contextlib.asynccontextmanager
async def greeter(port: int) -> AsyncIterator[None]:
    """A gRPC server that answers every method with its name."""

    class Echo(grpc.GenericRpcHandler):
        def service(self, handler_call_details: Any) -> Any:
            method = handler_call_details.method

            async def answer(request: bytes, context: Any) -> bytes:
                return f"greeter {method}".encode()

            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.aio.server(handlers=[Echo()])
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


async def call(ads_port: int, target: str, method: str, *, waits: bool = True) -> str:
    """What a client in a process of its own is answered: gRPC reads its bootstrap once for a process."""
    bootstrap = {
        "xds_servers": [
            {
                "server_uri": f"127.0.0.1:{ads_port}",
                "channel_creds": [{"type": "insecure"}],
                "server_features": ["xds_v3"],
            }
        ],
        "node": {"id": "default/client/client-0"},
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", CALL, target, method, "wait" if waits else "fail"),
        env=os.environ | {"GRPC_XDS_BOOTSTRAP_CONFIG": json.dumps(bootstrap)},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return output.decode().strip()


async def test_a_grpc_client_without_a_sidecar_calls_by_its_golden() -> None:
    given: dict[int, int] = {}
    topology, node = BY_NAME["grpc_node"].make(lambda port: given.setdefault(port, free_port()))
    async with control_plane() as (control, ads_port), greeter(given[27001]):
        pushed = asyncio.create_task(control.push(Compiler().compile(topology, node)))
        say = "/helloworld.Greeter/SayHello"
        assert await call(ads_port, "xds:///greeter:50051", say) == f"greeter {say}"
        missing = await call(ads_port, "xds:///greeter:50051", "/helloworld.Greeter/Other", waits=False)
        assert missing.startswith("UNAVAILABLE"), "no rule matches, so no server is asked (gRFC A36)"
        assert await pushed == []
        assert control.nacks == []

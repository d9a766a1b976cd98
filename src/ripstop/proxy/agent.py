"""The agent's process: `ripstop run` and `ripstop gateway` once their options are read. It is started as a file, with the
descriptor of what it was told; the command's own words follow for those who look at a list of processes."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any


def main() -> int:
    """The exit code: the application's; 0 for a gateway; 1 for a refusal, told with its cure."""
    with open(int(sys.argv[1])) as file:  # noqa: PTH123 (a descriptor)
        value = json.load(file)
    sys.path[:] = value.pop("path")

    from ripstop.errors import RipstopError

    try:
        return asyncio.run(_live(value))
    except RipstopError as error:
        print(error.told(), file=sys.stderr)
        return 1


async def _live(value: Any) -> int:
    from ripstop.proxy.gateway import run_gateway
    from ripstop.proxy.ready import say_nothing, say_ready
    from ripstop.proxy.run import run_command
    from ripstop.proxy.told import told_of

    told = told_of(value)
    ready = say_ready if told.says_ready else say_nothing
    if told.command is None:
        return await run_gateway(told.settings, ready)
    return await run_command(told.settings, told.command, ready)


if __name__ == "__main__":
    sys.exit(main())

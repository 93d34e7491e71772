"""An app whose module and hooks do what scripts do: event loops, signals, arguments and files as they come."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from flyteray.app.extras import FastAPIAppEnvironment

api = FastAPI()
env = FastAPIAppEnvironment(name="script-like", app=api, port=0)
seen: dict[str, Any] = {}


async def loop_name() -> str:
    return type(asyncio.get_running_loop()).__module__


seen["import"] = asyncio.run(loop_name())
seen["new loop"] = isinstance(asyncio.new_event_loop(), asyncio.BaseEventLoop)
seen["arguments"] = [Path(sys.argv[0]).name, len(sys.argv)]
seen["beside"] = Path("tests", "acceptance", "script_like_app.py").exists()
signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGHUP))


@env.on_startup
def start() -> None:
    seen["hook"] = asyncio.run(loop_name())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, print)
    seen["on the loop"] = type(asyncio.get_running_loop()).__module__.partition(".")[0]


@api.get("/")
async def root() -> dict[str, Any]:
    return seen


@api.get("/sync")
def sync() -> str:
    return asyncio.run(loop_name())

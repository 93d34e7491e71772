from __future__ import annotations

import asyncio
from typing import cast

import pytest

from flyteray._control.registry.registry import Registry
from flyteray._control.traffic.seen import SeenTraffic
from flyteray._control.traffic.traffic import Traffic
from flyteray.errors import RuntimeUserError


def test_where_no_access_log_is_written_it_says_how_to_have_one() -> None:
    async def asked() -> None:
        traffic = Traffic(cast(SeenTraffic, None), list, cast(Registry, None), logs=False)
        await traffic.access("hello", 10, {})

    with pytest.raises(RuntimeUserError, match="FLYTERAY_ACCESS_LOG=on"):
        asyncio.run(asked())

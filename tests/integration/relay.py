"""A relay lets one machine reach some ports of another, and nothing else of it.

Started on the one (in its network), with the process id of the other, its address there and the ports.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import sys

CLONE_NEWNET = 0x40000000


async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Hand on what one side says until it has said all."""
    try:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    except ConnectionError:
        pass
    finally:
        target.close()


async def main(here: str, pid: str, there: str, *ports: str) -> None:
    listeners = [socket.create_server((here, int(port))) for port in ports]
    network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(network, CLONE_NEWNET):  # what listens stays where it is
        raise OSError(ctypes.get_errno(), "setns")

    for listener in listeners:
        port = listener.getsockname()[1]

        async def hand_on(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int = port
        ) -> None:
            far_reader, far_writer = await asyncio.open_connection(there, port)
            await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))

        await asyncio.start_server(hand_on, sock=listener)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

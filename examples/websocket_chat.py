"""Hold conversations over WebSockets: a chat room.

    python examples/websocket_chat.py

Who is in the room is known to one replica only, so there is one. Open connections survive deploys and changes of other
apps; when the chat itself is deployed anew they are closed with code 1012, "try again", once their time is over.
"""

from __future__ import annotations

import asyncio

import websockets
from fastapi import FastAPI, WebSocket
from fastapi.responses import HTMLResponse

import flyteray as flyte
from flyteray.app import Scaling
from flyteray.app.extras import FastAPIAppEnvironment

api = FastAPI()
chat = FastAPIAppEnvironment(name="chat", app=api, scaling=Scaling(replicas=1))
room: set[WebSocket] = set()

PAGE = """<!doctype html><title>Chat</title>
<ul id="said"></ul><form><input autofocus><button>Say</button></form>
<script>
const path = location.pathname.replace(/[/]?$/, "/ws/" + Math.random().toString(36).slice(2, 6));
const socket = new WebSocket(location.origin.replace("http", "ws") + path);
socket.onmessage = ({data}) => said.appendChild(document.createElement("li")).textContent = data;
const [box] = document.forms[0];
document.forms[0].onsubmit = () => { socket.send(box.value); box.value = ""; return false; };
</script>"""


@api.get("/", response_class=HTMLResponse)
async def page() -> str:
    return PAGE


@api.websocket("/ws/{name}")
async def take_part(socket: WebSocket, name: str) -> None:
    await socket.accept()
    room.add(socket)
    try:
        async for text in socket.iter_text():
            said = (each.send_text(f"{name}: {text}") for each in room)
            await asyncio.gather(*said, return_exceptions=True)  # somebody may be leaving just now
    finally:
        room.discard(socket)


async def converse(endpoint: str) -> list[str]:
    """What Ada hears while she and Grace talk."""
    address = endpoint.replace("http", "ws", 1) + "/ws"
    async with websockets.connect(f"{address}/ada") as ada, websockets.connect(f"{address}/grace") as grace:
        heard = []
        for speaker, text in ((ada, "Anybody here?"), (grace, "I am."), (ada, "Good.")):
            await speaker.send(text)
            heard.append(str(await ada.recv()))
            await grace.recv()
        return heard


def main() -> None:
    served = flyte.serve(chat)
    for line in asyncio.run(converse(served.endpoint)):
        print(line)
    print(f"Join them: {served.url}")


if __name__ == "__main__":
    main()

"""A card is a page about an artifact, which is written where all nodes can read it."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from flyteray._client.bridge import Verb, not_while_loading
from flyteray._client.uploads import upload_file
from flyteray._declare import context
from flyteray.io import artifacts
from flyteray.io.artifacts import CardFormat, Kind
from flyteray.io.file import File


class Card(artifacts.Card):
    """A page about an artifact: what a model was trained on, how good it is.

    Args:
        uri: Where it lies.
        format: What it is written in.
        card_type: What it is about: ``"model"``, ``"data"`` or ``"generic"``.

    Raises:
        ValueError: No place, another format or another type.
    """

    @staticmethod
    @Verb
    @not_while_loading("Card.create_from")
    async def create_from(
        *,
        content: str | None = None,
        local_path: str | Path | None = None,
        format: CardFormat = "html",
        card_type: Kind = "generic",
    ) -> Card:
        """Write a page into storage: in a task with the files that its run makes, elsewhere among the uploads.

        Args:
            content: The page itself, or
            local_path: a file with it.
            format, card_type: As of a card.

        Raises:
            ValueError: Neither or both of them, no such file, another format or another type.
            StorageError: The storage can't be written.
        """
        if (content is None) == (local_path is None):
            raise ValueError("Card.create_from needs content=... or local_path=..., one of them.")
        checked = Card(uri="to be written", format=format, card_type=card_type)
        with tempfile.TemporaryDirectory() as folder:
            if local_path is None:
                page = Path(folder) / f"card.{checked.format}"
                page.write_text(content or "", encoding="utf-8")
            else:
                page = Path(local_path)
            if context.ctx():
                uri = File.new_remote(page.name).path
                await asyncio.to_thread(File.from_local_sync, page, uri)
            else:
                _, uri = await upload_file.aio(page)
        return Card(uri=uri, format=format, card_type=card_type)

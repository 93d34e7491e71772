"""Chunks of a body, as HAProxy writes them, go on without what may come after the last. No effects here."""

from __future__ import annotations

_END = b"0\r\n\r\n"


class Chunked:
    """Takes a body piece by piece and gives it on; trailers are left out.

    Nothing is held back but the line that tells a chunk's size.

    Attributes:
        size: The bytes of the body so far, with the whole of the chunk that has begun.
    """

    def __init__(self) -> None:
        self._line = b""  # of a size or of a trailer, as far as it has come
        self._left = 0  # bytes of the chunk, with its line end
        self._trailing = False
        self.ended = False
        self.size = 0

    def feed(self, data: bytes) -> bytes:
        """What of the next bytes is to be given on; ValueError where they are not a body in chunks."""
        out = bytearray()
        while data and not self.ended:
            if self._left:
                piece, data = data[: self._left], data[self._left :]
                self._left -= len(piece)
                out += piece
                continue
            line, end, data = data.partition(b"\n")
            self._line += line + end
            if end:
                out += self._take(self._line)
                self._line = b""
        return bytes(out)

    def _take(self, line: bytes) -> bytes:
        if self._trailing:
            self.ended = line in (b"\r\n", b"\n")
            return b""
        size = int(line.partition(b";")[0], 16)
        if size == 0:
            self._trailing = True
            return _END
        self.size += size
        self._left = size + 2
        return line

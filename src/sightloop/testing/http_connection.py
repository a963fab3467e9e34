"""One HTTP/1.1 connection for load: it posts bodies and reads answers, and does nothing besides."""

from __future__ import annotations

import asyncio


class HttpConnection:
    """One connection with one request at a time."""

    def __init__(self, host: str, port: int, path: str) -> None:
        self._address = (host, port)
        self._head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: "
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._answer_began = False
        self.resent = False

    async def open(self) -> None:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)

    async def post(self, body: bytes) -> tuple[int, bytes]:
        """Send one image; once more where the server had closed the idle connection before."""
        self.resent = False
        if self._streams is not None:  # opened before: it may have been closed for its idleness
            try:
                return await self._exchange(body)
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                if self._answer_began or bool(getattr(error, "partial", b"")):
                    raise  # this frame is lost
                self.close()
                self.resent = True
        return await self._exchange(body)

    async def _exchange(self, body: bytes) -> tuple[int, bytes]:
        await self.open()
        assert self._streams is not None
        reader, writer = self._streams
        self._answer_began = False
        writer.write(f"{self._head}{len(body)}\r\n\r\n".encode())
        writer.write(body)
        head = await reader.readuntil(b"\r\n\r\n")
        self._answer_began = True
        lines = head.decode("latin-1").lower().split("\r\n")
        length = next(int(x.split(":")[1]) for x in lines if x.startswith("content-length:"))
        answer = await reader.readexactly(length)
        if "connection: close" in lines:
            self.close()
        return int(lines[0].split(" ")[1]), answer

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

"""The bodies of answers that open no session: bounded before they are read.

The peer says how long a body is, and what it inflates to. httpx2 reads the body of each answer that it goes on from, a
401 that is answered or a redirect, to its end, and inflates it. And it gives the connection of a refusal back to the
pool, though many servers close it without saying so; the next handshake would be sent on it, and fail.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, cast

import httpx2

from httpx2_trio_ws._carriers._beneath import own_stream, shut_down

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from httpx2_trio_ws._runtime import CancelScope, Runtime

# So much of a refusal's body is read, and so much of it is kept once it is decoded.
MAX_BODY = 65536
# So much of an answer's body a client's authentication may read, decoded or not.
MAX_READ_BY_AUTH = 2**20


class Body:
    """Takes the place of a response's stream.

    Args:
        response: opens no session, and has not been read.

    Attributes:
        received: what has been read by :meth:`fetch`.
        wanted: it may be read. httpx2 reads what nobody wants; there is nothing in it then.
        refuses: it is a refusal's, after which the connection is not used again.
    """

    def __init__(self, response: httpx2.Response) -> None:
        self._stream: Any = response.stream
        self._headers = response.headers
        self._ended = False
        self._network_stream = own_stream(response)
        self.received = bytearray()
        self.wanted = True
        self.refuses = False

    def _harmless(self) -> bytes:
        """What has been received, which httpx2 is going to decode, however much that makes of it.

        Raises:
            httpx2.RemoteProtocolError: it is too much.
        """
        received, most = bytes(self.received), MAX_READ_BY_AUTH
        if _codings(self._headers) > 1:
            what = "has several content codings"
        elif len(received) > most or len(decoded(self._headers, received, most + 1)) > most:
            what = f"is over {most} bytes"
        else:
            return received
        raise httpx2.RemoteProtocolError(f"the authentication wants the body of an answer that {what}")

    def _shut_down(self) -> None:
        """Have httpx2 find a connection that has been read to the end closed; any other it closes itself.

        To close it here would be to close it under httpx2, which asks it for its state when it next looks into the pool.
        """
        if self._ended and self.refuses:
            shut_down(self._network_stream)


class AsyncBody(Body, httpx2.AsyncByteStream):
    """On an event loop."""

    def __init__(self, response: httpx2.Response, runtime: Runtime) -> None:
        super().__init__(response)
        self._runtime = runtime

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        await self.fetch(MAX_READ_BY_AUTH if self.wanted else MAX_BODY)
        if self.wanted:
            yield self._harmless()

    async def fetch(self, size: int) -> None:
        """Read it as far as it comes, at least until there is so much of it."""
        with self._runtime.cancel_scope() as reading:
            await self._fetch(size, reading)

    async def _fetch(self, size: int, reading: CancelScope) -> None:
        """As :meth:`fetch`; cancels ``reading`` when it has enough.

        httpx2 stacks async generators here, and those inside are left to the garbage collector, with a warning,
        if iteration just stops. An exception from within unwinds them all, so ``reading`` is cancelled instead.
        What has been buffered still comes then, and is not much.
        """
        async with contextlib.aclosing(cast("AsyncGenerator[bytes]", self._stream.__aiter__())) as chunks:
            async for chunk in chunks:
                self.received += chunk
                if len(self.received) >= size:
                    reading.cancel()
                if len(self.received) >= 4 * size:
                    return  # this one is not from a network, as it has never waited
        self._ended = True

    async def aclose(self) -> None:
        self._shut_down()
        await self._stream.aclose()


class BlockingBody(Body, httpx2.SyncByteStream):
    """In a thread."""

    def __iter__(self) -> Generator[bytes]:
        self.fetch(MAX_READ_BY_AUTH if self.wanted else MAX_BODY)
        if self.wanted:
            yield self._harmless()

    def fetch(self, size: int) -> None:
        """As :meth:`AsyncBody.fetch`."""
        with contextlib.closing(cast("Generator[bytes]", iter(self._stream))) as chunks:
            for chunk in chunks:
                self.received += chunk
                if len(self.received) >= size:
                    return
        self._ended = True

    def close(self) -> None:
        self._shut_down()
        self._stream.close()


def _codings(headers: httpx2.Headers) -> int:
    return len(headers.get_list("content-encoding", split_commas=True))


def decoded(headers: httpx2.Headers, body: bytes, size: int) -> bytes:
    """``body`` without its content coding, as far as it goes, and not much more than ``size``; as it is where it has several.

    A small body may inflate to a huge one, or cost much and come to nothing: deflate has blocks that hold nothing. With
    one coding, the work is bounded by the input. With several, the outer ones would make that large again.
    """
    if _codings(headers) > 1:
        return body
    undecoded = httpx2.Response(200, headers=headers, stream=httpx2.ByteStream(body))
    content = bytearray()
    try:
        for chunk in undecoded.iter_bytes():
            content += chunk
            if len(content) >= size:
                break
    except httpx2.DecodingError:  # cut off, or not encoded as its header says
        return bytes(content) or body
    return bytes(content)

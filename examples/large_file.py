"""A file of any size, up and down, piece by piece, with progress. It needs rich: ``pip install rich``.

Run it with the URL of a server that sends back what it receives. ``python -m httpx2_trio_ws --serve`` runs one::

    python examples/large_file.py ws://127.0.0.1:8765/echo

It makes the file itself, of 32 MiB. At no time is more than a few hundred KiB of it in memory here.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile

import httpx2
import trio
from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

from httpx2_trio_ws import WebSocketSession, open_websocket

SIZE = 32 * 2**20
PIECE = 65536


async def upload(ws: WebSocketSession, path: trio.Path, progress: Progress) -> None:
    bar = progress.add_task("up", total=(await path.stat()).st_size)
    async with await path.open("rb") as file, ws.send_stream("binary") as message:
        while piece := await file.read(PIECE):
            await message.send(piece)  # waits when the network is slower than the disk
            progress.advance(bar, len(piece))


async def download(ws: WebSocketSession, path: trio.Path, progress: Progress) -> None:
    bar = progress.add_task("down", total=SIZE)  # the protocol does not tell how much will come; we happen to know
    async with ws.receive_stream() as message, await path.open("wb") as file:
        async for piece in message:
            assert isinstance(piece, bytes), "a binary message was asked for"
            await file.write(piece)  # the server waits when the disk is slower than the network
            progress.advance(bar, len(piece))


async def digest(path: trio.Path) -> str:
    found = hashlib.sha256()
    async with await path.open("rb") as file:
        while piece := await file.read(PIECE):
            found.update(piece)
    return found.hexdigest()


async def main(url: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        original, copy = trio.Path(folder, "original"), trio.Path(folder, "copy")
        async with await original.open("wb") as file:
            for number in range(SIZE // PIECE):
                await file.write(number.to_bytes(4) * (PIECE // 4))
        # What comes back is larger than a whole message may be: it waits for receive_stream().
        async with (
            httpx2.AsyncClient() as client,
            open_websocket(client, url, compression=None, stream_large_messages=True) as ws,
        ):
            with Progress("{task.description:>4}", BarColumn(), DownloadColumn(), TransferSpeedColumn()) as progress:
                await upload(ws, original, progress)
                await download(ws, copy, progress)
        same = await digest(original) == await digest(copy)
    print(f"{SIZE // 2**20} MiB went up, and {'the same' if same else 'something else'} came down")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} URL, such as ws://127.0.0.1:8765/echo (see docs/examples.md)")
    trio.run(main, sys.argv[1])

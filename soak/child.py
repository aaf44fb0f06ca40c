"""What the server's process and the proxy's have in common: how they learn what is wanted of them."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


async def serve_until_end(port: int, told: Callable[[str], None] | None = None) -> None:
    """Print the port, and wait until standard input ends: whoever started this process wants no more, or is gone.

    Args:
        port: where this process listens.
        told: is called with each line of standard input.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that started this
    print(port, flush=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        if told is not None:
            told(line.decode())

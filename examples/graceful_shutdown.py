"""Ctrl-C and SIGTERM close the session in good order: with 1001, "going away", and a reason.

Without this, Ctrl-C is KeyboardInterrupt: the session is closed with 1001 then, too, but what the program
does is torn up wherever it stands.

Run it with the URL of a server that sends messages, and press Ctrl-C. ``python -m httpx2_trio_ws --serve`` runs one::

    python examples/graceful_shutdown.py ws://127.0.0.1:8765/feed/1
"""

from __future__ import annotations

import signal
import sys

import httpx2
import trio

from httpx2_trio_ws import CloseCode, WebSocketClosedError, WebSocketSession, open_websocket


async def close_on_signal(ws: WebSocketSession, task_status: trio.TaskStatus[None]) -> None:
    """Wait for a signal, then close; ``close()`` waits for the server's answer, but not longer than it may."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            print(f"{signal.Signals(number).name}: closing", flush=True)
            await ws.close(CloseCode.GOING_AWAY, "the client shuts down")
            return


async def main(url: str) -> None:
    async with httpx2.AsyncClient() as client, open_websocket(client, url) as ws:
        async with trio.open_nursery() as nursery:
            await nursery.start(close_on_signal, ws)
            try:
                async for message in ws:
                    print("received", message, flush=True)
            except WebSocketClosedError:
                # Our own close wakes every task that waits. close_on_signal() goes on, up to the server's answer.
                print("stopped listening")
            else:
                print("the server has closed")
                nursery.cancel_scope.cancel()  # no signal need be waited for
        print(f"closed {ws!r} after {ws.statistics().messages_received} messages")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} URL, such as ws://127.0.0.1:8765/feed/1 (see docs/examples.md)")
    trio.run(main, sys.argv[1])

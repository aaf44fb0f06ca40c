"""A session in blocking code: a thread that receives, the main thread that sends.

Run it with the URL of an echo server, one that sends back what it receives. ``python -m httpx2_trio_ws --serve`` runs one::

    python examples/blocking.py ws://127.0.0.1:8765/echo
"""

from __future__ import annotations

import sys
import threading

import httpx2

from httpx2_trio_ws.sync import SyncWebSocketSession, WebSocketClosedError, open_websocket

WORDS = ("one", "two", "three")


def listen(ws: SyncWebSocketSession, all_came: threading.Event) -> None:
    """Print what comes, until the session is closed: by the server, or in the main thread."""
    try:
        for number, message in enumerate(ws, start=1):
            print(f"received {message!r}")
            if number == len(WORDS):
                all_came.set()
    except WebSocketClosedError:
        print("the listener ends: closed on our side")


def main(url: str) -> None:
    with httpx2.Client() as client, open_websocket(client, url) as ws:
        # The calls that receive take a timeout in seconds. None of them loses a message by it.
        try:
            ws.receive(timeout=0.05)
        except TimeoutError:
            print("nothing yet")

        all_came = threading.Event()
        listener = threading.Thread(target=listen, args=[ws, all_came])
        listener.start()
        for word in WORDS:
            ws.send(word)  # any number of threads may send, and receive
        print(f"a round trip takes {ws.ping().wait(timeout=5):.4f} s")
        all_came.wait(timeout=5)
        ws.close()  # wakes the listener
        listener.join()
    # Here nothing is left of the session, no thread either.
    print("closed:", ws.close_code)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} URL, such as ws://127.0.0.1:8765/echo (see docs/examples.md)")
    main(sys.argv[1])

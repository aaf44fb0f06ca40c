"""Hold many sessions for some minutes, break what can break, and check every message on both sides.

    python soak/run.py [--sessions 1000] [--seconds 120] [--seed N] [--tls | --http2]

The sessions live in one nursery of this process. The server is a process of its own (``websockets``, on asyncio), and so
is a TCP proxy between the two that delays, cuts and breaks connections. The server is killed and restarted meanwhile. With
``--http2``, a reverse proxy of HTTP/2 stands before the server, which resets, stalls and refuses streams, and says GOAWAY.
Every message has a sequence number and a checksum, in both directions; what ends for whatever reason is opened anew.

The exit status is 1 if a bar is missed: they are listed below the table that is printed.
"""

import importlib
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    sys.exit(importlib.import_module("soak.main").main(__doc__))

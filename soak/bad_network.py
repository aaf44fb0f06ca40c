"""Hold sessions over a bad network, pull the cable, and check every message: python soak/bad_network.py --help.

Two hosts (namespaces of Linux) with a link between them: each packet takes 100 ± 50 ms, so packets overtake each other, and
2 % of them are lost. After a third of the time, the cable is pulled for 30 seconds. Each session sends numbered messages,
which the server (websockets, on asyncio) sends back. What ends by a failure is opened anew.

The exit status is 1 if a bar is missed, and 0 also where there can be no such network: the reason is printed.
"""

import importlib
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    sys.exit(importlib.import_module("soak.hosts").main(__doc__))

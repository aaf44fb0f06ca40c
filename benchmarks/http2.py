"""What sessions cost over HTTP/2: python benchmarks/http2.py --help."""

import importlib
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    sys.exit(importlib.import_module("benchmarks.http2_costs").main())

"""Fuzz a target: ``python -m fuzz protocol|handshake|http2 [options and folders for libFuzzer]``."""

from __future__ import annotations

import gc
import importlib
import itertools
import shlex
import sys

# The modules that tell the fuzzer how far an input came.
INSTRUMENTED = ("httpx2_trio_ws", "websockets", "h11", "hpack")


def main() -> None:
    """Hand the target to atheris, its modules instrumented. Does not return."""
    atheris = importlib.import_module("atheris")  # it has no types, and the targets do without it
    _, name, *options = sys.argv
    with atheris.instrument_imports(include=list(INSTRUMENTED)):
        target = importlib.import_module(f"fuzz.fuzz_{name}")
    gc.collect()
    gc.freeze()
    runs = itertools.count(1)

    def run(data: bytes) -> None:
        target.check(data)
        if next(runs) % 50 == 0:
            gc.collect()  # deflate takes some memory, and Protocol holds on to itself

    # The first argument is what libFuzzer starts for a merge, through a shell.
    atheris.Setup([f"{shlex.quote(sys.executable)} -m fuzz {name}", *options], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

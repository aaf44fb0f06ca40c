"""Memory for reads and messages is used again, and not provided by the system page by page each time."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# What a flood does to the heap: reads, small messages of each, and a queue of them that is emptied.
READS = """
import resource
import sys

assert not sys.argv[1:] or __import__(sys.argv[1])
size = 245_760

def flood():
    for _ in range(50):
        queue = []
        for _ in range(4):
            data = bytes(size)
            queue += [data[at : at + 4096] for at in range(0, size, 4096)]
            del data

flood()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
flood()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*modules: str) -> int:
    command = [sys.executable, "-c", READS, *modules]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
@pytest.mark.parametrize("face", ["httpx2_trio_ws", "httpx2_trio_ws.anyio", "httpx2_trio_ws.sync"])
def test_memory_is_used_again(face: str) -> None:
    assert faults() > 1000, "glibc does it by itself"
    assert faults(face) < 200

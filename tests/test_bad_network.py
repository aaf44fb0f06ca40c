"""The soak over a bad network, in small."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("the network is made of namespaces of Linux", allow_module_level=True)

from soak.hosts import show
from soak.link import lacking

ROOT = Path(__file__).resolve().parent.parent
FOUND = {
    "received": 10,
    "lost": 0,
    "doubled": 0,
    "corrupted": 0,
    "disordered": 0,
    "failed: WebSocketKeepaliveTimeout": 1,
}


@pytest.mark.skipif(lacking() is not None, reason=f"no network of two hosts: {lacking()}")
def test_messages_arrive_over_a_bad_network() -> None:
    command = [
        sys.executable,
        "-W",
        "error",
        "soak/bad_network.py",
        "--on",
        "trio",
        "--sessions",
        "3",
        "--seconds",
        "3",
    ]
    done = subprocess.run([*command, "--cut", "1"], cwd=ROOT, capture_output=True, check=False, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("lost 0, doubled 0, corrupted 0, disordered 0") == 2
    assert "left in peace" in done.stdout


@pytest.mark.parametrize(
    ("change", "late", "bar"),
    [
        ({}, [], None),
        ({"lost": 1}, [], "nothing is lost"),
        ({"doubled": 1}, [], "nothing is lost"),
        ({"received": 0}, [], "messages arrive"),
        ({}, ["leaving took 9 s instead of 5"], "fails in time"),
    ],
)
def test_what_is_judged(change: dict[str, int], late: list[str], bar: str | None) -> None:
    missed = show("trio", {"found": FOUND | change, "late": late, "packets": "", "times": {}}, felt=True)
    assert len(missed) == (bar is not None)
    assert all(str(bar) in line for line in missed)


def test_a_cable_that_nobody_felt() -> None:
    found = {name: count for name, count in FOUND.items() if not name.startswith("failed")}
    assert show("trio", {"found": found, "late": [], "packets": "", "times": {}}, felt=True) == [
        "trio: the cable is felt"
    ]

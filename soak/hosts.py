"""Start the two hosts' processes, pull the cable, and judge."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import trustme

from .link import Link, lacking
from .near import INTERVAL, TIMEOUT

ROOT = Path(__file__).resolve().parent.parent
DELAY, LOSS = (0.05, 0.15), 0.02
LEAVING_SECONDS = 120.0
WRONG = ("lost", "doubled", "corrupted", "disordered")


def certificates(folder: Path, address: str) -> tuple[list[str], list[str]]:
    """A certificate for the far host, and the authority that it is from."""
    authority = trustme.CA()
    certificate = folder / "server.pem"
    authority.issue_cert(address).private_key_and_cert_chain_pem.write_to_path(str(certificate))
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    return [str(certificate)], [str(folder / "authority.pem")]


def play(loop: str, arguments: argparse.Namespace, *, tls: bool) -> dict[str, Any]:
    """One run. Returns what the near host has found."""
    with tempfile.TemporaryDirectory() as folder, Link(DELAY, LOSS, arguments.seed) as link:
        near, far = link.near, link.far
        certificate, authority = certificates(Path(folder), far.address) if tls else ([], [])
        serving = far.command(sys.executable, "-m", "soak.far", far.address, *certificate)
        with subprocess.Popen(serving, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            url = f"{'wss' if tls else 'ws'}://{far.address}:{int(server.stdout.readline())}/"
            holding = near.command(
                sys.executable, "-m", "soak.near", loop, url, arguments.sessions, arguments.seconds, *authority
            )
            with subprocess.Popen(holding, cwd=ROOT, stdout=subprocess.PIPE, text=True) as client:
                time.sleep(arguments.seconds / 3)
                link.cut(arguments.cut)
                told, _ = client.communicate(timeout=arguments.seconds + LEAVING_SECONDS)
            server.kill()
    if client.returncode:
        raise SystemExit(f"the near host ended with {client.returncode}")
    found: dict[str, Any] = json.loads(told)
    found["packets"] = f"{link.carried:,} packets carried, {link.lost:,} lost"
    return found


def show(what: str, run: dict[str, Any], *, felt: bool) -> list[str]:
    """Print what was found; return the bars that were missed. ``felt``: sessions must have ended by the cable."""
    found, late = run["found"], run["late"]
    print(f"{what}: {run['packets']}")
    print("  " + ", ".join(f"{name} {count:,}" for name, count in found.items()))
    for name, (small, large) in run["times"].items():
        print(f"  {name}: {small * 1000:.0f} ms for a round trip (median), {large:.1f} s for one of 128 KiB")
    for line in late:
        print(f"  late: {line}")
    bars = {
        "nothing is lost, doubled, corrupted or out of order": not any(found[name] for name in WRONG),
        "what fails, fails in time": not late,
        "messages arrive": found["received"] > 0,
        "the cable is felt": not felt or any(name.startswith(("failed", "not opened")) for name in found),
    }
    return [f"{what}: {bar}" for bar, met in bars.items() if not met]


def main(usage: str | None) -> int:
    """The command. Returns its exit status."""
    parser = argparse.ArgumentParser(description=usage, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=20, help="how many to hold; default: %(default)s")
    parser.add_argument("--seconds", type=float, default=90, help="for how long, each time; default: %(default)s")
    parser.add_argument("--cut", type=float, default=30, help="pull the cable for so long; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of what is left to chance; default: %(default)s")
    parser.add_argument("--on", nargs="+", choices=["trio", "asyncio"], default=["trio", "asyncio"])
    arguments = parser.parse_args()
    if why := lacking():
        print(f"skipped: there can be no network of two hosts here: {why}")
        return 0
    missed = []
    for loop in arguments.on:
        for tls in (False, True):
            felt = INTERVAL + TIMEOUT < arguments.cut < arguments.seconds * 2 / 3
            missed += show(f"{loop}, {'TLS' if tls else 'TCP'}", play(loop, arguments, tls=tls), felt=felt)
    print("\nbars missed:", *(f"  not met: {bar}" for bar in missed or ["none"]), sep="\n")
    return 1 if missed else 0

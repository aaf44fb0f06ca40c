"""Start the processes, run the sessions, and judge."""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib.metadata
import json
import math
import os
import platform
import resource
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import httpx2
import trio
import trustme

from httpx2_trio_ws.http2 import HTTP2Transport

from .client import END_SECONDS, Crowd, Settings
from .records import Faults, Records
from .report import MIB, Held, Outcome, show

ROOT = Path(__file__).resolve().parent.parent
DEFECTS = [f"{way}{what}" for way in ("", "up:") for what in ("drop", "double", "flip", "swap")]
STOP_SECONDS = 5.0  # for a server to close its sessions; then it is killed
RETURN_SECONDS = 60.0  # for sessions to be opened anew, when no more faults are made
SEND_BUFFER = 32768  # of the client's sockets, in bytes: a proxy that does not read is soon felt


class Child:
    """A process that says where it listens, and stops when its standard input ends."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.port = 0

    @classmethod
    async def start(cls, module: str, *arguments: object) -> Child:
        """Start ``python -m soak.MODULE ARGUMENTS`` and wait until it listens."""
        command = [sys.executable, "-m", f"soak.{module}", *map(str, arguments)]
        process = await trio.lowlevel.open_process(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        child = cls(process)
        line = b""
        while not line.endswith(b"\n"):
            assert process.stdout is not None
            more = await process.stdout.receive_some()
            if not more:
                raise RuntimeError(f"{' '.join(command)} did not start")
            line += more
        child.port = int(line)
        return child

    async def tell(self, line: str) -> None:
        """Send it a line."""
        assert self.process.stdin is not None
        await self.process.stdin.send_all(f"{line}\n".encode())

    async def stop(self, seconds: float = STOP_SECONDS) -> str:
        """Let it end, for so long. Returns what it has said since it began to listen."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        await self.process.stdin.aclose()
        said = b""
        with trio.move_on_after(seconds):
            async for more in self.process.stdout:
                said += more
            await self.process.wait()
        await self.kill()
        return said.decode()

    async def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        await self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            await stream.aclose()


class Run:
    """One run.

    Args:
        arguments: as parsed.
        directory: for what the processes share.
    """

    def __init__(self, arguments: argparse.Namespace, directory: Path) -> None:
        self.arguments = arguments
        self.directory = directory
        self.records = Records(directory)
        self.faults = Faults(directory)
        self.restarts: Counter[str] = Counter()
        self.memory: dict[str, float] = {}
        sessions, self.seconds = arguments.sessions, arguments.seconds
        # Few sessions talk more, and short runs have more of everything.
        self.per_second = min(20.0, 400 / sessions)
        self.between_faults = 0.0 if arguments.defect else min(45.0, self.seconds / 4)
        self.certificate: list[Path] = []
        self.verify: ssl.SSLContext | bool = False
        if arguments.tls or arguments.http2:
            self._make_certificate()

    def _make_certificate(self) -> None:
        authority = trustme.CA()
        self.certificate = [self.directory / "server.pem"]
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(self.certificate[0]))
        self.verify = ssl.create_default_context()
        authority.configure_trust(self.verify)

    def settings(self, port: int) -> Settings:
        """The client's part."""
        return Settings(
            url=f"{'wss' if self.certificate else 'ws'}://127.0.0.1:{port}",
            sessions=self.arguments.sessions,
            seed=str(self.arguments.seed),
            per_second=self.per_second,
            lifetime=math.inf if self.arguments.defect else min(90.0, self.seconds / 2),
            pause=min(25.0, self.seconds / 5),
            back_off=min(3.0, self.seconds / 6),
            compression=not self.arguments.defect,
        )

    async def start_server(self) -> Child:
        """A server."""
        certificate = [] if self.arguments.http2 else self.certificate
        return await Child.start("server", self.directory, self.per_second, *certificate)

    def transport(self) -> httpx2.AsyncBaseTransport:
        """The client's."""
        limits = httpx2.Limits(max_connections=None)
        options = [(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)]
        if self.arguments.http2:
            return HTTP2Transport(verify=self.verify, http1=False, limits=limits, socket_options=options)
        return httpx2.AsyncHTTPTransport(verify=self.verify, limits=limits, socket_options=options)

    async def run(self) -> Outcome:
        """From the first process to the last."""
        defects = self.arguments.defect or []
        self.server = await self.start_server()
        self.proxy = await Child.start("proxy", self.directory, self.arguments.seed, *defects)
        # What stands before the server, from the client on; the last one knows where the server is.
        self.between = [self.proxy]
        try:
            if self.arguments.http2:
                front = await Child.start("front", self.directory, self.arguments.seed, *self.certificate)
                self.between.append(front)
                await self.proxy.tell(f"upstream {front.port}")
            tasks, sockets = trio.lowlevel.current_statistics().tasks_living, open_sockets()
            async with httpx2.AsyncClient(transport=self.transport(), trust_env=False, timeout=30) as client:
                resets = Faults(self.directory, "resets")
                crowd = Crowd(client, self.settings(self.proxy.port), self.records, self.faults, resets)
                held = await self._hold(crowd)
            self._measure("closed")
            tasks = trio.lowlevel.current_statistics().tasks_living - tasks
            sockets = open_sockets() - sockets
            await self.server.stop()
            faults = self.restarts
            for child in self.between:
                faults += Counter(json.loads(await child.stop()))
        finally:
            with trio.CancelScope(shield=True):
                for child in (self.server, *self.between):
                    await child.kill()
        outcome = Outcome(crowd, faults, self.memory, tasks, sockets, held)
        outcome.count(self.records)
        return outcome

    async def _hold(self, crowd: Crowd) -> Held:
        """Hold the sessions, and let them finish."""
        await self.between[-1].tell(f"upstream {self.server.port}")
        self._measure("start")
        ramp = 60 + self.arguments.sessions / 10
        with trio.fail_after(ramp + self.seconds + STOP_SECONDS + RETURN_SECONDS + 2 * END_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(crowd.run)
                with trio.fail_after(ramp):
                    await crowd.complete.wait()
                began = trio.current_time()
                await self._tell(f"faults {self.between_faults}")
                async with trio.open_nursery() as during:
                    during.start_soon(self._restart_at_times, crowd)
                    await trio.sleep_until(began + self.seconds / 3)
                    self._measure("warm")
                    await trio.sleep_until(began + self.seconds)
                self._measure("end")
                held = await self._come_back(crowd)
                crowd.over.set()
        return held

    async def _come_back(self, crowd: Crowd) -> Held:
        """End the faults. Those who have lost their session then should soon have one again."""
        at_end = crowd.held
        began = trio.current_time()
        await self._tell("calm")
        with trio.move_on_after(RETURN_SECONDS):
            while crowd.held < 0.95 * self.arguments.sessions:  # noqa: ASYNC110 (there is no event for a number)
                await trio.sleep(0.1)
        return Held(crowd.peak, at_end, crowd.held, trio.current_time() - began)

    async def _tell(self, line: str) -> None:
        for child in self.between:
            await child.tell(line)

    def _measure(self, moment: str) -> None:
        gc.collect()
        self.memory[moment] = resident() / MIB

    async def _restart_at_times(self, crowd: Crowd) -> None:
        """Kill the server and stop it, in turn, and start it anew."""
        count = 0 if self.arguments.defect else max(2, int(self.seconds // 60))
        began = trio.current_time()
        for number in range(count):
            await trio.sleep_until(began + self.seconds * (number + 1) / (count + 1))
            crowd.generation += 1
            await self.between[-1].tell("upstream 0")
            if number % 2:
                self.restarts["server stopped"] += 1
                await self.server.stop(min(STOP_SECONDS, self.seconds / 4))
            else:
                self.restarts["server killed"] += 1
                await self.server.kill()
            self.server = await self.start_server()
            await self.between[-1].tell(f"upstream {self.server.port}")
            crowd.generation += 1


def resident() -> int:
    """Bytes of memory that this process occupies; where the system does not tell, the most that it has occupied."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def open_sockets() -> int:
    """How many sockets this process has."""
    count = 0
    for descriptor in Path("/dev/fd").iterdir():
        with contextlib.suppress(OSError):  # the one that the listing was read through
            count += stat.S_ISSOCK(os.fstat(int(descriptor.name)).st_mode)
    return count


def allow_open_files(sessions: int) -> None:
    """Raise the limit of open files, for this process and those that it starts."""
    needed = 2 * sessions + 200  # the proxy has two for each session
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        sys.exit(
            f"{sessions} sessions need {needed} open files, and the limit of this system is {hard}; raise it "
            f"(`ulimit -Hn`, as root), or hold {(hard - 200) // 2} sessions at most (--sessions)"
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def main(usage: str | None) -> int:
    """The command. Returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="soak/run.py", description=usage, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=1000, help="how many to hold; default: %(default)s")
    parser.add_argument("--seconds", type=float, default=120, help="for how long; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of what is left to chance; default: %(default)s")
    parser.add_argument("--tls", action="store_true", help="wss:// instead of ws://")
    parser.add_argument("--http2", action="store_true", help="streams of a few HTTP/2 connections, over TLS")
    parser.add_argument(
        "--defect", nargs="+", choices=DEFECTS, help="no faults, but have the proxy do this to one message each"
    )
    arguments = parser.parse_args()
    if (arguments.tls or arguments.http2) and arguments.defect:
        parser.error("with TLS the proxy cannot tell where a message begins, so there is no --defect")
    allow_open_files(arguments.sessions)
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("httpx2-trio-ws", "trio", "websockets")]
    print(f"{', '.join(versions)}, Python {platform.python_version()}")
    over = "HTTP/2" if arguments.http2 else "TLS" if arguments.tls else "TCP"
    print(f"{arguments.sessions} sessions over {over} for {arguments.seconds:g} s, seed {arguments.seed}\n", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        outcome = trio.run(Run(arguments, Path(directory)).run)
    show(outcome)
    missed = outcome.missed()
    print("\nbars missed:", *(f"  not met: {bar}" for bar in missed or ["none"]), sep="\n")
    return 1 if missed else 0

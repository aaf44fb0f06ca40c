"""The server and the contenders, as processes of this one."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from .contenders import CONTENDERS

if TYPE_CHECKING:
    from .jobs import Job

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 60  # seconds for one job
IMPORTS = 3  # for one measurement


class FailedError(Exception):
    """A contender did not do its job, and said why."""


class Process:
    """A module of this package as a process that ends when it is let go."""

    def __init__(self, module: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.{module}", *arguments],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.communicate()

    def answer(self) -> dict[str, Any]:
        """Its next line, within the limit."""
        assert self.process.stdout is not None
        timer = threading.Timer(LIMIT, self.process.kill)
        timer.start()
        try:
            line = self.process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            raise FailedError(f"the process ended, with {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def environment() -> dict[str, str]:
    """That of this process without proxies, which are not wanted for loopback."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


class Server(Process):
    def __init__(self) -> None:
        super().__init__("server")
        self.told = self.answer()


class Worker(Process):
    def __init__(self, contender: str, server: Server) -> None:
        super().__init__("worker", contender)
        self.server = server

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def do(self, job: Job) -> dict[str, float]:
        assert self.process.stdin is not None
        if job.tls and self.server.told["ca"] is None:
            raise FailedError("TLS needs trustme")
        try:
            self.process.stdin.write(json.dumps(self.server.told | {"job": dataclasses.asdict(job)}) + "\n")
            self.process.stdin.flush()
        except OSError as error:
            raise FailedError(f"the process has ended: {error}") from error
        answer = self.answer()
        if "error" in answer:
            raise FailedError(answer["error"])
        return answer


class Importing:
    """Interpreters that import and end. What they compile is kept apart, so that it is there for all or none."""

    def __init__(self) -> None:
        self.cache = tempfile.TemporaryDirectory()
        self.env = environment() | {"PYTHONPYCACHEPREFIX": self.cache.name}
        self.env.pop("PYTHONDONTWRITEBYTECODE", None)
        self.warm: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.cache.cleanup()

    def measure(self, contender: str) -> dict[str, float]:
        """Seconds for the import, without those of the interpreter."""
        statement = CONTENDERS[contender].imports
        if statement not in self.warm:
            self.spend(statement)
            self.warm.add(statement)
        taken = [self.spend(statement) for _ in range(IMPORTS)]
        empty = [self.spend("pass") for _ in range(IMPORTS)]
        wall, cpu = (max(0.0, min(t[i] for t in taken) - min(t[i] for t in empty)) for i in (0, 1))
        return {"wall": wall, "cpu": cpu, "count": 1}

    def spend(self, statement: str) -> tuple[float, float]:
        before, begun = os.times(), time.perf_counter()
        done = subprocess.run([sys.executable, "-c", statement], check=False, env=self.env)
        if done.returncode:
            raise FailedError(f"{statement} failed")
        wall, after = time.perf_counter() - begun, os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        return wall, cpu

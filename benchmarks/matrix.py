"""The workloads by name, and how much of each."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .contenders import CONTENDERS
from .jobs import KIB, MIB, Job

SECONDS = 0.15  # a measurement, about
SESSIONS = 1000
LATER = 2  # milliseconds that pass before an answer, as over a network: everybody has to wait
SLOW = 16 * KIB  # messages for the slow consumer: 64 MiB


@dataclass(frozen=True)
class Workload:
    """A job whose count is found for each contender, or is fixed."""

    title: str
    job: Job
    start: int = 300
    """How many to begin with, before it is known how long they take. 0: the count is the job's, in a new process."""
    rounds: int = 100
    """At most so many rounds, unless others are asked for."""

    @property
    def alone(self) -> bool:
        """Every measurement is a process of its own."""
        return not self.start


def _workloads() -> dict[str, Workload]:
    made = {}
    sizes = {"16": (16, "16 B"), "125": (125, "125 B"), "4k": (4 * KIB, "4 KiB")}
    for kind, title in (("flood", "Receive a flood"), ("burst", "Send a burst")):
        for short, (size, long) in sizes.items():
            for text in (True, False):
                name = f"{kind}-{short}-{'text' if text else 'binary'}"
                made[name] = Workload(f"{title}, {long} {'text' if text else 'binary'}", Job(kind, size, text))
    made["echo-125"] = Workload("Echo, 125 B text", Job("echo"), start=50)
    later = Job("echo", delay_ms=LATER)
    made["echo-125-later"] = Workload(f"Echo, 125 B text, answered after {LATER} ms", later, start=20)
    made["echo-1m"] = Workload("Echo, 1 MiB text", Job("echo", MIB), start=3)
    made["flood-1m"] = Workload("Receive a flood, 1 MiB text", Job("flood", MIB), start=5)
    made["flood-json-deflate"] = Workload("Receive a flood, compressed JSON", Job("flood", deflate=True))
    made["burst-json-deflate"] = Workload("Send a burst, compressed JSON", Job("burst", deflate=True))
    made["flood-125-tls"] = Workload("Receive a flood, 125 B text, TLS", Job("flood", tls=True))
    made["burst-125-tls"] = Workload("Send a burst, 125 B text, TLS", Job("burst", tls=True))
    made["echo-125-tls"] = Workload("Echo, 125 B text, TLS", Job("echo", tls=True), start=50)
    made["open-close"] = Workload("Open and close", Job("open"), start=5)
    made["sessions"] = Workload(f"{SESSIONS:,} sessions", Job("sessions", count=SESSIONS), start=0, rounds=3)
    made["slow-consumer"] = Workload("Slow consumer, 64 MiB", Job("slow", 4 * KIB, count=SLOW), start=0, rounds=3)
    made["import"] = Workload("Import", Job("import"), start=0, rounds=3)
    return made


WORKLOADS = _workloads()
QUICK = ["flood-125-text", "burst-125-text", "echo-125"]


def takes_part(contender: str, workload: Workload) -> bool:
    return CONTENDERS[contender].does(workload.job.kind, deflate=workload.job.deflate)


def scaled(job: Job, seconds: float, took: float) -> Job:
    """As much of a job as takes so many seconds, after it took some for its count."""
    return replace(job, count=max(2, min(2_000_000, int(job.count * seconds / max(took, 1e-6)))))

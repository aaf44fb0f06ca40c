"""What both sides have counted, held against each other, and the table that is printed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from .records import End

if TYPE_CHECKING:
    from collections import Counter

    from .client import Crowd
    from .records import Records, Row

MIB = 2**20


@dataclass
class Way:
    """The messages of all sessions in one direction."""

    sent: int = 0
    received: int = 0
    lost: int = 0
    doubled: int = 0
    corrupted: int = 0
    disordered: int = 0
    #: Not received as the connection failed, or as a side closed or cancelled the session.
    covered: int = 0
    closed: int = 0

    def add(self, sender: Row, receiver: Row, *, all_arrived: bool, failed: bool) -> None:
        """One session. With ``all_arrived``, nothing may have been left on the way."""
        self.sent += sender.attempted
        self.received += receiver.received
        self.lost += receiver.lost
        self.doubled += receiver.doubled
        self.corrupted += receiver.corrupted + max(0, receiver.expected - sender.attempted)
        self.disordered += receiver.disordered
        tail = max(0, sender.completed - receiver.expected)
        if all_arrived:
            self.lost += tail
        elif failed:
            self.covered += tail
        else:
            self.closed += tail

    @property
    def wrong(self) -> int:
        """Messages that did not arrive as they should."""
        return self.lost + self.doubled + self.corrupted + self.disordered


class Held(NamedTuple):
    """How many sessions there were at once: at most, when time was up, and so many seconds after the last fault."""

    peak: int
    at_end: int
    again: int
    seconds: float


@dataclass
class Outcome:
    """All that a run is judged by."""

    crowd: Crowd
    faults: Counter[str]
    #: MiB of resident memory, by the moment.
    memory: dict[str, float]
    tasks_left: int
    sockets_left: int
    held: Held
    up: Way = field(default_factory=Way)
    down: Way = field(default_factory=Way)
    #: Sessions whose end proves that all of a direction has arrived, by direction.
    proven_up: int = 0
    proven_down: int = 0

    def count(self, records: Records) -> None:
        """Hold both sides of every session against each other."""
        for number in range(records.count):
            client, server = records.client(number), records.server(number)
            failed = bool(client.end & End.FAILED)
            # A server that was killed may have received more than it had counted.
            all_up = bool(client.end & End.ANSWERED and server.end & End.OVER)
            all_down = bool(client.end & End.COMPLETE)
            self.up.add(client, server, all_arrived=all_up, failed=failed)
            self.down.add(server, client, all_arrived=all_down, failed=failed)
            self.proven_up += all_up
            self.proven_down += all_down
            if server.end & End.COMPLAINED:
                self.crowd.unexpected.append(f"session {number}: the server met a breach of the protocol")

    def missed(self) -> list[str]:
        """The bars that are missed."""
        crowd, wanted = self.crowd, self.crowd.settings.sessions
        most = most_memory(self.memory["warm"])
        bars = {
            f"{wanted} sessions are held at once": self.held.peak == wanted,
            f"{0.95 * wanted:.0f} are held again soon after the last fault": self.held.again >= 0.95 * wanted,
            "messages arrive, in both directions": bool(self.up.received and self.down.received),
            "no message is lost, doubled, corrupted or out of order": not (self.up.wrong or self.down.wrong),
            "nothing unexpected happens": not crowd.unexpected,
            f"memory at the end is at most {most:.0f} MiB": self.memory["end"] <= most,
            "no task is left": not self.tasks_left,
            "no socket is left": not self.sockets_left,
        }
        return [bar for bar, met in bars.items() if not met]


def most_memory(warm: float) -> float:
    """What may be taken at the end, in MiB: what was taken when all was warm, and a tenth."""
    return 1.1 * warm + 16


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.most_common()) or "none"


def show(outcome: Outcome) -> None:
    """Print the table."""
    crowd, up, down = outcome.crowd, outcome.up, outcome.down
    held = outcome.held
    print(
        f"sessions held     {held.peak:,} at most, {held.at_end:,} when time was up, {held.again:,} {held.seconds:.0f} s later"
    )
    print(f"sessions opened   {crowd.opened:,}; could not be opened: {_listed(crowd.refused)}")
    print(f"sessions ended    {_listed(crowd.ends)}")
    print(f"failures reported {_listed(crowd.failures)}")
    print(f"faults injected   {_listed(outcome.faults)}")
    print(f"\n{'messages':24}{'to the server':>15}{'to the client':>15}")
    for name, attribute in {
        "sent": "sent",
        "received": "received",
        "lost": "lost",
        "doubled": "doubled",
        "corrupted": "corrupted",
        "out of order": "disordered",
        "covered by a failure": "covered",
        "in flight at a close": "closed",
    }.items():
        print(f"  {name:22}{getattr(up, attribute):>15,}{getattr(down, attribute):>15,}")
    print(f"  {'sessions proven whole':22}{outcome.proven_up:>15,}{outcome.proven_down:>15,}")
    print(f"  {'sending cancelled':22}{crowd.given_up:>15,}")
    memory = ", ".join(f"{name} {size:,.0f}" for name, size in outcome.memory.items())
    print(f"\nresident MiB      {memory}")
    print(f"left              {outcome.tasks_left} tasks, {outcome.sockets_left} sockets")
    for line in crowd.unexpected[:20]:
        print(f"unexpected: {line}")
    if len(crowd.unexpected) > 20:
        print(f"unexpected: and {len(crowd.unexpected) - 20} more")

"""Programs made by chance, against a model of what a session promises.

A program mixes sends and receives, whole and in parts, pings and their waits, pongs, closes, waits for the end, and
cancellations of any of these, with what the peer does: messages, whole, in fragments and in bursts, or half of one, pings,
pongs, close frames, violations, reading that stalls or ends, lost connections. Time passes on trio's mock clock, over a pipe in memory or a socket.
Settings and the scheduler's choices are drawn, too. The model (:mod:`.promises`) says:

- **No hang.** Whenever all tasks wait, no call waits that could go on, a call that was cancelled is gone, and once the
  session has ended only ``close()`` and ``wait_closed()`` still wait. Each step has a deadline, and so has the whole.
- **Sending.** The peer meets whole messages, in the order of the calls, none twice and none missing in between, whether they
  are sent whole or in parts, and nothing inside of one but control frames; one that is broken off is the last. What was
  sent before a close is flushed; only pongs follow our close frame. What is unsent is bounded.
- **Receiving.** Messages are received in the order of the calls of ``receive()``, whole or in parts, across tasks, whatever
  is cancelled meanwhile: none lost, none twice, none after an error. What had arrived before an end is received before it, and
  nothing after a close of our own. What is queued is bounded, apart from a message for each receiver cancelled.
- **Control frames.** Pings are answered in order, a close frame with its code, a violation with the code for it; a ping
  returns a round trip if and only if the peer answered.
- **Failure.** Each error has its cause and is sticky. A failure is told by calls, or else in the nursery: not before its
  grace is over, not later, and never both. After a failed write, what had come is still read, the peer's last words
  included; where the queue is full, as long as it takes once a call has told of it, else until the grace is over.
- **Keepalive.** A silent peer is found dead in time, and no other is.
- **Closing.** The block is left with 1000, 1011 or 1001 within its limit, and the connection is closed. A peer that goes on
  talking for a while is waited for. Where the peer
  does not read, the last word and the end of the connection may take 0.1 s each beyond that.

By default the same 150 programs are run each time. To search for new trouble among others::

    MODEL_EXAMPLES=5000 pytest -o faulthandler_timeout=3600 tests/test_model.py
"""

from __future__ import annotations

import math
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from .contract import defects_of_parts
from .programs import Run, Setting, Step
from .promises import judge
from .simulation import VIOLATIONS

if TYPE_CHECKING:
    from .contract.defects import Defective

EXAMPLES = os.environ.get("MODEL_EXAMPLES")


def step(name: str, /, **arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(name), st.fixed_dictionaries(arguments))


kinds = st.sampled_from(["text", "binary"])
few = st.sampled_from([1, 1, 2, 5])
many = st.sampled_from([1, 1, 2, 40])
send = step("send", kind=kinds, size=st.sampled_from([1, 300, 5_000, 70_001]), count=many)
send_in_parts = step(
    "send_in_parts",
    kind=kinds,
    size=st.sampled_from([1, 300, 5_000, 70_001]),
    part=st.sampled_from([1, 300, 70_001]),
    pause=st.sampled_from([0, 0, 0.01, 2]),
    count=few,
)
receive = st.one_of(step("receive", count=many), step("receive", count=many), step("receive_in_parts", count=few))
ping = step("ping", wait=st.booleans())
cancel = step("cancel", which=st.integers(0, 3), turns=st.integers(0, 5))
peer_says = step(
    "peer_says",
    kind=kinds,
    size=st.sampled_from([1, 300, 5_000, 20_001]),
    fragments=few,
    count=st.one_of(few, many),
    ping_between=st.booleans(),
)
pong = step("pong")
client_steps = (st.one_of(send, send, send_in_parts), receive, ping, pong, step("wait_closed"), cancel)
settle = step("settle")
long_sleep = step("sleep", seconds=st.just(10))
sleep = step("sleep", seconds=st.sampled_from([0.01, 2, 10]))
turn = step("turn", count=st.integers(1, 3))
time_steps = (turn, settle, sleep)
stalls = step("peer_stalls")
drops = step("peer_drops")
deafens = step("peer_deafens")
half = step("peer_says_half", size=st.sampled_from([300, 5_000]))
close = step("close", code=st.sampled_from([1000, 1001, 3000, 4999]))
peer_steps = (peer_says, step("peer_pings"), step("peer_pongs"), stalls, step("peer_resumes"))
# What is worth happening often: tasks that are cancelled just as what they wait for comes, and ends with full queues.
scenes = (
    st.tuples(receive, receive, settle, cancel, peer_says, settle),
    st.tuples(stalls, send, send, settle, cancel, step("peer_resumes"), settle),
    st.tuples(peer_says, peer_says, ping, peer_says, settle),
    st.tuples(send_in_parts, turn, st.one_of(send, send_in_parts, cancel, ping), settle, sleep),
)
peer_closes = step("peer_closes", code=st.sampled_from([1000, 1001, 1011, 4000]))
violates = step("peer_violates", name=st.sampled_from(sorted(VIOLATIONS)))
ends = (
    close,
    st.tuples(st.one_of(peer_closes, violates), st.one_of(*client_steps, *time_steps), settle, sleep),
    peer_closes,
    violates,
    drops,
    deafens,
    st.tuples(peer_says, peer_says, settle, st.one_of(drops, deafens), st.one_of(send, pong, ping), settle, long_sleep),
    st.tuples(stalls, send, send, settle, close, settle, long_sleep),
    st.tuples(receive, half, settle, st.one_of(drops, close, deafens), settle),
)
going_on = st.one_of(*client_steps, *client_steps, *peer_steps, *peer_steps, *time_steps, *scenes)
ending = st.lists(st.one_of(*ends, *ends, *time_steps, *client_steps), min_size=1, max_size=4)


def flat(*parts: list[Any]) -> list[Step]:
    """The steps of a program, those of its scenes included."""
    found: list[Step] = []
    for part in parts:
        for item in part:
            found.extend([item] if isinstance(item[0], str) else item)
    return found


# Little comes after an end, so that most of what happens is to come before one.
programs = st.builds(
    flat,
    st.lists(going_on, max_size=25),
    st.one_of(st.just([]), ending, ending, ending),
    st.lists(st.one_of(going_on, *time_steps), max_size=10),
)
settings_ = st.builds(
    Setting,
    carrier=st.sampled_from(["pipe", "socket", "stream"]),
    capacity=st.sampled_from([4096, 65536]),
    bite=st.sampled_from([1, 100, 65536]),
    answers_pings=st.booleans(),
    answers_close=st.booleans(),
    talk=st.sampled_from([(), (), (0.4,), (0.4, 2), (1.5, 0.4, 1.5)]),
    queue_size=st.sampled_from([1, 2, 16, 64]),
    close_timeout=st.sampled_from([0, 0.5, 5, 5]),
    grace=st.sampled_from([0, 0.5, 5, math.inf]),
    keepalive=st.sampled_from([None, 3]),
    drain=st.booleans(),
    leave=st.sampled_from(["normal", "error", "cancel"]),
    turns=st.sampled_from([0, 1, 3]),
)


@settings(
    max_examples=int(EXAMPLES or 150),
    derandomize=EXAMPLES is None,
    deadline=None,
    phases=set(Phase) - {Phase.explain},  # that takes minutes
    suppress_health_check=[HealthCheck.too_slow],
)
@given(setting=settings_, program=programs, schedule=st.random_module())
def test_promises_hold_whatever_happens(setting: Setting, program: list[Step], schedule: object) -> None:
    run = Run(setting)
    trio.run(run.run, program, clock=trio.testing.MockClock(autojump_threshold=0))
    judge(run)
    event(f"left: {run.left or 'by failure'}")
    event(f"raised: {sorted({type(raised.error).__name__ for raised in run.raised})}")


@pytest.mark.parametrize("carrier", ["pipe", "socket"])
def test_a_peer_that_keeps_talking_after_our_close_is_waited_for(carrier: str) -> None:
    run = Run(replace(CALM, carrier=carrier, talk=(0.4, 1.5)))
    trio.run(run.run, [("peer_says", PAGE), ("settle", {})], clock=trio.testing.MockClock(autojump_threshold=0))
    judge(run)
    assert run.over_at - run.left_at == pytest.approx(1.9)


def test_a_call_that_is_told_later_of_a_failed_write_does_not_put_off_the_end() -> None:
    """What had arrived is read until nothing came for a second, whoever asks meanwhile."""
    receive: Step = ("receive", {"count": 1})
    parts: Step = ("send_in_parts", {**PARTS, "part": 2_500, "pause": 0.5})
    play(
        [parts, receive, ("settle", {}), ("peer_deafens", {}), ("pong", {})], replace(CALM, drain=True, grace=math.inf)
    )


def play(program: list[Step], setting: Setting | None = None) -> None:
    run = Run(setting or CALM)
    trio.run(run.run, program, clock=trio.testing.MockClock(autojump_threshold=0))
    judge(run)


@pytest.mark.parametrize(
    ("defect", "broken_off"),
    [
        (defects_of_parts.KeepsPartsToTheEnd, False),
        (defects_of_parts.SendsEachPartAsAMessage, False),
        (defects_of_parts.SendsTheFirstPartOnly, False),
        (defects_of_parts.SendsInsideOfOthers, False),
        (defects_of_parts.EndsWhatIsBrokenOff, True),
        (defects_of_parts.SaysNothingOfWhatWasCutOff, True),
    ],
)
def test_a_defect_in_sending_in_parts_is_noticed(
    defect: type[Defective], broken_off: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause: Step = ("sleep", {"seconds": 0.01})
    cancel: list[Step] = [("cancel", {"which": 0, "turns": 0}), pause] if broken_off else []
    program = [("send_in_parts", PARTS), pause, *cancel, ("send", FEW), pause, ("sleep", {"seconds": 10})]
    play(program)
    defect.patch(monkeypatch)
    with pytest.raises((AssertionError, ExceptionGroup, trio.TooSlowError)):
        play(program)


@pytest.mark.parametrize(
    "defect",
    [
        defects_of_parts.LosesTheFirstPart,
        defects_of_parts.EndsWhatWasCutOff,
        defects_of_parts.KeepsItsPlaceWhenCancelled,
    ],
)
def test_a_defect_in_receiving_in_parts_is_noticed(defect: type[Defective], monkeypatch: pytest.MonkeyPatch) -> None:
    settle: Step = ("settle", {})
    receive_in_parts: Step = ("receive_in_parts", {"count": 1})
    program: list[Step] = [receive_in_parts, settle, ("peer_says", {**PAGE, "fragments": 5}), settle]
    program += [receive_in_parts, settle, ("cancel", {"which": 0, "turns": 0}), settle, ("peer_says", PAGE), settle]
    program += [
        ("receive", {"count": 2}),
        settle,
        ("peer_says", {**PAGE, "fragments": 5}),
        settle,
        receive_in_parts,
        settle,
    ]
    program += [("peer_says_half", {"size": 5000}), settle, ("peer_drops", {}), settle]
    play(program)
    defect.patch(monkeypatch)
    with pytest.raises((AssertionError, ExceptionGroup, trio.TooSlowError)):
        play(program)


PARTS = {"kind": "text", "size": 5_000, "part": 1_000, "pause": 1, "count": 1}
FEW = {"kind": "binary", "size": 300, "count": 2}
PAGE = {"kind": "text", "size": 300, "fragments": 1, "count": 1, "ping_between": False}
CALM = Setting(
    carrier="pipe",
    capacity=65536,
    bite=65536,
    answers_pings=True,
    answers_close=True,
    talk=(),
    queue_size=16,
    close_timeout=5,
    grace=5,
    keepalive=None,
    drain=False,
    leave="normal",
    turns=0,
)

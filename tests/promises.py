"""What a session promises, as far as a program shows it: the model that programs by chance are held against.

:func:`check_progress` is for moments at which nobody has anything left to do, and :func:`judge` for the end.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import trio

from httpx2_trio_ws import (
    WebSocketClosedError,
    WebSocketDisconnect,
    WebSocketException,
    WebSocketKeepaliveTimeout,
    WebSocketNetworkError,
    WebSocketProtocolError,
)

from .memory import BINARY, CLOSE, PONG, TEXT, Frame

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .programs import Raised, Run

FAILURES = (WebSocketNetworkError, WebSocketProtocolError)
KINDS = (
    WebSocketDisconnect,
    WebSocketProtocolError,
    WebSocketKeepaliveTimeout,
    WebSocketNetworkError,
    WebSocketClosedError,
)
# Where a peer has stopped reading, a last word and the closing of the connection take so long each, beyond all limits.
FAREWELL = 0.1
# When a write has failed, what has arrived is read until nothing came for so long.
DRAIN = 1.0
# When both sides have said that it is over, the peer has so long to close the connection.
LINGER = 1.0
# Senders wait above so many bytes. One frame may go over that, and small control frames are not held up by it.
MAX_UNSENT = 65_536 + 140_100 + 4_096
EPSILON = 1e-6


# -- while it runs -------------------------------------------------------------------------------


def check_progress(run: Run) -> None:
    """Nobody has anything left to do: then nothing that could go on may be waiting."""
    statistics, now = run.ws.statistics(), trio.current_time()
    waiting = {call.name for call in run.waiting}
    if statistics.queued_messages:
        run.paused_at = now
        assert "receive" not in waiting, "a message waits, and a task for it"
    assert statistics.queued_messages <= run.setting.queue_size + len(run.cancelled)
    assert statistics.unsent_bytes <= MAX_UNSENT
    assert not waiting & {"ping", "pong"}
    for call in run.waiting:
        leeway = 2 * FAREWELL if call.name == "close" else -EPSILON
        assert now <= run.cancelled.get(call.scope, math.inf) + leeway, f"it was cancelled, and waits: {call}"
    if run.ws.closed:
        check_ended(run, waiting, now)
    else:
        check_open(run, waiting, now)


def check_open(run: Run, waiting: set[str], now: float) -> None:
    """Nothing has ended the session."""
    peer, setting = run.peer, run.setting
    unsent = run.ws.statistics().unsent_bytes
    if not run.ws.statistics().queued_messages:  # else reading may have stopped
        assert not peer.dropped, "the end of the connection was not seen"
        assert not peer.has_written("close") + peer.has_written("violation")
        if setting.keepalive:
            assert now - max(peer.active_at, run.paused_at) <= 2 * setting.keepalive + EPSILON, "the peer is dead"
        if peer.reading.is_set() and not peer.deaf:
            assert pongs(peer.frames) == peer.has_written("ping")
            assert not ("round trip" in waiting and setting.answers_pings)
    if peer.deaf or (peer.reading.is_set() and not peer.dropped):
        assert not waiting & ({"part"} if run.in_parts else {"send", "begin", "part"})
        assert unsent == 0
    if "receive" in waiting:
        assert peer.idle
        assert len(run.received) == len(peer.messages())


def check_ended(run: Run, waiting: set[str], now: float) -> None:
    """The session has ended, at least for sending: soon nobody waits, and whoever has to know it does."""
    peer, setting, statistics = run.peer, run.setting, run.ws.statistics()
    last_words = peer.has_written("close") + peer.has_written("violation")
    run.closed_since = min(run.closed_since, now)
    allowed = {"wait_closed"}
    if "close" in waiting:
        # While close() flushes, a send whose message is part of that waits for it.
        allowed |= {"close", "send"}
        pending = sum(call.returned == math.inf for call in run.sends[: statistics.messages_sent])
        assert sum(call.name == "send" for call in run.waiting) <= pending
    if peer.deaf and now - max(run.closed_since, run.paused_at, peer.active_at) < DRAIN:
        allowed.add("receive")
    assert waiting <= allowed, f"the session has ended; these wait: {run.waiting}"
    if run.ws.close_code is not None or not statistics.queued_messages:  # else more may still have to be read
        quiet_for = now - max(run.closed_since, run.paused_at, peer.active_at)
        limit = max(setting.close_timeout, DRAIN * peer.deaf)
        if last_words and peer.reading.is_set() and not (peer.deaf or statistics.unsent_bytes):
            limit = min(limit, LINGER)
        assert run.connection_closed or quiet_for <= limit + 2 * FAREWELL + EPSILON
    run.failed = not run.closes and not peer.has_written("close")
    if run.failed:
        run.failed_since = min(run.failed_since, now)
        assert told(run) or now <= latest_telling(run) + EPSILON, "the grace is over"
    undisturbed = not (run.closes or run.stalled_once or peer.deaf or peer.dropped)
    if last_words and undisturbed and setting.close_timeout and not statistics.queued_messages:
        assert close_codes(peer.frames) == last_words, "its close is answered, its violation is told"


def latest_telling(run: Run) -> float:
    """When a failure must have been told, as far as it is known since when there is one."""
    return run.failed_since + run.setting.grace + DRAIN * run.peer.deaf + 2 * FAREWELL


def told(run: Run) -> list[WebSocketException]:
    """The failures that calls have raised before the block was left, or was cancelled by one."""
    return [raised.error for raised in raised_before_leaving(run) if isinstance(raised.error, FAILURES)]


def raised_before_leaving(run: Run) -> list[Raised]:
    """What calls raised by then; those that are woken by the end of the block do not count."""
    if run.left or math.isinf(run.over_at):
        return [raised for raised in run.raised if raised.tick < run.left_tick]
    # From the failure that cancels the block to its end no time passes.
    return [raised for raised in run.raised if raised.at < run.over_at]


def pongs(frames: Iterable[Frame]) -> list[bytes]:
    """The answers to pings."""
    return [f.payload for f in frames if f.opcode == PONG and f.payload != b"unasked"]


def close_codes(frames: Iterable[Frame]) -> list[int]:
    return [int.from_bytes(f.payload[:2]) for f in frames if f.opcode == CLOSE]


# -- when it is over -----------------------------------------------------------------------------


def judge(run: Run) -> None:
    """Hold what happened against the promises."""
    judge_sending(run)
    judge_receiving(run)
    judge_errors(run)
    judge_telling(run)
    judge_exit(run)


def judge_sending(run: Run) -> None:
    """Whole messages, in order, none twice, none missing in between; nothing but pongs after the close frame."""
    frames = run.peer.frames
    wire = [str(f.payload, "utf-8") if f.opcode == TEXT else f.payload for f in frames if f.opcode in (TEXT, BINARY)]
    assert {*wire} <= {call.message for call in run.sends}
    places: dict[str | bytes, int] = {message: place for place, message in enumerate(wire)}
    assert len(places) == len(wire), "none twice"
    called = [call.message for call in run.sends if call.message in places]
    assert wire == called, "in the order of the calls"
    last_sent = max((call.began for call in run.sends if call.message in places), default=0)
    for call in run.sends:
        assert call.message in places or call.returned > last_sent, "a message is missing in between"
    if run.peer.unfinished is not None:
        judge_unfinished(run, run.peer.unfinished, last_sent)
    opcodes = [f.opcode for f in frames]
    assert not any(CLOSE in opcodes[:place] for place, opcode in enumerate(opcodes) if opcode != PONG)
    assert pongs(frames) == run.peer.has_written("ping")[: len(pongs(frames))]
    if was_peaceful(run):
        if run.left != "cancel":
            assert run.peer.end == "gone"  # the peer closed the connection, after our close frame
            assert abs(run.over_at - run.left_at - sum(run.setting.talk)) < EPSILON  # as soon as it had answered
        assert all(call.message in places for call in run.sends if call.returned < math.inf)
        assert close_codes(frames) == run.closes


def judge_unfinished(run: Run, unfinished: Frame, last_sent: float) -> None:
    """What has come of a message that was broken off is its beginning, and what was sent before came before it."""
    kind = str if unfinished.opcode == TEXT else bytes
    later = [call.message for call in run.sends if call.began > last_sent and isinstance(call.message, kind)]
    as_bytes = [message.encode() if isinstance(message, str) else message for message in later]
    assert any(message.startswith(unfinished.payload) for message in as_bytes)


def was_peaceful(run: Run) -> bool:
    """The session was closed on our side, by leaving the block, and nobody cut it short."""
    peer = run.peer
    return (
        bool(run.left)
        and len(run.closes) == 1
        and (run.setting.answers_close or run.left == "cancel")
        and (run.setting.close_timeout > sum(run.setting.talk) or run.left == "cancel")
        and not run.stalled_once
        and not (peer.dropped or peer.deaf)
        and not (run.failed or raised_before_leaving(run))
        and all(said.kind not in ("close", "violation") for said in peer.said)
    )


def judge_receiving(run: Run) -> None:
    """What arrived is received in the order of the calls, none twice, and all of it by who asks for all."""
    messages = run.peer.messages()
    received = [call.message for call in sorted(run.received, key=lambda call: call.began)]
    assert received == messages[: len(received)], "first come, first served; none left out, none twice"
    if run.drained and not was_given_up(run):
        assert len(received) == len(messages)
    closed: list[float] = [call.began for call in run.calls if call.name == "close"]
    if run.left in ("normal", "error"):
        closed.append(run.left_tick)
    assert all(call.began < tick for call in run.received for tick in closed), "what is left when we close is discarded"


def was_given_up(run: Run) -> bool:
    """A write failed, nobody was told of it within its grace, and messages that were not read by then are lost."""
    first = run.raised[0] if run.raised else None
    grace_over = run.trouble_at + max(run.setting.grace, FAREWELL) - EPSILON
    return first is not None and first.call == "wait_closed" and first.at >= grace_over


def judge_errors(run: Run) -> None:
    """Every error has its cause, and stays the same."""
    peer = run.peer
    errors = [raised.error for raised in sorted(run.raised, key=lambda raised: raised.tick)]
    for error in [*errors, *(error for error in run.out_of_block if isinstance(error, WebSocketException))]:
        if isinstance(error, WebSocketDisconnect):
            assert error.code in peer.has_written("close")
        elif isinstance(error, WebSocketProtocolError):
            assert error.code in peer.has_begun("violation")  # its first bytes may tell
        elif isinstance(error, WebSocketKeepaliveTimeout):
            assert run.setting.keepalive
            assert run.stalled_once or peer.deaf or not run.setting.answers_pings
        elif isinstance(error, WebSocketNetworkError):
            assert peer.dropped or peer.deaf
        else:
            assert isinstance(error, WebSocketClosedError)
            assert run.closes
    kinds = [kind_of(error) for error in errors]
    if peer.dropped or peer.deaf:
        # A write failed first, and then the peer's last words were read.
        while len(set(kinds)) > 1 and kinds[0][0] is WebSocketNetworkError and peer.has_begun_last_words():
            del kinds[0]
    changes = [after for before, after in pairwise(kinds) if before != after]
    assert changes in ([], [(WebSocketClosedError, None)]), f"sticky, until we close: {errors}"
    first_refusal = min((raised.tick for raised in run.raised if raised.call == "receive"), default=run.ticks)
    assert all(call.began < first_refusal for call in run.received)


def kind_of(error: WebSocketException) -> tuple[type[WebSocketException], int | None]:
    """Which of the documented classes it is, and its close code."""
    return next(kind for kind in KINDS if isinstance(error, kind)), getattr(error, "code", None)


def judge_telling(run: Run) -> None:
    """A failure is told once: by the calls that raise it, or, after its grace, by the block."""
    group = [error for error in run.out_of_block if isinstance(error, WebSocketException)]
    assert len(group) <= 1
    assert group or run.left, "only a failure that nobody was told of cancels the block"
    if group:
        assert not told(run)
    elif run.failed:
        assert any(isinstance(raised.error, FAILURES) for raised in run.raised)
    if not run.left and not run.closes:
        dead = isinstance(group[0], WebSocketKeepaliveTimeout)
        since = 2 * (run.setting.keepalive or 0) if dead else run.trouble_at
        assert run.over_at >= since + run.setting.grace - EPSILON, "the grace was not over"
        assert run.over_at <= latest_telling(run) + EPSILON, "the grace was over"
    assert len(run.out_of_block) - len(group) == (run.left == "error"), "the block's own error always comes out"


def judge_exit(run: Run) -> None:
    """The block is left in time."""
    if run.left:
        limit = 0 if run.left == "cancel" else run.setting.close_timeout
        assert run.over_at - run.left_at <= limit + 2 * FAREWELL + EPSILON

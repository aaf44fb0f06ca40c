"""How a session ends, without a session: each input in each state, and the deadline."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from httpx2_trio_ws import (
    WebSocketClosedError,
    WebSocketDisconnect,
    WebSocketKeepaliveTimeout,
    WebSocketNetworkError,
    WebSocketProtocolError,
)
from httpx2_trio_ws._core._life import DRAIN, FAREWELL, LINGER, Do, Life

if TYPE_CHECKING:
    from collections.abc import Callable

END = Do.WAKE | Do.FORGET_PINGS
LOST = END | Do.DISCARD_OUT
CAUSE = OSError("broken")
BROKEN = "the connection was lost while sending: broken"


def life(grace: float = 5) -> Life:
    return Life(close_timeout=10, grace=grace)


def draining(at: float = 100) -> Life:
    made = life()
    assert made.write_failed(CAUSE, at) == Do.BREAK_OUT | Do.FORGET_PINGS
    return made


def test_an_open_session_has_no_end() -> None:
    made = life()
    assert (made.receiving, made.sending, made.failure) == (None, None, None)
    assert made.deadline(paused=False) == made.deadline(paused=True) == math.inf
    made.progress(7)
    assert made.deadline(paused=False) == math.inf


def test_a_failed_write_ends_sending_and_not_receiving() -> None:
    made = draining()
    assert made.draining
    assert made.receiving is None
    assert isinstance(made.sending, WebSocketNetworkError)
    assert (str(made.sending), made.sending.__cause__) == (BROKEN, CAUSE)
    assert made.write_failed(OSError("another"), 101) == Do.BREAK_OUT
    assert str(made.sending) == BROKEN


def test_draining_goes_on_as_long_as_something_comes() -> None:
    made = draining(at=100)
    assert made.deadline(paused=False) == 100 + DRAIN
    made.progress(100.9)
    assert made.deadline(paused=False) == 100.9 + DRAIN


def test_draining_into_a_full_queue_waits_for_its_reader_once_that_knows() -> None:
    made = draining(at=100)
    assert made.deadline(paused=True) == 105
    made.told = True
    assert made.deadline(paused=True) == math.inf
    assert Life(10, grace=0).deadline(paused=True) == math.inf
    made = Life(10, grace=0)
    made.write_failed(CAUSE, 100)
    assert made.deadline(paused=True) == 100 + FAREWELL


def test_the_end_of_the_connection() -> None:
    made = life()
    assert made.eof(None, 100) == LOST
    assert "without a close frame: the peer ended it" in str(made.failure)
    assert made.receiving is made.sending is made.failure
    assert made.deadline(paused=False) == -math.inf  # there is nothing to wait for
    assert made.eof(None, 101) == Do.NOTHING


def test_the_end_of_the_connection_while_draining_tells_of_the_write() -> None:
    made = draining()
    assert made.eof(None, 101) == LOST
    assert str(made.failure) == BROKEN
    assert made.failed_at == 100


def test_the_peers_close_frame() -> None:
    made = life()
    assert made.peer_closed(4000, "why", 100) == LOST
    assert made.failure is None
    assert isinstance(made.receiving, WebSocketDisconnect)
    assert isinstance(made.sending, WebSocketDisconnect)
    assert (made.receiving.code, made.sending.code) == (4000, 4000)
    assert made.deadline(paused=True) == 110
    made.said(102)
    made.said(109)
    assert made.deadline(paused=True) == 102 + LINGER
    assert made.peer_closed(4000, "why", 101) == Do.NOTHING


@pytest.mark.parametrize("first", [life, draining])
def test_a_violation_is_a_failure(first: Callable[[], Life]) -> None:
    made = first()
    assert made.peer_violated(1002, "why", 101) == LOST
    assert isinstance(made.failure, WebSocketProtocolError)
    assert made.receiving is made.sending is made.failure


def test_a_failure_is_kept_no_longer_than_its_grace() -> None:
    made = life(grace=1)
    error = WebSocketKeepaliveTimeout("silent")
    assert made.failed(error, CAUSE, 100) == LOST
    assert error.__cause__ is CAUSE
    assert made.failed(WebSocketKeepaliveTimeout("again"), None, 101) == Do.NOTHING
    assert made.failure is error
    assert made.deadline(paused=False) == 101


def test_closing() -> None:
    made = life()
    assert made.close(100, can_say=True) == Do.CLOSE_FRAME | END | Do.DISCARD_IN
    assert isinstance(made.receiving, WebSocketClosedError)
    assert made.closed_here
    assert made.deadline(paused=False) == 110
    assert made.close(105, can_say=True) == Do.NOTHING
    assert made.deadline(paused=False) == 110


def test_a_peer_that_goes_on_talking_after_our_close_changes_nothing() -> None:
    made = life()
    made.close(100, can_say=True)
    for now in (100.5, 101.7, 103):
        made.progress(now)
        assert made.deadline(paused=False) == 110
    made.peer_closed(1000, "", 104)
    made.said(104)
    assert made.deadline(paused=False) == 104 + LINGER
    assert isinstance(made.receiving, WebSocketClosedError)


def test_closing_while_draining_is_over_at_once_and_says_nothing() -> None:
    made = draining()
    assert made.close(101, can_say=True) == LOST | Do.DISCARD_IN
    assert str(made.receiving) == BROKEN
    assert made.deadline(paused=False) == -math.inf


def test_closing_after_the_end_changes_what_is_raised_unless_it_failed() -> None:
    made = life()
    made.peer_closed(1000, "", 100)
    assert made.close(101, can_say=False) == END | Do.DISCARD_IN
    assert isinstance(made.receiving, WebSocketClosedError)
    made = life()
    made.eof(CAUSE, 100)
    made.close(101, can_say=False)
    assert isinstance(made.receiving, WebSocketNetworkError)


def test_a_write_that_fails_after_the_end_only_empties_the_queue() -> None:
    made = life()
    made.close(100, can_say=True)
    assert made.write_failed(CAUSE, 101) == Do.BREAK_OUT
    assert isinstance(made.sending, WebSocketClosedError)


def test_dropping() -> None:
    made = life()
    assert made.drop("gone", 100) == Do.CLOSE_FRAME | END
    assert str(made.receiving) == "gone"
    assert made.drop("again", 101) == Do.NOTHING
    assert draining().drop("gone", 101) == LOST


def test_an_error_of_our_own_wakes_everybody_and_hides_no_end() -> None:
    made = life()
    assert made.bug(ZeroDivisionError("oh"), 100) == END
    assert "an internal error: ZeroDivisionError('oh')" in str(made.receiving)
    made = life()
    made.peer_closed(4000, "", 100)
    assert made.bug(ZeroDivisionError("oh"), 101) == END
    assert isinstance(made.receiving, WebSocketDisconnect)

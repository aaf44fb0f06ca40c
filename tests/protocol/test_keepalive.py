"""The keepalive clock, with times written out."""

from __future__ import annotations

import math

import pytest

from httpx2_trio_ws._protocol import Keepalive
from httpx2_trio_ws._protocol._keepalive import Verdict

NOTHING, PING, DEAD = Verdict.NOTHING, Verdict.PING, Verdict.DEAD


def test_ping_after_the_interval_and_dead_after_the_timeout() -> None:
    keepalive = Keepalive(20, 5, now=100)
    assert keepalive.next_check(100) == 120
    assert keepalive.check(119.9) is NOTHING
    assert keepalive.check(120) is PING
    assert keepalive.next_check(120) == 125
    assert keepalive.check(124.9) is NOTHING
    assert keepalive.check(125) is DEAD
    assert keepalive.check(125) is DEAD, "until a sign of life comes"


def test_any_sign_of_life_puts_off_the_ping() -> None:
    keepalive = Keepalive(20, 5, now=0)
    keepalive.heard_at = 15
    assert keepalive.next_check(15) == 35
    assert keepalive.check(20) is NOTHING
    assert keepalive.check(35) is PING


def test_any_sign_of_life_answers_the_ping() -> None:
    keepalive = Keepalive(20, 5, now=0)
    assert keepalive.check(20) is PING
    keepalive.heard_at = 24
    assert keepalive.next_check(24) == 44
    assert keepalive.check(25) is NOTHING
    assert keepalive.check(44) is PING
    assert keepalive.check(49) is DEAD
    keepalive.heard_at = 49
    assert keepalive.check(49) is NOTHING, "it lives after all"


def test_timeout_is_counted_from_the_ping_not_from_when_it_was_due() -> None:
    keepalive = Keepalive(20, 5, now=0)
    assert keepalive.check(60) is PING
    assert keepalive.check(64.9) is NOTHING
    assert keepalive.check(65) is DEAD


def test_timeout_longer_than_the_interval() -> None:
    keepalive = Keepalive(1, 10, now=0)
    assert keepalive.check(1) is PING
    assert keepalive.next_check(1) == 2, "the next ping would be due then, if the pong came at once"
    assert keepalive.check(2) is NOTHING
    assert keepalive.next_check(2) == 11
    assert keepalive.check(10.9) is NOTHING, "one ping is enough"
    assert keepalive.check(11) is DEAD


@pytest.mark.parametrize("timeout", [None, math.inf])
def test_no_timeout_pings_for_ever(timeout: float | None) -> None:
    keepalive = Keepalive(20, timeout, now=0)
    for number in range(1, 50):
        assert keepalive.next_check(number * 20 - 1) == number * 20
        assert keepalive.check(number * 20 - 1) is NOTHING
        assert keepalive.check(number * 20) is PING


def test_nothing_is_due_while_paused() -> None:
    keepalive = Keepalive(20, 5, now=0)
    keepalive.pause()
    for now in (0, 20, 1000):
        assert keepalive.check(now) is NOTHING
        assert keepalive.next_check(now) == now + 20


def test_silence_is_counted_from_when_we_read_again() -> None:
    keepalive = Keepalive(20, 5, now=0)
    keepalive.pause()
    keepalive.resume(1000)
    assert keepalive.next_check(1000) == 1020
    assert keepalive.check(1019) is NOTHING
    assert keepalive.check(1020) is PING


def test_ping_on_its_way_when_we_pause_is_not_held_against_the_peer() -> None:
    keepalive = Keepalive(20, 5, now=0)
    assert keepalive.check(20) is PING
    keepalive.pause()
    assert keepalive.check(30) is NOTHING
    keepalive.resume(30)
    assert keepalive.check(49) is NOTHING
    assert keepalive.check(50) is PING
    assert keepalive.check(55) is DEAD


def test_bytes_heard_while_paused_do_not_end_the_pause() -> None:
    keepalive = Keepalive(20, 5, now=0)
    keepalive.pause()
    keepalive.heard_at = 10
    assert keepalive.check(1000) is NOTHING


def test_an_answer_within_a_timeout_longer_than_the_interval() -> None:
    keepalive = Keepalive(1, 10, now=0)
    assert keepalive.check(1) is PING
    keepalive.heard_at = 1.5
    assert keepalive.check(2) is NOTHING
    assert keepalive.next_check(2) == 2.5
    assert keepalive.check(2.5) is PING


def test_a_peer_whose_system_takes_bytes_is_not_dead() -> None:
    """The ping is behind them. When it has been taken, it has to be answered."""
    keepalive = Keepalive(10, 20, 0)
    assert keepalive.check(10, 5000) is Verdict.PING
    assert keepalive.check(30, 4000) is Verdict.NOTHING
    assert keepalive.check(40, 50_000) is Verdict.PING
    assert keepalive.check(60, 0) is Verdict.NOTHING
    assert keepalive.check(70, 100) is Verdict.PING
    assert keepalive.check(90, 100) is Verdict.DEAD
    assert keepalive.check(90, 0) is Verdict.DEAD

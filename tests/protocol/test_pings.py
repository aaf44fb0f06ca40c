"""Which pong answers which ping."""

from __future__ import annotations

import os

import pytest

from httpx2_trio_ws._protocol import PingBook


def book(*payloads: bytes) -> PingBook[str]:
    """A book in which pings wait, each kept under its own name."""
    pings: PingBook[str] = PingBook()
    for payload in payloads:
        pings.sent(pings.payload(payload), payload.decode())
    return pings


def test_pong_answers_its_ping() -> None:
    pings = book(b"a")
    assert pings.answered(b"a") == ["a"]
    assert pings.answered(b"a") == []


def test_pong_answers_the_pings_before_its_own() -> None:
    pings = book(b"a", b"b", b"c", b"d")
    assert pings.answered(b"c") == ["a", "b", "c"]
    assert pings.answered(b"d") == ["d"]


def test_pongs_out_of_order() -> None:
    pings = book(b"a", b"b", b"c")
    assert pings.answered(b"b") == ["a", "b"]
    assert pings.answered(b"a") == [], "it was answered by the later pong"
    assert pings.answered(b"c") == ["c"]


def test_unsolicited_pong_answers_nothing() -> None:
    pings = book(b"a")
    assert pings.answered(b"") == []
    assert pings.answered(b"x") == []
    assert pings.answered(b"a") == ["a"]


def test_payload_may_be_used_again_once_answered() -> None:
    pings = book(b"a")
    with pytest.raises(ValueError, match="b'a' waits for its pong already"):
        pings.payload(b"a")
    pings.answered(b"a")
    assert pings.payload(b"a") == b"a"


def test_payloads_of_our_own_choice_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    pings = book(b"same")
    draws = iter((b"same", b"new1"))
    monkeypatch.setattr(os, "urandom", lambda _size: next(draws))
    assert pings.payload(b"") == b"new1"


def test_payload_of_our_own_choice_is_unpredictable() -> None:
    pings = book()
    payloads = {pings.payload(b"") for _ in range(20)}
    assert len(payloads) > 15
    assert {len(payload) for payload in payloads} == {4}


def test_forgetting_hands_back_those_that_wait() -> None:
    pings = book(b"a", b"b", b"c")
    pings.answered(b"a")
    assert pings.forget() == ["b", "c"]
    assert pings.forget() == []
    assert pings.answered(b"c") == []

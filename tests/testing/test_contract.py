"""The session contract's own machinery: running checks, and telling what they found.

That each check can fail is shown in ``tests/contract``, where the checks are run on every event loop, too.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from httpx2_trio_ws import WebSocketKeepaliveTimeout
from httpx2_trio_ws.anyio import open_websocket
from httpx2_trio_ws.testing import Check, ScriptedPeer, check_session, memory_server, session_checks
from httpx2_trio_ws.testing._contract import _keepalive, _sending, _stage, _turns
from tests.virtual_time import VIRTUAL, run_virtual

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

CHECKS = {check.name: check for check in session_checks()}
loops = pytest.mark.parametrize("loop", VIRTUAL)


@contextlib.asynccontextmanager
async def maker(handler: Callable[[ScriptedPeer], Awaitable[object]], /, **options: Any) -> AsyncGenerator[Any]:
    async with (
        memory_server(handler, compression="deflate") as client,
        open_websocket(client, "/", **options) as session,
    ):
        yield session


@loops
def test_this_librarys_sessions_keep_the_contract(loop: str) -> None:
    run_virtual(loop, check_session, maker)


def test_there_are_many_checks_each_with_a_name_of_its_own() -> None:
    assert len(CHECKS) == len(session_checks()) > 200
    assert {check.group for check in session_checks()} == {
        *("cancelling", "closing", "failures", "keepalive", "limits", "nothing_left"),
        *("pings", "receiving", "receiving_in_parts", "sending", "sending_in_parts", "state", "turns", "wrong_use"),
    }


@pytest.mark.parametrize("need", ["cancellation", "compression", "doubles", "groups", "order", "turns"])
def test_checks_can_be_left_out_by_what_they_need(need: str) -> None:
    left = session_checks(without=[need])
    assert 0 < len(session_checks()) - len(left) < 50
    assert not any(need in check.needs for check in left)
    assert all(need in check.needs for check in session_checks() if check not in left)


def test_a_need_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="no check needs cancelation; there are cancellation, "):
        session_checks(without=["cancelation"])


def check_that(function: Callable[[Any], Awaitable[None]]) -> Check:
    return Check("example", "examples", frozenset(), function)


async def passes(maker: Any) -> None:
    await anyio.sleep(1)


async def fails(maker: Any) -> None:
    raise AssertionError("not so")


async def hangs(maker: Any) -> None:
    await anyio.sleep_forever()


@loops
def test_what_fails_is_told_of_together(loop: str) -> None:
    with pytest.raises(ExceptionGroup, match="2 of 3 checks of the session contract failed") as caught:
        run_virtual(loop, partial(check_session, maker, checks=[check_that(f) for f in (passes, fails, hangs)]))
    failed, hung = caught.value.exceptions
    assert isinstance(failed, AssertionError)
    assert failed.__notes__ == ["This was found by the check example (examples)."]
    assert isinstance(hung, TimeoutError)
    assert str(hung) == "the check example was not over after 10 seconds"


# -- what checks are written with ------------------------------------------------------------------


def test_claims() -> None:
    _stage.that(1, "no error")
    with pytest.raises(AssertionError, match=r"^text$"):
        _stage.that(0, "text")
    _stage.equal([1], [1], "no error")
    with pytest.raises(AssertionError, match=r"^the list: got 1, expected 2$"):
        _stage.equal(1, 2, "the list")
    with pytest.raises(AssertionError, match=r"^the list: got 'x{239} … x{239}', expected 2$"):
        _stage.equal("x" * 1000, 2, "the list")


def test_claims_about_exceptions() -> None:
    with _stage.raises(KeyError) as raised:
        _stage.fail(KeyError("mine"))
    assert raised.error.args == ("mine",)
    with pytest.raises(AssertionError, match="KeyError was not raised"), _stage.raises(KeyError):
        pass
    with pytest.raises(ValueError, match="other"), _stage.raises(KeyError):
        raise ValueError("other")


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        ([], [KeyError]),
        ([KeyError()], []),
        ([KeyError()], [ValueError]),
        ([KeyError(), ValueError()], [KeyError]),
        ([KeyError()], [KeyError, ValueError]),
    ],
)
def test_claims_about_what_leaves_a_block(raised: list[Exception], expected: list[type[Exception]]) -> None:
    with pytest.raises(AssertionError, match=r"^left the block: "), _stage.leaves(*expected):
        if raised:
            raise ExceptionGroup("", [ExceptionGroup("", raised)])


@loops
def test_claims_about_time(loop: str) -> None:
    async def main() -> None:
        with _stage.takes(1, 2):
            await anyio.sleep(1)
        with pytest.raises(AssertionError, match=r"took 0.500 s, not 1 to 2"), _stage.takes(1, 2):
            await anyio.sleep(0.5)
        with pytest.raises(AssertionError, match=r"took 4.500 s, not 1 to 2"), _stage.takes(1, 2):
            await anyio.sleep(4.5)

    run_virtual(loop, main)


@loops
@pytest.mark.parametrize("name", ["any_byte_is_a_sign_of_life", "there_is_no_ping_while_there_is_no_silence"])
def test_a_busy_machine_is_not_held_against_the_session(loop: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the check's own peer could not keep the time, the check tries again, and then leaves it at that."""
    attempts: list[ScriptedPeer] = []
    drip = _keepalive._drip

    async def slowly(peer: ScriptedPeer, pace: Any) -> None:
        attempts.append(peer)
        await anyio.sleep(0.1)
        await drip(peer, pace)

    monkeypatch.setattr(_keepalive, "_drip", slowly)
    run_virtual(loop, partial(CHECKS[name], maker))
    assert len(attempts) == 5


@loops
def test_a_session_that_gives_up_on_a_steady_peer_has_no_excuse(loop: str) -> None:
    def hasty(handler: Any, /, **options: Any) -> Any:
        return maker(handler, **options | {"keepalive_ping_timeout_seconds": 0.001})

    with pytest.raises(ExceptionGroup) as caught:
        run_virtual(loop, partial(CHECKS["any_byte_is_a_sign_of_life"], hasty))
    assert caught.group_contains(WebSocketKeepaliveTimeout)


@loops
def test_a_queue_that_does_not_fill_is_not_held_against_the_session(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sending, "_MUCH", 2**30)
    run_virtual(loop, partial(CHECKS["a_ping_does_not_wait_behind_messages"], maker))


@loops
def test_a_call_that_waits_is_waited_for_though_others_have_turns(loop: str) -> None:
    async def main() -> None:
        await _turns._call_many_times(partial(anyio.sleep, 1), 10)
        with pytest.raises(AssertionError, match="during 128 calls another task had 0 turns"):
            await _turns._call_many_times(no_turn, 128)

    async def no_turn() -> None:
        pass

    run_virtual(loop, main)

"""Messages in parts, in threads: misuse, timeouts, and Ctrl-C; all else is in the session contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from httpx2_trio_ws import WebSocketClosedError
from httpx2_trio_ws._sync import _inbox, _sending_in_parts
from httpx2_trio_ws._sync._waiting import Waiter
from tests.memory import BINARY, TEXT, frame, text

from .support import played

if TYPE_CHECKING:
    from collections.abc import Callable

    from httpx2_trio_ws.sync import SyncWebSocketSession

CONTINUATION = 0


def interrupted(monkeypatch: pytest.MonkeyPatch, module: object, *, late: bool = False) -> None:
    """Ctrl-C comes in the next wait of a module; ``late``: when what is waited for has come."""

    class Interrupted(Waiter):
        def wait(self, seconds: float | None = None) -> bool:
            if late:
                Waiter.wait(self, seconds)
            monkeypatch.undo()
            raise KeyboardInterrupt

    if module is _inbox:
        monkeypatch.setattr(_inbox._Receiver, "wait", Interrupted.wait)
        monkeypatch.setattr(_inbox, "Waiter", Interrupted)
    else:
        monkeypatch.setattr(_sending_in_parts.Sender, "wait", Interrupted.wait)
        monkeypatch.setattr(_sending_in_parts, "Waiter", Interrupted)


def test_a_thread_does_not_wait_for_itself() -> None:
    with played(close_timeout_seconds=0) as (ws, peer):
        with ws.send_stream("text") as message:
            message.send("sound")
            calls: list[Callable[[], object]] = [lambda: ws.send("x"), lambda: ws.send_stream("text").__enter__()]
            for call in calls:
                with pytest.raises(RuntimeError, match="send_stream"):
                    call()
        peer.send(frame(TEXT, b"so", fin=False))
        with ws.receive_stream() as received:
            for call in (ws.receive, ws.receive_text, lambda: next(ws), lambda: ws.receive_stream().__enter__()):
                with pytest.raises(RuntimeError, match="receive_stream"):
                    call()
            peer.send(frame(CONTINUATION, b"und"))
            assert "".join(map(str, received)) == "sound"


def test_a_message_that_does_not_begin_in_time() -> None:
    with played(close_timeout_seconds=0) as (ws, peer):
        for _ in range(2):
            with pytest.raises(TimeoutError, match="no message came within"), ws.receive_stream(timeout=0.01):
                pass
        with pytest.raises(TypeError, match="timeout must be"):
            ws.receive_stream(timeout="1")  # type: ignore[arg-type]
        peer.send(text("whole"))
        assert ws.receive() == "whole"


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_ctrl_c_where_a_message_is_waited_for(monkeypatch: pytest.MonkeyPatch, late: bool, whole: bool) -> None:
    with played(close_timeout_seconds=0) as (ws, peer):
        if late:
            peer.send(text("a message") if whole else frame(TEXT, b"a ", fin=False))
        interrupted(monkeypatch, _inbox, late=late)
        with pytest.raises(KeyboardInterrupt), ws.receive_stream():
            pass
        if not late:
            peer.send(text("a message") if whole else frame(TEXT, b"a ", fin=False))
        if not whole:
            peer.send(frame(CONTINUATION, b"message"))
        peer.send(text("next"))
        assert [ws.receive(10), ws.receive(10)] == ["a message", "next"]


def test_ctrl_c_where_a_part_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with played(close_timeout_seconds=0) as (ws, peer):
        peer.send(frame(BINARY, b"one", fin=False))
        with ws.receive_stream() as message:
            assert next(message) == b"one"
            interrupted(monkeypatch, _inbox)
            with pytest.raises(KeyboardInterrupt):
                next(message)
            peer.send(frame(CONTINUATION, b"two"))
            assert list(message) == [b"two"]


@pytest.mark.parametrize("late", [False, True])
def test_ctrl_c_where_a_turn_is_waited_for(monkeypatch: pytest.MonkeyPatch, late: bool) -> None:
    with played(close_timeout_seconds=0) as (ws, peer):
        interrupted(monkeypatch, _sending_in_parts, late=late)
        with pytest.raises(KeyboardInterrupt), ws.send_stream("text"):
            pass
        ws.send("next")
        assert peer.receive().payload == b"next"


def broken_off(ws: SyncWebSocketSession) -> None:
    with pytest.raises(WebSocketClosedError):
        while True:
            ws.send("next")


def test_ctrl_c_where_a_message_is_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    with played(close_timeout_seconds=0) as (ws, _):

        def interrupt(_: object) -> None:
            raise KeyboardInterrupt

        def send() -> None:
            with ws.send_stream("text") as message:
                message.send("begun")
                monkeypatch.setattr(ws._outbox, "complete", interrupt)

        with pytest.raises(KeyboardInterrupt):
            send()
        broken_off(ws)


def test_ctrl_c_in_the_block() -> None:
    with played(close_timeout_seconds=0) as (ws, _):

        def send() -> None:
            with ws.send_stream("text") as message:
                message.send("begun")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            send()
        broken_off(ws)

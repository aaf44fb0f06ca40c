"""Messages in parts, in threads: the moments that the session contract does not choose, misuse, timeouts, and Ctrl-C."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from httpx2_trio_ws import WebSocketClosedError, WebSocketNetworkError, WebSocketProtocolError
from httpx2_trio_ws._core._life import Life
from httpx2_trio_ws._protocol import Connection
from httpx2_trio_ws._sync import _inbox, _sending_in_parts
from httpx2_trio_ws._sync._waiting import Waiter
from tests.memory import BINARY, CLOSE, TEXT, close_frame, frame, text

from .support import BIG, LONG, Task, eventually, played

if TYPE_CHECKING:
    from collections.abc import Callable

    from httpx2_trio_ws._protocol import Outgoing
    from httpx2_trio_ws.sync import SyncWebSocketSession

CONTINUATION = 0


LARGE: Any = {"max_message_size_bytes": 1000, "stream_large_messages": True, "close_timeout_seconds": 0}


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


def parts_of(ws: SyncWebSocketSession) -> list[str | bytes]:
    with ws.receive_stream() as message:
        return list(message)


# -- receiving -------------------------------------------------------------------------------------


def test_closing_discards_a_message_that_had_come_whole_and_was_not_taken() -> None:
    with played(close_timeout_seconds=0) as (ws, peer):
        peer.send(text("whole"))
        with ws.receive_stream() as message:
            ws.close()
            with pytest.raises(WebSocketClosedError):
                next(message)


def test_parts_that_come_while_none_is_waited_for() -> None:
    """What has come by the time of a call is one part; what comes after the message waits for its end."""
    with played(close_timeout_seconds=0) as (ws, peer):
        peer.send(frame(TEXT, b"one ", fin=False))
        with ws.receive_stream() as message:
            assert next(message) == "one "
            stream = ws._inbox._stream
            assert stream is not None
            peer.send(frame(CONTINUATION, b"two ", fin=False))
            eventually(lambda: stream.parts)
            peer.send(frame(CONTINUATION, b"three ", fin=False))
            eventually(lambda: stream.incoming.size)
            assert [next(message), next(message)] == ["two ", "three "]
            peer.send(frame(CONTINUATION, b"four"), text("next"))
            receiving = Task(ws.receive)
            eventually(lambda: ws._inbox._later and ws._inbox._receivers)
            assert list(message) == ["four"]
            assert receiving.result() == "next"


def test_a_part_that_comes_just_before_it_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with played(close_timeout_seconds=0) as (ws, peer):
        peer.send(frame(TEXT, b"part", fin=False))
        with ws.receive_stream() as message:
            ask = _inbox.Inbox._ask

            def ask_and_see(inbox: _inbox.Inbox) -> None:
                ask(inbox)
                eventually(lambda: inbox._stream is None or inbox._stream.parts)

            monkeypatch.setattr(_inbox.Inbox, "_ask", ask_and_see)
            peer.send(frame(CONTINUATION, b"s"))
            assert "".join(map(str, message)) == "parts"


@pytest.mark.parametrize("ended", [False, True])
def test_ctrl_c_where_a_message_has_come(monkeypatch: pytest.MonkeyPatch, ended: bool) -> None:
    """Its block was not entered: it is whole again, and comes before those after it."""
    with played(close_timeout_seconds=0) as (ws, peer):

        def interrupt() -> None:
            monkeypatch.undo()
            stream = ws._inbox._stream
            assert stream is not None
            if ended:
                peer.send(frame(CONTINUATION, b"ole"), text("next"))
                eventually(lambda: stream.incoming.ended)
            raise KeyboardInterrupt

        peer.send(frame(TEXT, b"wh", fin=False))
        monkeypatch.setattr(ws._outbox, "calm", interrupt)
        with pytest.raises(KeyboardInterrupt):
            ws.receive_stream().__enter__()
        if not ended:
            peer.send(frame(CONTINUATION, b"ole"), text("next"))
        assert [ws.receive(LONG), ws.receive(LONG)] == ["whole", "next"]


def test_a_message_in_fragments_that_comes_as_the_thread_that_waits_gives_up() -> None:
    """The reader was told that it is wanted in parts, and finds nobody; so it is received whole."""
    connection = Connection()

    def look() -> None:
        assert inbox.look()

    inbox = _inbox.Inbox(4, look, Life(5), connection)
    with pytest.raises(TimeoutError):
        inbox.wait_in_parts(0)
    assert connection.wanted
    came = frame(TEXT, b"in ", fin=False) + frame(CONTINUATION, b"parts") + text("next")
    for data in (came, b""):
        inbox.put(connection.receive_data(data), connection.size_of_messages)
        look()
    assert [inbox.wait(0), inbox.wait(0)] == ["in parts", "next"]


def test_a_large_message_that_is_wanted_whole() -> None:
    with played(**LARGE) as (ws, peer):
        peer.send(text("L" * 5000))
        with pytest.raises(WebSocketProtocolError) as raised:
            ws.receive(LONG)
        assert raised.value.code == 1009
        assert peer.receive() == (CLOSE, close_frame(1009, raised.value.reason)[2:])


def test_a_large_message_that_was_cut_off_before_anyone_took_it() -> None:
    """What had come is handed out, and then the end is told, there and by every later call."""
    with played(**LARGE) as (ws, peer):
        peer.send(text("L" * 5000)[:3000])
        peer.socket.close()
        eventually(lambda: ws._inbox.error)
        with ws.receive_stream() as message:
            assert len(next(message)) > 2000
            with pytest.raises(WebSocketNetworkError):
                next(message)
        with pytest.raises(WebSocketNetworkError):
            ws.receive_stream().__enter__()


def test_a_message_that_is_cut_off_while_a_part_is_waited_for() -> None:
    with played(close_timeout_seconds=0) as (ws, peer):
        peer.send(frame(TEXT, b"begun", fin=False))
        with ws.receive_stream() as message:
            assert next(message) == "begun"
            peer.begin(peer.socket.close)
            with pytest.raises(WebSocketNetworkError):
                next(message)


def test_closing_while_one_thread_has_a_message_and_another_waits_for_the_next() -> None:
    with played(**LARGE) as (ws, peer):
        peer.send(frame(TEXT, b"begun, ", fin=False))
        with ws.receive_stream() as message:
            peer.send(frame(CONTINUATION, b"ended"), frame(BINARY, bytes(5000))[:3000])
            receiving = Task(parts_of, ws)
            connection = ws._engine.connection  # its message is the first one until that has been read to its end
            eventually(lambda: ws._inbox._receivers and getattr(connection.incoming, "large", False))
            ws.close()
            with pytest.raises(WebSocketClosedError):
                next(message)
        with pytest.raises(WebSocketClosedError):
            receiving.result()


def test_a_message_that_is_there_is_one_part() -> None:
    with played(close_timeout_seconds=0) as (ws, peer):
        peer.send(text("whole"), frame(BINARY), text("next"))
        eventually(lambda: ws.statistics().queued_messages == 3)
        assert [parts_of(ws), parts_of(ws)] == [["whole"], []]
        assert ws.receive(LONG) == "next"


def test_what_comes_after_a_message_in_parts_is_bounded() -> None:
    """Reading pauses, and goes on when the block has been left."""
    with played(queue_size=2, compression=None, close_timeout_seconds=0) as (ws, peer):
        peer.send(frame(TEXT, b"begun", fin=False))
        with ws.receive_stream() as message:
            assert next(message) == "begun"
            peer.send(frame(CONTINUATION), *(text(str(number)) for number in range(9)))
            eventually(lambda: ws._engine._paused)
            assert len(ws._inbox._later) == 2
        assert [ws.receive(LONG) for _ in range(9)] == [str(number) for number in range(9)]


# -- sending ---------------------------------------------------------------------------------------


def test_parts_wait_for_room() -> None:
    """None of them is lost, nor is one that is empty sent."""
    with played(small=True, compression=None, close_timeout_seconds=0) as (ws, peer):

        def send() -> None:
            with ws.send_stream("binary") as message:
                message.send(b"")
                for _ in range(BIG // 10_000):
                    message.send(bytes(10_000))

        sending = Task(send)
        eventually(lambda: ws._outbox._room)
        size = 0
        while size < BIG:
            size += len(peer.fragment()[0].payload)
        sending.result()
        assert size == BIG


def test_a_session_that_ends_inside_a_message_or_before_it() -> None:
    with played(close_timeout_seconds=0) as (ws, _):
        with pytest.raises(WebSocketClosedError), ws.send_stream("text") as message:
            message.send("begun")
            ws.close()
            with pytest.raises(WebSocketClosedError):
                message.send("too late")
        with pytest.raises(WebSocketClosedError):
            ws.send_stream("text").__enter__()


@pytest.mark.parametrize(("error", "code"), [(ZeroDivisionError, 1011), (KeyboardInterrupt, 1001)])
def test_what_breaks_a_message_off_is_told_by_the_code(error: type[BaseException], code: int) -> None:
    with played(close_timeout_seconds=0) as (ws, peer):
        with pytest.raises(error), ws.send_stream("text") as message:
            message.send("begun")
            raise error
        while (received := peer.fragment()[0]).opcode != CLOSE:
            assert received.payload == b"begun"
        assert received.payload[:2] == code.to_bytes(2)


def test_an_error_before_the_first_part() -> None:
    with played(close_timeout_seconds=0) as (ws, peer):
        with pytest.raises(ZeroDivisionError), ws.send_stream("text"):
            raise ZeroDivisionError
        ws.send("next")
        assert peer.receive() == (TEXT, b"next")


# -- misuse, and calls that end early --------------------------------------------------------------


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


@pytest.mark.parametrize("come", [3000, 5000])
def test_ctrl_c_where_a_large_message_is_handed_out(monkeypatch: pytest.MonkeyPatch, come: int) -> None:
    """No call has had any of it, so the next one has all."""
    with played(**LARGE) as (ws, peer):
        wire = text("L" * 5000)
        peer.send(wire[: len(wire) - 5000 + come])
        interrupted(monkeypatch, _inbox, late=True)
        with pytest.raises(KeyboardInterrupt), ws.receive_stream():
            pass
        peer.send(wire[len(wire) - 5000 + come :], text("next"))
        assert "".join(map(str, parts_of(ws))) == "L" * 5000
        assert ws.receive(LONG) == "next"


def test_ctrl_c_where_what_comes_after_a_large_message_is_there() -> None:
    """There is no place for it before them: it is skipped."""
    with played(**LARGE) as (ws, peer):
        box = ws._inbox
        peer.send(text("L" * 5000), text("next"))
        message = box.wait_in_parts(LONG)
        eventually(lambda: box._later)
        box.give_back(message)
        assert ws.receive(LONG) == "next"


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


@pytest.mark.parametrize("taken", [False, True])
def test_ctrl_c_where_a_part_is_taken(monkeypatch: pytest.MonkeyPatch, taken: bool) -> None:
    """A part that the call had taken is put back."""

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with played(close_timeout_seconds=0) as (ws, peer):
        peer.send(frame(TEXT, b"one ", fin=False))
        with ws.receive_stream() as message:
            stream = ws._inbox._stream
            assert stream is not None
            if taken:
                assert next(message) == "one "
                peer.send(frame(CONTINUATION, b"two", fin=False))
                eventually(lambda: stream.parts)
            with monkeypatch.context() as patch:
                patch.setattr(_inbox.Inbox, "_ask", interrupt)
                with pytest.raises(KeyboardInterrupt):
                    next(message)
            assert next(message) == ("two" if taken else "one ")


@pytest.mark.parametrize("late", [False, True])
def test_ctrl_c_where_a_message_ends(monkeypatch: pytest.MonkeyPatch, late: bool) -> None:
    """It does not hold up those after it."""
    leave = _inbox.Inbox.leave

    def interrupt(inbox: _inbox.Inbox, stream: _inbox.Stream) -> None:
        monkeypatch.undo()
        if late:
            leave(inbox, stream)
        raise KeyboardInterrupt

    with played(close_timeout_seconds=0) as (ws, peer):
        peer.send(frame(TEXT, b"mess", fin=False))
        with pytest.raises(KeyboardInterrupt), ws.receive_stream() as message:
            peer.send(frame(CONTINUATION, b"age"), text("next"))
            monkeypatch.setattr(_inbox.Inbox, "leave", interrupt)
            for _ in message:
                pass
        assert ws.receive(LONG) == "next"


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


@pytest.mark.parametrize("late", [False, True])
def test_ctrl_c_where_a_message_is_completed(monkeypatch: pytest.MonkeyPatch, late: bool) -> None:
    """It is broken off, unless it was complete by then."""
    with played(compression=None, close_timeout_seconds=0) as (ws, peer):
        complete = ws._outbox.complete

        def interrupt(outgoing: Outgoing) -> None:
            if late:
                complete(outgoing)
            raise KeyboardInterrupt

        def send() -> None:
            with ws.send_stream("text") as message:
                message.send("begun")
                monkeypatch.setattr(ws._outbox, "complete", interrupt)

        with pytest.raises(KeyboardInterrupt):
            send()
        if late:
            ws.send("next")
            received = b""
            while not received.endswith(b"next"):
                received += peer.fragment()[0].payload
            assert received == b"begunnext"
        else:
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

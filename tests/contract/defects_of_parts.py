"""Defects in how messages are sent and received in parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from httpx2_trio_ws._protocol import BINARY, Connection, Incoming, Outgoing, _incoming, _outgoing
from httpx2_trio_ws._session import _streaming
from httpx2_trio_ws._session._inbox import Inbox
from httpx2_trio_ws._session._outbox import Outbox
from httpx2_trio_ws._session._streaming import MessageReader, MessageWriter

from .defects import Defective

if TYPE_CHECKING:
    import pytest


# -- sending ---------------------------------------------------------------------------------------


class KeepsPartsToTheEnd(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        frame = Outgoing.frame
        monkeypatch.setattr(Outgoing, "frame", lambda outgoing: frame(outgoing) if outgoing.complete else b"")


class SendsEachPartAsAMessage(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        def framed(outgoing: Any, payload: Any, *, fin: bool) -> bytes:
            return bytes(outgoing._connection.encode(bytes(payload), outgoing._kind or BINARY))

        monkeypatch.setattr(Outgoing, "_framed", framed)


class SendsTheFirstPartOnly(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        add = Outbox.add
        monkeypatch.setattr(Outbox, "add", lambda box, out, part: None if out.begun else add(box, out, part))


class SendsLargeFragments(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_outgoing, "FRAGMENT", 2**30)


class SendsNoEmptyMessageInParts(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        complete = Outbox.complete
        monkeypatch.setattr(Outbox, "complete", lambda box, out: complete(box, out) if out.begun else box.withdraw(out))


class SendsInsideOfOthers(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Outbox, "must_wait", property(lambda box: box.size > 65536))


class TakesAllParts(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        async def wait_room(_: Outbox) -> None:
            await trio.lowlevel.checkpoint()

        monkeypatch.setattr(Outbox, "wait_room", wait_room)


class EndsWhatIsBrokenOff(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        leave = MessageWriter.__aexit__

        async def leave_as_if_all_was_well(writer: MessageWriter, *_: Any) -> None:
            await leave(writer, None, None, None)

        monkeypatch.setattr(MessageWriter, "__aexit__", leave_as_if_all_was_well)


class TakesPartsWhenCancelled(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        send = MessageWriter.send

        async def send_all(writer: MessageWriter, part: Any) -> None:
            try:
                await send(writer, part)
            except trio.Cancelled:
                writer._session._engine.outbox.add(writer._outgoing, bytes(part))
                raise

        monkeypatch.setattr(MessageWriter, "send", send_all)


class ForgetsPartsWhenItCloses(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        end_with = Outgoing.end_with

        def end_at_once(outgoing: Outgoing, frame: bytes) -> None:
            outgoing.drop()
            end_with(outgoing, frame)

        monkeypatch.setattr(Outgoing, "end_with", end_at_once)


class SendsWhatWaitedAtTheEnd(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        release = Outbox.release_turns

        def send_and_release(box: Outbox) -> None:
            for turn in box._turns:
                if turn.message is not None:
                    box.push(*turn.message)
            release(box)

        monkeypatch.setattr(Outbox, "release_turns", send_and_release)


class SaysNothingOfWhatWasCutOff(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        async def leave(writer: MessageWriter, *_: Any) -> None:
            writer._state = "was left"

        monkeypatch.setattr(MessageWriter, "__aexit__", leave)


class TakesAnyPart(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            _streaming, "check_part", lambda part, _: part.encode() if isinstance(part, str) else bytes(part or b"")
        )


# -- receiving -------------------------------------------------------------------------------------


class GivesPartsAtTheEnd(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        take = Incoming.take
        monkeypatch.setattr(_incoming, "HELD", 2**30)
        monkeypatch.setattr(Incoming, "take", lambda incoming: take(incoming) if incoming.ended else "")


class HoldsAllThatComes(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_incoming, "HELD", 2**40)


class LosesTheFirstPart(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        enter = MessageReader.__aenter__

        async def enter_and_lose(reader: MessageReader) -> MessageReader:
            await enter(reader)
            reader._whole = ""
            if reader._incoming is not None:
                reader._incoming.take()
            return reader

        monkeypatch.setattr(MessageReader, "__aenter__", enter_and_lose)


class NeverSkips(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Incoming, "skip", lambda _: None)


class EndsWhatWasCutOff(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        next_part = MessageReader._next

        async def next_or_end(reader: MessageReader) -> Any:
            try:
                return await next_part(reader)
            except Exception:
                return b""

        monkeypatch.setattr(MessageReader, "_next", next_or_end)


class HandsOutAfterClosing(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        next_part = MessageReader._next

        async def whole_or_next(reader: MessageReader) -> Any:
            whole, reader._whole = reader._whole, b""
            return whole or await next_part(reader)

        monkeypatch.setattr(MessageReader, "_next", whole_or_next)


class RefusesLargeMessagesAtOnce(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Connection, "streams_large", property(lambda _: False, lambda _, __: None))


class KeepsItsPlaceWhenCancelled(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        leave = Inbox._leave
        monkeypatch.setattr(Inbox, "_leave", lambda box, turn: leave(box, turn) if turn.is_set() else None)


class HandsOutToNobody(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        def fold(connection: Connection) -> None:
            assert connection.incoming is not None
            connection.incoming.skip()

        monkeypatch.setattr(Connection, "fold", fold)


# -- wrong use -------------------------------------------------------------------------------------


class EntersBlocksAgain(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(MessageReader, "_state", property(lambda _: "was not entered", lambda _, __: None))


class WaitsForItself(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Outbox, "_owner", property(lambda _: None, lambda _, __: None))


class SharesAMessage(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(MessageReader, "_busy", property(lambda _: False, lambda _, __: None))


class CountsNoFragments(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Connection, "fragments_sent", property(lambda _: 0, lambda _, __: None))

"""The inputs that the fuzzer has gathered, once more without it; and defects that they find."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from fuzz import fuzz_handshake, fuzz_http2, fuzz_protocol

from httpx2_trio_ws import WebSocketUpgradeError
from httpx2_trio_ws import _http2 as http2
from httpx2_trio_ws._handshake._agreement import Agreement, check_response
from httpx2_trio_ws._handshake._asking import shake_hands
from httpx2_trio_ws._handshake._versions import HTTP1
from httpx2_trio_ws._protocol import TEXT, Connection

from .protocol._compare import run_reference
from .protocol.test_differential import DEEP

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2

    from httpx2_trio_ws._handshake._asking import AsyncOpening
    from httpx2_trio_ws._options import HandshakeOptions
    from httpx2_trio_ws._protocol import Message

CORPUS = Path(__file__).parent.parent / "fuzz" / "corpus"


def corpus(name: str) -> list[bytes]:
    """The inputs, small ones first."""
    return sorted((path.read_bytes() for path in (CORPUS / name).iterdir()), key=len)


def replay(check: Callable[[bytes], None], name: str) -> None:
    for path in sorted((CORPUS / name).iterdir()):
        try:
            check(path.read_bytes())
        except BaseException as exc:
            exc.add_note(f"with {path}")
            raise


def test_protocol() -> None:
    replay(fuzz_protocol.check, "protocol")


def test_handshake() -> None:
    replay(fuzz_handshake.check, "handshake")


def test_http2() -> None:
    replay(fuzz_http2.check, "http2")


def test_the_corpus_goes_deep() -> None:
    labels = [run_reference(fuzz_protocol.decode(data))[1] for data in corpus("protocol")]
    assert set(DEEP) <= set().union(*labels)


def finds(check: Callable[[bytes], None], name: str) -> bool:
    """Some input of the corpus makes the check fail."""
    for data in corpus(name):
        try:
            check(data)
        except AssertionError:
            return True
    return False


# -- defects: the check is worth something only if it finds them -----------------------------------


class ForgetsHalfAFrame(Connection):
    """Works as long as each read ends with a frame."""

    def receive_data(self, data: bytes | memoryview, max_messages: int = 2**62) -> list[Message]:
        self._rest = self._rest if self._more else b""
        return super().receive_data(data, max_messages)


class TakesOneByteTooMany(Connection):
    def __init__(self, *, max_message_size: int | None, **options: Any) -> None:
        most = max_message_size and min(max_message_size + 1, 2**63 - 1)
        super().__init__(max_message_size=most, **options)


class ListensAfterTheEnd(Connection):
    def receive_data(self, data: bytes | memoryview, max_messages: int = 2**62) -> list[Message]:
        self.failure = None
        return super().receive_data(data, max_messages)


class AnswersNoPing(Connection):
    def control_to_send(self) -> bytes:
        super().control_to_send()
        return b""


class DoesEverythingAtOnce(Connection):
    """One call does as much as there is to do."""

    def receive_data(self, data: bytes | memoryview, max_messages: int = 2**62) -> list[Message]:
        messages = super().receive_data(data, max_messages)
        while self._more and len(messages) < max_messages:
            messages += super().receive_data(b"", max_messages - len(messages))
        return messages


class SendsAMessageAfterTheCloseFrame(Connection):
    def close(self, code: int, reason: str) -> bytes:
        return super().close(code, reason) + self.encode(b"", TEXT)


class FailsWithAnotherCode(Connection):
    def _fail(self, code: int, reason: str) -> None:
        super()._fail(code + 1, reason)


@pytest.mark.parametrize(
    "broken",
    [
        ForgetsHalfAFrame,
        TakesOneByteTooMany,
        ListensAfterTheEnd,
        AnswersNoPing,
        DoesEverythingAtOnce,
        SendsAMessageAfterTheCloseFrame,
        FailsWithAnotherCode,
    ],
)
def test_the_check_of_the_protocol_fails(broken: type[Connection]) -> None:
    assert finds(lambda data: fuzz_protocol.check(data, broken), "protocol")


def accepts_anything(response: httpx2.Response, options: HandshakeOptions) -> Agreement:
    return Agreement(None, None)


def accepts_what_is_not_there(response: httpx2.Response, options: HandshakeOptions) -> Agreement:
    agreement = check_response(response, options)
    return Agreement("chat", agreement.deflate)


def refuses_deflate(response: httpx2.Response, options: HandshakeOptions) -> Agreement:
    return Agreement(check_response(response, options).subprotocol, None)


def refuses_lists(response: httpx2.Response, options: HandshakeOptions) -> Agreement:
    if "," in response.headers.get("connection", ""):
        raise WebSocketUpgradeError("a list", response)
    return check_response(response, options)


@pytest.mark.parametrize("broken", [accepts_anything, accepts_what_is_not_there, refuses_deflate, refuses_lists])
def test_the_check_of_the_headers_fails(broken: Callable[..., Agreement]) -> None:
    assert finds(lambda data: fuzz_handshake.check(data, broken), "handshake")


async def loses_what_came_with_the_answer(opening: AsyncOpening) -> tuple[httpx2.Response, Agreement]:
    response, agreement = await shake_hands(opening)
    await response.extensions["network_stream"].read(1)
    return response, agreement


async def keeps_the_connection(opening: AsyncOpening) -> tuple[httpx2.Response, Agreement]:
    another = opening.client.build_request("GET", opening.request.url, headers=opening.request.headers)
    HTTP1.renew_key(another)
    await opening.client.send(another, stream=True)
    return await shake_hands(opening)


async def takes_its_time(opening: AsyncOpening) -> tuple[httpx2.Response, Agreement]:
    try:
        return await shake_hands(opening)
    finally:
        await trio.sleep(31)


@pytest.mark.parametrize("broken", [loses_what_came_with_the_answer, keeps_the_connection, takes_its_time])
def test_the_check_of_raw_bytes_fails(broken: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_handshake, "shake_hands", broken)
    assert finds(fuzz_handshake.check, "handshake")


class ForgetsHalfAFrameOfHTTP2(http2.Connection):
    def receive_data(self, data: bytes, now: float) -> list[http2.Event]:
        self._buffer.clear()
        return super().receive_data(data, now)


class KeepsWhatItReset(http2.Connection):
    def reset(self, stream: http2.Stream, code: http2.ErrorCode) -> None:
        if not stream.answered:
            super().reset(stream, code)


class TellsNoServerOfItsFailure(http2.Connection):
    def goaway(self, code: http2.ErrorCode, debug: bytes = b"") -> None:
        """Nothing."""


class ListensAfterItsFailure(http2.Connection):
    def receive_data(self, data: bytes, now: float) -> list[http2.Event]:
        self.failed = None
        return super().receive_data(data, now)


@pytest.mark.parametrize(
    "broken", [ForgetsHalfAFrameOfHTTP2, KeepsWhatItReset, TellsNoServerOfItsFailure, ListensAfterItsFailure]
)
def test_the_check_of_http2_fails(broken: type[http2.Connection]) -> None:
    assert finds(lambda data: fuzz_http2.check(data, broken), "http2")

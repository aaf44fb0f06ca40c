"""The exceptions: what they double as, what they say, and that they survive copying."""

from __future__ import annotations

import copy
import pickle

import anyio
import httpx2
import pytest
import trio

import httpx2_trio_ws
from httpx2_trio_ws import (
    CloseCode,
    SubscriptionOverflow,
    WebSocketClosedError,
    WebSocketDisconnect,
    WebSocketException,
    WebSocketHandshakeTimeout,
    WebSocketInvalidTypeReceived,
    WebSocketKeepaliveTimeout,
    WebSocketNetworkError,
    WebSocketProtocolError,
    WebSocketUpgradeError,
)

BASES: dict[type[WebSocketException], set[type[BaseException]]] = {
    WebSocketException: set(),
    WebSocketUpgradeError: set(),
    WebSocketHandshakeTimeout: {TimeoutError, trio.TooSlowError},
    WebSocketDisconnect: {trio.EndOfChannel, anyio.EndOfStream},
    WebSocketNetworkError: {trio.BrokenResourceError, anyio.BrokenResourceError},
    WebSocketKeepaliveTimeout: {WebSocketNetworkError, trio.BrokenResourceError, anyio.BrokenResourceError},
    WebSocketProtocolError: {trio.BrokenResourceError, anyio.BrokenResourceError},
    WebSocketClosedError: {trio.ClosedResourceError, anyio.ClosedResourceError},
    WebSocketInvalidTypeReceived: set(),
}
DOUBLED = set().union(*BASES.values()) - {WebSocketNetworkError}
EXAMPLES: list[tuple[WebSocketException, str]] = [
    (WebSocketException("base"), "base"),
    (WebSocketUpgradeError("no room", httpx2.Response(404, text="why")), "no room"),
    (WebSocketHandshakeTimeout("too slow"), "too slow"),
    (WebSocketDisconnect(1001, "at noon"), "the peer closed the session: 1001 (going away): at noon"),
    (WebSocketDisconnect(4001), "the peer closed the session: 4001"),
    (WebSocketNetworkError("lost"), "lost"),
    (WebSocketKeepaliveTimeout("silence"), "silence"),
    (WebSocketProtocolError(1007, "bad text"), "the peer broke the protocol: 1007 (invalid data): bad text"),
    (WebSocketProtocolError(1002), "the peer broke the protocol: 1002 (protocol error)"),
    (
        WebSocketProtocolError(1009, "200 bytes"),
        "a message is over max_message_size_bytes: 1009 (message too big): 200 bytes",
    ),
    (WebSocketClosedError("closed here"), "closed here"),
    (WebSocketInvalidTypeReceived("abc"), "expected bytes, but text arrived (3 long; it is in .message)"),
    (WebSocketInvalidTypeReceived(b""), "expected text, but bytes arrived (0 long; it is in .message)"),
]


def names(exc: object) -> str:
    return repr(exc)[:60]


def test_all_of_them_are_public_and_tested() -> None:
    public = {
        value
        for value in vars(httpx2_trio_ws).values()
        if isinstance(value, type)
        and issubclass(value, BaseException)
        and value.__module__.startswith("httpx2_trio_ws")
    }
    assert set(BASES) == {type(example) for example, _ in EXAMPLES}
    assert public == {*BASES, SubscriptionOverflow}


@pytest.mark.parametrize("kind", BASES)
def test_what_each_doubles_as(kind: type[WebSocketException]) -> None:
    assert issubclass(kind, WebSocketException)
    assert {base for base in DOUBLED | {WebSocketNetworkError} if issubclass(kind, base)} - {kind} == BASES[kind]


@pytest.mark.parametrize(
    ("exc", "expected"), EXAMPLES, ids=lambda value: names(value) if isinstance(value, Exception) else ""
)
def test_what_each_says(exc: WebSocketException, expected: str) -> None:
    assert str(exc) == expected


@pytest.mark.parametrize("exc", [example for example, _ in EXAMPLES], ids=names)
def test_copies(exc: WebSocketException) -> None:
    for again in (copy.copy(exc), copy.deepcopy(exc), pickle.loads(pickle.dumps(exc)), exc._again()):
        assert type(again) is type(exc)
        assert str(again) == str(exc)
        for name, value in vars(exc).items():
            if name == "response":
                assert isinstance(again, WebSocketUpgradeError)
                assert (again.response.status_code, again.response.text) == (404, "why")
            else:
                assert getattr(again, name) == value


def test_an_overflow_is_no_end() -> None:
    """The session goes on, and so does the subscription: what catches the end of a session does not take it."""
    exc = SubscriptionOverflow(3)
    assert SubscriptionOverflow.__bases__ == (Exception,)
    for again in (exc, copy.copy(exc), copy.deepcopy(exc), pickle.loads(pickle.dumps(exc))):
        assert type(again) is SubscriptionOverflow
        assert again.dropped == 3
        assert str(again).startswith("3 messages were dropped: they came faster than they were received; ")


def test_again_keeps_the_cause_and_not_the_traceback() -> None:
    cause = OSError("reset")
    try:
        raise WebSocketNetworkError("lost") from cause
    except WebSocketNetworkError as exc:
        again = exc._again()
    assert again.__cause__ is cause
    assert again.__traceback__ is None


def test_every_close_code_has_a_name() -> None:
    for code in CloseCode:
        assert f"{int(code)} (" in str(WebSocketDisconnect(code))

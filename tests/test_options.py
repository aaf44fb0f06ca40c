"""The options of opening: their checks, each before any I/O."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

from httpx2_trio_ws import OpenOptions, open_websocket
from httpx2_trio_ws._options import HandshakeOptions, SessionOptions, parse_options

from .handshake_support import untouched
from .servers import websocket_server

if TYPE_CHECKING:
    import httpx2

SECONDS = [
    "handshake_timeout_seconds",
    "keepalive_ping_interval_seconds",
    "keepalive_ping_timeout_seconds",
    "close_timeout_seconds",
    "failure_grace_seconds",
]
MAY_BE_NONE = SECONDS[:3]
MAY_BE_ZERO = SECONDS[3:]


async def refused(error: type[Exception], match: str, **options: Any) -> None:
    async with untouched() as client:
        with pytest.raises(error, match=match):
            async with open_websocket(client, "ws://h", **options):
                raise AssertionError


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("header", r"there is no option 'header'; did you mean 'headers'\?"),
        ("max_message_size", r"did you mean 'max_message_size_bytes'\?"),
        ("keepalive_ping_interval_second", r"did you mean 'keepalive_ping_interval_seconds'\?"),
        ("subprotocol", r"did you mean 'subprotocols'\?"),
        ("zzz", r"there is no option 'zzz'$"),
        ("open_timeout", r"did you mean 'handshake_timeout_seconds'\?"),
        ("ping_interval", r"did you mean 'keepalive_ping_interval_seconds'\?"),
        ("max_size", r"did you mean 'max_message_size_bytes'\?"),
        ("additional_headers", r"did you mean 'headers'\?"),
        ("origin", r"write headers=\{'Origin': ...\}"),
        ("ssl", "it is the client's: make that with verify=..."),
        ("proxy", "it is the client's: make that with proxy=..."),
        ("receive_timeout", r"put a cancel scope around receive\(\); in threads, write receive\(timeout=...\)"),
    ],
)
async def test_an_option_that_does_not_exist(name: str, hint: str) -> None:
    await refused(TypeError, hint, **{name: 1})


@pytest.mark.parametrize("name", ["max_message_size_bytes", "queue_size"])
async def test_counts(name: str) -> None:
    for wrong in ("1", 1.0, True, b"1"):
        await refused(TypeError, f"{name} must be an int, not ", **{name: wrong})
    for wrong in (0, -1):
        await refused(ValueError, f"{name} must be at least 1, not {wrong}", **{name: wrong})
    if name == "queue_size":
        await refused(TypeError, "queue_size must be an int, not None", queue_size=None)


@pytest.mark.parametrize("name", SECONDS)
async def test_seconds(name: str) -> None:
    for wrong in ("1", True, (1,)):
        await refused(TypeError, f"{name} must be a number of seconds", **{name: wrong})
    for value in (-1, -0.1, math.nan, -math.inf):
        await refused(ValueError, f"{name} must be .*0", **{name: value})
    if name in MAY_BE_ZERO:
        await refused(TypeError, f"{name} must be a number of seconds, not None", **{name: None})
    else:
        await refused(ValueError, f"{name} must be more than 0, not 0", **{name: 0})


async def test_large_messages() -> None:
    for wrong in (1, None, "no"):
        await refused(TypeError, "stream_large_messages must be a bool, not", stream_large_messages=wrong)


async def test_compression() -> None:
    for wrong in ("gzip", True, ""):
        await refused(ValueError, 'compression is "deflate", .* or None, not ', compression=wrong)


async def test_follow_redirects() -> None:
    for wrong in (None, "no", 1):
        await refused(TypeError, "follow_redirects must be a bool", follow_redirects=wrong)


async def test_auth() -> None:
    await refused(
        TypeError, r"auth is a \(user, password\) tuple, a callable or an httpx2.Auth, not of type int", auth=5
    )
    await refused(TypeError, "password", auth=("only a user",))


async def test_extensions_and_headers() -> None:
    await refused(TypeError, "int", extensions=5)
    await refused(TypeError, "int", headers=5)


def test_the_defaults_are_those_of_the_documentation() -> None:
    handshake, session = parse_options({})
    assert (handshake, session) == (HandshakeOptions(), SessionOptions())
    assert handshake.compression == "deflate"
    assert handshake.handshake_timeout_seconds == 30
    assert session.max_message_size_bytes == 2**20
    assert session.queue_size == 512
    assert session.keepalive_ping_interval_seconds == session.keepalive_ping_timeout_seconds == 20
    assert session.close_timeout_seconds == session.failure_grace_seconds == 5


def test_values_at_the_border() -> None:
    options: Any = dict.fromkeys(MAY_BE_NONE) | dict.fromkeys(MAY_BE_ZERO, 0)
    options |= {"max_message_size_bytes": None, "queue_size": 1, "compression": None}
    handshake, session = parse_options(options)
    assert handshake.handshake_timeout_seconds is None
    assert handshake.compression is None
    keepalive: Any = dict.fromkeys(("keepalive_ping_interval_seconds", "keepalive_ping_timeout_seconds"))
    ending: Any = dict.fromkeys(("close_timeout_seconds", "failure_grace_seconds"), 0)
    assert session == SessionOptions(max_message_size_bytes=None, queue_size=1, **keepalive, **ending)
    endless: Any = dict.fromkeys(SECONDS, math.inf)
    assert parse_options(endless)[1].failure_grace_seconds == math.inf


def test_options_are_either_of_the_handshake_or_of_the_session() -> None:
    handshake = [field.name for field in fields(HandshakeOptions)]
    session = [field.name for field in fields(SessionOptions)]
    assert sorted([*handshake, *session]) == sorted(OpenOptions.__annotations__)


async def test_the_options_reach_the_session(client: httpx2.AsyncClient) -> None:
    """What each does is tested with the session; here, that it is passed on."""
    async with (
        websocket_server() as url,
        open_websocket(client, url, max_message_size_bytes=7, queue_size=3) as ws,
    ):
        assert ws._engine.options == SessionOptions(max_message_size_bytes=7, queue_size=3)


@pytest.mark.parametrize("name", ["params", "headers", "cookies", "subprotocols", "instruments"])
async def test_iterators(name: str) -> None:
    """They would be read by the first look at them, and be empty for the next attempt."""
    await refused(TypeError, f"{name} is an iterator, .* pass a list", **{name: iter(())})

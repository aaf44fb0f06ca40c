"""JSON, UTF-8 given as bytes, and iterating over one kind of message; on trio and on asyncio."""

from __future__ import annotations

import contextlib
import json
import math
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
import pytest

from httpx2_trio_ws import WebSocketDisconnect, WebSocketInvalidTypeReceived, sync
from httpx2_trio_ws.anyio import open_websocket
from httpx2_trio_ws.testing import Opcode, memory_server
from tests.asgi.support import both_loops
from tests.sync.support import new_client, played
from tests.sync.support import websocket_server as blocking_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from httpx2_trio_ws.anyio import WebSocketSession
    from httpx2_trio_ws.testing import ScriptedPeer


class Point(msgspec.Struct):
    x: int


@contextlib.asynccontextmanager
async def said(*messages: str | bytes, code: int | None = 1000) -> AsyncGenerator[WebSocketSession]:
    """A session whose peer says ``messages`` and closes."""

    async def handler(peer: ScriptedPeer) -> None:
        for message in messages:
            await peer.send(message)
        await (peer.send_frame(Opcode.CLOSE) if code is None else peer.send_close(code))
        await peer.wait_closed()

    async with memory_server(handler) as client, open_websocket(client, "ws://test/") as ws:
        yield ws


@contextlib.asynccontextmanager
async def heard() -> AsyncGenerator[tuple[WebSocketSession, list[tuple[int, bytes]]]]:
    """A session, and the frames that its peer got, once the block has been left."""
    frames: list[tuple[int, bytes]] = []

    async def handler(peer: ScriptedPeer) -> None:
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                frame = await peer.receive_frame()
                frames.append((frame.opcode, frame.payload))

    async with memory_server(handler) as client, open_websocket(client, "ws://test/") as ws:
        yield ws, frames
    frames.pop()  # that of the close


@both_loops
async def test_a_decoder_of_ones_own() -> None:
    async with said('{"x": 1}', b'{"x": 2}', '{"x": 3}', '{"x": "no"}', '{"x": 5}') as ws:
        assert await ws.receive_json(msgspec.json.Decoder(Point).decode) == Point(1)
        assert await ws.receive_json(loads=orjson.loads) == {"x": 2}
        assert await ws.receive_json(len) == 8
        with pytest.raises(msgspec.ValidationError):
            await ws.receive_json(partial(msgspec.json.decode, type=Point))
        assert await ws.receive_json() == {"x": 5}


@both_loops
async def test_what_receive_json_raises() -> None:
    many = "9" * 5000
    async with said("{no", b"\xff", many, "[" * 100_000, "[1]") as ws:
        with pytest.raises(json.JSONDecodeError) as no_json:
            await ws.receive_json()
        assert no_json.value.doc == "{no"
        with pytest.raises(UnicodeDecodeError) as no_utf8:
            await ws.receive_json()
        assert no_utf8.value.object == b"\xff"
        with pytest.raises(ValueError, match="4300 digits"):
            await ws.receive_json()
        with pytest.raises(RecursionError):
            await ws.receive_json()
        not_a_function: Any = 5
        with pytest.raises(TypeError, match="loads must be a function that takes str or bytes, not 5"):
            await ws.receive_json(not_a_function)
        with pytest.raises(TypeError, match="loads must be a function"):
            ws.iter_json(not_a_function)
        assert await ws.receive_json() == [1]


@both_loops
async def test_what_receive_json_gave_send_json_takes() -> None:
    strange = [
        '{"half": "\\ud83d"}',
        '{"\\udc00\\ud800": "\U0001f600"}',
        "1e999",
        "NaN",
        "1" * 4000,
        '"\\u0000\\u2028"',
    ]
    async with said(*strange) as ws:
        values = [await ws.receive_json() for _ in strange]
    async with heard() as (ws, frames):
        for value in values:
            await ws.send_json(value)
            await ws.send_json(value, mode="binary")
    again = [json.loads(payload) for _, payload in frames]
    assert repr(again) == repr([value for value in values for _ in range(2)])
    assert [opcode for opcode, _ in frames] == [Opcode.TEXT, Opcode.BINARY] * len(strange)
    assert frames[0][1] == b'{"half":"\\ud83d"}'


@both_loops
async def test_an_encoder_of_ones_own() -> None:
    async with heard() as (ws, frames):
        await ws.send_json(Point(1), dumps=msgspec.json.encode)
        await ws.send_json({"ä": 1}, "binary", dumps=orjson.dumps)
        await ws.send_json({"ä": 1}, dumps=json.dumps)
        await ws.send_json(1, dumps=str)
        await ws.send_json(b"\xff", "binary", dumps=bytes)
        with pytest.raises(UnicodeDecodeError):
            await ws.send_json(b"\xff", dumps=bytes)
        with pytest.raises(UnicodeEncodeError):
            await ws.send_json("\ud83d", dumps=str)
        with pytest.raises(TypeError, match="dumps must return str or bytes, not int"):
            await ws.send_json("abc", dumps=len)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="not JSON compliant"):
            await ws.send_json(math.nan, dumps=partial(json.dumps, allow_nan=False))
        with pytest.raises(ValueError, match="mode is"):
            await ws.send_json(1, mode="bytes")  # type: ignore[arg-type]
    text, binary = Opcode.TEXT, Opcode.BINARY
    assert frames == [
        (text, b'{"x":1}'), (binary, '{"ä":1}'.encode()), (text, b'{"\\u00e4": 1}'), (text, b"1"), (binary, b"\xff")
    ]  # fmt: skip


@both_loops
async def test_json_goes_out_in_a_burst_too() -> None:
    async with heard() as (ws, frames):
        for number in range(200):
            await ws.send_json(number)
            await ws.send_text(str(number).encode())
    assert frames == [(Opcode.TEXT, str(number).encode()) for number in range(200) for _ in range(2)]


@both_loops
async def test_text_given_as_bytes() -> None:
    async with heard() as (ws, frames):
        await ws.send_text("漢".encode())
        await ws.send_text(b"ascii")
        for wrong in (b"\xff", b"\xed\xa0\x80", "漢".encode()[:2]):
            with pytest.raises(UnicodeDecodeError):
                await ws.send_text(wrong)
        with pytest.raises(TypeError, match="for binary messages there is"):
            await ws.send_text(bytearray(b"x"))  # type: ignore[arg-type]
    assert frames == [(Opcode.TEXT, "漢".encode()), (Opcode.TEXT, b"ascii")]


@pytest.mark.parametrize("code", [1000, 1001, None])
@both_loops
async def test_iterating_ends_quietly(code: int | None) -> None:
    async with said("1", "2", code=code) as ws:
        assert [text async for text in ws.iter_text()] == ["1", "2"]
        assert [data async for data in ws.iter_bytes()] == []
        assert [value async for value in ws.iter_json()] == []
        assert [message async for message in ws] == []
        assert ws.close_code == (code or 1005)


@both_loops
async def test_iterating_raises_on_other_codes() -> None:
    async with said(b"1", b"2", code=4000) as ws:
        received = []
        with pytest.raises(WebSocketDisconnect) as caught:
            async for data in ws.iter_bytes():
                received.append(data)
        assert (received, caught.value.code) == ([b"1", b"2"], 4000)


@both_loops
async def test_iterating_goes_on_after_an_error() -> None:
    async with said("1", b"2", "[3]", "{no", "[5]", code=None) as ws:
        texts = ws.iter_text()
        assert aiter(texts) is texts
        assert await anext(texts) == "1"
        with pytest.raises(WebSocketInvalidTypeReceived):
            await anext(texts)
        lists = ws.iter_json(msgspec.json.Decoder(list[int]).decode)
        assert await anext(lists) == [3]
        with pytest.raises(msgspec.DecodeError):
            await anext(lists)
        assert [numbers async for numbers in lists] == [[5]]
        with pytest.raises(StopAsyncIteration):
            await anext(texts)


# -- blocking sessions ------------------------------------------------------------------------------


def test_blocking_json() -> None:
    with blocking_server() as url, new_client() as client, sync.open_websocket(client, url) as ws:
        ws.send_json({"half": "\ud83d"})
        assert ws.receive_json(timeout=10) == {"half": "\ud83d"}
        ws.send_json(Point(1), dumps=msgspec.json.encode)
        assert ws.receive_json(msgspec.json.Decoder(Point).decode, timeout=10) == Point(1)
        ws.send_json([1], "binary", dumps=orjson.dumps)
        assert ws.receive_bytes() == b"[1]"
        ws.send_text("漢".encode())
        assert ws.receive_text() == "漢"
        for message in ("1", b"2"):
            ws.send(message)
        assert next(ws.iter_text()) == "1"
        assert next(ws.iter_bytes()) == b"2"
        with pytest.raises(TimeoutError):
            next(ws.iter_json(timeout=0.01))


@pytest.mark.parametrize("payload", [b"\x88\x00", b"\x88\x02\x03\xe8", b"\x88\x02\x03\xe9", b"\x88\x02\x0f\xa0"])
def test_blocking_iterating(payload: bytes) -> None:
    with played(glued=b"\x81\x031.5\x81\x01x\x81\x012" + payload) as (ws, peer):
        peer.begin(peer.receive)
        numbers = ws.iter_json(float)
        assert iter(numbers) is numbers
        assert next(numbers) == 1.5
        with pytest.raises(ValueError, match="could not convert"):
            next(numbers)
        assert next(numbers) == 2
        with pytest.raises(WebSocketDisconnect if payload[2:] == b"\x0f\xa0" else StopIteration):
            next(numbers)

"""The scripted peer against a client that is bytes: one that breaks rules, breaks off, or sends in parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest

from httpx2_trio_ws import WebSocketClosedError, WebSocketNetworkError, WebSocketProtocolError
from httpx2_trio_ws.testing import Opcode, ScriptedPeer, encode_frame
from httpx2_trio_ws.testing._pipe import memory_stream_pair
from tests.virtual_time import VIRTUAL, run_virtual

if TYPE_CHECKING:
    from httpx2_trio_ws.testing._pipe import MemoryStream

loops = pytest.mark.parametrize("loop", VIRTUAL)


def raw_peer(*, compressed: bool = False) -> tuple[MemoryStream, ScriptedPeer]:
    """A peer whose client is a bare stream, so that the client can break rules."""
    client, server = memory_stream_pair()
    return client, ScriptedPeer(server, httpx2.Request("GET", "http://memory.example/"), compressed=compressed)


def masked(opcode: int, payload: bytes = b"", *, first: int = 0x80) -> bytes:
    assert len(payload) < 126
    return bytes((first | opcode, 0x80 | len(payload), 0, 0, 0, 0)) + payload


@loops
def test_drop_wakes_a_task_that_receives(loop: str) -> None:
    async def main() -> None:
        _, peer = raw_peer()

        async def receive() -> None:
            with pytest.raises(WebSocketClosedError):
                await peer.receive()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            await anyio.wait_all_tasks_blocked()
            await peer.drop()

    run_virtual(loop, main)


@loops
def test_a_client_that_goes_without_a_close_frame(loop: str) -> None:
    async def main() -> None:
        client, peer = raw_peer()
        await client.write(masked(Opcode.TEXT, b"abc")[:5])
        client.close()
        with pytest.raises(WebSocketNetworkError, match="the client reads no more"):
            await peer.send("x")
        with pytest.raises(WebSocketNetworkError, match="without a close frame, 5 bytes into a frame"):
            await peer.receive()
        assert len(peer.incomplete) == 5
        assert (peer.close_code, peer.close_reason) == (1006, "")
        assert [message async for message in peer] == []
        await peer.close()
        with pytest.raises(WebSocketNetworkError):
            await peer.send("x")

        client, peer = raw_peer()
        client.reset()
        with pytest.raises(WebSocketNetworkError, match="reset") as caught:
            await peer.receive()
        assert isinstance(caught.value.__cause__, ConnectionResetError)

        client, peer = raw_peer()
        client.end()
        with pytest.raises(WebSocketNetworkError, match=r"without a close frame$"):
            await peer.receive()

    run_virtual(loop, main)


@loops
def test_a_cancelled_receive_loses_nothing(loop: str) -> None:
    async def main() -> None:
        client, peer = raw_peer()
        frame = masked(Opcode.TEXT, b"whole")
        for byte in frame[:-1]:
            await client.write(bytes((byte,)))
            with anyio.move_on_after(1):
                await peer.receive()
        await client.write(frame[-1:])
        assert await peer.receive() == "whole"

    run_virtual(loop, main)


@loops
def test_a_close_frame_without_a_code(loop: str) -> None:
    async def main() -> None:
        client, peer = raw_peer()
        await client.write(masked(Opcode.CLOSE))
        await peer.wait_closed()
        assert (peer.close_code, peer.close_reason) == (1005, "")
        assert await client.read(100) == encode_frame(Opcode.CLOSE)
        assert await client.read(100) == b""

    run_virtual(loop, main)


VIOLATIONS: dict[str, tuple[bytes, int, str]] = {
    "not masked": (b"\x81\x00", 1002, "the frame is not masked"),
    "reserved opcode": (masked(3), 1002, "the frame has the reserved opcode 3"),
    "reserved bit": (masked(Opcode.TEXT, first=0xA0), 1002, "the frame has a reserved bit set"),
    "first reserved bit": (
        masked(Opcode.TEXT, first=0xC0),
        1002,
        "the first reserved bit is set where no compressed message begins",
    ),
    "long control frame": (b"\x89\xfe", 1002, "a control frame is fragmented or longer than 125 bytes"),
    "fragmented control frame": (
        masked(Opcode.PING, first=0),
        1002,
        "a control frame is fragmented or longer than 125 bytes",
    ),
    "half a close code": (masked(Opcode.CLOSE, b"\x03"), 1002, "a close frame has half a close code"),
    "close reason is no UTF-8": (masked(Opcode.CLOSE, b"\x03\xe8\xff"), 1002, "'utf-8' codec can't decode"),
    "continued without one": (
        masked(Opcode.CONT),
        1002,
        "a message was begun inside another, or continued without one",
    ),
    "begun inside another": (
        masked(Opcode.TEXT, first=0) + masked(Opcode.TEXT),
        1002,
        "a message was begun inside another, or continued without one",
    ),
    "no UTF-8": (masked(Opcode.TEXT, b"\xff"), 1007, "'utf-8' codec can't decode"),
}


@loops
@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_client_that_breaks_the_protocol(loop: str, name: str) -> None:
    async def main() -> None:
        raw, code, reason = VIOLATIONS[name]
        client, peer = raw_peer()
        await client.write(raw)
        for _ in range(2):
            with pytest.raises(WebSocketProtocolError) as caught:
                await peer.receive()
            assert caught.value.code == code
            assert caught.value.reason.startswith(reason)
        assert await client.read(1) == b""

    run_virtual(loop, main)


@loops
def test_compressed_messages_in_fragments_and_broken_ones(loop: str) -> None:
    async def main() -> None:
        client, peer = raw_peer(compressed=True)
        await peer.send("xxxx")
        sent = await client.read(100)
        assert sent[0] == 0xC1
        await client.write(masked(Opcode.TEXT, sent[2:4], first=0x40) + masked(Opcode.CONT, sent[4:]))
        await client.write(masked(Opcode.BINARY, b"plain"))
        assert [await peer.receive(), await peer.receive()] == ["xxxx", b"plain"]
        await client.write(masked(Opcode.TEXT, b"\xff\xff", first=0xC0))
        with pytest.raises(WebSocketProtocolError, match="does not inflate"):
            await peer.receive()

    run_virtual(loop, main)


@loops
@pytest.mark.parametrize("length", [b"\xfe\x00", b"\xff\x00\x00"])
def test_a_header_that_has_come_in_part(loop: str, length: bytes) -> None:
    async def main() -> None:
        client, peer = raw_peer()
        await client.write(b"\x81" + length)
        client.end()
        with pytest.raises(WebSocketNetworkError, match="bytes into a frame"):
            await peer.receive()

    run_virtual(loop, main)


@loops
def test_messages_are_text_or_bytes_and_opcodes_have_four_bits(loop: str) -> None:
    async def main() -> None:
        _, peer = raw_peer()
        wrong: Any = 5
        with pytest.raises(TypeError, match="a message is str or bytes, not int"):
            await peer.send(wrong)
        with pytest.raises(ValueError, match="an opcode is 0 to 15, not 16"):
            await peer.send_frame(16)

    run_virtual(loop, main)


@loops
def test_writes_of_several_tasks_do_not_mix(loop: str) -> None:
    async def main() -> None:
        client, server = memory_stream_pair(capacity=3)
        peer = ScriptedPeer(server, httpx2.Request("GET", "http://memory.example/"))
        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(peer.send, str(number) * 10)
            data = b""
            while len(data) < 36:
                data += await client.read(100)
        assert sorted(data[start + 2 : start + 12].decode() for start in (0, 12, 24)) == ["0" * 10, "1" * 10, "2" * 10]

    run_virtual(loop, main)

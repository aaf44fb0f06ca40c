"""Limits: what is too much is refused before it takes memory."""

from __future__ import annotations

import tracemalloc
import zlib
from typing import TYPE_CHECKING

import anyio

from httpx2_trio_ws._exceptions import WebSocketProtocolError
from httpx2_trio_ws.testing._frames import Opcode, deflate, encode_frame

from ._registry import check
from ._stage import SHORT, Sender, answer_nothing, equal, raises, settle, stage, take, that

if TYPE_CHECKING:
    from httpx2_trio_ws.testing._peer import ScriptedPeer

    from ._registry import SessionMaker

_LIMIT = 1000


async def _is_too_big(
    maker: SessionMaker, frames: list[bytes], limit: int = _LIMIT, compression: str | None = None
) -> None:
    """A message over the limit: 1009, said to the peer and raised by receive()."""
    options = {"max_message_size_bytes": limit, "compression": compression, "close_timeout_seconds": SHORT}
    async with stage(maker, ending=answer_nothing, **options) as (ws, peer):
        await peer.send("fits")
        for frame in frames:
            await peer.send_raw(frame)
        equal(await ws.receive(), "fits", "the message before")
        with raises(WebSocketProtocolError) as raised:
            await ws.receive()
        equal(raised.error.code, 1009, "the code in the exception")
        await _told(peer)


async def _told(peer: ScriptedPeer) -> None:
    frame = await peer.receive_frame()
    equal((frame.opcode, peer.close_code), (Opcode.CLOSE, 1009), "what the peer is told")
    await peer.drop()


@check()
async def a_message_as_large_as_the_limit_is_received(maker: SessionMaker) -> None:
    async with stage(maker, max_message_size_bytes=_LIMIT) as (ws, peer):
        for message in (b"x" * _LIMIT, "é" * (_LIMIT // 2)):
            await peer.send(message)
            equal(await ws.receive(), message, "the message")
        await peer.send_frame(Opcode.TEXT, b"x" * 600, fin=False)
        await peer.send_frame(Opcode.CONT, b"x" * 400)
        equal(len(await ws.receive()), _LIMIT, "the length of a message in fragments")


@check()
async def a_message_over_the_limit_is_refused(maker: SessionMaker) -> None:
    await _is_too_big(maker, [encode_frame(Opcode.BINARY, b"x" * (_LIMIT + 1))])


@check()
async def the_limit_counts_bytes_and_not_characters(maker: SessionMaker) -> None:
    await _is_too_big(maker, [encode_frame(Opcode.TEXT, "é".encode() * (_LIMIT // 2 + 1))])


@check()
async def fragments_together_over_the_limit_are_refused(maker: SessionMaker) -> None:
    await _is_too_big(
        maker, [encode_frame(Opcode.BINARY, b"x" * 600, fin=False), encode_frame(Opcode.CONT, b"x" * 401)]
    )


@check()
async def a_declared_length_over_the_limit_is_refused_before_the_payload_comes(maker: SessionMaker) -> None:
    await _is_too_big(maker, [b"\x82\x7f" + (2**40).to_bytes(8)], limit=2**30)


@check()
async def without_a_limit_any_message_is_received(maker: SessionMaker) -> None:
    async with stage(maker, max_message_size_bytes=None) as (ws, peer), anyio.create_task_group() as tasks:
        tasks.start_soon(peer.send, b"x" * 3_000_000)
        equal(len(await ws.receive()), 3_000_000, "the length of the message")


@check()
async def control_frames_do_not_count(maker: SessionMaker) -> None:
    async with stage(maker, max_message_size_bytes=100) as (ws, peer):
        await peer.ping(b"x" * 125)
        await peer.send_frame(Opcode.TEXT, b"x" * 50, fin=False)
        await peer.ping(b"y" * 125)
        await peer.send_frame(Opcode.CONT, b"x" * 50)
        equal(await ws.receive(), "x" * 100, "the message")


@check()
async def empty_fragments_take_bounded_memory(maker: SessionMaker) -> None:
    async with stage(maker, max_message_size_bytes=100) as (ws, peer):
        await peer.send_frame(Opcode.BINARY, b"begin", fin=False)
        tracemalloc.start()
        try:
            for _ in range(20):
                await peer.send_raw(encode_frame(Opcode.CONT, fin=False) * 100)
            await settle()
            current, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        that(current < 200_000, f"2000 empty fragments of 4 KB together take {current} bytes")
        await peer.send_frame(Opcode.CONT, b"end")
        equal(await ws.receive(), b"beginend", "the message")


@check("compression")
async def compressed_messages_go_both_ways(maker: SessionMaker) -> None:
    async with stage(maker, compression="deflate") as (ws, peer):
        that(peer.compressed, "compression was not agreed on")
        for message in ("x" * 10_000, b"\0" * 10_000, "", "x" * 10_000):
            await peer.send(message)
            equal(await ws.receive(), message, "the message received")
            await ws.send(message)
            equal(await peer.receive(), message, "the message sent")
        that(ws.statistics().bytes_sent < 5000, f"{ws.statistics().bytes_sent} bytes were sent for 30,000 that repeat")


@check("compression")
async def a_compressed_message_in_fragments(maker: SessionMaker) -> None:
    async with stage(maker, compression="deflate") as (ws, peer):
        payload = deflate(b"in fragments " * 50)
        await peer.send_frame(Opcode.TEXT, payload[:10], fin=False, rsv1=True)
        await peer.ping(b"between")
        await peer.send_frame(Opcode.CONT, payload[10:])
        await peer.send_frame(Opcode.TEXT, b"not compressed")
        equal(await take(ws, 2), ["in fragments " * 50, "not compressed"], "the messages")


@check("compression")
async def the_limit_holds_after_inflation(maker: SessionMaker) -> None:
    bomb = encode_frame(Opcode.BINARY, deflate(bytes(_LIMIT + 1)), rsv1=True)
    await _is_too_big(maker, [bomb], compression="deflate")


@check("compression")
async def a_deflate_bomb_takes_no_memory(maker: SessionMaker) -> None:
    compressor = zlib.compressobj(wbits=-15)
    payload = compressor.compress(bytes(30_000_000)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    fragment = len(payload) // 3
    parts = [payload[start : start + fragment] for start in range(0, 3 * fragment, fragment)]
    frames = [
        encode_frame(Opcode.BINARY if n == 0 else 0, part, fin=False, rsv1=n == 0) for n, part in enumerate(parts)
    ]
    tracemalloc.start()
    try:
        await _is_too_big(maker, [b"".join(frames)], limit=100_000, compression="deflate")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    that(peak < 5_000_000, f"a bomb of 30 MB took {peak} bytes where the limit is 100,000")


@check("compression")
async def what_does_not_inflate_is_refused(maker: SessionMaker) -> None:
    options = {"compression": "deflate", "close_timeout_seconds": SHORT}
    async with stage(maker, ending=answer_nothing, **options) as (ws, peer):
        await peer.send_frame(Opcode.BINARY, b"\xff\xff\xff", rsv1=True)
        with raises(WebSocketProtocolError):
            await ws.receive()
        await peer.receive_frame()
        await peer.drop()
        that(peer.close_code in (1002, 1007), f"the code that the peer is told is {peer.close_code}")


@check()
async def a_peer_that_pings_and_reads_nothing_costs_bounded_memory(maker: SessionMaker) -> None:
    async with stage(maker, close_timeout_seconds=SHORT) as (ws, peer), anyio.create_task_group() as tasks:
        flood = Sender(peer.send_raw, encode_frame(Opcode.PING, b"x" * 125) * 100, limit=1000)
        tasks.start_soon(flood.run)
        await flood.blocked()
        unsent = ws.statistics().unsent_bytes
        that(unsent < 500_000, f"{unsent} bytes of pongs wait for a peer that reads nothing")
        tasks.cancel_scope.cancel()

"""Masks: a key for each frame, drawn from the system and never used twice."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from httpx2_trio_ws._protocol import _masking
from httpx2_trio_ws._protocol._masking import (
    BINARY,
    COMPRESSED,
    TEXT,
    LargeFrame,
    masked_frame,
    masked_frames,
)

from ._reference import unmask

if TYPE_CHECKING:
    from collections.abc import Callable


def key_of(frame: bytes) -> bytes:
    """The masking key of a frame of fewer than 126 bytes."""
    return frame[2:6]


def recording(drawn: list[bytes]) -> Callable[[int], bytes]:
    """``os.urandom``, with what it gave written down."""
    urandom = os.urandom

    def draw(size: int) -> bytes:
        drawn.append(urandom(size))
        return drawn[-1]

    return draw


def test_keys_are_what_the_system_gave_each_used_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[bytes] = []
    monkeypatch.setattr(os, "urandom", recording(drawn))
    _masking._keys.clear()
    keys = [key_of(masked_frame(b"", BINARY)) for _ in range(700)]
    keys += map(key_of, masked_frames([b""] * 700, BINARY))
    assert len(drawn) > 2, "more than two blocks were used"
    given = b"".join(drawn)
    assert sorted([*keys, *_masking._keys]) == sorted(given[at : at + 4] for at in range(0, len(given), 4))
    # Chance alone makes this happen about once in a thousand million runs.
    assert len(set(keys)) > 1390


def test_keys_are_not_shared_by_threads() -> None:
    keys: list[bytes] = []

    def draw() -> None:
        keys.extend(map(key_of, masked_frames([b""] * 20_000, TEXT)))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(keys)) > len(keys) - 20, "80,000 of four bytes have about one pair by chance"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process")  # has threads, when the tests run side by side
def test_a_forked_process_does_not_use_its_parents_keys() -> None:
    masked_frame(b"", TEXT)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, bytes([len(_masking._keys)]))
        os._exit(0)
    os.waitpid(child, 0)
    assert _masking._keys
    assert os.read(reader, 1) == b"\0"
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 125, 126, 127, 65535, 65536])
@pytest.mark.parametrize("kind", [TEXT, BINARY, TEXT | COMPRESSED, BINARY | COMPRESSED])
def test_frame_of_each_kind_and_length_form(size: int, kind: int) -> None:
    payload = bytes(number % 251 for number in range(size))
    for frame in (
        masked_frame(payload, kind),
        masked_frame(memoryview(payload), kind),
        *masked_frames([payload], kind),
    ):
        assert isinstance(frame, bytes)
        assert unmask(frame) == [(0x80 | kind, payload)]
        if size > 16:
            assert payload not in frame


def test_any_part_of_a_large_frame_may_be_made_again() -> None:
    payload = bytes(number % 251 for number in range(400_000))
    frame = LargeFrame(payload, BINARY)
    whole = frame.rest(0)
    assert unmask(whole) == [(0x82, payload)]
    assert len(whole) == frame.size
    for start in (*range(20), 1000, 65549, 65550, 65551, frame.size - 1):
        assert whole[start:].startswith(frame.part(start))
        assert frame.rest(start) == whole[start:]
    assert frame.part(frame.size) == b""


@pytest.mark.parametrize("size", [126, 65535, 65536, 65537, 327680, 327681, 600_001])
def test_a_frame_in_parts(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    payload = bytes(number % 251 for number in range(size))
    for keys in ([], [b"abcd"]):
        monkeypatch.setattr(_masking, "_keys", keys)
        large, parts = LargeFrame(payload, BINARY), [b""]
        while part := large.part(sum(map(len, parts))):
            parts.append(part)
        del parts[0]
        assert len(parts) == 1 + -(-max(0, size - 65536) // 2**18)
        assert unmask(b"".join(parts)) == [(0x82, payload)]

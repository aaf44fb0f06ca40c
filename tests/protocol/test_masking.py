"""Masks: a key for each frame, drawn from the system and never used twice."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from httpx2_trio_ws._protocol._masking import Masker

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
    masker = Masker()
    keys = [key_of(masker.frame(text=False, compressed=False, payload=b"")) for _ in range(2500)]
    assert len(drawn) > 2, "more than two blocks were used"
    assert b"".join(keys) == b"".join(drawn)[: 4 * len(keys)]


def test_keys_differ_between_blocks_and_connections() -> None:
    first, second = Masker(), Masker()
    keys = [
        [key_of(masker.frame(text=True, compressed=False, payload=b"a")) for _ in range(1100)]
        for masker in (first, second)
    ]
    assert keys[0] != keys[1]
    # Chance alone makes one of these happen about once in a thousand million runs.
    assert keys[0][0:2] != keys[0][1024:1026]
    assert len(set(keys[0])) > 1090


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 125, 126, 127, 65535, 65536])
@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize("compressed", [True, False])
def test_frame_of_each_kind_and_length_form(size: int, text: bool, compressed: bool) -> None:
    payload = bytes(number % 251 for number in range(size))
    first = (0x81 if text else 0x82) | (0x40 if compressed else 0)
    for given in (payload, memoryview(payload)):
        frame = Masker().frame(text=text, compressed=compressed, payload=given)
        assert isinstance(frame, bytes)
        assert unmask(frame) == [(first, payload)]
        if size > 16:
            assert payload not in frame

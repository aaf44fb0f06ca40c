"""The queue of frames on their way out, without anyone who waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from httpx2_trio_ws._core._frames import FrameQueue

if TYPE_CHECKING:
    from collections.abc import Iterable


class Queue(FrameQueue):
    """One that notes how many frames have left, and how often no control frame waited any more."""

    def __init__(self, batch_size: int | None = None) -> None:
        super().__init__()
        if batch_size is not None:
            self.batch_size = batch_size
        self.left = 0
        self.freed = 0

    def _on_written(self) -> None:
        self.left = self._written

    def _on_control(self) -> None:
        self.freed += 1

    def write(self, most: int) -> bytes:
        data = self.take()
        if data is None:
            return b""
        part = bytes(data[:most])
        self.wrote(len(part))
        return part

    def write_all(self) -> bytes:
        written = b""
        while self.take() is not None:
            written += self.write(1000)
        return written


def queue_of(frames: Iterable[bytes], batch_size: int | None = None) -> Queue:
    queue = Queue(batch_size)
    for frame in frames:
        queue.add_frame(frame)
    return queue


def test_messages_go_in_order_and_together() -> None:
    queue = queue_of([b"aa", b"b", b"ccc"])
    assert queue.size == 6
    assert bytes(queue.take() or b"") == b"aabccc"
    assert queue.write(6) == b"aabccc"
    assert (queue.size, queue.left, queue.take()) == (0, 3, None)


def test_a_write_takes_so_many_bytes_or_one_message() -> None:
    queue = queue_of([b"aaaaa", b"b", b"c", b"dd"], batch_size=3)
    assert [queue.write(9) for _ in range(3)] == [b"aaaaa", b"bc", b"dd"]


def test_control_frames_wait_for_the_frame_on_the_wire_and_nothing_else() -> None:
    queue = queue_of([b"aaaa", b"bbbb"])
    assert queue.write(1) == b"a"
    queue.add_control(b"P")
    queue.add_control(b"Q")
    assert queue.control_size == 2
    assert queue.write(9) == b"aaa"
    assert queue.write(9) == b"PQ"
    assert (queue.control_size, queue.freed) == (0, 1)
    assert queue.write(9) == b"bbbb"


def test_a_frame_that_is_left_whole_gives_way() -> None:
    queue = queue_of([b"aaaa", b"bbbb"])
    assert queue.write(4) == b"aaaa"
    queue.add_control(b"P")
    assert queue.write(9) == b"P"
    assert queue.write(9) == b"bbbb"


def test_what_must_be_written_to_its_end_is() -> None:
    queue = queue_of([b"aaaa", b"bbbb"])
    queue.take()
    queue.add_control(b"P")
    assert bytes(queue.take(whole=True) or b"") == b"aaaabbbb"
    assert bytes(queue.take() or b"") == b"P"


def test_the_rest_of_a_frame_is_no_frame_to_be_put_back() -> None:
    queue = Queue()
    queue.add_rest(b"rest")
    assert not queue.between_frames
    queue.add_control(b"P")
    assert queue.write_all() == b"restP"
    assert queue.left == 1


@pytest.mark.parametrize(("written", "left"), [(0, 0), (3, 0), (4, 1), (7, 1), (8, 2), (11, 2)])
def test_each_frame_that_has_left_is_counted_also_if_the_batch_fails(written: int, left: int) -> None:
    queue = queue_of([b"aaaa", b"bbbb", b"cccc"])
    assert len(queue.write(written)) == written
    assert queue.left == left
    queue.drop_all()
    assert (queue.left, queue.size, queue.take()) == (left, 0, None)


def test_messages_are_dropped_but_for_the_one_that_is_part_written() -> None:
    queue = queue_of([b"aaaa", b"bbbb"])
    queue.add_control(b"P")
    assert queue.write(9) == b"P"
    assert queue.write(1) == b"a"
    queue.drop_messages()
    queue.add_control(b"C")
    assert queue.write_all() == b"aaaC"
    assert (queue.size, queue.left) == (0, 1)


def test_the_last_try_has_whole_frames() -> None:
    queue = queue_of([b"aaaa", b"bbbb", b"cccc"])
    queue.add_control(b"P")
    assert queue.rest(10) == b"Paaaabbbb"[:9]
    assert queue.rest(8) == b"Paaaa"


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("frame"), st.binary(min_size=1, max_size=9)),
            st.tuples(st.just("control"), st.binary(min_size=1, max_size=3)),
            st.tuples(st.just("write"), st.integers(0, 12)),
        )
    ),
    batch_size=st.sampled_from([1, 7, 1000]),
)
def test_nothing_is_lost_torn_or_overtaken(steps: list[tuple[str, bytes | int]], batch_size: int) -> None:
    """Frames that are told apart by brackets: ``<…>`` of messages, ``(…)`` of control frames."""
    queue = Queue(batch_size)
    written = b""
    messages: list[bytes] = []
    control: list[bytes] = []
    for name, value in steps:
        if isinstance(value, int):
            written += queue.write(value)
        elif name == "frame":
            messages.append(b"<" + value.hex().encode() + b">")
            queue.add_frame(messages[-1])
        else:
            control.append(b"(" + value.hex().encode() + b")")
            queue.add_control(control[-1])
        assert queue.size == sum(map(len, messages)) - sum(len(m) for m in _messages(written, partial=True))
        assert queue.left == written.count(b">")
    written += queue.write_all()
    assert _messages(written) == messages
    assert [b"(" + part.split(b")")[0] + b")" for part in written.split(b"(")[1:]] == control
    assert queue.left == len(messages)
    assert (queue.size, queue.control_size, queue.between_frames) == (0, 0, True)


def _messages(written: bytes, *, partial: bool = False) -> list[bytes]:
    found = written.split(b"<")[1:]
    assert partial or all(b"(" not in message.split(b">")[0] for message in found)
    return [b"<" + message.split(b"(")[0] for message in found]

"""Standard input and output: waited for, without threads, and left as they were."""

from __future__ import annotations

import fcntl
import os
import sys
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from httpx2_trio_ws._cli import streams
from httpx2_trio_ws._cli.streams import fill_standard, read_some, readable_now, unread, write_all, write_now

from .support import no_thread_left

if TYPE_CHECKING:
    from pathlib import Path

    from .support import Pipe


def fill(writer: int) -> int:
    """Fill a pipe until it takes no more; gives how many bytes that took."""
    os.set_blocking(writer, False)
    size = 0
    try:
        while True:
            size += os.write(writer, bytes(65536))
    except BlockingIOError:
        return size
    finally:
        os.set_blocking(writer, True)


# -- reading ---------------------------------------------------------------------------------------


async def test_read_what_there_is(pipe: Pipe) -> None:
    reader, writer = pipe.reader, pipe.writer
    os.write(writer, b"abc")
    assert await read_some(reader) == b"abc"
    pipe.close(writer)
    assert await read_some(reader) == b""


async def test_reading_is_cancelled_at_once_and_leaves_nothing(pipe: Pipe) -> None:
    reader, writer = pipe.reader, pipe.writer
    flags = fcntl.fcntl(reader, fcntl.F_GETFL)
    with no_thread_left():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_some, reader)
            await trio.testing.wait_all_tasks_blocked()
            assert fcntl.fcntl(reader, fcntl.F_GETFL) == flags
            nursery.cancel_scope.cancel()
    os.write(writer, b"not lost")
    assert await read_some(reader) == b"not lost"


async def test_read_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    with no_thread_left(), path.open("rb") as file:
        assert await read_some(file.fileno()) == b"abc"
        assert await read_some(file.fileno()) == b""


async def test_read_what_cannot_be_waited_for(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a console on Windows: in a thread, which is abandoned where the reading is cancelled."""

    async def wait_readable(_: int) -> None:
        raise OSError

    monkeypatch.setattr(trio.lowlevel, "wait_readable", wait_readable)
    reader, writer = pipe.reader, pipe.writer
    with trio.move_on_after(0.05) as scope:
        await read_some(reader)
    assert scope.cancelled_caught
    os.write(writer, b"for the thread")  # which ends by that
    await trio.sleep(0.05)
    os.write(writer, b"abc")
    assert await read_some(reader) == b"abc"


def test_readable_now(pipe: Pipe) -> None:
    reader, writer = pipe.reader, pipe.writer
    assert not readable_now(reader)
    os.write(writer, b"a")
    assert readable_now(reader)
    pipe.close(reader)
    assert not readable_now(reader)


def test_unread(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not unread(pipe.reader)
    os.write(pipe.writer, b"a")
    assert unread(pipe.reader)
    monkeypatch.setitem(sys.modules, "fcntl", None)  # as on Windows
    assert not unread(pipe.reader)


# -- writing ---------------------------------------------------------------------------------------


async def test_writing_waits_for_the_reader(pipe: Pipe) -> None:
    reader, writer = pipe.reader, pipe.writer
    size = fill(writer)
    data = os.urandom(10_000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write_all, writer, data)
        await trio.testing.wait_all_tasks_blocked()  # the event loop is free
        read = b""
        while len(read) < size + len(data):
            read += await read_some(reader)
    assert read[size:] == data


async def test_writing_is_cancelled_at_once(pipe: Pipe) -> None:
    fill(pipe.writer)
    with no_thread_left(), trio.move_on_after(0.05) as scope:
        await write_all(pipe.writer, b"abc")
    assert scope.cancelled_caught


async def test_write_a_file(tmp_path: Path) -> None:
    data = os.urandom(10_000)
    path = tmp_path / "file"
    with path.open("wb") as file:
        await write_all(file.fileno(), data)
    assert path.read_bytes() == data


async def test_nobody_reads(pipe: Pipe) -> None:
    pipe.close(pipe.reader)
    with pytest.raises(BrokenPipeError):
        await write_all(pipe.writer, b"abc")
    write_now(pipe.writer, b"abc")


def test_write_now(pipe: Pipe) -> None:
    write_now(pipe.writer, b"abc")
    assert os.read(pipe.reader, 10) == b"abc"


# -- standard streams ------------------------------------------------------------------------------


def test_closed_standard_streams_are_filled(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = pipe.reader
    pipe.close(reader)  # now the lowest number that is free, or above one that is free
    monkeypatch.setattr(streams, "STDERR", reader)
    holes = []
    while (hole := os.open(os.devnull, os.O_RDWR)) < reader:
        holes.append(hole)
    os.close(hole)
    try:
        fill_standard()
        os.write(reader, b"into nothing")
        assert os.read(reader, 1) == b""
    finally:
        for descriptor in (*holes, reader):
            os.close(descriptor)

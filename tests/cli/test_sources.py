"""What is sent: from pipes and files, from the command line, and typed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from httpx2_trio_ws._cli.sources import BadInput, Given, Lines, Pieces, Source, Typed, piped

if TYPE_CHECKING:
    from pathlib import Path

    from .support import Pipe


async def read_all(source: Source) -> list[str | bytes]:
    messages: list[str | bytes] = []
    while (message := await source.read()) is not None:
        assert not isinstance(message, Pieces)
        messages.append(message)
    assert await source.read() is None
    assert source.taken == len(messages)
    assert not source.left
    return messages


# -- lines -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"a\nb\n", ["a", "b"]),
        (b"a\n\nb", ["a", "", "b"]),
        (b"a\r\nb\r", ["a", "b\r"]),
        ("Ä😀\n".encode(), ["Ä😀"]),
    ],
)
async def test_lines(data: bytes, lines: list[str], pipe: Pipe) -> None:
    reader, writer = pipe.reader, pipe.writer
    os.write(writer, data)
    pipe.close(writer)
    source = Lines(reader)
    assert [await source.read() for _ in lines] == lines
    assert await source.read() is None
    assert await source.read() is None


async def test_a_line_in_pieces(pipe: Pipe) -> None:
    reader, writer = pipe.reader, pipe.writer
    read: list[object] = []

    async def read_one() -> None:
        read.append(await Lines(reader).read())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_one)
        for piece in ("Ä".encode()[:1], "Ä".encode()[1:], b"b"):
            os.write(writer, piece)
            await trio.testing.wait_all_tasks_blocked()
        assert read == []
        os.write(writer, b"\n")
    assert read == ["Äb"]


async def test_a_line_that_is_not_utf_8(pipe: Pipe) -> None:
    reader, writer = pipe.reader, pipe.writer
    os.write(writer, b"\xff\n")
    with pytest.raises(BadInput, match="the input is not UTF-8"):
        await Lines(reader).read()


async def test_input_that_is_not_open_has_ended(pipe: Pipe) -> None:
    pipe.close(pipe.reader)
    assert await Lines(pipe.reader).read() is None


async def test_lines_of_any_length(pipe: Pipe) -> None:
    line = "x" * 3_000_000
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, write_and_close, pipe, f"{line}\n".encode() * 2)
        assert await read_all(Lines(pipe.reader)) == [line, line]


def write_and_close(pipe: Pipe, data: bytes) -> None:
    while data:
        data = data[os.write(pipe.writer, data) :]
    pipe.close(pipe.writer)


async def test_what_is_left(pipe: Pipe) -> None:
    lines = Lines(pipe.reader)
    assert not lines.left
    os.write(pipe.writer, b"a\nb\n")
    seen = []
    for _ in range(2):
        seen.append(lines.left)
        await lines.read()
    assert seen == [True, True]
    assert not lines.left


# -- other forms -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "data", "messages"),
    [
        ("lines", b"a\nb\n", ["a", "b"]),
        ("text", b"", []),
        ("text", b"a\r\n\xc3\xa4\n", ["a\r\n\u00e4\n"]),
        ("binary", b"", []),
        ("chunks", b"", []),
        ("chunks", b"\xff\n", [b"\xff\n"]),
        (
            "ndjson",
            b'{"type": "text", "data": "a\\n"}\n\n{"type": "binary", "base64": "/wA=", "time": "now"}',
            ["a\n", b"\xff\x00"],
        ),
    ],
)
async def test_forms(form: str, data: bytes, messages: list[str | bytes], pipe: Pipe) -> None:
    write_and_close(pipe, data)
    assert await read_all(piped(form, pipe.reader)) == messages


async def test_chunks_come_as_they_are_written(pipe: Pipe) -> None:
    source = piped("chunks", pipe.reader)
    for part in (b"a", b"b"):
        os.write(pipe.writer, part)
        assert source.left
        assert await source.read() == part


async def test_a_binary_message_is_read_while_it_is_sent(pipe: Pipe) -> None:
    source = piped("binary", pipe.reader)
    os.write(pipe.writer, b"a")
    message = await source.read()
    assert isinstance(message, Pieces)
    assert message.total is None
    pieces = aiter(message)
    assert await anext(pieces) == b"a"
    write_and_close(pipe, b"b")
    assert [source.left, await anext(pieces), [piece async for piece in pieces]] == [True, b"b", []]
    assert not source.left
    assert await source.read() is None


async def test_how_large_a_file_is_can_be_told(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1000))
    with path.open("rb") as file:
        message = await piped("binary", file.fileno()).read()
    assert isinstance(message, Pieces)
    assert message.total == 1000


async def test_one_message_is_left_while_it_is_read(pipe: Pipe) -> None:
    source = piped("text", pipe.reader)
    os.write(pipe.writer, b"a")
    with trio.move_on_after(0.01):
        await source.read()
    assert source.left


@pytest.mark.parametrize(
    ("form", "data", "reason"),
    [
        ("lines", b"\xff\n", "not UTF-8"),
        ("text", b"\xff", "not UTF-8"),
        ("ndjson", b"[]\n", "a line is {"),
        ("ndjson", b"{\n", "not as it should be"),
        ("ndjson", b'{"type": "binary", "base64": "!"}\n', "base64"),
        ("ndjson", b'{"type": "text", "data": 1}\n', "a line is {"),
    ],
)
async def test_bad_input(form: str, data: bytes, reason: str, pipe: Pipe) -> None:
    write_and_close(pipe, data)
    with pytest.raises(BadInput, match=reason):
        await piped(form, pipe.reader).read()


async def test_given() -> None:
    source = Given(["a", "b"])
    assert source.left
    assert await read_all(source) == ["a", "b"]


# -- typed -----------------------------------------------------------------------------------------


async def test_a_line_that_the_terminal_may_have_cut_is_not_sent(pipe: Pipe) -> None:
    prompts: list[None] = []
    complaints: list[str] = []
    source = Typed(pipe.reader, lambda: prompts.append(None), complaints.append)
    write_and_close(pipe, b"x" * 4094 + b"\n" + b"x" * 4095 + b"\nb\n")
    assert await read_all(source) == ["x" * 4094, "b"]
    [complaint] = complaints
    assert "not sent" in complaint
    assert "httpx2-trio-ws[cli]" in complaint
    assert len(prompts) == 5  # for each line that is read, the end twice, and after the complaint

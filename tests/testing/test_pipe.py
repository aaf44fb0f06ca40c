"""The connection in memory that everything else here stands on: it behaves as one over TCP does."""

from __future__ import annotations

import anyio
import pytest

from httpx2_trio_ws.testing._pipe import memory_stream_pair, upgraded
from tests.virtual_time import VIRTUAL, run_virtual

loops = pytest.mark.parametrize("loop", VIRTUAL)


@loops
def test_bytes_keep_their_order_and_not_their_chunks(loop: str) -> None:
    async def main() -> None:
        one, two = memory_stream_pair()
        await one.write(b"abc")
        await one.write(b"def")
        await two.write(b"back")
        assert await two.read(4) == b"abcd"
        assert await two.read(4) == b"ef"
        assert await one.read(100) == b"back"

    run_virtual(loop, main)


@loops
def test_a_full_connection_holds_the_writer_up_and_a_closed_one_lets_go(loop: str) -> None:
    async def main() -> None:
        one, two = memory_stream_pair(capacity=2)

        async def write() -> None:
            with pytest.raises(BrokenPipeError):
                await one.write(b"abcdefgh")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            assert await two.read(10) == b"ab"
            assert await two.read(10) == b"cd"
            await anyio.wait_all_tasks_blocked()
            two.close()
        with pytest.raises(BrokenPipeError):
            await two.write(b"x")

    run_virtual(loop, main)


@loops
def test_the_end_of_file_comes_after_what_was_written(loop: str) -> None:
    async def main() -> None:
        one, two = memory_stream_pair()
        await one.write(b"last")
        one.end()
        assert [await two.read(10), await two.read(10), await two.read(10)] == [b"last", b"", b""]
        await two.write(b"still read")
        assert await one.read(10) == b"still read"
        await two.aclose()
        assert await one.read(10) == b""
        with pytest.raises(ConnectionResetError):
            await two.read(10)

    run_virtual(loop, main)


@loops
def test_a_reset_loses_what_was_not_read(loop: str) -> None:
    async def main() -> None:
        one, two = memory_stream_pair()
        await one.write(b"lost")
        await two.write(b"lost")
        one.reset()
        for end in (one, two):
            with pytest.raises(ConnectionResetError):
                await end.read(10)
            with pytest.raises(BrokenPipeError):
                await end.write(b"x")

    run_virtual(loop, main)


@loops
def test_what_is_known_of_the_connection(loop: str) -> None:
    async def main() -> None:
        one, two = memory_stream_pair(info={"client_addr": ("127.0.0.1", 1)})
        assert one.get_extra_info("client_addr") == ("127.0.0.1", 1)
        assert one.get_extra_info("socket") is None
        assert two.get_extra_info("client_addr") is None

    run_virtual(loop, main)


@loops
def test_the_body_of_a_101_is_empty_and_closing_it_closes_the_connection(loop: str) -> None:
    async def main() -> None:
        one, two = memory_stream_pair()
        response = upgraded(101, [], one)
        assert await response.aread() == b""
        await response.aclose()
        assert await two.read(1) == b""

    run_virtual(loop, main)

"""The list of checks, and running them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection
    from contextlib import AbstractAsyncContextManager

    from httpx2_trio_ws.testing._peer import ScriptedPeer

# A check that takes longer than so many seconds hangs. Each takes a fraction of one, where the machine is not busy.
_LIMIT = 10


class SessionMaker(Protocol):
    """Opens a session with a peer that a check plays."""

    def __call__(
        self, handler: Callable[[ScriptedPeer], Awaitable[object]], /, **options: Any
    ) -> AbstractAsyncContextManager[Any]:
        """A context manager that gives an open session, and closes it when it is left.

        Args:
            handler: plays the other end, in a task of its own, which is cancelled if it outlives the session by more
                than a moment. What it raises leaves the context manager.
            **options: session options, named as in :class:`httpx2_trio_ws.OpenOptions`. With
                ``compression="deflate"`` the peer agrees to it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Check:
    """One promise of a session, and the code that finds out whether it is kept.

    Attributes:
        name: what is promised, as an identifier.
        group: the promise's chapter, such as ``"sending"``.
        needs: what the check takes for granted; see :func:`session_checks`.
        function: an async function of the maker.
    """

    name: str
    group: str
    needs: frozenset[str]
    function: Callable[[SessionMaker], Awaitable[None]] = field(repr=False)

    async def __call__(self, maker: SessionMaker) -> None:
        """Run it.

        Raises:
            AssertionError: the promise is not kept.
            TimeoutError: something hangs.
            Exception: anything else that a session may raise where it should not.
        """
        try:
            with anyio.fail_after(_LIMIT):
                await self.function(maker)
        except TimeoutError as exc:
            raise TimeoutError(f"the check {self.name} was not over after {_LIMIT} seconds") from exc


#: What checks may need, and what that means.
NEEDS = {
    "cancellation": "a waiting call can be cancelled",
    "compression": "permessage-deflate",
    "doubles": "the exceptions are also those of trio's channels and of anyio's streams",
    "groups": "the session is a nursery: an untold failure cancels the block and leaves it in a group",
    "order": "tasks call the session in the order in which they were started",
    "parts": "messages may be sent and received in parts: send_stream() and receive_stream()",
    "turns": "calls run in the tasks of one event loop, and take turns there",
}

_checks: list[Check] = []


def check(
    *needs: str,
) -> Callable[[Callable[[SessionMaker], Awaitable[None]]], Callable[[SessionMaker], Awaitable[None]]]:
    """Make a check of an async function; its module's name is the group."""

    def register(function: Callable[[SessionMaker], Awaitable[None]]) -> Callable[[SessionMaker], Awaitable[None]]:
        add(function.__name__, function.__module__, function, *needs)
        return function

    return register


def add(name: str, module: str, function: Callable[[SessionMaker], Awaitable[None]], *needs: str) -> None:
    """Add a check under a name that is not the function's."""
    group = module.rpartition("._")[2]
    _checks.append(Check(name, group, frozenset(needs), function))


def session_checks(*, without: Collection[str] = ()) -> list[Check]:
    """The checks of the session contract, to run one by one.

    ``@pytest.mark.parametrize("check", session_checks(), ids=lambda check: check.name)``

    Args:
        without: needs that are not met; checks that have one of them are left out.

            ``"cancellation"``
                A waiting call can be cancelled.
            ``"compression"``
                The session and its peer speak permessage-deflate.
            ``"doubles"``
                The exceptions are also those of trio's channels and of anyio's streams.
            ``"groups"``
                The session is a nursery: an untold failure cancels the block and leaves it in a group.
            ``"order"``
                Tasks call the session in the order in which they were started.
            ``"parts"``
                Messages may be sent and received in parts: ``send_stream()`` and ``receive_stream()``.
            ``"turns"``
                Calls run in the tasks of one event loop, and take turns there.

    Raises:
        ValueError: there is no such need.
    """
    unknown = sorted(set(without) - set(NEEDS))
    if unknown:
        raise ValueError(f"no check needs {', '.join(unknown)}; there are {', '.join(NEEDS)}")
    return [one for one in _checks if not one.needs & set(without)]


async def check_session(
    maker: SessionMaker, *, without: Collection[str] = (), checks: Collection[Check] | None = None
) -> None:
    """Find out whether a kind of session keeps every promise of the contract.

    Runs on any event loop that anyio runs, and as well on a mock clock if nothing but memory is between session and
    peer. On a real clock it takes some seconds.

    Args:
        maker: see :class:`SessionMaker`. It is called once or more often for each check.
        without: as for :func:`session_checks`.
        checks: only these.

    Raises:
        ExceptionGroup: of what the checks that failed raised; each has a note with the check's name.
    """
    failures: list[Exception] = []
    chosen = session_checks(without=without) if checks is None else checks
    for one in chosen:
        try:
            await one(maker)
        except Exception as exc:  # noqa: BLE001 (whatever comes out of a check is a finding)
            exc.add_note(f"This was found by the check {one.name} ({one.group}).")
            failures.append(exc)
    if failures:
        raise ExceptionGroup(f"{len(failures)} of {len(chosen)} checks of the session contract failed", failures)

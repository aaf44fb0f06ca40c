"""The contract finds what it is there to find: sessions with one defect each do not get through."""

from __future__ import annotations

from functools import partial

import pytest

from httpx2_trio_ws.testing import check_session, session_checks
from tests.virtual_time import run_virtual

from . import defects_inside, defects_of_calls, defects_of_messages, defects_of_parts
from .caught import CAUGHT
from .defects import DEFECTS, Defective

CHECKS = {check.name: check for check in session_checks()}


@pytest.mark.parametrize("name", CAUGHT)
def test_a_defect_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    defect = DEFECTS[name]
    defect.patch(monkeypatch)
    with pytest.raises(ExceptionGroup) as caught:
        run_virtual("trio", partial(check_session, defect.open, checks=[CHECKS[check] for check in CAUGHT[name]]))
    found = [note.split()[6] for exc in caught.value.exceptions for note in exc.__notes__]
    assert found == CAUGHT[name]


def test_every_check_finds_a_defect() -> None:
    assert {check for checks in CAUGHT.values() for check in checks} == set(CHECKS)


def test_every_defect_is_found() -> None:
    not_defects = {"Leaving"}
    assert set(CAUGHT) == set(DEFECTS) - not_defects
    modules = {module.__name__ for module in (defects_inside, defects_of_calls, defects_of_messages, defects_of_parts)}
    assert {defect.__module__ for defect in DEFECTS.values()} == modules


def test_without_a_defect_nothing_is_found() -> None:
    run_virtual("trio", partial(check_session, Defective.open))

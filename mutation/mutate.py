"""Small mistakes, made one at a time in a copy of the package: which of them do the tests notice?

    python mutation/mutate.py                      20 mistakes, drawn anew each time; the seed is printed
    python mutation/mutate.py --seed 7 --count 50  the same 50 each time
    python mutation/mutate.py --rooms _protocol    in some rooms only

A mistake is a mutation of the syntax tree: another comparison, a condition the other way round, a number one more, a
statement left out. Each is judged by the tests of its room, which stop at the first failure; a room whose tests fail
without a mistake judges none. What lives is printed as a diff: either a test is missing, or the mistake is none. (Some are
none: a limit that is one more, a line that only saves time.) It may be stopped early: it draws in no order.
"""

from __future__ import annotations

import argparse
import ast
import copy
import difflib
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "httpx2_trio_ws"
# The tests of each room, the quickest to notice first.
TESTS = {
    "_protocol": ["tests/protocol"],
    "_core": ["tests/core", "tests/test_json.py", "tests/test_messages.py", "tests/test_public.py", "tests/test_closing.py", "tests/test_failures.py", "tests/test_statistics.py", "tests/test_observability.py", "tests/test_in_parts.py", "tests/sync/test_sync_parts.py"],
    "_handshake": ["tests/test_handshake.py", "tests/test_open.py", "tests/test_refusals.py", "tests/test_redirects.py", "tests/test_answers.py"],
    "_session": ["tests/test_session.py", "tests/test_closing.py", "tests/test_failures.py", "tests/test_queues.py", "tests/test_scenarios.py", "tests/test_in_parts.py", "tests/test_keepalive.py", "tests/test_stream.py", "tests/test_cancellation.py", "tests/test_every_call_raises.py", "tests/test_busy.py", "tests/test_hooks_in_tasks.py"],
    "_carriers": ["tests/test_transport.py", "tests/test_tls_carriers.py", "tests/on_asyncio"],
    "_reconnecting": ["tests/reconnect"],
    "_multiplexing": ["tests/multiplexing"],
    "_sync": ["tests/sync", "tests/test_statistics.py"],
    "_http2": ["tests/http2"],
    "_http2_transport": ["tests/http2"],
}  # fmt: skip
COMPARED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
SECONDS = 300


def mutations(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Places in a module, and what may be done there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in COMPARED:
            yield node, "compare"
        elif isinstance(node, ast.BoolOp):
            yield node, "and, or"
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield node, "not"
        elif isinstance(node, ast.If | ast.While | ast.IfExp) and not _is_for_types(node.test):
            yield node, "condition"
        elif isinstance(node, ast.Constant) and type(node.value) is int:
            yield node, "number"
        elif isinstance(node, ast.Expr | ast.Assign | ast.AugAssign) and not isinstance(node.value, ast.Constant):
            yield node, "left out"


def _is_for_types(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


class _Mutation(ast.NodeTransformer):
    """Makes one mistake, at a place that was found by :func:`mutations` in an equal tree."""

    def __init__(self, at: ast.AST, what: str) -> None:
        self._at = at
        self._what = what

    def visit(self, node: ast.AST) -> ast.AST:
        return self._changed(node) if node is self._at else super().visit(node)

    def _changed(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.Compare):
            node.ops = [COMPARED[type(node.ops[0])]()]
        elif isinstance(node, ast.BoolOp):
            node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        elif isinstance(node, ast.UnaryOp):
            return node.operand
        elif isinstance(node, ast.If | ast.While | ast.IfExp):
            node.test = ast.UnaryOp(ast.Not(), node.test)
        elif isinstance(node, ast.Constant):
            assert isinstance(node.value, int)
            node.value += 1
        else:
            return ast.Pass()
        return node


def draw(rooms: list[str], count: int, seed: int) -> list[tuple[Path, int]]:
    """So many places, by file and number; each line of code is as likely as another."""
    places = [
        (path, number)
        for room in rooms
        for path in sorted((PACKAGE / room).glob("*.py"))
        for number, _ in enumerate(mutations(ast.parse(path.read_text(encoding="utf-8"))))
    ]
    return random.Random(seed).sample(places, min(count, len(places)))


def mutated(text: str, number: int) -> tuple[str, str]:
    """A module before and after one mistake, both as the syntax tree prints them."""
    tree = ast.parse(text)
    before = ast.unparse(copy.deepcopy(tree))
    at, what = list(mutations(tree))[number]
    return before, ast.unparse(ast.fix_missing_locations(_Mutation(at, what).visit(tree)))


def is_noticed(copied: Path, tests: list[str]) -> bool:
    """Whether a test fails, or does not come to an end."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *tests]
    environment = {**os.environ, "PYTHONPATH": str(copied / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=copied, env=environment, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0


def main() -> int:
    """Draw, try, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--rooms", nargs="*", default=list(TESTS), choices=list(TESTS))
    arguments = parser.parse_args()
    living = judged = 0
    fit: dict[str, bool] = {}
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / "copy"
        shutil.copytree(
            ROOT, copied, ignore=shutil.ignore_patterns(".git", ".nox", ".venv", "dist", "_build", "__pycache__")
        )
        places = draw(arguments.rooms, arguments.count, arguments.seed)
        for path, number in places:
            target = copied / path.relative_to(ROOT)
            text = target.read_text(encoding="utf-8")
            before, after = mutated(text, number)
            room = path.relative_to(PACKAGE).parts[0]
            tests = TESTS[room]
            if room not in fit:
                fit[room] = not is_noticed(copied, tests)
                if not fit[room]:
                    print(f"the tests of {room} fail as they are", flush=True)
            if not fit[room]:
                continue
            judged += 1
            target.write_text(after, encoding="utf-8")
            noticed = is_noticed(copied, tests)
            target.write_text(text, encoding="utf-8")
            print("noticed" if noticed else "LIVES", path.relative_to(PACKAGE), number, flush=True)
            if not noticed:
                living += 1
                print(
                    *difflib.unified_diff(before.splitlines(), after.splitlines(), n=2, lineterm=""),
                    sep="\n",
                    flush=True,
                )
    print(f"seed {arguments.seed}: {judged - living} of {judged} noticed")
    return 0


if __name__ == "__main__":
    sys.exit(main())

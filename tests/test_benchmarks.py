"""The benchmarks, in small: workloads run, what is wrong is noticed, and figures become tables."""

from __future__ import annotations

import dataclasses
import json
import socket
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest
import trio
from benchmarks import attacks, driving, growing, plots, render
from benchmarks.contenders import CONTENDERS
from benchmarks.driving import Ends, WrongError
from benchmarks.figures import TARGETS, Found, per_message
from benchmarks.growing import Series
from benchmarks.jobs import Job, encoded, masked_frame, pieces
from benchmarks.main import Run
from benchmarks.matrix import WORKLOADS, takes_part
from benchmarks.processes import ROOT, FailedError, Process, Server, Worker
from benchmarks.upgrading import upgrade

from .attacks import ATTACKS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

needs_statm = pytest.mark.skipif(sys.platform != "linux", reason="memory is looked up where Linux has it")
COUNTS = Counter({"flood": 20, "burst": 20, "echo": 3, "open": 2, "sessions": 25, "slow": 100})


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as started:
        yield started


@pytest.mark.parametrize("contender", ["ours-trio", "bare-trio", "bare-asyncio"])
def test_each_workload_runs(server: Server, contender: str) -> None:
    with Worker(contender, server) as worker:
        for name, workload in WORKLOADS.items():
            if workload.job.kind == "import" or not takes_part(contender, workload):
                continue
            job = dataclasses.replace(workload.job, count=COUNTS[workload.job.kind], each=3, verify=True)
            measured = worker.do(job)
            assert measured["wall"] > 0, name
            assert measured["count"] == job.count * (job.each if job.kind == "sessions" else 1), name


def test_fragments_and_depths(server: Server) -> None:
    with Worker("ours-trio", server) as worker:
        for job in (Job("flood", 1024, count=5, fragments=7), Job("flood", count=50, queue_size=1)):
            assert worker.do(job)["count"] == job.count


def test_a_run_takes_turns_and_reports_failures() -> None:
    run = Run(["flood-16-text", "flood-json-deflate"], ["bare-asyncio", "ours-trio"], rounds=2, seconds=0.001)
    run.measure()
    assert not run.failed
    assert {name: len(runs) for name, runs in run.results["flood-16-text"].items()} == {
        "ours-trio": 2,
        "bare-asyncio": 2,
    }
    assert list(run.results["flood-json-deflate"]) == ["ours-trio"]
    run.workers.clear()  # they have ended
    run.fail("flood-16-text", "ours-trio", FailedError("no\nreason"))
    assert list(run.results["flood-16-text"]) == ["bare-asyncio"]


def test_a_job_that_fails_is_told_of_and_the_worker_goes_on(server: Server) -> None:
    with Worker("bare-trio", server) as worker:
        with pytest.raises(FailedError, match="KeyError"):
            worker.do(Job("juggle"))
        assert worker.do(Job("echo", count=2))["count"] == 2


def test_a_contender_that_dies_gets_a_new_process(server: Server) -> None:
    run = Run([], ["bare-trio"], rounds=1, seconds=0.001)
    run.server = server
    with run.stack:
        first = run.workers["bare-trio"] = run.stack.enter_context(Worker("bare-trio", server))
        first.process.kill()
        first.process.wait()
        run.counts["echo-125", "bare-trio"] = Job("echo", count=2)
        run.one("echo-125", "bare-trio")
        assert list(run.failed) == ["echo-125: bare-trio"]
        assert run.workers["bare-trio"] is not first
        assert run.workers["bare-trio"].do(Job("echo", count=2))["count"] == 2


def test_a_process_that_ends_is_told_of() -> None:
    with Process("worker", "nobody") as process, pytest.raises(FailedError, match="ended, with 1"):
        process.answer()


async def test_a_message_too_few_is_noticed() -> None:
    job = Job("flood", count=3)

    async def send(_message: object) -> None:
        await trio.lowlevel.checkpoint()

    async def receive() -> object:
        await trio.lowlevel.checkpoint()
        return job.ordinary

    with pytest.raises(WrongError, match="the last message is"):
        await driving.flood(job, Ends(send, receive))


@pytest.mark.parametrize("wrong", ["last", "count"])
def test_the_server_notices_a_wrong_burst(server: Server, wrong: str) -> None:
    job = Job("burst", count=4)
    with socket.create_connection(("127.0.0.1", server.told["port"]), 5) as connection:
        connection.sendall(upgrade(f"ws://127.0.0.1{job.query()}"))
        assert connection.recv(4096).startswith(b"HTTP/1.1 101")
        messages = [job.ordinary] * 4 if wrong == "last" else [*[job.ordinary] * 4, job.last]
        connection.sendall(b"".join(masked_frame(encoded(message), text=True) for message in messages))
        try:
            answer = connection.recv(4096)
        except ConnectionResetError:
            answer = b""
        assert answer == b""


def test_a_flood_has_so_many_messages() -> None:
    for job in (Job("flood", 16), Job("flood", 200_000), Job("flood", 1024, fragments=3)):
        for count in (1, 2, 40_000 if job.size == 16 else 5):
            sent = b"".join(pieces(job, count))
            assert sent.count(b"x") == (count - 1) * job.size
            assert sent.count(b"y") == job.size
            assert sent.endswith(b"y")


def found(**medians: dict[str, dict[str, float]]) -> Found:
    results = {
        workload.replace("_", "-"): {name.replace("_", "-"): [figures] * 3 for name, figures in contenders.items()}
        for workload, contenders in medians.items()
    }
    machine = dict.fromkeys(("cpu", "cores", "python", "kernel"), "some")
    settings = {"rounds": 3, "seconds_per_measurement": 0.1, "server": "asyncio"}
    return Found(machine, {"trio": "1"}, settings, results, {"picows-asyncio": ["picows"]}, {"echo: x": "a\nb"})


def test_targets_are_met_or_missed(tmp_path: Path) -> None:
    fast = {"wall_us": 1.0, "cpu_us": 2.0}
    told = found(
        flood_125_text={
            "ours_trio": fast,
            "httpx2_trio": {"wall_us": 40.0, "cpu_us": 60.0},
            "websockets_trio": {"wall_us": 9.9, "cpu_us": 9.9},
        },
        echo_125={"ours_trio": fast, "bare_trio": {"wall_us": 0.5, "cpu_us": 1.3}},
        sessions={
            "ours_trio": fast | {"memory": 30_000.0},
            "httpx2_trio": fast | {"memory": 40_000.0},
            "websockets_trio": fast | {"memory": 60_000.0},
        },
    )
    text = render.block(told, None, set())
    rows = [
        [cell.strip() for cell in line.split("|")[3:6]]
        for line in text.splitlines()
        if "met |" in line or "missed" in line
    ]
    assert rows == [
        ["≥ 40", "40.00", "met"],
        ["≥ 10", "9.90", "**missed**"],
        ["≤ 1.6", "1.54", "met"],
        ["≤ 0.5", "0.75", "**missed**"],
        ["≤ 0.6", "0.50", "met"],
    ]
    assert "Left out: picows-asyncio, as picows was not installed." in text
    assert "Failed: echo: x (`b`)." in text
    page = tmp_path / "page.md"
    page.write_text(f"before\n{render.BEGIN}\nold\n{render.END}\nafter\n")
    render.fill(page, text)
    assert page.read_text() == f"before\n{render.BEGIN}\n\n{text}\n\n{render.END}\nafter\n"


def test_where_others_are_ahead_is_told() -> None:
    ours = {"wall_us": 10.0, "cpu_us": 10.0}
    told = found(
        echo_125={
            "ours_trio": ours,
            "websockets_trio": {"wall_us": 9.0, "cpu_us": 12.0},
            "httpx2_trio": {"wall_us": 9.9, "cpu_us": 9.9},
            "bare_trio": {"wall_us": 0.5, "cpu_us": 0.5},
        },
    )
    assert render.behind(told)[2:-1] == ["| Echo, 125 B text | trio | websockets | 0.90 | 1.20 |"]


def test_the_page_has_what_was_measured() -> None:
    results, growth = (ROOT / "benchmarks" / name for name in ("results.json", "growth.json"))
    drawn = {
        name for name in ("throughput", "echo", "memory", "growth") if f"figures/{name}.svg" in render.PAGE.read_text()
    }
    text = render.block(Found.read(results), growing.read(growth)[0], drawn)
    assert text in render.PAGE.read_text(), "run benchmarks/report.py"


def test_the_page_on_security_has_what_attacks_cost() -> None:
    rows = json.loads((ROOT / "benchmarks" / "attacks.json").read_text(encoding="utf-8"))
    page = attacks.PAGE.read_text(encoding="utf-8")
    assert attacks.with_table(page, rows) == page, "run benchmarks/attacks.py --docs"
    assert {row["attack"] for row in rows} == set(ATTACKS)


def test_an_attack_is_measured_on_each_contender() -> None:
    rows = attacks.measure_all(["compressed: stored blocks of nothing"], list(attacks.CONTENDERS))
    for row in rows:
        assert row["milliseconds_per_mib"] > 0, row
        assert (row["longest_milliseconds"] is None) == ("threads" in row["contender"]), row
    assert attacks.table(rows).count("\n") == 3


def test_what_the_targets_name_exists() -> None:
    for target in TARGETS:
        assert target.workload in WORKLOADS
        assert {target.ours, target.peer} <= set(CONTENDERS)
    assert render.PAGE.read_text().count(render.BEGIN) == render.PAGE.read_text().count(render.END) == 1


def test_seconds_become_microseconds_per_message() -> None:
    measured = {"wall": 2.0, "cpu": 1.0, "count": 1000, "p50": 0.003, "memory": 5000.0}
    assert per_message(measured) == {
        "wall_us": 2000.0, "cpu_us": 1000.0, "p50_us": 3000.0, "count": 1000, "memory": 5000.0
    }  # fmt: skip


@pytest.mark.parametrize(("power", "verdict"), [(1, "linear or better"), (2, "MORE THAN LINEAR")])
def test_an_exponent_is_found(power: int, verdict: str) -> None:
    series = Series("cost", "things", points=[(n, 3.0 * n**power) for n in (1, 10, 100, 1000)])
    assert series.exponent == pytest.approx(power)
    assert series.verdict == verdict
    assert render.block(None, [series], set()).count(f"{power}.00 | {verdict}") == 1


@needs_statm
def test_memory_is_seen_to_grow() -> None:
    before = driving.resident()
    kept = b"x" * 50_000_000
    assert 45_000_000 < driving.resident() - before < 60_000_000
    assert kept


def test_the_same_figures_give_the_same_plots(tmp_path: Path) -> None:
    figures = {"wall_us": 1.0, "cpu_us": 2.0, "p99_us": 9.0}
    told = found(**{name: {"ours_trio": figures} for name in ("flood_125_text", "burst_125_text", "echo_125")})
    series = [Series("cost", "things", points=[(1, 1.0), (10, 10.0)])]
    assert plots.draw(told, series, tmp_path) == {"throughput", "echo", "growth"}
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    plots.draw(told, series, tmp_path)
    assert first == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert not any(b"<dc:date>" in svg for svg in first.values())

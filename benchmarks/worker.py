"""A contender as a process: it reads a job as a line of JSON, does it, and answers with a line of figures.

    python -m benchmarks.worker CONTENDER

It sleeps between jobs, and every job has an event loop of its own. It ends when its standard input does.
"""

from __future__ import annotations

import gc
import json
import ssl
import sys
import traceback
from typing import Any

from .contenders import CONTENDERS, Contender
from .driving import Figures, run, run_blocking
from .jobs import Job


async def on_loop(contender: Contender, job: Job, base: str, context: ssl.SSLContext | None) -> Figures:
    async with contender.enter(job, context) as opener:
        return await run(job, opener, base)


def do(contender: Contender, job: Job, order: dict[str, Any]) -> Figures:
    context = ssl.create_default_context(cadata=order["ca"]) if job.tls else None
    base = f"wss://127.0.0.1:{order['tls_port']}" if job.tls else f"ws://127.0.0.1:{order['port']}"
    gc.collect()
    figures: Figures
    if contender.loop == "threads":
        with contender.enter(job, context) as opener:
            return run_blocking(job, opener, base)
    if contender.loop == "trio":
        import trio

        figures = trio.run(on_loop, contender, job, base, context)
        return figures
    if contender.loop == "uvloop":
        import uvloop

        return uvloop.run(on_loop(contender, job, base, context))
    import asyncio

    return asyncio.run(on_loop(contender, job, base, context))


def main(name: str) -> None:
    contender = CONTENDERS[name]
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints is no answer
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer: dict[str, Any] = dict(do(contender, Job(**order["job"]), order))
        except Exception:  # noqa: BLE001 (it is told of, and the next job may go well)
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

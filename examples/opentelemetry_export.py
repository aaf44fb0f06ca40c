"""Sessions as OpenTelemetry sees them: a span for each, and metrics of all.

The instrument asks for no single frame, so a message costs nothing more than without it: the counters are read from
``statistics()`` whenever the exporter wants them. It needs ``pip install opentelemetry-sdk``.

Run it with the URL of an echo server, one that sends back what it receives; it prints what it exports.
``python -m httpx2_trio_ws --serve`` runs one::

    python examples/opentelemetry_export.py ws://127.0.0.1:8765/echo
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx2
import trio
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from httpx2_trio_ws import Instrument, WebSocketException, open_websocket

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.metrics import CallbackOptions, Meter
    from opentelemetry.trace import Span, Tracer


class Telemetry(Instrument):
    """Give it to any number of sessions, on trio, asyncio and in threads."""

    def __init__(self, tracer: Tracer, meter: Meter) -> None:
        self._tracer = tracer
        self._spans: dict[Any, Span] = {}
        # What the sessions that have ended have counted. Exporters read it in a thread of their own.
        self._ended: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._open = meter.create_up_down_counter("websocket.sessions", description="open sessions")
        self._latency = meter.create_histogram("websocket.ping.duration", unit="s", description="round trips of pings")
        for what, unit in (("messages", "{message}"), ("frames", "{frame}"), ("bytes", "By")):
            meter.create_observable_counter(f"websocket.{what}", [partial(self._observe, what)], unit=unit)

    def _observe(self, what: str, _options: CallbackOptions) -> Iterable[Observation]:
        for direction in ("sent", "received"):
            name = f"{what}_{direction}"
            with self._lock:
                total = self._ended[name] + sum(getattr(session.statistics(), name) for session in self._spans)
            yield Observation(total, {"direction": direction})

    def session_opened(self, session: Any) -> None:
        """Begin a span that tells of the handshake."""
        response = session.response
        url = response.request.url
        # It becomes a child of the span in which the session is opened, if there is one.
        span = self._tracer.start_span(
            f"websocket {url.path}",
            kind=SpanKind.CLIENT,
            attributes={
                "server.address": url.host,
                "server.port": url.port or (443 if url.scheme == "https" else 80),
                "url.path": url.path,
                "http.response.status_code": response.status_code,
                "websocket.subprotocol": session.subprotocol or "",
                "websocket.extensions": response.headers.get("sec-websocket-extensions", ""),
            },
        )
        with self._lock:
            self._spans[session] = span
        self._open.add(1)

    def ping_answered(self, session: Any, round_trip: float) -> None:
        """One more value for the histogram."""
        self._latency.record(round_trip, {"server.address": session.response.request.url.host})

    def reading_paused(self, session: Any) -> None:
        """The application is slower than the server."""
        self._spans[session].add_event("reading paused")

    def reading_resumed(self, session: Any) -> None:
        """It has caught up."""
        self._spans[session].add_event("reading resumed")

    def session_closed(self, session: Any, code: int, reason: str, failure: WebSocketException | None) -> None:
        """End the span, and keep what the session has counted."""
        statistics = session.statistics()
        with self._lock:
            span = self._spans.pop(session)
            for what in ("messages", "frames", "bytes"):
                for name in (f"{what}_sent", f"{what}_received"):
                    self._ended[name] += getattr(statistics, name)
        self._open.add(-1)
        span.add_event("closed", {"websocket.close_code": code, "websocket.close_reason": reason})
        span.set_attribute("websocket.consumer_wait", statistics.consumer_wait_seconds)
        span.set_attribute("websocket.peer_wait", statistics.peer_wait_seconds)
        if failure is not None:
            span.record_exception(failure)
            span.set_status(StatusCode.ERROR, str(failure))
        span.end()


async def main(url: str, tracers: TracerProvider, meters: MeterProvider) -> None:
    tracer = tracers.get_tracer("example")
    telemetry = Telemetry(tracer, meters.get_meter("example"))
    async with httpx2.AsyncClient() as client:
        with tracer.start_as_current_span("echo three words"):
            async with open_websocket(client, url, instruments=[telemetry]) as ws:
                for word in ("one", "two", "three"):
                    await ws.send(word)
                    await ws.receive()
                await (await ws.ping())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} URL, such as ws://127.0.0.1:8765/echo (see docs/examples.md)")
    tracers, meters = TracerProvider(), MeterProvider([PeriodicExportingMetricReader(ConsoleMetricExporter())])
    tracers.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter()))
    try:
        trio.run(main, sys.argv[1], tracers, meters)
    finally:
        tracers.shutdown()
        meters.shutdown()

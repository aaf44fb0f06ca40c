"""The example that exports spans and metrics, with exporters in memory."""

from __future__ import annotations

import importlib.util
import runpy
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from httpx2_trio_ws import WebSocketNetworkError
from httpx2_trio_ws._cli.demonstration import own_server

from .memory import memory_session, text
from .servers import websocket_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import ReadableSpan

EXAMPLE = Path(__file__).parent.parent / "examples" / "opentelemetry_export.py"


def load() -> Any:
    spec = importlib.util.spec_from_file_location("examples.opentelemetry_export", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Exported:
    """Providers, and what came out of them."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meters = MeterProvider([self._reader], shutdown_on_exit=False)

    def spans(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self._spans.get_finished_spans()}

    def metrics(self) -> dict[str, Any]:
        """The values by name and direction; of a histogram, how many there are."""
        data = self._reader.get_metrics_data()
        assert data is not None
        return {
            f"{metric.name} {dict(point.attributes or {}).get('direction', '')}".strip(): (
                point.count if hasattr(point, "count") else point.value
            )
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        }


@pytest.fixture
def exported() -> Iterator[Exported]:
    exported = Exported()
    yield exported
    exported.tracers.shutdown()
    exported.meters.shutdown()


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


async def test_a_span_for_a_session_and_metrics_of_all(exported: Exported) -> None:
    async with websocket_server(subprotocols=None) as url:
        await load().main(f"{url}/path?token=secret", exported.tracers, exported.meters)
        spans = exported.spans()
        parent, span = spans["echo three words"], spans["websocket /path"]
        assert span.kind is SpanKind.CLIENT
        assert span.parent == parent.get_span_context()
        attributes = dict(span.attributes or {})
        assert attributes["server.address"] == "127.0.0.1"
        assert attributes["server.port"] == int(url.rpartition(":")[2])
        assert attributes["http.response.status_code"] == 101
        assert "secret" not in span.to_json()
        (closed,) = span.events
        assert (closed.name, dict(closed.attributes or {})) == (
            "closed",
            {"websocket.close_code": 1000, "websocket.close_reason": ""},
        )
        assert span.status.status_code is StatusCode.UNSET
    metrics = exported.metrics()
    assert (metrics["websocket.messages sent"], metrics["websocket.messages received"]) == (3, 3)
    assert (metrics["websocket.frames sent"], metrics["websocket.frames received"]) == (5, 5)
    assert metrics["websocket.bytes sent"] > metrics["websocket.bytes received"] > 11
    assert metrics["websocket.ping.duration"] == 1
    assert metrics["websocket.sessions"] == 0


async def test_an_open_session_is_in_the_metrics_and_a_failure_in_its_span(
    exported: Exported, autojump_clock: object
) -> None:
    telemetry = load().Telemetry(exported.tracers.get_tracer("tests"), exported.meters.get_meter("tests"))
    with pytest.raises(ExceptionGroup) as caught:
        async with memory_session(queue_size=1, instruments=[telemetry]) as (ws, peer):
            await peer.send(text("one") + text("does not fit"))
            await trio.testing.wait_all_tasks_blocked()
            # Exporters ask in threads of their own.
            metrics = await trio.to_thread.run_sync(exported.metrics)
            assert (metrics["websocket.sessions"], metrics["websocket.messages received"]) == (1, 1)
            assert [await ws.receive(), await ws.receive()] == ["one", "does not fit"]
            await peer.aclose()
            await trio.sleep_forever()
    assert caught.group_contains(WebSocketNetworkError, depth=1)
    (span,) = exported.spans().values()
    assert [event.name for event in span.events] == ["reading paused", "reading resumed", "closed", "exception"]
    assert span.status.status_code is StatusCode.ERROR
    assert exported.metrics()["websocket.messages received"] == 2


def test_as_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE)])
    with pytest.raises(SystemExit, match=r"usage: python .* URL, such as ws://127\.0\.0\.1:8765/echo"):
        runpy.run_path(str(EXAMPLE), run_name="__main__")
    with own_server() as base:
        command = [sys.executable, "-X", "dev", "-W", "error", str(EXAMPLE), f"{base}/echo"]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    assert '"name": "websocket /echo"' in out
    assert '"name": "websocket.ping.duration"' in out

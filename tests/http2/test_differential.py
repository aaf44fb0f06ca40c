"""``h2`` as the other side: what it sends is received, and it takes what is sent, whatever the order and the cuts.

``HYPOTHESIS_EXAMPLES`` in the environment sets how many examples to try.
"""

from __future__ import annotations

import os
from collections import defaultdict
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from httpx2_trio_ws._http2 import Connection, Ended, ErrorCode, GoAway, Headers, PingAnswered, Reset, Stream

from .wire import REQUEST

check = settings(
    max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "200")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
STREAMS = 4
# Of each of these, at most: a stream of ours, a size and something to choose by.
CLIENT = ["open", "send", "send", "credit", "reset", "ping"]
SERVER = [
    "answer",
    "answer",
    "respond",
    "data",
    "data",
    "end",
    "trailers",
    "reset",
    "ping",
    "settings",
    "window",
    "goaway",
]
SIZES = st.sampled_from([0, 1, 5, 100, 4000, 16_384, 30_000, 65_535, 70_000])
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [f"client {name}" for name in CLIENT] + [f"server {name}" for name in SERVER] + ["network"] * 6
        ),
        st.integers(0, STREAMS - 1),
        SIZES,
    ),
    max_size=60,
)
CUTS = st.lists(st.sampled_from([1, 3, 9, 10, 1000, 16_393, 10**6]), min_size=1, max_size=5)

# What may be done on a stream, and what state that leaves it in; h2 would close it for anything else.
STATES = {
    "answer": ("open", "answered"),
    "respond": ("open", "ended"),
    "data": ("answered", "answered"),
    "end": ("answered", "ended"),
    "trailers": ("answered", "ended"),
}


class Pair:
    """Our connection and h2's, a network between them, and what each was told by the other."""

    def __init__(self, cuts: list[int]) -> None:
        self.cuts = cuts
        self.client = Connection(stream_window=40_000, connection_window=80_000)
        self.server: Any = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding=None)
        )
        self.server.local_settings = h2.settings.Settings(
            client=False, initial_values={h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1}
        )
        self.server.initiate_connection()
        self.streams: list[Stream] = []
        self.sent: dict[str, dict[int, bytes]] = {"client": defaultdict(bytes), "server": defaultdict(bytes)}
        self.got: dict[str, dict[int, bytes]] = {"client": defaultdict(bytes), "server": defaultdict(bytes)}
        self.taken: dict[int, bytes] = {}
        self.untaken: dict[int, int] = defaultdict(int)
        self.told: list[tuple[Any, ...]] = []  # by the server
        self.heard: list[tuple[Any, ...]] = []
        self.gone: set[int] = set()
        self.state: dict[int, str] = defaultdict(lambda: "open")
        self.going_away = False
        # h2 takes an acknowledgement for that of all settings that it has sent, so it sends them one by one.
        self.unacknowledged = True
        self.network()
        self.network()

    # -- the network ---------------------------------------------------------------------------

    def network(self) -> None:
        output = bytes(self.client.take_output())
        for event in self.server.receive_data(output):
            self.at_server(event)
        answer, at, turn = self.server.data_to_send(), 0, 0
        while at < len(answer):
            size = self.cuts[turn % len(self.cuts)] if turn < 300 else len(answer)
            for heard in self.client.receive_data(answer[at : at + size], 0.0):
                self.at_client(heard)
            at, turn = at + size, turn + 1
        assert self.client.failed is None, self.client.failed

    def at_server(self, event: Any) -> None:
        if isinstance(event, h2.events.DataReceived):
            self.got["server"][event.stream_id] += event.data
            if event.stream_id not in self.gone:
                self.untaken[event.stream_id] += event.flow_controlled_length
        elif isinstance(event, h2.events.StreamReset):
            self.gone.add(event.stream_id)
        elif isinstance(event, h2.events.SettingsAcknowledged):
            self.unacknowledged = False
        elif isinstance(event, h2.events.RequestReceived):
            assert event.headers[: len(REQUEST)] == REQUEST
            assert dict(event.headers)[b"x-number"] == b"%d" % event.stream_id

    def at_client(self, event: Any) -> None:
        if isinstance(event, Stream):
            self.got["client"][event.id] += event.take()
        elif isinstance(event, Headers):
            assert event.headers == [(b"x-id", b"%d" % event.stream.id)]
            assert event.ended == (event.status == 403)
            self.heard.append((f"answer {event.status}", event.stream.id))
        elif isinstance(event, Ended):
            self.heard.append(("end", event.stream.id))
        elif isinstance(event, Reset):
            self.heard.append(("reset", event.stream.id, event.code))
        elif isinstance(event, PingAnswered):
            assert event.payload == b"12345678"
        elif isinstance(event, GoAway):
            self.heard.append(("goaway", event.code, event.debug))

    # -- the client ----------------------------------------------------------------------------

    def client_open(self, stream: Stream | None, size: int) -> None:
        if len(self.streams) < STREAMS and not self.going_away:
            number = len(self.streams) * 2 + 1
            headers = [*REQUEST, (b"x-number", b"%d" % number), (b"cookie", b"c" * size)]
            self.streams.append(self.client.open_stream(headers if size < 40_000 else headers[:-1], None))

    def client_send(self, stream: Stream | None, size: int) -> None:
        if stream is not None:
            payload = (b"%d." % stream.id * size)[:size]
            count = self.client.send(stream, memoryview(payload))
            self.sent["client"][stream.id] += payload[:count]

    def client_credit(self, stream: Stream | None, size: int) -> None:
        if stream is not None:
            untaken = len(self.got["client"][stream.id]) - len(self.taken.get(stream.id, b""))
            self.client.credit(stream, untaken)
            self.taken[stream.id] = self.got["client"][stream.id]

    def client_reset(self, stream: Stream | None, size: int) -> None:
        if stream is not None and size > 20_000:
            self.client.reset(stream, ErrorCode.CANCEL)

    def client_ping(self, stream: Stream | None, size: int) -> None:
        self.client.ping(b"12345678")

    # -- the server ----------------------------------------------------------------------------

    def tell(self, stream: Stream | None, *what: Any, forget: bool = False) -> None:
        """Tell the client something, if it still listens."""
        if stream is not None:
            self.told.append((what[0], stream.id, *what[1:]))
            if forget:
                self.gone.add(stream.id)

    def server_answer(self, stream: Stream, size: int) -> None:
        self.server.send_headers(stream.id, [(b":status", b"103"), (b"x", b"y")])
        self.server.send_headers(stream.id, [(b":status", b"200"), (b"x-id", b"%d" % stream.id)])
        self.tell(stream, "answer 200")

    def server_respond(self, stream: Stream, size: int) -> None:
        self.server.send_headers(stream.id, [(b":status", b"403"), (b"x-id", b"%d" % stream.id)], end_stream=True)
        self.tell(stream, "answer 403")
        self.tell(stream, "end")

    def server_data(self, stream: Stream, size: int) -> None:
        room = min(self.server.local_flow_control_window(stream.id), self.server.max_outbound_frame_size)
        padding = size % 256 if size % 2 else None
        size = min(size, room - 256)
        if size > 0:
            payload = (b"%d," % stream.id * size)[:size]
            self.server.send_data(stream.id, payload, pad_length=padding)
            self.sent["server"][stream.id] += payload

    def server_end(self, stream: Stream, size: int) -> None:
        self.server.end_stream(stream.id)
        self.tell(stream, "end")

    def server_trailers(self, stream: Stream, size: int) -> None:
        self.server.send_headers(stream.id, [(b"x-trailer", b"y")], end_stream=True)
        self.tell(stream, "end")

    def server_reset(self, stream: Stream, size: int) -> None:
        if size > 20_000:
            self.server.reset_stream(stream.id, size % 14)
            self.tell(stream, "reset", size % 14, forget=True)

    def server_ping(self, stream: Stream, size: int) -> None:
        self.server.ping(b"abcdefgh")

    def server_settings(self, stream: Stream, size: int) -> None:
        codes = h2.settings.SettingCodes
        if self.unacknowledged:
            return
        self.unacknowledged = True
        self.server.update_settings(
            {codes.INITIAL_WINDOW_SIZE: size, codes.MAX_FRAME_SIZE: 16_384 + size, codes.HEADER_TABLE_SIZE: size % 5000}
        )

    def server_window(self, stream: Stream, size: int) -> None:
        untaken = self.untaken.pop(stream.id, 0)
        if untaken:
            self.server.acknowledge_received_data(untaken, stream.id)
        elif size:
            self.server.increment_flow_control_window(size, stream.id if size % 2 else None)

    def server_goaway(self, stream: Stream, size: int) -> None:
        """h2 itself would close; the frame is what is of interest."""
        self.going_away = True
        last = self.streams[-1].id if self.streams else 0
        self.server._data_to_send += b"\0\0\x0a\7\0\0\0\0\0" + last.to_bytes(4, "big") + bytes(4) + b"so"
        self.told.append(("goaway", 0, b"so"))

    # -- steps ---------------------------------------------------------------------------------

    def step(self, name: str, number: int, size: int) -> None:
        stream = self.streams[number] if number < len(self.streams) else None
        who, _, what = name.partition(" ")
        if who == "network":
            self.network()
        elif who == "client":
            getattr(self, f"client_{what}")(stream, size)
        elif stream is not None and stream.id in self.server.streams and stream.id not in self.gone:
            before, after = STATES.get(what, (self.state[stream.id],) * 2)
            if self.state[stream.id] == before:
                getattr(self, f"server_{what}")(stream, size)
                self.state[stream.id] = after


@check
@given(steps=STEPS, cuts=CUTS)
def test_each_gets_what_the_other_sends(steps: list[tuple[str, int, int]], cuts: list[int]) -> None:
    pair = Pair(cuts)
    for step in steps:
        pair.step(*step)
    for _ in range(3):
        pair.network()
    reset_here = {stream.id for stream in pair.streams if stream.forgotten} - {
        told[1] for told in pair.told if told[0] == "reset"
    }
    for stream in pair.streams:
        sent, got = pair.sent["server"][stream.id], pair.got["client"][stream.id]
        assert got == sent if stream.id not in reset_here else sent.startswith(got)
        sent, got = pair.sent["client"][stream.id], pair.got["server"][stream.id]
        assert got == sent if stream.id not in pair.gone else sent.startswith(got)
        if not stream.forgotten and stream.id in pair.server.streams:
            theirs = pair.server.streams[stream.id]._inbound_window_manager.current_window_size
            assert pair.client._initial_window - stream.sent == theirs
    heard = [what for what in pair.heard if what[1] not in reset_here]
    assert heard == [what for what in pair.told if what[1] not in reset_here]
    assert pair.client._window == pair.server._inbound_flow_control_window_manager.current_window_size

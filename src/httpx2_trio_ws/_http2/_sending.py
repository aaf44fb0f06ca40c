"""The half of a connection that sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpack import Encoder

from . import _frames as f
from . import _settings as s
from ._calm import Calm
from ._headers import guarded
from ._streams import Stream

if TYPE_CHECKING:
    from collections.abc import Iterable

#: While more than this waits to be written, streams send nothing.
HIGH_OUTPUT = 65536
# One call sends no more than this, so that streams take turns.
_TURN = 65536
# Our encoder's table is never larger than this, whatever the server allows: it is memory of ours.
_TABLE = 4096
_MAX_HEADER_LIST = 65536
# The window of a stream that is alone and takes what it is sent. It keeps no other from its turn, and as much as arrives
# meanwhile is taken at once.
_ALONE = 2**20
# A server that hands its window back when half of it is used must see that half used, rounded either way.
_SLACK = 1024
# Less than this of longer data is not sent as the connection's window has no more: many would send ever less, and a frame
# costs as much with little in it as with much.
_WORTH = 2048
# No frame is too small for it.
_LITTLE = f.MAX_FRAME_SIZE


class Sending:
    """See :class:`Connection`."""

    def __init__(self, stream_window: int, connection_window: int) -> None:
        self.stream_window = stream_window
        #: Streams that are open, by their ids.
        self.streams: dict[int, Stream] = {}
        self.max_concurrent_streams = 2**31
        #: The server takes extended CONNECT (RFC 8441 §3).
        self.connect_protocol = False
        self._next_id = 1
        self._encoder = Encoder()
        self._max_frame_size = f.MAX_FRAME_SIZE
        self._initial_window = 65535
        self._window = 65535
        self._calm = Calm()
        # Since it was told of them last.
        self._frames_sent = 0
        settings = {s.ENABLE_PUSH: 0, s.INITIAL_WINDOW_SIZE: stream_window, s.MAX_HEADER_LIST_SIZE: _MAX_HEADER_LIST}
        #: So many bytes wait to be written.
        self.output_size = 0
        # They are copied when they are taken, all at once, and not before.
        self._output: list[bytes | memoryview] = []
        self._add_output(f.PREFACE)
        self._write(f.SETTINGS, 0, 0, s.written(settings))
        self._answers = 0
        if connection_window > self._window:
            self._write(f.WINDOW_UPDATE, 0, 0, (connection_window - 65535).to_bytes(4, "big"))

    @property
    def is_backed_up(self) -> bool:
        """So much waits to be written that :meth:`send` takes nothing."""
        return self.output_size > HIGH_OUTPUT

    @property
    def is_blocked(self) -> bool:
        """No stream can send anything now."""
        return self._window <= 0 or self.output_size > HIGH_OUTPUT

    @property
    def longest(self) -> int:
        """Of data that is longer, no stream can send anything now."""
        return self._window if self._window < _WORTH else f.MAX_WINDOW

    def is_used_up(self, stream: Stream) -> bool:
        """The stream's own window has nothing left."""
        return self._initial_window <= stream.sent

    def take_output(self) -> bytes:
        """What is to be written now."""
        output = b"".join(self._output)
        self._output.clear()
        self.output_size = 0
        self._answers = 0
        return output

    def open_stream(self, headers: Iterable[tuple[bytes, bytes]], owner: Any) -> Stream:
        """Send a header section, pseudo-headers first, names in lower case, without END_STREAM.

        The caller heeds :attr:`max_concurrent_streams`.
        """
        stream = Stream(self._next_id, self.stream_window, owner)
        self._next_id += 2
        self.streams[stream.id] = stream
        block = self._encoder.encode(guarded(headers))
        kind, size = f.HEADERS, self._max_frame_size
        for at in range(0, len(block), size):
            self._write(kind, f.END_HEADERS if at + size >= len(block) else 0, stream.id, block[at : at + size])
            kind = f.CONTINUATION
        self._frames_sent += 1
        return stream

    def room(self, stream: Stream) -> int:
        """How much :meth:`send` would take; may be negative.

        With others beside it, a stream leaves them half of what is left of the connection's window. Some servers give the
        connection no more than one stream: one that they have stopped reading would hold all of it.
        """
        if self.output_size > HIGH_OUTPUT:
            return 0
        room = min(self._initial_window - stream.sent, self._window, _TURN)
        if len(self.streams) > 1:
            room = min(room, (self._window - max(0, stream.sent) + _SLACK) // 2 + _WORTH)
        return room

    def send(self, stream: Stream, data: bytes | memoryview) -> int:
        """Send as much as there is :meth:`room` for; return how much that was.

        Args:
            stream: on which.
            data: it may not change before it has been taken.
        """
        if stream.forgotten:
            return 0
        count, sent = len(data), stream.sent
        # Little data has room nearly always. To find out how much there is takes longer than to send it.
        is_little = count <= _LITTLE and 0 <= sent <= self._initial_window - count and 2 * count <= self._window - sent
        if not is_little or self.output_size > HIGH_OUTPUT:
            room = self.room(stream)
            if count > room:
                if room <= 0 or (room < min(count, _WORTH) and room < self._initial_window - sent):
                    return 0
                count = room
        stream.sent = sent + count
        self._window -= count
        output, size, pack = self._output, self._max_frame_size, f.HEADER.pack
        if count <= size:
            output.append(pack(count >> 8, count & 255, f.DATA, 0, stream.id))
            output.append(data if count == len(data) else data[:count])
            self.output_size += f.HEADER_SIZE + count
            self._frames_sent += 1
            return count
        view = memoryview(data)
        for at in range(0, count, size):
            part = view[at : min(at + size, count)]
            output += (pack(len(part) >> 8, len(part) & 255, f.DATA, 0, stream.id), part)
            self.output_size += f.HEADER_SIZE + len(part)
            self._frames_sent += 1
        return count

    def credit(self, stream: Stream, count: int) -> bool:
        """So many received bytes have been taken: hand their part of the window back, if that is worth a frame."""
        stream.consumed += count
        if stream.consumed * 2 < stream.window or stream.ended or stream.forgotten:
            return False
        window = self.stream_window if len(self.streams) > 1 else max(self.stream_window, _ALONE)
        more = max(0, window + stream.consumed - stream.window)
        stream.window += more - stream.consumed
        stream.receivable += more
        stream.consumed = 0
        if more:
            self._write(f.WINDOW_UPDATE, 0, stream.id, more.to_bytes(4, "big"))
        return bool(more)

    def reset(self, stream: Stream, code: f.ErrorCode) -> None:
        """Forget a stream, and tell the server. Nothing if it is forgotten already."""
        if self._forget(stream):
            self._write(f.RST_STREAM, 0, stream.id, code.to_bytes(4, "big"))

    def ping(self, payload: bytes) -> None:
        """Send a PING with eight bytes of payload."""
        self._write(f.PING, 0, 0, payload)
        self._frames_sent += 1

    def goaway(self, code: f.ErrorCode, debug: bytes = b"") -> None:
        """Tell the server that the connection ends. It has opened no stream that could have been processed."""
        self._write(f.GOAWAY, 0, 0, bytes(4) + code.to_bytes(4, "big") + debug)

    def _forget(self, stream: Stream) -> bool:
        stream.forgotten = True
        return self.streams.pop(stream.id, None) is not None

    def _write(self, kind: int, flags: int, stream_id: int, payload: bytes = b"") -> None:
        self._add_output(f.frame(kind, flags, stream_id, payload))

    def _add_output(self, data: bytes) -> None:
        self._output.append(data)
        self.output_size += len(data)

    def _apply(self, settings: dict[int, int]) -> None:
        """Use what the server has set.

        Raises:
            HTTP2Error: it may not be changed so.
        """
        if s.HEADER_TABLE_SIZE in settings:
            self._encoder.header_table_size = min(settings[s.HEADER_TABLE_SIZE], _TABLE)
        self.max_concurrent_streams = settings.get(s.MAX_CONCURRENT_STREAMS, self.max_concurrent_streams)
        self._max_frame_size = settings.get(s.MAX_FRAME_SIZE_SETTING, self._max_frame_size)
        if s.INITIAL_WINDOW_SIZE in settings:
            self._initial_window = settings[s.INITIAL_WINDOW_SIZE]
        enabled = bool(settings.get(s.ENABLE_CONNECT_PROTOCOL, self.connect_protocol))
        if self.connect_protocol and not enabled:
            raise f.HTTP2Error(f.ErrorCode.PROTOCOL_ERROR, "a server that takes extended CONNECT back (RFC 8441 §3)")
        self.connect_protocol = enabled

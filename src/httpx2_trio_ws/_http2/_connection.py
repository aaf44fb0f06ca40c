"""One connection of a client: bytes in, events and bytes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpack import Decoder, HPACKError, OversizedHeaderListError

from . import _frames as f
from . import _settings as s
from ._events import Broken, Data, Ended, Failed, GoAway, Headers, PingAnswered, Reset, SettingsReceived, Window
from ._frames import ErrorCode, HTTP2Error
from ._headers import MalformedError, checked
from ._sending import _MAX_HEADER_LIST, Sending

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._events import Event
    from ._streams import Stream

# A header block in its encoded form, of HEADERS and all its CONTINUATIONs.
_MAX_BLOCK = 131072
# What a server makes us answer and does not read.
_MAX_ANSWERS = 2**20
# A change of all windows looks at each stream, if one of them is near the limit; that is this much work of others'.
_STREAMS_PER_FRAME = 64


class Connection(Sending):
    """The client's side of a connection that carries extended CONNECTs only.

    The connection's own window is handed back as data comes; a stream's as :meth:`credit` says. So a stream that
    nobody reads stops itself and no other, and takes no more memory than its window.

    Everything that a server may do wrong ends the stream (:class:`Broken`) or the connection (:class:`Failed`), as
    RFC 9113 says; nothing raises. What it may do too often is bounded, see :class:`Calm`.

    Args:
        stream_window: bytes that a stream may be sent and not taken.
        connection_window: bytes on the way for all streams together.

    Attributes:
        streams: the open ones, by their ids.
        max_concurrent_streams: what the server allows.
        connect_protocol: the server takes extended CONNECT (RFC 8441 §3).
        settings_received: its first SETTINGS have come.
        failed: why the connection is of no more use.
    """

    def __init__(self, stream_window: int = 65536, connection_window: int = 2**24) -> None:
        super().__init__(stream_window, connection_window)
        self.settings_received = False
        self.failed: HTTP2Error | None = None
        self._decoder = Decoder(max_header_list_size=_MAX_HEADER_LIST)
        self._receivable = max(connection_window, 65535)
        self._consumed = 0
        self._last_id = f.MAX_WINDOW
        # The smallest `sent` that any stream may have: the nearest that a window is to its limit.
        self._least_sent = 0
        #: The last bytes received have opened some window, a stream's or the connection's.
        self.window_opened = False
        self._events: list[Event] = []
        # Those of the events that are data: a stream has one of them at most, whatever frames it came in.
        self._data_of: dict[Stream, Data] = {}
        self._buffer = bytearray()
        self._needed = 0
        # A header block that goes on: its stream, whether that ends with it, and what has come.
        self._block: tuple[int, bool, bytearray] | None = None

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """Take what was read, at ``now`` in seconds of any clock; tell what happened, in order."""
        if self.failed is not None:
            return []
        self.window_opened = False
        self._calm.passes(now)
        try:
            self._take(data)
        except HTTP2Error as exc:
            self.failed = exc
            self.goaway(exc.code, exc.text.encode())
            self._events.append(Failed(exc))
        events, self._events, self._data_of = self._events, [], {}
        return events

    def _take(self, data: bytes) -> None:
        output = len(self._output)
        self._parse(data)
        self._answers += len(self._output) - output
        if self._answers > _MAX_ANSWERS:
            raise HTTP2Error(ErrorCode.ENHANCE_YOUR_CALM, "a server that asks for answers and does not read them")

    def _parse(self, data: bytes) -> None:
        buffer, pos = self._buffer, 0
        while buffer:
            # The frame that has begun is put together, and no other: they are taken from where they lie.
            end = pos + self._needed - len(buffer)
            buffer += data[pos:end]
            if end > len(data):
                return
            pos, frame = end, bytes(buffer)
            buffer.clear()
            self._frames(frame, 0)
        self._frames(data, pos)

    def _frames(self, data: bytes, pos: int) -> None:
        """Act on the frames from a position on, and keep what is left."""
        end, view = len(data), memoryview(data)
        is_quick = self.settings_received and self._block is None
        while True:
            start = pos + f.HEADER_SIZE
            self._needed = f.HEADER_SIZE
            if start > end:
                break
            high, low, kind, flags, stream_id = f.HEADER.unpack_from(data, pos)
            length = high << 8 | low
            if length > f.MAX_FRAME_SIZE:
                if not self.settings_received:
                    self._refuse_start(kind, flags)
                raise HTTP2Error(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            if start + length > end:
                self._needed += length
                break
            stream_id &= f.MAX_WINDOW
            pos = start + length
            # These two are nearly all that come. All others, and these where they may not come, go the long way.
            if kind == f.DATA and is_quick:
                self._data(stream_id, flags, view[start:pos])
            elif kind == f.WINDOW_UPDATE and is_quick:
                self._window_update(flags, stream_id, view[start:pos])
            else:
                self._other(kind, flags, stream_id, data[start:pos])
                is_quick = self.settings_received and self._block is None
        if pos < end:
            self._buffer += view[pos:]

    def _refuse_start(self, kind: int, flags: int) -> None:
        """The server's connection preface is SETTINGS (RFC 9113 §3.4)."""
        if kind != f.SETTINGS or flags & f.ACK:
            raise HTTP2Error(ErrorCode.PROTOCOL_ERROR, "what the server sent does not begin as HTTP/2 does")

    # -- frames --------------------------------------------------------------------------------

    def _data(self, stream_id: int, flags: int, payload: memoryview) -> None:
        length = len(payload)
        self._receivable -= length
        self._consumed += length
        if self._receivable < 0 or self._consumed * 2 >= self.connection_window:
            self._hand_back()
        if flags & f.PADDED:
            payload = f.unpadded(payload)
        if not payload:
            self._spend()
        stream = self.streams.get(stream_id)
        if stream is None:
            self._check_known(stream_id, "DATA")
            return
        stream.receivable -= length
        if stream.receivable < 0 or stream.ended or not stream.answered:
            self._refuse_data(stream)
            return
        if flags & f.PADDED:
            self.credit(stream, length - len(payload))
        if payload:
            self._add(stream, payload)
        if flags & f.END_STREAM:
            self._end(stream)

    def _refuse_data(self, stream: Stream) -> None:
        if stream.receivable < 0:
            self._break(stream, ErrorCode.FLOW_CONTROL_ERROR, "more data than the stream's window")
        elif stream.ended:
            self._break(stream, ErrorCode.STREAM_CLOSED, "data after END_STREAM")
        else:
            self._break(stream, ErrorCode.PROTOCOL_ERROR, "data before an answer")

    def _add(self, stream: Stream, payload: memoryview) -> None:
        event = self._data_of.get(stream)
        if event is None:
            event = self._data_of[stream] = Data(stream, [payload])
            self._events.append(event)
        else:
            event.parts.append(payload)

    def _hand_back(self) -> None:
        """Whatever counts against the connection's window is handed back at once."""
        if self._receivable < 0:
            raise HTTP2Error(ErrorCode.FLOW_CONTROL_ERROR, "more data than the connection's window")
        self._write(f.WINDOW_UPDATE, 0, 0, self._consumed.to_bytes(4, "big"))
        self._receivable += self._consumed
        self._consumed = 0

    def _other(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if not self.settings_received:
            self._refuse_start(kind, flags)
        self._spend()
        if self._block is not None and (kind != f.CONTINUATION or stream_id != self._block[0]):
            raise HTTP2Error(ErrorCode.PROTOCOL_ERROR, "a header block that another frame interrupts")
        handler = _HANDLERS.get(kind)
        if handler is not None:  # others are to be ignored (RFC 9113 §4.1)
            handler(self, flags, stream_id, payload)

    def _headers_frame(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._check_known(stream_id, "HEADERS")
        if flags & f.PADDED:
            payload = f.unpadded(payload)
        if flags & f.PRIORITY_FLAG:
            if len(payload) < 5:
                raise HTTP2Error(ErrorCode.FRAME_SIZE_ERROR, "a HEADERS frame without the priority that it has")
            payload = payload[5:]
        self._block = (stream_id, bool(flags & f.END_STREAM), bytearray())
        self._continuation(flags, stream_id, payload)

    def _continuation(self, flags: int, stream_id: int, payload: bytes) -> None:  # noqa: ARG002 (as all handlers)
        if self._block is None:
            raise HTTP2Error(ErrorCode.PROTOCOL_ERROR, "a CONTINUATION of nothing")
        block = self._block[2]
        block += payload
        if len(block) > _MAX_BLOCK:
            raise HTTP2Error(ErrorCode.ENHANCE_YOUR_CALM, f"a header block of more than {_MAX_BLOCK} bytes")
        if flags & f.END_HEADERS:
            self._header_block()

    def _header_block(self) -> None:
        assert self._block is not None
        (stream_id, ended, block), self._block = self._block, None
        try:
            headers = self._decoder.decode(bytes(block), raw=True)
        except OversizedHeaderListError:
            text = f"a header list of more than {_MAX_HEADER_LIST} bytes"
            raise HTTP2Error(ErrorCode.ENHANCE_YOUR_CALM, text) from None
        except HPACKError as exc:
            raise HTTP2Error(ErrorCode.COMPRESSION_ERROR, "a header block that cannot be decoded") from exc
        stream = self.streams.get(stream_id)
        if stream is None:
            return  # it was reset not long ago; the decoder had to know
        try:
            self._answer(stream, *checked((bytes(name), bytes(value)) for name, value in headers), ended=ended)
        except MalformedError as exc:
            self._break(stream, ErrorCode.PROTOCOL_ERROR, f"malformed headers: {exc}")

    def _answer(self, stream: Stream, status: int | None, headers: list[tuple[bytes, bytes]], *, ended: bool) -> None:
        if stream.ended:
            self._break(stream, ErrorCode.STREAM_CLOSED, "headers after END_STREAM")
        elif stream.answered:  # trailers
            if status is not None or not ended:
                raise MalformedError("a second answer")
            self._end(stream)
        elif status is None:
            raise MalformedError("an answer without :status")
        elif status >= 200:
            stream.answered = True
            self._events.append(Headers(stream, status, headers, ended))
            if ended:
                self._end(stream)
        elif status == 101 or ended:
            raise MalformedError("an interim answer that HTTP/2 does not have")

    def _priority(self, flags: int, stream_id: int, payload: bytes) -> None:  # noqa: ARG002 (as all handlers)
        if not stream_id:
            raise HTTP2Error(ErrorCode.PROTOCOL_ERROR, "PRIORITY of no stream")
        stream = self.streams.get(stream_id)
        if len(payload) != 5 and stream is not None:
            self._break(stream, ErrorCode.FRAME_SIZE_ERROR, "a PRIORITY frame of a size that none has")

    def _rst_stream(self, flags: int, stream_id: int, payload: bytes) -> None:  # noqa: ARG002 (as all handlers)
        self._check_known(stream_id, "RST_STREAM")
        if len(payload) != 4:
            raise HTTP2Error(ErrorCode.FRAME_SIZE_ERROR, "a RST_STREAM frame of a size that none has")
        stream = self.streams.get(stream_id)
        if stream is not None:
            self._forget(stream)
            self._events.append(Reset(stream, int.from_bytes(payload, "big")))

    def _settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise HTTP2Error(ErrorCode.PROTOCOL_ERROR, "SETTINGS of a stream")
        if flags & f.ACK:
            if payload:
                raise HTTP2Error(ErrorCode.FRAME_SIZE_ERROR, "an acknowledgement of SETTINGS that says something")
            return
        settings = s.read(payload)
        self._apply(settings)
        self._check_windows()
        self._write(f.SETTINGS, f.ACK, 0)
        self.settings_received = True
        self._events.append(SettingsReceived())
        if s.INITIAL_WINDOW_SIZE in settings:
            self.window_opened = True
            self._events.append(Window(None))

    def _check_windows(self) -> None:
        """No stream's window is above the limit (RFC 9113 §6.9.2). It looks at each stream only if one might be."""
        if self._initial_window - self._least_sent > f.MAX_WINDOW:
            self._spend(len(self.streams) // _STREAMS_PER_FRAME)
            self._least_sent = min([0, *(stream.sent for stream in self.streams.values())])
            if self._initial_window - self._least_sent > f.MAX_WINDOW:
                raise HTTP2Error(ErrorCode.FLOW_CONTROL_ERROR, "a window above 2^31-1")

    def _push_promise(self, flags: int, stream_id: int, payload: bytes) -> None:  # noqa: ARG002 (as all handlers)
        raise HTTP2Error(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE, though push is disabled")

    def _ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise HTTP2Error(ErrorCode.PROTOCOL_ERROR, "PING of a stream")
        if len(payload) != 8:
            raise HTTP2Error(ErrorCode.FRAME_SIZE_ERROR, "a PING frame of a size that none has")
        if flags & f.ACK:
            self._events.append(PingAnswered(payload))
        else:
            self._write(f.PING, f.ACK, 0, payload)

    def _goaway(self, flags: int, stream_id: int, payload: bytes) -> None:  # noqa: ARG002 (as all handlers)
        if stream_id:
            raise HTTP2Error(ErrorCode.PROTOCOL_ERROR, "GOAWAY of a stream")
        if len(payload) < 8:
            raise HTTP2Error(ErrorCode.FRAME_SIZE_ERROR, "a GOAWAY frame of a size that none has")
        # A later one may not say more (RFC 9113 §6.8).
        self._last_id = min(self._last_id, int.from_bytes(payload[:4], "big") & f.MAX_WINDOW)
        unprocessed = [stream for stream in self.streams.values() if stream.id > self._last_id]
        for stream in unprocessed:
            self._forget(stream)
        code = int.from_bytes(payload[4:8], "big")
        self._events.append(GoAway(self._last_id, code, payload[8:], unprocessed))

    def _window_update(self, flags: int, stream_id: int, payload: memoryview) -> None:  # noqa: ARG002 (as all handlers)
        self._spend()
        if len(payload) != 4:
            raise HTTP2Error(ErrorCode.FRAME_SIZE_ERROR, "a WINDOW_UPDATE frame of a size that none has")
        more = int.from_bytes(payload, "big") & f.MAX_WINDOW
        self.window_opened = True
        stream = self.streams.get(stream_id)
        if stream is not None:
            self._open_window(stream, more)
        elif stream_id:
            self._check_known(stream_id, "WINDOW_UPDATE")
        else:
            self._window += more
            if not more:
                raise HTTP2Error(ErrorCode.PROTOCOL_ERROR, "a WINDOW_UPDATE by nothing")
            if self._window > f.MAX_WINDOW:
                raise HTTP2Error(ErrorCode.FLOW_CONTROL_ERROR, "a window above 2^31-1")

    def _open_window(self, stream: Stream, more: int) -> None:
        initial, sent = self._initial_window, stream.sent
        stream.sent = sent - more
        self._least_sent = min(self._least_sent, stream.sent)
        if not more:
            self._break(stream, ErrorCode.PROTOCOL_ERROR, "a WINDOW_UPDATE by nothing")
        elif initial - stream.sent > f.MAX_WINDOW:
            self._break(stream, ErrorCode.FLOW_CONTROL_ERROR, "a window above 2^31-1")
        elif sent >= initial:  # else nobody waits for it, and servers say this with each frame that they read
            self._events.append(Window(stream))

    # -- what they have in common --------------------------------------------------------------

    def _check_known(self, stream_id: int, name: str) -> None:
        """A stream that is not there was there once.

        Raises:
            HTTP2Error: it never was (RFC 9113 §5.1, idle), or could not be.
        """
        if not stream_id & 1 or stream_id >= self._next_id:
            raise HTTP2Error(ErrorCode.PROTOCOL_ERROR, f"{name} on stream {stream_id}, which was never opened")

    def _spend(self, frames: int = 1) -> None:
        if not self._calm.spend(frames):
            raise HTTP2Error(ErrorCode.ENHANCE_YOUR_CALM, "a flood of frames that carry no data")

    def _end(self, stream: Stream) -> None:
        stream.ended = True
        self._events.append(Ended(stream))

    def _break(self, stream: Stream, code: ErrorCode, text: str) -> None:
        self.reset(stream, code)
        self._events.append(Broken(stream, text))


# DATA and WINDOW_UPDATE have no handler: where they may come, they go the quick way.
_HANDLERS: dict[int, Callable[[Connection, int, int, bytes], None]] = {
    f.HEADERS: Connection._headers_frame,
    f.PRIORITY: Connection._priority,
    f.RST_STREAM: Connection._rst_stream,
    f.SETTINGS: Connection._settings,
    f.PUSH_PROMISE: Connection._push_promise,
    f.PING: Connection._ping,
    f.GOAWAY: Connection._goaway,
    f.CONTINUATION: Connection._continuation,
}

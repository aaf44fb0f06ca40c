"""One connection of a client: bytes in, events and bytes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpack import Decoder, HPACKError, OversizedHeaderListError

from . import _frames as f
from . import _settings as s
from ._events import Failed, GoAway, Headers, PingAnswered, Reset, SettingsReceived, Window
from ._frames import ErrorCode, HTTP2Error
from ._headers import MalformedError, checked
from ._receiving import Receiving
from ._sending import _MAX_HEADER_LIST

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._events import Event
    from ._streams import Stream

# A header block in its encoded form, of HEADERS and all its CONTINUATIONs.
_MAX_BLOCK = 131072
# What a server makes us answer and does not read.
_MAX_ANSWERS = 2**20


class Connection(Receiving):
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
        self.failed: HTTP2Error | None = None
        self._decoder = Decoder(max_header_list_size=_MAX_HEADER_LIST)
        self._last_id = f.MAX_WINDOW

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """Take what was read, at ``now`` in seconds of any clock; tell what happened, in order.

        What has arrived on a stream that is told of is to be taken before the next call.
        """
        if self.failed is not None:
            return []
        self.window_opened = False
        self._calm.passes(now, self._frames_sent)
        self._frames_sent = 0
        try:
            self._take(data)
        except HTTP2Error as exc:
            self.failed = exc
            self.goaway(exc.code, exc.text.encode())
            self._events.append(Failed(exc))
        events, self._events = self._events, []
        return events

    def _take(self, data: bytes) -> None:
        before = self.output_size
        self._parse(data)
        self._answers += self.output_size - before
        if self._answers > _MAX_ANSWERS:
            raise HTTP2Error(ErrorCode.ENHANCE_YOUR_CALM, "a server that asks for answers and does not read them")

    # -- frames --------------------------------------------------------------------------------

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

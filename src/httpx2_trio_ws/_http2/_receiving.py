"""The half of a connection that receives: frames out of bytes, and those two that nearly all are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _frames as f
from ._events import Broken, Ended, Window
from ._frames import DATA, HEADER_SIZE, MAX_FRAME_SIZE, MAX_WINDOW, WINDOW_UPDATE, ErrorCode, HTTP2Error
from ._sending import Sending

if TYPE_CHECKING:
    from ._events import Event
    from ._streams import Stream

# A change of all windows looks at each stream, if one of them is near the limit; that is this much work of others'.
_STREAMS_PER_FRAME = 64


class Receiving(Sending):
    """See :class:`Connection`."""

    def __init__(self, stream_window: int, connection_window: int) -> None:
        super().__init__(stream_window, connection_window)
        self.settings_received = False
        # The connection's window, what is left of it, and how much is left when it is handed back.
        self._whole = self._receivable = max(connection_window, 65535)
        self._low = self._whole // 2
        # The smallest `sent` that any stream may have: the nearest that a window is to its limit.
        self._least_sent = 0
        #: The last bytes received have opened some window, a stream's or the connection's.
        self.window_opened = False
        self._events: list[Event] = []
        self._buffer = bytearray()
        self._needed = 0
        # A header block that goes on: its stream, whether that ends with it, and what has come.
        self._block: tuple[int, bool, bytearray] | None = None

    def _other(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """Act on any other frame, or on one that may not come now."""

    def _refuse_start(self, kind: int, flags: int) -> None:
        """The server's connection preface is SETTINGS (RFC 9113 §3.4)."""
        if kind != f.SETTINGS or flags & f.ACK:
            raise HTTP2Error(ErrorCode.PROTOCOL_ERROR, "what the server sent does not begin as HTTP/2 does")

    def _parse(self, data: bytes) -> None:
        buffer, pos = self._buffer, 0
        while buffer:
            # The frame that has begun is put together, and no other: they are taken from where they lie.
            end = pos + self._needed - len(buffer)
            if end > len(data):
                buffer += data[pos:]
                return
            frame = b"".join((buffer, memoryview(data)[pos:end]))
            pos = end
            buffer.clear()
            self._frames(frame, 0)
        self._frames(data, pos)

    def _frames(self, data: bytes, pos: int) -> None:  # noqa: C901, PLR0912
        """Act on the frames from a position on, and keep what is left.

        One loop for nearly all that comes, DATA and WINDOW_UPDATE as they mostly are, not split into functions: to call one
        would cost as much as what it does. What is unusual about them, and all others, have functions.
        """
        end, unpack, streams = len(data), f.HEADER.unpack_from, self.streams
        is_quick = self.settings_received and self._block is None
        updates = 0
        while True:
            start = pos + HEADER_SIZE
            if start > end:
                self._needed = HEADER_SIZE
                break
            high, low, kind, flags, stream_id = unpack(data, pos)
            length = high << 8 | low
            if length > MAX_FRAME_SIZE:
                if not self.settings_received:
                    self._refuse_start(kind, flags)
                raise HTTP2Error(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            if start + length > end:
                self._needed = HEADER_SIZE + length
                break
            stream_id &= MAX_WINDOW
            pos = start + length
            if is_quick and kind == DATA:
                stream = streams.get(stream_id)
                self._receivable -= length
                if self._receivable <= self._low:
                    self._hand_back()
                if (
                    stream is None
                    or flags
                    or not 0 < length <= stream.receivable
                    or stream.ended
                    or not stream.answered
                ):
                    self._unusual_data(stream_id, stream, flags, data[start:pos])
                else:
                    stream.receivable -= length
                    if stream.add(data[start:pos]):
                        self._events.append(stream)
            elif is_quick and kind == WINDOW_UPDATE:
                stream, more = streams.get(stream_id), int.from_bytes(data[start:pos])
                updates += 1
                if stream is None or length != 4 or not 0 < more <= stream.sent:
                    self._unusual_window(stream_id, stream, data[start:pos])
                else:
                    if stream.sent >= self._initial_window:  # else nobody waits, and servers say this for each frame
                        self._events.append(Window(stream))
                    stream.sent -= more
            else:
                self._other(kind, flags, stream_id, data[start:pos])
                is_quick = self.settings_received and self._block is None
        if pos < end:
            self._buffer += memoryview(data)[pos:]
        if updates:
            self.window_opened = True
            self._spend(updates)

    # -- what flows ----------------------------------------------------------------------------

    def _unusual_data(self, stream_id: int, stream: Stream | None, flags: int, payload: bytes) -> None:
        length = len(payload)
        if flags & f.PADDED:
            payload = f.unpadded(payload)
        if not payload:
            self._spend()
        if stream is None:
            self._check_known(stream_id, "DATA")
            return
        stream.receivable -= length
        if stream.receivable < 0:
            self._break(stream, ErrorCode.FLOW_CONTROL_ERROR, "more data than the stream's window")
        elif stream.ended:
            self._break(stream, ErrorCode.STREAM_CLOSED, "data after END_STREAM")
        elif not stream.answered:
            self._break(stream, ErrorCode.PROTOCOL_ERROR, "data before an answer")
        else:
            if flags & f.PADDED:
                self.credit(stream, length - len(payload))
            if payload and stream.add(payload):
                self._events.append(stream)
            if flags & f.END_STREAM:
                self._end(stream)

    def _hand_back(self) -> None:
        """Whatever counts against the connection's window is handed back at once."""
        if self._receivable < 0:
            raise HTTP2Error(ErrorCode.FLOW_CONTROL_ERROR, "more data than the connection's window")
        consumed = self._whole - self._receivable
        self._write(f.WINDOW_UPDATE, 0, 0, consumed.to_bytes(4, "big"))
        self._receivable = self._whole

    def _unusual_window(self, stream_id: int, stream: Stream | None, payload: bytes) -> None:
        if len(payload) != 4:
            raise HTTP2Error(ErrorCode.FRAME_SIZE_ERROR, "a WINDOW_UPDATE frame of a size that none has")
        more = int.from_bytes(payload) & MAX_WINDOW
        if stream is not None:
            self._open_window(stream, more)
        elif stream_id:
            self._check_known(stream_id, "WINDOW_UPDATE")
        else:
            self._window += more
            if not more:
                raise HTTP2Error(ErrorCode.PROTOCOL_ERROR, "a WINDOW_UPDATE by nothing")
            if self._window > MAX_WINDOW:
                raise HTTP2Error(ErrorCode.FLOW_CONTROL_ERROR, "a window above 2^31-1")

    def _open_window(self, stream: Stream, more: int) -> None:
        initial, sent = self._initial_window, stream.sent
        stream.sent = sent - more
        self._least_sent = min(self._least_sent, stream.sent)
        if not more:
            self._break(stream, ErrorCode.PROTOCOL_ERROR, "a WINDOW_UPDATE by nothing")
        elif initial - stream.sent > MAX_WINDOW:
            self._break(stream, ErrorCode.FLOW_CONTROL_ERROR, "a window above 2^31-1")
        elif sent >= initial:
            self._events.append(Window(stream))

    def _check_windows(self) -> None:
        """No stream's window is above the limit (RFC 9113 §6.9.2). It looks at each stream only if one might be."""
        if self._initial_window - self._least_sent > MAX_WINDOW:
            self._spend(len(self.streams) // _STREAMS_PER_FRAME)
            self._least_sent = min([0, *(stream.sent for stream in self.streams.values())])
            if self._initial_window - self._least_sent > MAX_WINDOW:
                raise HTTP2Error(ErrorCode.FLOW_CONTROL_ERROR, "a window above 2^31-1")

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

"""Draw the figures of the documentation: ``python docs/figures/make.py`` writes them beside itself.

Nothing but the standard library, so that the same text comes out everywhere; a test compares. The background is
transparent and the colours are of middle brightness, to be read on light pages and on dark ones.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

WIDTH = 720
INK, BLUE, GREEN, AMBER, RED = "#7d7d7d", "#4a86c8", "#3f9a62", "#b9822b", "#cf5c52"
LINE = 20


class Drawing:
    """An SVG in the making.

    Args:
        title: for readers who do not see it.
        height: in pixels, as all lengths here; the width is always the same.
    """

    def __init__(self, title: str, height: int) -> None:
        self.height = height
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
            f"<title>{escape(title)}</title>",
            "<style>text { font: 14px sans-serif } .code { font-family: monospace; font-size: 13px }</style>",
        ]

    def text(  # one argument for each thing that texts differ in
        self, x: int, y: int, words: str, *, colour: str = INK, anchor: str = "start", code: bool = False
    ) -> None:
        """Lines of text; ``x`` and ``y`` are where the first one's base line begins, or has its middle or end."""
        css = ' class="code"' if code else ""
        for number, line in enumerate(words.split("\n")):
            at = y + number * LINE
            self._parts.append(
                f'<text x="{x}" y="{at}" fill="{colour}" text-anchor="{anchor}"{css}>{escape(line)}</text>'
            )

    def box(self, x: int, y: int, width: int, height: int, *, colour: str = INK, dashed: bool = False) -> None:
        """A rectangle, tinted within."""
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self._parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" '
            f'fill="{colour}" fill-opacity="0.09" stroke="{colour}" stroke-width="1.5"{dash}/>'
        )

    def line(self, x1: int, y1: int, x2: int, y2: int, *, colour: str = INK, dashed: bool = False) -> None:
        """A straight line."""
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self._parts.append(
            f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}" stroke-width="1.5"{dash}/>'
        )

    def arrow(self, x1: int, y1: int, x2: int, y2: int, *, colour: str = INK, dashed: bool = False) -> None:
        """A straight line with a head at its end."""
        self.line(x1, y1, x2, y2, colour=colour, dashed=dashed)
        length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
        along, across = ((x2 - x1) / length, (y2 - y1) / length), ((y1 - y2) / length, (x2 - x1) / length)
        points = [(x2, y2)] + [
            (round(x2 - 9 * along[0] + side * across[0]), round(y2 - 9 * along[1] + side * across[1]))
            for side in (-4, 4)
        ]
        self._parts.append(f'<polygon points="{" ".join(f"{x},{y}" for x, y in points)}" fill="{colour}"/>')

    def bracket(self, x: int, top: int, bottom: int, words: str, *, colour: str = INK) -> None:
        """A vertical bracket on the right of something, and what it spans."""
        for y in (top, bottom):
            self.line(x - 6, y, x, y, colour=colour)
        self.line(x, top, x, bottom, colour=colour)
        rows = words.count("\n")
        self.text(x + 8, (top + bottom - rows * LINE) // 2 + 5, words, colour=colour)

    def svg(self) -> str:
        """The text of the file."""
        return "\n".join([*self._parts, "</svg>", ""])


def nursery() -> Drawing:
    """The tasks of a session, and who is whose child."""
    it = Drawing("A session is a nursery with your block and the session's loops in it", 300)
    it.text(20, 24, "async with open_websocket(client, url) as ws:", code=True)
    it.box(20, 38, 680, 212, colour=BLUE)
    it.text(36, 62, "the session's nursery", colour=BLUE)
    it.box(40, 78, 270, 152, colour=GREEN)
    it.text(56, 102, "your block", colour=GREEN)
    it.text(56, 132, "await ws.send(…)\nasync for message in ws: …\nawait trio.sleep(3600)", code=True)
    it.box(410, 78, 270, 152, colour=AMBER)
    it.text(426, 102, "the session's task", colour=AMBER)
    it.text(426, 132, "receive loop: reads and parses,\npings after silence\nsend loop: writes, in order")
    it.arrow(310, 138, 410, 138)
    it.text(360, 130, "frames", anchor="middle")
    it.arrow(410, 182, 310, 182)
    it.text(360, 174, "messages", anchor="middle")
    it.text(360, 218, "in memory", anchor="middle")
    it.text(20, 280, "An error that leaves either box cancels the other, and comes out in an ExceptionGroup.")
    return it


def errors() -> Drawing:
    """What comes out of a session, when."""
    rows = [
        (BLUE, "opening", "an argument is wrong, no connection,\nthe server refuses, it takes too long", "bare"),
        (GREEN, "in the block", "a call raises, and your except around\nthe call catches it", "yours"),
        (GREEN, "in the block", "an error of yours, or of a call,\nthat nothing in the block catches", "group"),
        (GREEN, "in the block", "the connection fails, and no call asks\nwithin failure_grace_seconds", "group"),
        (GREEN, "in the block", "a scope around it is cancelled", "cancelled"),
        (AMBER, "leaving", "a failure that no call has told", "group"),
        (AMBER, "leaving", "the server has closed, and no call\nasked; or it answers no close frame", "nothing"),
    ]
    outcomes = {
        "bare": (RED, "the exception as it is"),
        "yours": (GREEN, "nothing leaves the block"),
        "group": (RED, "an ExceptionGroup"),
        "cancelled": (INK, "it goes on to its scope"),
        "nothing": (GREEN, "nothing: it is no failure"),
    }
    it = Drawing("What leaves a session's block, and in which form", 56 + 62 * len(rows))
    for x, words in ((20, "when"), (136, "what happens"), (470, "what leaves the block")):
        it.text(x, 24, words)
    for number, (phase_colour, phase, event, outcome) in enumerate(rows):
        y = 40 + 62 * number
        it.box(10, y, 106, 50, colour=phase_colour)
        it.text(20, y + 30, phase, colour=phase_colour)
        it.text(136, y + (21 if "\n" in event else 30), event)
        it.arrow(418, y + 25, 456, y + 25)
        colour, words = outcomes[outcome]
        it.box(462, y, 248, 50, colour=colour, dashed=outcome in {"yours", "nothing"})
        if outcome == "group":
            it.box(470, y + 8, 232, 34, colour=colour)
        it.text(482, y + 30, words, colour=colour)
    return it


def closing() -> Drawing:
    """The closing handshake, in time."""
    it = Drawing("The closing handshake in time, and what close_timeout_seconds bounds", 440)
    client, server = 180, 450
    for x, words in ((client, "this session"), (server, "the server")):
        it.box(x - 70, 10, 140, 32, colour=BLUE)
        it.text(x, 31, words, colour=BLUE, anchor="middle")
        it.line(x, 42, x, 392, dashed=True)
    it.text(client - 14, 76, "close(1000)", anchor="end", code=True)
    it.text(client - 14, 98, "waiting calls are\nwoken, unread\nmessages dropped", anchor="end")
    steps = [
        (92, True, GREEN, "messages sent before"),
        (146, True, RED, "close frame, 1000"),
        (200, False, GREEN, "more messages: discarded"),
        (254, False, RED, "close frame, the answer"),
        (344, False, AMBER, "end of the connection"),
    ]
    for y, sent, colour, words in steps:
        ends = (client, server) if sent else (server, client)
        it.arrow(ends[0], y, ends[1], y + 22, colour=colour)
        it.text((client + server) // 2, y - 6, words, colour=colour, anchor="middle")
    it.text(client - 14, 370, "the block is left", anchor="end")
    it.bracket(478, 276, 366, "at most\n1 second", colour=AMBER)
    it.bracket(574, 66, 370, "close_timeout_\nseconds: all\nof it (5 s)", colour=BLUE)
    it.text(WIDTH // 2, 424, "If the time is over, the connection is dropped wherever it stands.", anchor="middle")
    return it


def timeouts() -> Drawing:
    """Which limit holds when, along the life of a session."""
    it = Drawing("Which limit holds when, along the life of a session", 370)
    phases = [(20, 170, "opening", BLUE), (200, 310, "open", GREEN), (520, 180, "closing", AMBER)]
    for x, width, words, colour in phases:
        it.box(x, 20, width, 36, colour=colour)
        it.text(x + width // 2, 43, words, colour=colour, anchor="middle")
    limits = [
        (20, 170, 20, BLUE, "handshake_timeout_seconds", "the whole of it: 30 s"),
        (20, 170, 20, BLUE, "timeout", "httpx2's own, for each connect, read and write: 5 s"),
        (200, 110, 200, GREEN, "keepalive_ping_interval_seconds", "silence before a ping: 20 s"),
        (310, 110, 200, GREEN, "keepalive_ping_timeout_seconds", "from a ping to a sign of life: 20 s"),
        (420, 90, 200, RED, "failure_grace_seconds", "from a failure until the block is cancelled: 5 s"),
        (520, 180, 240, AMBER, "close_timeout_seconds", "flushing, close frames, TLS: 5 s"),
    ]
    for number, (x, width, at, colour, name, meaning) in enumerate(limits):
        y = 84 + 50 * number
        it.line(x, y, x + width, y, colour=colour)
        for end in (x, x + width):
            it.line(end, y - 6, end, y + 6, colour=colour)
        it.text(at, y + 22, name, colour=colour, code=True)
        it.text(at + (len(name) + 1) * 8, y + 22, meaning)
    return it


# Where a step lies, by the colour of its room.
ROOMS = {
    "yours": INK, "_session": GREEN, "_core": GREEN, "_protocol": BLUE, "_carriers": AMBER, "_handshake": RED, "httpx2": INK
}  # fmt: skip


def path(title: str, steps: list[tuple[str, str, str]]) -> Drawing:
    """What a thing goes through, from top to bottom: the room of each step, its name in the code, and what is done there."""
    it = Drawing(title, 26 + 66 * len(steps))
    for number, (room, name, what) in enumerate(steps):
        y = 10 + 66 * number
        colour = ROOMS[room]
        it.box(10, y, 112, 48, colour=colour)
        it.text(66, y + 29, room, colour=colour, anchor="middle", code=room.startswith("_"))
        it.text(138, y + 20, name, colour=colour, code=True)
        it.text(138, y + 40, what)
        if number + 1 < len(steps):
            it.arrow(66, y + 48, 66, y + 66, colour=colour)
    return it


def message_in() -> Drawing:
    """A message from the network to ``receive()``."""
    return path(
        "The path of a message that is received",
        [
            ("_carriers", "Carrier.pump(take)", "reads some bytes, of TLS a few records, and calls take with them"),
            (
                "_session",
                "Engine._take(data)",
                "a sign of life for the keepalive clock; then what is to be done about the bytes",
            ),
            (
                "_protocol",
                "Connection.receive_data(data, room)",
                "cuts messages out, as many as the queue has room for; answers control frames",
            ),
            ("_session", "Inbox.put(messages)", "queues them, and calls the one task that has waited longest"),
            (
                "_session",
                "Session.receive()",
                "that task takes the oldest message when it runs, and calls the next task",
            ),
            ("yours", "async for message in ws:", "str or bytes"),
        ],
    )


def message_out() -> Drawing:
    """A message from ``send()`` to the network."""
    return path(
        "The path of a message that is sent",
        [
            ("yours", "await ws.send(message)", "str or bytes"),
            (
                "_session",
                "Session.send()",
                "a lone message goes on at once, in this task; one of a burst is left in the outbox",
            ),
            ("_core", "FrameQueue", "the rest of the frame on the wire, then control frames, then messages in order"),
            ("_protocol", "Connection.encode_all(payloads)", "compresses, masks and frames all that have gathered"),
            (
                "_session",
                "Engine._send_loop()",
                "writes, and wakes who waits for room; a peer that reads nothing holds it here",
            ),
            ("_carriers", "Carrier.write(data)", "to the socket, in TLS records, or into the stream"),
        ],
    )


def opening() -> Drawing:
    """From ``open_websocket()`` to a session."""
    return path(
        "The path of an opening",
        [
            ("yours", "async with open_websocket(client, url) as ws:", "nothing has been looked at yet"),
            ("_handshake", "Opening(…)", "checks all arguments, and builds the request: no I/O"),
            (
                "httpx2",
                "client.send(request)",
                "auth, cookies, hooks, proxies, mounts, TLS and timeouts of the client apply",
            ),
            (
                "_handshake",
                "check_response(response)",
                "every rule of RFC 6455 §4.1; a refusal is read as far as it says why",
            ),
            ("_carriers", "Runtime.carrier(response)", "the fastest that can carry what the client has connected"),
            (
                "_session",
                "OpenSession.__aenter__()",
                "a nursery, the engine's task in it, and the session for your block",
            ),
        ],
    )


FIGURES = {
    "nursery": nursery,
    "errors": errors,
    "closing": closing,
    "timeouts": timeouts,
    "message-in": message_in,
    "message-out": message_out,
    "opening": opening,
}


def main() -> None:
    """Write them all."""
    for name, draw in FIGURES.items():
        (Path(__file__).parent / f"{name}.svg").write_text(draw().svg(), encoding="utf-8")


if __name__ == "__main__":
    main()

"""How messages are written."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from httpx2_trio_ws._cli.printing import (
    as_ndjson,
    as_raw,
    as_text,
    escape,
    escape_line,
    hex_dump,
    json_line,
    pretty_json,
)

CONTROL = [*map(chr, range(32)), "\x7f", *map(chr, range(0x80, 0xA0))]


def test_control_characters_are_escaped() -> None:
    for character in CONTROL:
        kept = character in "\n\t"
        assert escape(f"a{character}b") == (f"a{character}b" if kept else f"a\\x{ord(character):02x}b")
        assert escape_line(f"a{character}b") == f"a\\x{ord(character):02x}b"


@pytest.mark.parametrize("code", [0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x2070), 0xFFF9])
def test_what_reorders_or_breaks_lines_is_escaped(code: int) -> None:
    assert escape(f"a{chr(code)}b") == escape_line(f"a{chr(code)}b") == f"a\\u{code:04x}b"
    assert chr(code) not in (pretty_json(f'["{chr(code)}"]', color=True) or "")
    assert chr(code) not in as_ndjson(chr(code))


def test_other_characters_are_not() -> None:
    text = " ~\xa0ÄЖ€😀👩\u200d🚀\\"
    assert escape(text) == escape_line(text) == text


@pytest.mark.parametrize(
    ("text", "pretty"),
    [
        ("{}", "{}"),
        (" [ ] ", "[]"),
        ('{"a":1}', '{\n  "a": 1\n}'),
        ('[1, {"b" : []}, "c,\\"]"]', '[\n  1,\n  {\n    "b": []\n  },\n  "c,\\"]"\n]'),
        # Not one digit, nor one of two equal names, is lost.
        (
            '{"n":1.10,"n":1e400,"big":12345678901234567890123,"t":[true,null]}',
            '{\n  "n": 1.10,\n  "n": 1e400,\n  "big": 12345678901234567890123,\n  "t": [\n    true,\n    null\n  ]\n}',
        ),
        ('["\x7f\x9b2J \\u001b"]', '[\n  "\\u007f\\u009b2J \\u001b"\n]'),
    ],
)
def test_json_is_laid_out(text: str, pretty: str) -> None:
    assert pretty_json(text, color=False) == pretty


@pytest.mark.parametrize("text", ["", "hello", "[1", "{1}", "12", '"a"', "null", "[" * 99_999, "[1]" + " " * 100_000])
def test_what_is_not_laid_out(text: str) -> None:
    assert pretty_json(text, color=False) is None


def test_json_in_color() -> None:
    pretty = pretty_json('{"a":"b","c":[1,true,null],"\x9b":"\x9b"}', color=True)
    assert pretty == (
        '{\n  \x1b[34;1m"a"\x1b[0m: \x1b[32m"b"\x1b[0m,\n  \x1b[34;1m"c"\x1b[0m: [\n    \x1b[36m1\x1b[0m,\n'
        "    \x1b[33mtrue\x1b[0m,\n    \x1b[33mnull\x1b[0m\n  ],\n"
        '  \x1b[34;1m"\\u009b"\x1b[0m: \x1b[32m"\\u009b"\x1b[0m\n}'
    )


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)


@given(value=st.lists(values), ascii_only=st.booleans(), indent=st.none() | st.integers(0, 3))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
def test_it_stays_the_same_json(value: list[Any], ascii_only: bool, indent: int | None) -> None:
    pretty = pretty_json(json.dumps(value, ensure_ascii=ascii_only, indent=indent), color=False)
    assert pretty is not None
    assert json.loads(pretty) == value
    assert re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", pretty) is None


def test_deep_json_does_not_grow_without_measure() -> None:
    text = "[" * 500 + ",".join(["1"] * 40_000) + "]" * 500
    pretty = pretty_json(text, color=False)
    assert pretty is not None
    assert json.loads(pretty) == json.loads(text)
    assert len(pretty) < 50 * len(text)


def test_hex_dump() -> None:
    assert hex_dump(b"") == "binary, 0 bytes"
    assert hex_dump(b"A") == "binary, 1 byte\n00000000  41" + " " * 21 + "  " + " " * 23 + "  |A|"
    assert hex_dump(bytes(range(48, 66)) + b"\x1b\xff") == (
        "binary, 20 bytes\n"
        "00000000  30 31 32 33 34 35 36 37  38 39 3a 3b 3c 3d 3e 3f  |0123456789:;<=>?|\n"
        "00000010  40 41 1b ff              " + " " * 23 + "  |@A..|"
    )


def test_text_for_people() -> None:
    assert as_text("a\x1b[2J\r\nb\tc") == "a\\x1b[2J\\x0d\nb\tc"
    assert as_text(b"\x1b") == hex_dump(b"\x1b")


def test_raw() -> None:
    assert as_raw("ä\x1b") == b"\xc3\xa4\x1b\n"
    assert as_raw(b"\x00\xff") == b"\x00\xff"


@pytest.mark.parametrize("message", ["", "".join(CONTROL), "Ä😀\u2028", b"", b"\x00\xff\n"])
def test_ndjson(message: str | bytes) -> None:
    line = as_ndjson(message)
    assert re.fullmatch(r"[ -~]+", line)
    record = json.loads(line)
    age = datetime.now(UTC) - datetime.fromisoformat(record.pop("time"))
    assert timedelta(0) <= age < timedelta(seconds=30)
    if isinstance(message, str):
        assert record == {"type": "text", "data": message}
    else:
        assert record.pop("type") == "binary"
        assert base64.b64decode(record.pop("base64")) == message
        assert record == {}


def test_time_comes_first() -> None:
    assert list(json.loads(json_line({"type": "x"}))) == ["time", "type"]

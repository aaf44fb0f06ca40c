"""The values of options, checked while the command line is parsed."""

from __future__ import annotations

import argparse
import getpass
import math
import re
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

Wrong = argparse.ArgumentTypeError


def header(text: str) -> tuple[str, str]:
    """``NAME:VALUE``."""
    name, colon, value = text.partition(":")
    name, value = name.strip(), value.strip()
    if (
        not colon
        or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name)
        or re.search(r"[\x00-\x08\n-\x1f\x7f]", value)
    ):
        raise Wrong(f"a header is NAME:VALUE, not {text!r}")
    return name, value


def header_value(text: str) -> str:
    """What may stand in a header."""
    return header(f"Name:{text}")[1]


def auth(text: str) -> tuple[str, str]:
    """``USER:PASSWORD``, or ``USER``: then the password is asked for."""
    user, colon, password = text.partition(":")
    return user, password if colon else ask_password(user)


def ask_password(owner: str) -> str:
    """Ask at the terminal, whatever standard input is, without an echo."""
    with warnings.catch_warnings():
        # Where there is no terminal, getpass would take the first line of the input, after this warning.
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass(f"password for {owner}: ")
        except (getpass.GetPassWarning, EOFError):
            raise Wrong("it has no password, and there is no terminal to ask at") from None


def cookie(text: str) -> tuple[str, str]:
    """``NAME=VALUE``."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or re.search(r"[\x00-\x20;,\x7f]", name.strip() + value):
        raise Wrong(f"a cookie is NAME=VALUE, not {text!r}")
    return name.strip(), value


def whole(text: str, least: int, most: float, what: str) -> int:
    """A whole number."""
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise Wrong(f"{what}, not {text!r}")
    return value


def port(text: str) -> int:
    """Of TCP; 0 is any that is free."""
    return whole(text, 0, 65535, "a port is a number from 0 to 65535")


def number(text: str) -> int:
    """At least one."""
    return whole(text, 1, math.inf, "a whole number, 1 or more, is wanted")


def number_or_zero(text: str) -> int:
    """At least zero."""
    return whole(text, 0, math.inf, "a whole number, 0 or more, is wanted")


def size(text: str) -> int | None:
    """Zero is no limit."""
    return number_or_zero(text) or None


def seconds(text: str) -> float:
    """A time that ends."""
    return _time(text, lambda value: 0 < value < math.inf, "seconds, more than 0, are wanted")


def seconds_or_inf(text: str) -> float:
    """A time that may be none, or without end."""
    return _time(text, lambda value: value >= 0, "seconds, 0 or more, or inf, are wanted")


def _time(text: str, fits: Callable[[float], bool], what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not fits(value):
        raise Wrong(f"{what}, not {text!r}")
    return value

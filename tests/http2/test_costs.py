"""The table of what sessions cost, which a benchmark writes into the page on HTTP/2."""

from __future__ import annotations

from benchmarks import http2_costs as http2


def test_the_table() -> None:
    ours = [dict.fromkeys([*http2.FIELDS, *http2.WAITS], value) for value in (1.0, 4.0, 2.0)]
    kinds = {"HTTP/1.1": http2.medians(ours), "HTTP/2": http2.medians(ours[:1]), "niquests": {"alone": 3.0}}
    table = http2.rows({"trio": {name: kinds[name] for name in http2.KINDS[:2]}, "asyncio": kinds})
    heads = ["trio: HTTP/1.1", "HTTP/2", "ratio", "asyncio: HTTP/1.1", "HTTP/2", "ratio", "niquests"]
    assert table[0] == ["client CPU", *heads]
    assert table[4] == ["echo of one session, µs", "2.00", "1.00", "0.50", "2.00", "1.00", "0.50", "3.00"]
    assert table[1][-1] == ""
    page = http2.with_table(f"before\n{http2.BEGIN}old\n{http2.END}after\n", table, "said")
    assert page.startswith(f"before\n{http2.BEGIN}| client CPU | trio: HTTP/1.1 | ")
    assert page.endswith(f"| \n\nsaid\n{http2.END}after\n".replace("| \n", "|\n"))


def test_the_page_has_all_rows() -> None:
    table = http2.PAGE.read_text(encoding="utf-8").partition(http2.BEGIN)[2].partition(http2.END)[0]
    told = [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines() if line.startswith("| ")]
    assert told == ["client CPU", *http2.FIELDS.values(), *http2.WAITS.values()]

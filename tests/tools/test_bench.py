"""The benchmark's tables say who is best, whoever it is, and lose no row because another one failed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.bench import __main__ as bench
from tests.tools.bench.report import FAILED, REFERENCE, Column, Row, Table, higher, lower, rows_of
from tests.tools.bench.sections import Options, _child

TABLE = Table("Races", (Column("client", "client"), Column("n", "N"), lower("s", "seconds", "{:.1f}")), group="n")


def seconds(rows: list[Row], table: Table = TABLE) -> list[str]:
    return [line.split("|")[-2].strip() for line in table.markdown(rows).splitlines()[4:]]


def test_the_best_of_each_group_is_marked() -> None:
    rows = [{"n": 1, "s": 2.0}, {"n": 1, "s": 1.0}, {"n": 2, "s": 9.0}, {"n": 2, "s": 7.0}]
    assert ["2.0", "**1.0**", "9.0", "**7.0**"] == seconds(rows)


def test_equals_share_the_mark_as_far_as_is_printed() -> None:
    assert ["**1.0**", "**1.0**", "2.0"] == seconds([{"s": 1.04}, {"s": 1.0}, {"s": 2.0}])


def test_nobody_is_best_where_all_are_alike() -> None:
    assert ["1.0", "1.0"] == seconds([{"s": 1.0}, {"s": 1.0}])


def test_more_is_better_where_it_is() -> None:
    table = Table("Races", (Column("client", "client"), higher("s", "a second")))
    assert ["1", "**2**"] == seconds([{"s": 1}, {"s": 2}], table)


def test_what_the_others_are_measured_by_does_not_compete() -> None:
    assert ["1.0", "**2.0**", "3.0"] == seconds([{"s": 1.0, REFERENCE: True}, {"s": 2.0}, {"s": 3.0}])


def test_a_row_without_figures_says_why() -> None:
    assert ["gave up", "**1.0**", "2.0"] == seconds([{"client": "a", "n": 1, FAILED: "gave up"}, *_two(1)])


def _two(n: int) -> list[Row]:
    return [{"client": "b", "n": n, "s": 1.0}, {"client": "c", "n": n, "s": 2.0}]


def test_a_process_that_fails_is_a_row() -> None:
    (row,) = _child("tests.tools.bench.nothing_of_that_name", client="x")
    assert "x" == row["client"]
    assert "No module named" in row[FAILED]


def test_a_process_that_takes_too_long_is_a_row() -> None:
    assert [{"client": "x", FAILED: "gave up after 0 s"}] == _child(
        "http.server", "0", "--bind=127.0.0.1", limit=0.2, client="x"
    )


def test_a_section_that_fails_loses_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = {"client": "colony_pool", "n": 1, "s": 1.0}

    def melts(options: Options) -> Iterator[Row]:
        yield good
        raise OSError("melted")

    monkeypatch.setattr(bench, "SECTIONS", {"bad": (TABLE, melts), "good": (TABLE, lambda options: iter([good]))})
    page = tmp_path / "page.md"
    assert 1 == bench.main(["--markdown", str(page)])
    printed = rows_of(capsys.readouterr().out)
    assert [
        {"bench": "bad", **good},
        {"bench": "bad", FAILED: "OSError: melted"},
        {"bench": "good", **good},
    ] == printed
    assert 2 == page.read_text().count("**Races**")
    assert "melted" in page.read_text()


def test_a_section_is_told_the_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[Options] = []

    def listens(options: Options) -> Iterator[Row]:
        received.append(options)
        yield {"s": 1.0}

    monkeypatch.setattr(bench, "SECTIONS", {"one": (TABLE, listens)})
    assert 0 == bench.main(["one", "--agents", "10", "20"])
    assert [Options((10, 20))] == received

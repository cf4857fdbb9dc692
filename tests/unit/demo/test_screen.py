"""What the demo shows while it runs, on each kind of terminal and where there is none."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from tests.support.private import ALONE, SEPARATE, SHARED, Progress, Schedule, Screen

SCHEDULE = Schedule()
STEPS = [number / 10 for number in range(int(SCHEDULE.end * 10))]


@dataclass
class Contender:
    """A contestant without agents: its figures are made up."""

    kind: str
    title: str
    processes: int = 1
    n: int = 200
    with_token: int = 150
    waiters: int = 50
    lost: int = 3
    state: str = "half_open"
    not_closed: int = 1
    probes: int = 12
    died: str = ""
    history: Any = field(
        default_factory=lambda: SimpleNamespace(rate=4.0, knocks=2, between=lambda start, stop: 900.0 * start)
    )

    @property
    def members(self) -> list[Any]:
        return [
            SimpleNamespace(
                assignment=SimpleNamespace(number=number), last=Progress(waiters=7, state="open", probes=3),
                probed_just_now=number == 0, died=self.died if number else "",
            )
            for number in range(self.processes)
        ]  # fmt: skip

    def deaths(self) -> list[str]:
        return [f"process 2 of {self.processes} {self.died}"] if self.died else []


def shown(
    *contenders: Any, width: int = 100, height: int = 40, terminal: bool = True, encoding: str = "utf-8",
    no_color: bool = False, at: list[float] | None = None,
) -> str:  # fmt: skip
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    console = Console(
        file=file, width=width, height=height, force_terminal=terminal, no_color=no_color, _environ={"TERM": "xterm"}
    )
    with Screen(console, SCHEDULE, contenders) as screen:
        for moment in STEPS if at is None else at:
            screen.step(moment)
    file.flush()
    return raw.getvalue().decode(encoding)


def plain(text: str) -> list[str]:
    """The lines of the first picture."""
    text = re.split(r"\r?(?:\x1b\[1A)?\x1b\[2K", text)[0]
    return [line.rstrip() for line in re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text).replace("\r", "").splitlines()]


TWO = (Contender(SHARED, "one colony_pool"), Contender(ALONE, "each agent alone"))
THREE = (
    Contender(SHARED, "2 processes, one breaker", 2), Contender(SEPARATE, "2 processes, 2 breakers", 2), TWO[1],
)  # fmt: skip


def test_on_a_terminal_it_is_redrawn_in_place() -> None:
    text = shown(*TWO, at=[1.0, 10.0, 20.0])
    assert "\x1b[2K" in text
    for phase in ("HEALTHY", "OUTAGE", "RECOVERY"):
        assert f" {phase} " in text


def test_a_pipe_gets_a_plain_table_every_five_seconds_and_at_each_phase() -> None:
    text = shown(*TWO, terminal=False)
    assert "\x1b" not in text
    assert text.isascii()
    times = [float(found) for found in re.findall(r"([\d.]+) s\n", text)]
    assert SCHEDULE.down_at in times
    assert SCHEDULE.back_at in times
    assert all(0 < later - earlier <= 5.11 for earlier, later in pairwise(times))
    header = next(line for line in text.splitlines() if "breaker" in line)
    assert ["breaker", "waiting", "tokens", "lost", "knocked", "over", "requests/s"] == header.split()
    row = next(line for line in text.splitlines() if "one colony_pool" in line)
    assert ["half-open", "50", "150", "3", "2", "x", "4"] == row.split()[2:]


@pytest.mark.parametrize("contenders", [TWO, THREE])
@pytest.mark.parametrize(("width", "height"), [(44, 16), (60, 24), (80, 24), (100, 44), (200, 60)])
def test_it_fits_every_terminal(contenders: Any, width: int, height: int) -> None:
    lines = plain(shown(*contenders, width=width, height=height, at=[20.0]))
    assert max(map(len, lines)) <= width
    assert len(lines) <= height
    assert any("requests/s" in line for line in lines)


def test_a_tiny_terminal_gets_what_a_pipe_gets() -> None:
    assert "\x1b[2K" not in shown(*TWO, width=40, height=10)


def test_each_process_has_a_row_where_there_is_room_for_it() -> None:
    tall, short = (plain(shown(*THREE, height=height, at=[10.0])) for height in (44, 16))
    assert 2 == sum("#2" in line for line in tall)
    assert 0 == sum("#2" in line for line in short)
    assert 2 == sum(line.startswith("  ● #1") for line in tall), "the process that has just sent a probe is marked"


def test_a_death_is_told_once() -> None:
    dying = Contender(SHARED, "2 processes, one breaker", 2, died="was killed (SIGKILL)")
    text = shown(dying, *THREE[1:], height=44, at=[10.0, 10.1, 10.2])
    assert 1 == text.count("was killed (SIGKILL)")
    assert re.search("#2 +died", re.sub(r"\x1b\[[\d;]*m", "", text))


def test_without_colour_the_phases_differ_by_their_line() -> None:
    text = shown(*TWO, no_color=True, at=[30.0])
    assert not re.search(r"\x1b\[[\d;]*[34]\d", text)
    assert all(mark in text for mark in "─━┄")


def test_a_terminal_that_knows_ascii_alone_gets_nothing_else() -> None:
    text = shown(*THREE, encoding="ascii", height=44, at=[30.0])
    assert text.isascii()
    lines = plain(text)
    assert any(line.startswith("  * #1") for line in lines)
    assert any(re.fullmatch(r" -+=+~+", line) for line in lines), "the phases"
    assert any("##" in line for line in lines), "the bars"


def test_the_bars_are_on_one_square_root_scale() -> None:
    quiet = Contender(SHARED, "one colony_pool")
    quiet.history = SimpleNamespace(rate=4.0, knocks=0, between=lambda start, stop: 4.0)
    loud = Contender(ALONE, "each agent alone")
    loud.history = SimpleNamespace(rate=4.0, knocks=0, between=lambda start, stop: 400.0)
    lines = plain(shown(quiet, loud, height=24, encoding="ascii", at=[30.0]))
    first, second = (lines[lines.index(f" {title}") + 1 :] for title in ("one colony_pool", "each agent alone"))
    drawn = [sum("#" in line or "-" in line for line in part[:6]) for part in (first, second)]
    assert all(re.fullmatch(r"[ #]+", line) for line in second[:6])
    assert drawn[0] < drawn[1]

"""What became of the mutants: who survived without a reason on record, who was not tried, which reasons are stale."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from .survivors import Survivor

KILLED = (1, 3)  # exit codes of the tests
SURVIVED = 0
COLUMNS = ("killed", "explained", "unexplained", "not run")

Codes = Mapping[str, int | None]  # the exit code of the tests by mutant; None: they were not run


@dataclass
class Verdict:
    """All is well when something was tried, nothing is left to try, and the record is just what survived."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)  # by module
    unexplained: list[tuple[Survivor, int]] = field(default_factory=list)  # with the exit code
    stale: list[Survivor] = field(default_factory=list)  # explained, but killed or gone

    @property
    def totals(self) -> Counter[str]:
        """The counts of all modules."""
        return sum(self.counts.values(), Counter())

    @property
    def is_clean(self) -> bool:
        """Whether the run was complete, and every survivor is explained by a reason that is still needed."""
        return bool(self.totals["killed"]) and not (self.totals["not run"] or self.unexplained or self.stale)


def judge(
    results: Mapping[str, Codes], describe: Callable[[str, str], Survivor], record: Collection[Survivor]
) -> Verdict:
    """Compare the ``results`` by module with the ``record``; ``describe(mutant, module)`` puts a mutant in words.

    A reason is called stale once its whole module was tried: before that its mutant may still survive.
    """
    verdict, explained, met = Verdict(), {_words(one) for one in record}, set()
    for module, codes in results.items():
        counts = verdict.counts[module] = Counter()
        for mutant, code in codes.items():
            if code is None or code in KILLED:
                counts["not run" if code is None else "killed"] += 1
                continue
            survivor = _words(describe(mutant, module))
            met.add(survivor)
            counts["explained" if survivor in explained else "unexplained"] += 1
            if survivor not in explained:
                verdict.unexplained.append((survivor, code))
    waiting = {module for module, counts in verdict.counts.items() if counts["not run"]}
    verdict.stale = [one for one in record if one.module not in waiting and _words(one) not in met]
    return verdict


def _words(survivor: Survivor) -> Survivor:
    return replace(survivor, reason="")


def lines(verdict: Verdict) -> Iterator[str]:
    """The verdict in words: a table, then whatever is wrong."""
    yield _row("", dict(zip(COLUMNS, COLUMNS, strict=True)))
    for module, counts in verdict.counts.items():
        if counts:
            yield _row(module, counts)
    yield _row("in all", verdict.totals)
    for mutant, code in verdict.unexplained:
        yield _change(mutant, "" if code == SURVIVED else f" (ended with {code})")
    for mutant in verdict.stale:
        yield _change(mutant, ": explained, but killed or gone")


def _row(name: str, cells: Mapping[str, object]) -> str:
    return f"{name:34}" + "".join(f"{cells[column]!s:>13}" for column in COLUMNS)


def _change(mutant: Survivor, what: str) -> str:
    return f"\n{mutant.module}: {mutant.function}{what}\n  - {mutant.line}\n  + {mutant.becomes}"

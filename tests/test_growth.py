"""No input of the dispatcher costs more than log N, whatever the state of the breaker. Counted, not timed.

What is counted are the lines of the deciding code that are executed, with the heaps in plain Python, so that their
log N is seen, too: a loop over all keys, even within one line, is a line a turn.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable
from types import FrameType, ModuleType
from typing import Any

import pytest

import colony_pool._core
from tests.growth import CASES

CORE = colony_pool._core.__path__[0]
SIZES = (100, 1_000, 10_000, 100_000)


@pytest.fixture(autouse=True)
def _plain_heaps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the deciding code use heaps whose work is lines."""
    plain = _plain_heapq()
    for name, module in list(sys.modules.items()):
        if name.startswith("colony_pool._core."):
            for verb in ("heappush", "heappop", "heapify"):
                if hasattr(module, verb):
                    monkeypatch.setattr(module, verb, getattr(plain, verb))


def _plain_heapq() -> ModuleType:
    """The standard library's ``heapq`` as it is without its accelerator."""
    spec = importlib.util.find_spec("heapq")
    assert spec is not None
    assert spec.loader is not None
    plain = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "_heapq", None)
        spec.loader.exec_module(plain)
    return plain


def lines_of(work: Callable[[], int]) -> float:
    """Lines of the deciding code and its heaps that ``work`` executes, for each that it says it was for."""
    lines = 0
    files = (CORE, importlib.util.find_spec("heapq").origin)  # type: ignore[union-attr]

    def count(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    def enter(frame: FrameType, event: str, arg: Any) -> Any:
        return count if frame.f_code.co_filename.startswith(files) else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        shared_by = work()
    finally:
        sys.settrace(before)
    assert lines > 0
    return lines / shared_by


@pytest.mark.parametrize("name", CASES)
def test_no_input_costs_more_than_log_n(name: str) -> None:
    costs = {n: lines_of(CASES[name](n)) for n in SIZES}
    least = costs[SIZES[0]]
    too_dear = {n: cost for n, cost in costs.items() if cost > least * math.log(n) / math.log(SIZES[0])}
    assert {} == too_dear, costs

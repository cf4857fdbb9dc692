"""What the dispatcher takes for each input, and in its worst moments, as the number of keys grows."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable

from tests.bench.report import emit
from tests.growth import CASES

SIZES = (10, 1_000, 100_000)
ROUNDS = 3


def main() -> None:
    log = math.log(SIZES[-1]) / math.log(SIZES[0])
    for name, build in CASES.items():
        spent = {n: min(_seconds(build(n)) for _ in range(ROUNDS)) * 1e6 for n in SIZES}
        cells = {str(n): round(microseconds, 2) for n, microseconds in spent.items()}
        emit(case=name, **cells, ratio=round(spent[SIZES[-1]] / spent[SIZES[0]], 2), log=round(log, 2))


def _seconds(measured: Callable[[], int]) -> float:
    gc.collect()
    gc.disable()  # a collection would look at a hundred thousand keys, in the middle of one input
    start = time.perf_counter()
    shared_by = measured()
    spent = time.perf_counter() - start
    gc.enable()
    return spent / shared_by


if __name__ == "__main__":
    main()

"""What the dispatcher takes for each input, and in its worst moments, as the number of keys grows."""

from __future__ import annotations

import gc
import math
import time

from tests.tools.bench.report import emit
from tests.tools.growth import CASES, Case

ROUNDS = {10: 20, 1_000: 5, 100_000: 1}  # by the number of keys


def main() -> None:
    gc.disable()  # a collection would look at a hundred thousand keys, in the middle of one input
    least, *_, most = ROUNDS
    log = round(math.log(most) / math.log(least), 2)
    for name, build in CASES.items():
        spent = {n: min(_seconds(build, n) for _ in range(rounds)) * 1e6 for n, rounds in ROUNDS.items()}
        cells = {str(n): round(microseconds, 2) for n, microseconds in spent.items()}
        emit(case=name, **cells, ratio=round(spent[most] / spent[least], 2), log=log)


def _seconds(build: Case, n: int) -> float:
    if n == max(ROUNDS):
        gc.collect()
    measured = build(n)
    start = time.process_time()  # a short input is not to be charged with what the machine did meanwhile
    shared_by = measured()
    return (time.process_time() - start) / shared_by


if __name__ == "__main__":
    main()

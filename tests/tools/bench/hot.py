"""A cached token, against the floor: ``if monotonic() < exp: return tok`` in a plain function."""

from __future__ import annotations

import sys

if __name__ == "__main__" and "gevent" in sys.argv:
    from gevent import monkey

    monkey.patch_all()

import statistics
import timeit

from tests.tools.bench.holders import Ask, holders
from tests.tools.bench.report import FAILED, REFERENCE, emit

ROUNDS = 15
SLICE = 0.02  # seconds that one case takes in one round


def main(runtime: str) -> None:
    from colony_pool.testing import FakeColony

    asks: dict[str, tuple[Ask, int]] = {}
    with FakeColony() as colony:
        for name, make in holders(colony.base_url, runtime).items():
            try:
                ask = make()
                ask()
                asks[name] = ask, _calls_in(ask, SLICE)
            except Exception as error:
                emit(client=name, **{FAILED: f"{type(error).__name__}: {error}"[:200]})
        times: dict[str, list[float]] = {name: [] for name in asks}
        for _ in range(ROUNDS):  # interleaved: the machine's mood hits all alike
            for name, (ask, number) in asks.items():
                times[name].append(timeit.timeit(ask, number=number) / number * 1e9)
    floor = times["the floor"]
    for name, values in times.items():
        ratio = statistics.median(mine / least for mine, least in zip(values, floor, strict=True))
        mark = {REFERENCE: True} if values is floor else {}
        emit(client=name, ns=round(statistics.median(values)), ratio=round(ratio, 3), **mark)


def _calls_in(ask: Ask, seconds: float) -> int:
    """How many calls take about so long."""
    number = 100
    return max(number, int(seconds / (timeit.timeit(ask, number=number) / number)))


if __name__ == "__main__":
    main(sys.argv[1])

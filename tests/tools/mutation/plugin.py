"""What pytest does differently while mutants are tested: the cheapest test that can kill comes first.

Nothing is random here, nothing is remembered from one mutant to the next, and a failure is not shrunk: a mutant is
dead with the first example that fails. A test that loops is ended after a few seconds of its own processor time, so
that a busy machine kills no mutant.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import Phase, settings

_CPU_SECONDS = 10.0  # several times what the longest test takes
_SEEDS = 2  # of a test that is run with many seeds
_FUZZ = ("test_g11_g22_no_answer_makes_it_raise_and_every_number_is_sane",)  # half a minute for each survivor

settings.register_profile(
    "mutation", derandomize=True, database=None, deadline=None, phases=[Phase.explicit, Phase.generate]
)
settings.load_profile("mutation")


class LoopsError(BaseException):  # no ``except Exception`` of the code under test may catch it
    """The mutant made a test run for too long."""


def _end(signum: int, frame: Any) -> None:
    raise LoopsError


@pytest.fixture(autouse=True)
def _no_endless_loop() -> Iterator[None]:
    signal.signal(signal.SIGVTALRM, _end)
    signal.setitimer(signal.ITIMER_VIRTUAL, _CPU_SECONDS, 1.0)  # and again, should it be swallowed
    yield
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)


def _cost(item: pytest.Item) -> int:
    if hasattr(getattr(item, "obj", None), "hypothesis"):
        return 2
    return int(hasattr(getattr(item, "module", None), "DispatcherHarness"))  # a part alone before all of it


def _wanted(item: pytest.Item) -> bool:
    params = item.callspec.params if hasattr(item, "callspec") else {}
    return bool(item.name not in _FUZZ and params.get("seed", 0) < _SEEDS)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Hand-written tests first; of what is played with many seeds, a few."""
    config.hook.pytest_deselected(items=[item for item in items if not _wanted(item)])
    items[:] = sorted(filter(_wanted, items), key=_cost)

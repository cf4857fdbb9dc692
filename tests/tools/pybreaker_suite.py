"""``python -m tests.tools.pybreaker_suite [FILE]``: pybreaker's own tests, with the breaker of a pool in its place.

No source distribution of pybreaker has its tests, so they come from its repository, or are the FILE that is given;
Tornado and fakeredis, which they need, come from PyPI. Fails on each test that does not pass and is not listed in
``DIFFERENT``, and on each that is listed there and passes, or is not there.
It is also the pytest plugin that puts a pool's breaker in the place of ``pybreaker.CircuitBreaker``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

VERSION = "1.4.1"
ADDRESS = f"https://raw.githubusercontent.com/danielfm/pybreaker/v{VERSION}/tests/pybreaker_test.py"
SHA256 = "16c665fcf979048b85988edc73914d1983c7f407153ab06da212e57aae304c2b"
NEEDS = ("tornado", "fakeredis", "sortedcontainers")
_RESULTS = "COLONY_POOL_PYBREAKER_RESULTS"  # the file in which the plugin leaves what became of each test

_STORAGE = "the pool keeps the state, and shared= is how processes share it: no storage of pybreaker's is given to it"
_THRESHOLD = "one good probe closes the pool, and its recovery is paced then: setting it says so"
_CLASSES = "it counts how often pybreaker's classes of states are called, which decide nothing here"
_ON_TRIP = "the call whose failure opens the breaker always raises CircuitBreakerError, which is pybreaker's default"
# The tests that do not pass, and why.
DIFFERENT: dict[str, str] = {
    "CircuitBreakerTestCase.test_failure_count_not_reset_during_creation": _STORAGE,
    "CircuitBreakerTestCase.test_notify_called_on_state_change": _CLASSES,
    "CircuitBreakerTestCase.test_notify_not_called_on_init": _CLASSES,
    "CircuitBreakerTestCase.test_reset_timeout_setter": (
        "the pool's delay is not fixed: setting it says to use BreakerConfig(open_delay, open_delay_max)"
    ),
    "CircuitBreakerTestCase.test_success_threshold_failure_resets_counter": _THRESHOLD,
    "CircuitBreakerTestCase.test_success_threshold_multiple_successes_required": _THRESHOLD,
    "CircuitBreakerTestCase.test_success_threshold_property": _THRESHOLD,
    "CircuitBreakerTestCase.test_success_threshold_redis_storage": f"skipped without a Redis; {_THRESHOLD}",
    "CircuitBreakerTestCase.test_throw_new_error_on_trip_false": _ON_TRIP,
    "CircuitBreakerRedisTestCase.test_fallback_state": _STORAGE,
    "CircuitBreakerRedisTestCase.test_missing_state": _STORAGE,
    "CircuitBreakerRedisTestCase.test_throw_new_error_on_trip_false": _ON_TRIP,
}


class SuiteUnavailableError(Exception):
    """The tests cannot be had here."""


def download() -> bytes:
    """pybreaker's tests from its repository. Raises ``SuiteUnavailableError``."""
    try:
        with urllib.request.urlopen(ADDRESS, timeout=10) as answer:
            content: bytes = answer.read()
    except OSError as error:
        raise SuiteUnavailableError(f"{ADDRESS}: {error}; give the file as an argument") from None
    return content


def run(content: bytes) -> dict[str, bool]:
    """Whether each test has passed. Raises ``ValueError`` if these are not pybreaker's tests of ``VERSION``."""
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise ValueError(f"these are not the tests of pybreaker {VERSION}: their SHA-256 must be {SHA256}")
    with tempfile.TemporaryDirectory() as folder:
        suite, libraries, results = (
            Path(folder, "test_pybreaker.py"),
            Path(folder, "libraries"),
            Path(folder, "results"),
        )
        suite.write_bytes(content)
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(libraries), *NEEDS]
        subprocess.run(pip, check=True)
        places = [str(libraries), str(Path(__file__).parents[2]), *sys.path]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), _RESULTS: str(results)}
        plugins = ["-p", "tests.tools.pybreaker_suite", "-p", "no:cacheprovider"]
        pytest_ = [sys.executable, "-m", "pytest", *plugins, "-q", "--tb=short", "--rootdir", folder, str(suite)]
        subprocess.run(pytest_, env=environment, cwd=folder, check=False)
        passed: dict[str, bool] = json.loads(results.read_text())
    return passed


def differences(passed: dict[str, bool]) -> list[str]:
    """What is not as ``DIFFERENT`` says, in words."""
    wrong = [
        f"{name}: fails, and is not listed" for name, well in passed.items() if not well and name not in DIFFERENT
    ]
    wrong += [f"{name}: passes, and is listed" for name, well in passed.items() if well and name in DIFFERENT]
    return wrong + [f"{name}: is listed, and is not there" for name in DIFFERENT if name not in passed]


# -- the plugin ---------------------------------------------------------------------------------------------

_passed: dict[str, bool] = {}
_pools: list[Any] = []


def make_breaker(
    fail_max: int = 5, reset_timeout: float = 60, success_threshold: int = 1, exclude: Any = None,
    listeners: Any = None, state_storage: Any = None, name: str | None = None, throw_new_error_on_trip: bool = True,
) -> Any:  # fmt: skip
    """A pool's breaker, as near as it comes to what pybreaker's constructor is asked for; of a storage, its state."""
    from colony_pool import BreakerConfig, ColonyPool
    from tests.support.private import ThreadRuntime

    class Inline(ThreadRuntime):
        """Listeners are told before a call returns, as these tests expect."""

        def spawn_lasting(self, fn: Callable[[], object]) -> None:
            fn()

    config = BreakerConfig(
        fail_max=fail_max, open_delay=reset_timeout, open_delay_max=reset_timeout, jitter=0.0, min_failure_time=0.0,
        count_guarded_calls=True,
    )  # fmt: skip
    pool = ColonyPool("http://127.0.0.1:9", breaker=config, token_cache=None, registry=None, runtime=Inline())
    _pools.append(pool)
    breaker = pool.breaker
    breaker.add_excluded_exceptions(*(exclude or ()))
    if state_storage is not None and state_storage.state != breaker.current_state:
        breaker.state = state_storage.state
    breaker.add_listeners(*(listeners or ()))
    if name is not None:
        breaker.name = name
    return breaker


def pytest_configure(config: pytest.Config) -> None:
    """Put it in pybreaker's place."""
    if _RESULTS in os.environ:
        import pybreaker

        from tests.support.private import PoolBreaker

        assert issubclass(PoolBreaker, pybreaker.CircuitBreaker), "it is imported before that"
        vars(pybreaker)["CircuitBreaker"] = make_breaker


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what becomes of each test."""
    name = report.nodeid.split("::", 1)[1].replace("::", ".")
    _passed[name] = _passed.get(name, True) and report.passed


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave it to who has started this."""
    for pool in _pools:
        pool.close()
    if _RESULTS in os.environ:
        Path(os.environ[_RESULTS]).write_text(json.dumps(_passed))


def main() -> int:
    """Run the tests, and print each difference with its reason."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.pybreaker_suite", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, help=f"tests/pybreaker_test.py of pybreaker {VERSION}")
    file: Path | None = parser.parse_args().file
    try:
        passed = run(file.read_bytes() if file is not None else download())
    except (SuiteUnavailableError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{len(passed)} tests, {sum(passed.values())} pass")
    for name, reason in DIFFERENT.items():
        print(f"  {name}: {reason}")
    print(*differences(passed), sep="\n")
    return 1 if differences(passed) else 0


if __name__ == "__main__":
    sys.exit(main())

"""``pool.breaker`` has pybreaker's interface: each part of it does to the pool what it says, or says what to use."""

from __future__ import annotations

import abc
import inspect
import pickle
import re
from collections.abc import Generator, Iterator
from datetime import timezone
from typing import Any
from unittest import mock

import pybreaker
import pytest

from colony_pool import BreakerConfig, CircuitOpenError, ColonyPool
from colony_pool.testing import SimRuntime
from tests.support.private import PoolBreaker

pytestmark = pytest.mark.unit


class NoServer:
    """A transport that is never used."""

    def send(self, method: str, path: str, **options: Any) -> Any:
        raise AssertionError("nothing is sent")

    def connections(self) -> tuple[int, int]:
        return (0, 0)

    def opened(self) -> int:
        return 0

    def close(self) -> None:
        """Nothing to close."""

    def after_fork(self) -> None:
        """Nothing to renew."""


def new_pool(**breaker: Any) -> ColonyPool:
    config = BreakerConfig(**{"fail_max": 3, "jitter": 0.0, **breaker})
    return ColonyPool(
        "https://s.example",
        breaker=config,
        runtime=SimRuntime(),
        transport=NoServer(),
        token_cache=None,
        registry=None,
    )


@pytest.fixture
def pool() -> Iterator[ColonyPool]:
    with new_pool() as pool:
        yield pool


@pytest.fixture
def counting() -> Iterator[ColonyPool]:
    with new_pool(count_guarded_calls=True) as pool:
        yield pool


def boom() -> None:
    raise KeyError("mine")


def failures(pool: ColonyPool, *errors: BaseException) -> int:
    """The failures in a row after guarded calls that raise these."""

    def fail(error: BaseException) -> None:
        raise error

    for error in errors:
        with pytest.raises(type(error)):
            pool.breaker.call(fail, error)
    return pool.breaker.fail_counter


# -- all of it --------------------------------------------------------------------------------------------

# What needs no word of ours: it calls what is.
INHERITED = {"add_excluded_exceptions", "add_listeners", "name"}


def test_every_public_name_of_pybreaker_is_the_pools_own() -> None:
    public = {name for name in vars(pybreaker.CircuitBreaker) if not name.startswith("_")}
    assert INHERITED == public - set(vars(PoolBreaker))


def test_no_private_name_of_pybreaker_is_used() -> None:
    private = {name for part in (PoolBreaker, pybreaker.CircuitBreaker) for name in vars(part) if name[0] == "_"}
    theirs, ours = (
        set(re.findall(r"self\.(_[a-z]\w*)", inspect.getsource(part)))
        for part in (pybreaker.CircuitBreaker, PoolBreaker)
    )
    assert "_state_storage" in theirs, "they are found"
    assert set() == theirs & ours
    assert {"_guard", "_told"} <= ours | private


# -- what is set ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [("reset_timeout", r"open_delay=\.\.\., open_delay_max="), ("success_threshold", r"reset_after=\.\.\.")],
)
def test_what_a_pool_has_no_use_for_says_what_to_use(pool: ColonyPool, name: str, words: str) -> None:
    with pytest.raises(AttributeError, match=rf"{name}=30: .*BreakerConfig\({words}"):
        setattr(pool.breaker, name, 30)


def test_what_it_shows_of_the_delay_is_the_options() -> None:
    with new_pool(open_delay=7.5) as pool:
        assert (7.5, 1, 0) == (
            pool.breaker.reset_timeout,
            pool.breaker.success_threshold,
            pool.breaker.success_counter,
        )


def test_its_state_can_be_set(pool: ColonyPool) -> None:
    for state in ("open", "half-open", "closed"):
        pool.breaker.state = state
        assert (state, state) == (pool.breaker.current_state, pool.status().breaker.state.replace("_", "-"))
        assert isinstance(pool.breaker.state, pybreaker.CircuitBreaker | pybreaker.CircuitBreakerState)
    with pytest.raises(ValueError, match="state='shut': must be one of closed, open, half-open"):
        pool.breaker.state = "shut"
    assert "closed" == pool.breaker.current_state


def test_open_says_whether_a_failure_that_opens_it_raises_another_error(
    pool: ColonyPool, counting: ColonyPool
) -> None:
    assert (False, True) == (pool.breaker.open(), counting.breaker.open())


def test_its_name_is_for_listeners(pool: ColonyPool) -> None:
    assert "s.example" == pool.breaker.name
    pool.breaker.name = "tokens"
    assert ("tokens", "s.example") == (pool.breaker.name, pool.name)


def test_it_knows_when_it_opened(pool: ColonyPool) -> None:
    breaker: Any = pool.breaker
    before = breaker.opened_at
    breaker.open()
    assert (None, timezone.utc) == (before, breaker.opened_at.tzinfo)


def test_a_listener_that_was_not_added_cannot_be_removed(pool: ColonyPool) -> None:
    listener = pybreaker.CircuitBreakerListener()
    pool.breaker.add_listeners(listener, pybreaker.CircuitBreakerListener())
    pool.breaker.remove_listener(listener)
    assert 1 == len(pool.breaker.listeners)
    with pytest.raises(ValueError, match="must be one that was added"):
        pool.breaker.remove_listener(listener)


def test_g2_listeners_are_called_by_the_methods_that_they_have() -> None:
    """Of their class, or their own; one that does nothing costs nothing."""
    sim = SimRuntime()
    config = BreakerConfig(fail_max=3)
    heard: list[str] = []
    own, partial = pybreaker.CircuitBreakerListener(), mock.Mock(spec=["failure"])
    vars(own)["success"] = lambda cb: heard.append("success")
    does_nothing = pybreaker.CircuitBreakerListener()
    pool = ColonyPool(
        "https://s.example", breaker=config, runtime=sim, transport=NoServer(), token_cache=None, registry=None
    )
    with pool:
        pool.breaker.add_listeners(own, partial, does_nothing)
        pool.breaker.call(int)
        with pytest.raises(KeyError):
            pool.breaker.call(boom)
        pool.breaker.open()
        sim.run(until=1.0)
    assert (["success"], 1) == (heard, partial.failure.call_count)


# -- exceptions that are no failures ----------------------------------------------------------------------


class AbstractError(Exception, abc.ABC):
    """Its class is not of type ``type``."""


def test_excluded_exceptions_are_successes(counting: ColonyPool) -> None:
    breaker: Any = counting.breaker
    assert 1 == failures(counting, KeyError())
    breaker.add_excluded_exceptions(LookupError, AbstractError, lambda error: "fine" in str(error))
    assert 0 == failures(counting, KeyError())
    assert 1 == failures(counting, ValueError())
    assert 0 == failures(counting, AbstractError())
    assert 1 == failures(counting, ValueError("bad"))
    assert 0 == failures(counting, ValueError("fine"))
    breaker.remove_excluded_exception(LookupError)
    assert 1 == failures(counting, KeyError())
    assert 2 == len(breaker.excluded_exceptions)


def test_what_cannot_be_excluded_is_said(pool: ColonyPool) -> None:
    wrong: Any = "KeyError"
    with pytest.raises(ValueError, match="exception='KeyError': must be a class of exceptions, or a function"):
        pool.breaker.add_excluded_exception(wrong)
    with pytest.raises(ValueError, match="must be one of excluded_exceptions"):
        pool.breaker.remove_excluded_exception(KeyError)


def test_g4_an_exclusion_that_raises_gives_the_trial_back(counting: ColonyPool) -> None:
    breaker: Any = counting.breaker
    breaker.add_excluded_exception(lambda error: 1 / 0)
    breaker.half_open()
    with pytest.raises(ZeroDivisionError):
        breaker.call(boom)
    assert "half-open" == breaker.current_state
    assert 1 == breaker.call(lambda: 1)
    assert "closed" == breaker.current_state


# -- guarded calls ----------------------------------------------------------------------------------------


def test_g23_a_refusal_pickles_and_names_no_argument(pool: ColonyPool) -> None:
    pool.breaker.open()
    with pytest.raises(pybreaker.CircuitBreakerError) as caught:
        pool.breaker.call(print, "col_secret")
    error = caught.value
    assert isinstance(error, CircuitOpenError)
    again = pickle.loads(pickle.dumps(error))
    assert (type(error), str(error), 2.0) == (type(again), str(again), again.retry_after)
    words = "no guarded call passes: the breaker is open (opened by an operator); the next probe may leave in 2.0 s"
    assert f"{words}. Try again then" == str(error)
    assert "secret" not in str(error)


def test_g23_the_words_of_a_guarded_calls_error_are_not_the_cause(counting: ColonyPool) -> None:
    failures(counting, KeyError("col_secret"), KeyError("col_secret"))
    with pytest.raises(CircuitOpenError):
        counting.breaker.call(boom)
    assert "a guarded call raised KeyError" == counting.status().breaker.cause


def test_what_is_guarded_has_arguments_of_any_name(pool: ColonyPool) -> None:
    def names(**given: int) -> list[str]:
        return sorted(given)

    pool.breaker.add_listener(mock.Mock())
    guarded: Any = pool.breaker(names)
    given = {"what": 1, "method": 2, "call": 3, "args": 4, "kwargs": 5, "cb": 6, "pool": 7}
    assert sorted(given) == guarded(**given)


def test_a_generator_is_guarded_to_its_end(counting: ColonyPool) -> None:
    def plain_echo() -> Generator[str, str, str]:
        said = yield "first"
        said = yield said
        return said

    echo: Any = counting.breaker(plain_echo)
    failures(counting, KeyError())
    talk = echo()
    assert ("first", "second") == (next(talk), talk.send("second"))
    assert 1 == counting.breaker.fail_counter, "it has not ended"
    with pytest.raises(StopIteration) as end:
        talk.send("last")
    assert ("last", 0) == (end.value.value, counting.breaker.fail_counter)


def test_what_a_generator_makes_good_is_no_failure(counting: ColonyPool) -> None:
    def plain_forgiving() -> Iterator[str]:
        try:
            yield "first"
        except KeyError:
            yield "second"

    forgiving: Any = counting.breaker(plain_forgiving)
    talk: Any = forgiving()
    next(talk)
    assert "second" == talk.throw(KeyError())
    talk.close()
    assert 0 == counting.breaker.fail_counter


def test_g4_a_generator_that_is_left_gives_the_trial_back(counting: ColonyPool) -> None:
    def plain_numbers() -> Iterator[int]:
        yield 1
        yield 2

    numbers: Any = counting.breaker(plain_numbers)
    counting.breaker.half_open()
    for _ in range(2):
        talk: Any = numbers()
        assert 1 == next(talk)
        talk.close()
    assert "half-open" == counting.breaker.current_state


def test_the_block_of_a_with_is_a_guarded_call(counting: ColonyPool) -> None:
    with pytest.raises(KeyError), counting.breaker.calling():
        boom()
    assert 1 == counting.breaker.fail_counter
    with counting.breaker.calling():
        pass
    assert 0 == counting.breaker.fail_counter


def test_a_guard_within_a_trial_is_part_of_it(counting: ColonyPool) -> None:
    breaker = counting.breaker
    breaker.half_open()
    assert 1 == breaker.call(breaker.call, lambda: 1)
    assert "closed" == breaker.current_state
    breaker.half_open()
    with pytest.raises(pybreaker.CircuitBreakerError) as caught:
        breaker.call(breaker.call, boom)
    assert isinstance(caught.value.__cause__, KeyError)
    assert ("open", 1) == (breaker.current_state, breaker.fail_counter)
    with pytest.raises(pybreaker.CircuitBreakerError):
        breaker.call(lambda: 1)


def test_trials_of_two_pools_may_be_within_each_other(counting: ColonyPool) -> None:
    with new_pool(count_guarded_calls=True) as other:
        outer, inner = counting.breaker, other.breaker
        outer.half_open()
        inner.half_open()

        def work() -> int:
            first: int = inner.call(outer.call, lambda: 1)
            second: int = outer.call(lambda: 2)
            return first + second

        assert 3 == outer.call(work)
        assert ("closed", "closed") == (outer.current_state, inner.current_state)


def test_what_a_state_of_pybreaker_calls_counts_nothing(counting: ColonyPool) -> None:
    """Its code reads the pool's state, and writes nothing there."""
    for _ in range(4):
        with pytest.raises(KeyError):
            counting.breaker.state.call(boom)
    assert ("closed", 0) == (counting.breaker.current_state, counting.breaker.fail_counter)
    counting.breaker.open()
    with pytest.raises(pybreaker.CircuitBreakerError):
        counting.breaker.state.call(boom)


def test_the_option_is_true_or_false() -> None:
    with pytest.raises(ValueError, match="count_guarded_calls='no'"):
        new_pool(count_guarded_calls="no")

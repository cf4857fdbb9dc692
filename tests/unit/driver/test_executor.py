"""Callers that must not block: what they want done is done by a few tasks, however many they are."""

from __future__ import annotations

import logging

import pytest

from tests.support.driver_bench import Bench
from tests.support.private import Instant
from tests.support.private import actions as act


def test_what_is_posted_is_put_to_the_dispatcher_by_another_task() -> None:
    bench, heard = Bench(), list[Instant]()

    def step(at: Instant) -> list[act.Action]:
        heard.append(at)
        return []

    bench.driver.submit_async(step)
    assert ([], 1) == (heard, len(bench.runtime.tasks))
    bench.runtime.run_one()
    assert [Instant(5.0, 1e9)] == heard


@pytest.mark.parametrize("tasks", [False, True])
def test_there_are_never_more_of_them_than_a_few(tasks: bool) -> None:
    bench, done = Bench(), list[int]()

    def note() -> list[act.Action]:
        done.append(1)
        return []

    for _ in range(10):
        if tasks:
            bench.driver.executor.submit(note)
        else:
            bench.driver.submit_async(lambda at: note())
    assert (4 if tasks else 3) == len(bench.runtime.tasks)
    while bench.runtime.tasks:
        bench.runtime.run_one()
    assert 10 == len(done)
    bench.driver.submit_async(lambda at: [])
    assert 1 == len(bench.runtime.tasks), "they end when there is no more to do"


def test_without_a_thread_it_is_done_here() -> None:
    bench, done = Bench(), list[int]()
    bench.runtime.no_threads = True
    bench.driver.executor.submit(lambda: done.append(1))
    assert [1] == done


def test_one_that_fails_is_told_of_and_keeps_no_other(caplog: pytest.LogCaptureFixture) -> None:
    bench, done = Bench(), list[int]()
    caplog.set_level(logging.WARNING, "colony_pool")
    bench.driver.executor.submit(lambda: 1 // 0)
    bench.driver.executor.submit(lambda: done.append(1))
    bench.runtime.run_one()
    assert [1] == done
    assert ["ZeroDivisionError" in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize("tasks", [False, True])
def test_what_fails_is_written_where_the_driver_writes(tasks: bool) -> None:
    lines = Kept()
    bench = Bench(lines=lines)
    if tasks:
        bench.driver.executor.submit(lambda: 1 // 0)
    else:
        bench.driver._carriers.submit(lambda: 1 // 0)
    bench.runtime.run_one()
    assert [ZeroDivisionError] == [type(error) for error in lines.errors]


class Kept:
    """Lines of a log."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []

    def raised(self, words: str, error: BaseException) -> None:
        self.errors.append(error)

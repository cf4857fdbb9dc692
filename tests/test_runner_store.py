"""What the dispatcher wants of the store that processes share is carried to whoever is set to carry it."""

from __future__ import annotations

import logging

import pytest

from tests.runner_bench import Bench, Flag, waiter
from tests.support.private import actions as act


def test_what_is_for_the_store_is_carried_to_it_and_without_one_nothing_becomes_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "colony_pool")
    bench, flag = Bench(), Flag()
    bench.feed(act.LeaveGroup(), act.Wake(waiter(flag)))
    assert (True, []) == (flag.flag, caplog.records)
    carried: list[act.ForStore] = []
    bench.runner.carry = carried.append
    bench.feed(act.ReleaseLeadership(), act.LeaveGroup())
    assert [act.ReleaseLeadership(), act.LeaveGroup()] == carried

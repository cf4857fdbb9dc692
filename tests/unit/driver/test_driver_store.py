"""What the dispatcher wants of the store that processes share is carried to its client."""

from __future__ import annotations

import logging

import pytest

from tests.support.driver_bench import Bench, Flag
from tests.support.private import actions as act


class Store:
    def __init__(self) -> None:
        self.carried: list[act.ForStore] = []
        self.replies: list[object] = []

    def submit(self, action: act.ForStore, reply: object) -> None:
        self.carried.append(action)
        self.replies.append(reply)


def test_what_is_for_the_store_is_carried_to_it_and_without_one_nothing_becomes_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "colony_pool")
    bench, flag = Bench(), Flag()
    bench.feed(act.LeaveGroup(), act.Wake(bench.wait(flag)))
    assert (True, []) == (flag.flag, caplog.records)
    store = Store()
    bench = Bench(store=store)
    bench.feed(act.ReleaseLeadership(), act.LeaveGroup())
    assert [act.ReleaseLeadership(), act.LeaveGroup()] == store.carried
    assert [bench.driver.submit] * 2 == store.replies, "where its answer is to be put"

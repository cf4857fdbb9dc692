"""A caller that makes its own attempt: only when nobody can kill it, only its own key's, never a probe (G1, G3)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.runner_bench import Bench, Flag, permit, waiter
from tests.support.private import Account, Outcome, Permit
from tests.support.private import actions as act

GOOD = Outcome("ok", 200, jwt="swift", life=60.0)


class Swift(Bench):
    """A bench with a swift way."""

    def __init__(self, outcome: Outcome | None = GOOD, **parts: Any) -> None:
        self.swift_made: list[Permit] = []
        self.swift_outcome = outcome
        super().__init__(swift=self.swiftly, **parts)

    def swiftly(self, permit: Permit) -> Outcome | None:
        self.swift_made.append(permit)
        return self.swift_outcome


def test_a_demand_without_a_swift_way_is_an_input_like_any_other() -> None:
    bench, asks, mine = Bench(), waiter(), permit()
    bench.script.says.append([act.Start(mine)])
    bench.runner.demand(asks)
    assert [("demand", asks, 5.0, 1e9)] == bench.script.heard
    assert (1, 1) == (len(bench.runtime.tasks), bench.runtime.hurries)


def test_g3_a_caller_that_can_be_killed_makes_no_attempt() -> None:
    bench, account = Swift(), Account()
    bench.runtime.kills = True
    bench.script.says.append([act.Start(permit(account=account))])
    bench.runner.demand(waiter(account=account))
    assert ([], 1) == (bench.swift_made, len(bench.runtime.tasks))


def test_a_caller_makes_the_attempt_that_answers_it() -> None:
    bench, account, flag = Swift(), Account(), Flag()
    asks, mine = waiter(flag, account), permit(account=account)
    bench.script.says.extend([[act.Start(mine)], [act.Done(asks)]])
    bench.runner.demand(asks)
    assert [("demand", asks, 5.0, 1e9), ("result", mine, GOOD, 5.0, 1e9)] == bench.script.heard
    assert ([mine], True, 0) == (bench.swift_made, flag.flag, len(bench.runtime.tasks))
    assert not bench.runner._working


@pytest.mark.parametrize("mine", [permit(), permit(is_probe=True)])
def test_g1_a_caller_makes_no_attempt_of_another_key_and_no_probe(mine: Permit) -> None:
    bench = Swift()
    account = mine.account if mine.is_probe else Account()
    bench.script.says.append([act.Start(mine)])
    bench.runner.demand(waiter(account=account))
    assert ([], 1) == (bench.swift_made, len(bench.runtime.tasks))


def test_an_attempt_that_might_not_end_in_time_is_left_to_a_worker() -> None:
    bench, account = Swift(outcome=None), Account()
    mine = permit(account=account)
    bench.script.says.append([act.Start(mine)])
    bench.runner.demand(waiter(account=account))
    assert ["demand"] == [heard[0] for heard in bench.script.heard], "it has done nothing"
    bench.runtime.run_one()
    assert ([mine], [mine]) == (bench.swift_made, bench.made)


def test_a_caller_whose_attempt_gets_no_thread_hears_of_it() -> None:
    bench, account, flag = Swift(outcome=None), Account(), Flag()
    asks = waiter(flag, account)
    bench.runtime.no_threads = True
    bench.script.says.extend([[act.Start(permit(account=account))], [act.Done(asks)]])
    bench.runner.demand(asks)
    assert flag.flag


def test_what_comes_of_a_swift_attempt_is_carried_out_by_its_caller() -> None:
    bench, account, other = Swift(), Account(), permit()
    bench.script.says.extend([[act.Start(permit(account=account))], [act.Start(other)]])
    bench.runner.demand(waiter(account=account))
    assert len(bench.runtime.tasks) == 1, "nothing else may keep it"
    bench.runtime.run_one()
    assert [other] == bench.made


def test_what_is_left_to_do_keeps_no_caller() -> None:
    done: list[Any] = []
    bench, account = Swift(after=lambda permit, outcome: done.append((permit, outcome))), Account()
    mine = permit(account=account)
    bench.script.says.append([act.Start(mine)])
    bench.runner.demand(waiter(account=account))
    assert done == []
    bench.runtime.run_one()
    assert [(mine, GOOD)] == done


def test_what_is_left_to_do_is_not_worth_an_error() -> None:
    bench, account = Swift(after=lambda permit, outcome: None), Account()
    bench.runtime.no_threads = True
    bench.script.says.append([act.Start(permit(account=account))])
    bench.runner.demand(waiter(account=account))
    assert len(bench.swift_made) == 1

"""Errors that the model minds, but that a search would seldom meet: played by hand (G8, G12, G13)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.simulation import model_world as ref
from tests.simulation.test_model import GOOD, OUTCOMES, DispatcherBesideModel, always, nothing
from tests.support.private import Queue, Remaining, RetryBudget

SHORT_LIVED, RATE_LIMITED, DOWN_502 = OUTCOMES[0], OUTCOMES[4], OUTCOMES[7]


def keep_failing(machine: DispatcherBesideModel) -> None:
    """One key fails until the budget of one retry is used up."""
    machine.begin(0, 1, "busy")
    machine.ask(0, 3600.0)
    for _ in range(2):
        machine.answer_all(DOWN_502)
        machine.wait_for_the_next_wakeup()


def be_rate_limited(machine: DispatcherBesideModel) -> None:
    """Key 0 has been without a token since the start, key 1 for half a minute, and key 1 can wait less long."""
    machine.begin(0, 50, "new")
    machine.ask(3, 3600.0)
    machine.ask(0, 3600.0)
    machine.answer_all(RATE_LIMITED)
    machine.wait(60.0)
    machine.ask(1, 40.0)
    machine.wait(30.0)
    for key, patience in ((2, 3600.0), (1, 40.0), (0, 3600.0)):
        machine.ask(key, patience)
    while machine.attempts:
        permit = next(iter(machine.attempts))
        machine.land(permit, *(SHORT_LIVED if permit.account is machine.accounts[0] else GOOD))


def be_served_again(machine: DispatcherBesideModel) -> None:
    """The same in plenty: now it is the patience that counts."""
    be_rate_limited(machine)
    for _ in range(4):
        machine.wait(60.0)
    machine.forget_all_tokens()
    machine.force(ref.CLOSED)  # the window begins at one attempt again
    for key, patience in ((2, 3600.0), (0, 3600.0), (1, 40.0)):
        machine.ask(key, patience)
    machine.answer_all(GOOD)


STAGED: list[tuple[type, str, Callable[..., Any], Callable[[DispatcherBesideModel], None]]] = [
    (RetryBudget, "withdraw", always, keep_failing),  # a budget without a bottom
    (Queue, "order", nothing, be_rate_limited),  # a rate limit that changes nobody's turn
    (Remaining, "reset", nothing, be_served_again),  # a rate limit that is short for good
]


@pytest.mark.parametrize("staged", STAGED, ids=[f"{owner.__name__}.{name}" for owner, name, _, _ in STAGED])
def test_the_model_minds_an_error_that_chance_seldom_meets(
    staged: tuple[type, str, Callable[..., Any], Callable[[DispatcherBesideModel], None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owner, name, wrong, play = staged
    play(DispatcherBesideModel())
    monkeypatch.setattr(owner, name, wrong)
    with pytest.raises(AssertionError):
        play(DispatcherBesideModel())

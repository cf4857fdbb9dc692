"""One behaviour for all stores: who exchanges a key, and what became of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.private import KeyState, SharedDenial, SharedState

from .conftest import LONG, SHORT, World
from .test_verbs import DENIAL, fence_of, open_up


def test_one_process_exchanges_a_key(world: World) -> None:
    """G16, of many processes."""
    assert KeyState(mine=True, view=SharedState()) == world.a.claim_key("a", "k", LONG)
    theirs = world.b.claim_key("b", "k", LONG)
    assert not theirs.mine
    assert LONG - 60 < theirs.busy_for <= LONG
    assert world.b.claim_key("b", "another", LONG).mine
    world.a.release_key("a", "k")
    assert world.b.claim_key("b", "k", LONG).mine


def test_a_claim_ends_at_its_deadline(world: World) -> None:
    assert world.a.claim_key("a", "k", SHORT).mine
    world.lapse()
    assert world.b.claim_key("b", "k", LONG).mine
    world.a.release_key("a", "k", denial=DENIAL)  # too late: it is another's
    assert None is world.b.claim_key("b", "k", LONG).denial
    world.a.leave("a")
    assert not world.a.claim_key("a", "k", LONG).mine


def test_an_owner_whose_answer_was_lost_gets_the_claim_again(world: World) -> None:
    assert world.a.claim_key("a", "k", LONG).mine
    assert world.a.claim_key("a", "k", LONG).mine


def test_no_claim_while_open_or_held(world: World) -> None:
    opened = open_up(world)
    refused = world.b.claim_key("b", "k", LONG)
    assert (False, opened.generation) == (refused.mine, refused.view.generation)
    assert refused.view.opening is not None
    world.a.conclude("a", fence_of(world), None)
    world.a.hold(LONG, "429")
    refused = world.b.claim_key("b", "k", LONG)
    assert (False, "429") == (refused.mine, refused.view.hold_cause)


@pytest.mark.parametrize("code", ["AUTH_INVALID", None])
def test_a_denial_is_known_to_all(world: World, code: str | None) -> None:
    """G14, of many processes."""
    assert world.a.claim_key("a", "k", LONG).mine
    world.a.release_key("a", "k", denial=replace(DENIAL, code=code))
    state = world.b.claim_key("b", "k", LONG)
    assert not state.mine
    assert state.denial is not None
    assert LONG - 60 < state.denial.seconds <= LONG
    assert SharedDenial(0.0, 2, 401, code, "no such key") == replace(state.denial, seconds=0.0)
    assert world.b.claim_key("b", "another", LONG).mine


def test_a_denial_ends_by_itself(world: World) -> None:
    world.a.release_key("a", "k", denial=replace(DENIAL, seconds=SHORT))
    world.lapse()
    state = world.b.claim_key("b", "k", LONG)
    assert (True, None) == (state.mine, state.denial)


def test_a_denial_is_forgotten_on_demand_and_by_a_token(world: World) -> None:
    world.a.release_key("a", "k", denial=DENIAL)
    world.b.forget_key("k")
    assert world.a.claim_key("a", "k", LONG).mine
    world.a.release_key("a", "k", denial=DENIAL)
    world.a.release_key("a", "k", token=("jwt", LONG))
    assert None is world.b.claim_key("b", "k", LONG).denial


def test_a_token_is_kept_only_where_that_was_asked_for(world: World) -> None:
    assert not world.a.carries_tokens
    assert world.a.claim_key("a", "k", LONG).mine
    world.a.release_key("a", "k", token=("jwt", LONG))
    state = world.b.claim_key("b", "k", LONG)
    assert (True, None) == (state.mine, state.token)


def test_a_token_serves_all(carrier: World) -> None:
    assert carrier.a.claim_key("a", "k", LONG).mine
    carrier.a.release_key("a", "k", token=("sealed+/=", LONG))
    state = carrier.b.claim_key("b", "k", LONG)
    assert not state.mine
    assert state.token is not None
    assert "sealed+/=" == state.token[0]
    assert LONG - 60 < state.token[1] <= LONG


def test_g17_a_token_that_lasts_no_longer_than_ones_own_is_none(carrier: World) -> None:
    """So one process renews it, and the others wait for what comes of that."""
    carrier.a.release_key("a", "k", token=("old", LONG))
    assert KeyState(mine=True, view=SharedState()) == carrier.a.claim_key("a", "k", LONG, min_life=LONG + 1.0)
    second = carrier.b.claim_key("b", "k", LONG, min_life=LONG + 1.0)
    assert (False, True, None) == (second.mine, second.busy_for > 0.0, second.token)
    carrier.a.release_key("a", "k", token=("new", 2 * LONG))
    third = carrier.b.claim_key("b", "k", LONG, min_life=LONG + 1.0)
    assert third.token is not None
    assert ("new", False) == (third.token[0], third.mine)


def test_a_token_ends_with_its_life_a_denial_or_on_demand(carrier: World) -> None:
    carrier.a.release_key("a", "short", token=("t", SHORT))
    carrier.lapse()
    carrier.a.release_key("a", "denied", token=("t", LONG))
    carrier.a.release_key("a", "denied", denial=DENIAL)
    carrier.a.release_key("a", "forgotten", token=("t", LONG))
    carrier.b.forget_key("forgotten")
    states = [carrier.b.claim_key("b", key, LONG) for key in ("short", "denied", "forgotten")]
    assert [None] * 3 == [state.token for state in states]
    assert [True, False, True] == [state.mine for state in states]

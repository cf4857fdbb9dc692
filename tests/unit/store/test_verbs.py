"""One behaviour for all stores: what is known of the endpoint, and who may do what."""

from __future__ import annotations

from dataclasses import replace

from tests.support.private import OpenState, SharedDenial, SharedState, Store, StoreReport

from .conftest import LONG, SHORT, World

OPENING = OpenState(probe_in=0.0, level=3, opened_for=40.0, cause="502 Bad Gateway", status=502)
DENIAL = SharedDenial(LONG, 2, 401, "AUTH_INVALID", "no such key")


def open_up(world: World, opening: OpenState = OPENING) -> SharedState:
    return world.a.open("a", world.a.look().generation, opening)


def fence_of(world: World, owner: str = "a", seconds: float = LONG) -> int:
    fence, _ = world.a.claim_probe(owner, seconds)
    assert fence is not None
    return fence


def test_a_new_store_knows_nothing(world: World) -> None:
    assert SharedState() == world.a.look() == world.b.look()


def test_what_one_process_opens_is_open_for_all(world: World) -> None:
    mine = open_up(world, replace(OPENING, probe_in=LONG))
    theirs = world.b.look()
    assert theirs.opening is not None
    assert mine.generation == theirs.generation > 0
    assert ("502 Bad Gateway", 502, 3) == (theirs.opening.cause, theirs.opening.status, theirs.opening.level)
    assert LONG - 60 < theirs.opening.probe_in <= LONG
    assert 40.0 <= theirs.opening.opened_for < 100.0


def test_one_generation_is_opened_once(world: World) -> None:
    """Two processes whose breakers open together make one opening: the first one's."""
    first = world.a.open("a", 0, OPENING)
    second = world.b.open("b", 0, replace(OPENING, level=9, probe_in=LONG))
    assert first.generation == second.generation
    assert second.opening is not None
    assert (3, 0.0) == (second.opening.level, second.opening.probe_in)


def test_no_lease_while_closed(world: World) -> None:
    assert None is world.a.claim_probe("a", LONG)[0]


def test_no_lease_before_the_delay_is_over(world: World) -> None:
    open_up(world, replace(OPENING, probe_in=LONG))
    assert None is world.a.claim_probe("a", LONG)[0]


def test_the_delay_ends_by_the_clock_of_the_store(world: World) -> None:
    open_up(world, replace(OPENING, probe_in=SHORT))
    world.lapse()
    assert world.a.claim_probe("a", LONG)[0] is not None


def test_one_process_probes(world: World) -> None:
    """G1, of many processes."""
    open_up(world)
    fence, view = world.a.claim_probe("a", LONG)
    assert fence is not None
    assert LONG - 60 < view.lease_for <= LONG
    assert None is world.b.claim_probe("b", LONG)[0]
    assert world.b.look().lease_for > LONG - 60


def test_a_lease_ends_at_its_deadline(world: World) -> None:
    """G4, of many processes: a prober that was killed keeps nobody from probing."""
    open_up(world)
    old = fence_of(world, seconds=SHORT)
    world.lapse()
    assert 0.0 == world.b.look().lease_for
    new, _ = world.b.claim_probe("b", LONG)
    assert new is not None
    assert new > old


def test_an_owner_whose_answer_was_lost_gets_the_lease_again(world: World) -> None:
    open_up(world)
    lost = fence_of(world)
    again = fence_of(world)
    assert again > lost
    world.a.conclude("a", lost, None)
    assert world.b.look().opening is not None
    assert None is world.a.conclude("a", again, None).opening


def test_a_good_probe_closes(world: World) -> None:
    opened = open_up(world)
    closed = world.a.conclude("a", fence_of(world), None)
    assert None is closed.opening
    assert 0.0 == closed.lease_for
    assert closed.generation > opened.generation
    assert closed == world.b.look()


def test_a_bad_probe_opens_again(world: World) -> None:
    opened = open_up(world)
    again = world.a.conclude("a", fence_of(world), replace(OPENING, level=4, probe_in=LONG))
    assert again.generation > opened.generation
    assert again.opening is not None
    assert (4, 0.0) == (again.opening.level, again.lease_for)
    assert None is world.b.claim_probe("b", LONG)[0]


def test_a_prober_that_was_overtaken_changes_nothing(world: World) -> None:
    """Fencing: stopped past its lease, and resumed while another one probes."""
    open_up(world)
    old = fence_of(world, seconds=SHORT)
    world.lapse()
    new, _ = world.b.claim_probe("b", LONG)
    assert new is not None
    assert world.a.conclude("a", old, None).opening is not None
    assert world.b.look().lease_for > LONG - 60
    assert None is world.b.conclude("b", new, None).opening


def test_a_probe_that_was_out_when_the_record_got_lost_counts(world: World) -> None:
    """Its fence is larger than any that the new record has given, unless somebody has probed since."""
    open_up(world)
    assert None is world.a.conclude("a", 10**15, None).opening
    open_up(world)
    assert fence_of(world) > 0
    assert world.b.conclude("b", 0, None).opening is not None


def test_a_prober_past_its_deadline_changes_nothing(world: World) -> None:
    open_up(world)
    old = fence_of(world, seconds=SHORT)
    world.lapse()
    assert world.a.conclude("a", old, None).opening is not None


def test_a_fence_is_its_owners(world: World) -> None:
    open_up(world)
    fence = fence_of(world)
    assert world.b.conclude("b", fence, None).opening is not None


def test_a_lease_ends_with_its_generation(world: World) -> None:
    """An operator who opens what is open makes the probe under way void."""
    open_up(world)
    old = fence_of(world)
    assert 0.0 == open_up(world).lease_for
    assert world.a.conclude("a", old, None).opening is not None


def test_a_pause_holds_everybody_and_ends_by_itself(world: World) -> None:
    """G13, of many processes."""
    view = world.a.hold(SHORT, "429")
    assert 0.0 < view.hold_for <= SHORT
    assert "429" == view.hold_cause
    world.lapse()
    assert SharedState() == world.b.look()


def test_a_pause_is_never_shortened(world: World) -> None:
    world.a.hold(LONG, "first")
    world.b.hold(1.0, "shorter")
    assert "first" == world.a.look().hold_cause
    assert world.a.look().hold_for > LONG - 60
    assert "longer" == world.b.hold(2 * LONG, "longer").hold_cause
    assert world.a.look().hold_for > 2 * LONG - 60


def test_g13_a_pause_that_an_operator_has_ended_is_told_from_one_of_later(world: World) -> None:
    assert (None, 0.0) == (world.a.look().cleared_ago, world.a.look().hold_age)
    world.a.hold(LONG, "before")
    before = world.b.look()
    world.b.clear_hold()
    view = world.a.look()
    assert (0.0, "") == (view.hold_for, view.hold_cause)
    assert view.cleared_ago is not None
    assert 0.0 <= view.cleared_ago < 60.0
    assert (before.generation, before.opening, before.members) == (view.generation, view.opening, view.members)
    world.lapse()
    since = world.a.hold(LONG, "after")
    assert since.cleared_ago is not None
    assert "after" == since.hold_cause
    assert since.hold_age < since.cleared_ago
    assert world.a.hold(1.0, "shorter").hold_age >= since.hold_age
    world.a.clear_hold()
    assert 0.0 == world.a.hold(LONG, "on its way when the operator spoke", age=10.0).hold_for


def test_g13_to_close_the_breaker_alone_ends_no_pause(world: World) -> None:
    world.a.hold(LONG, "429")
    world.a.reset(keep_hold=True)
    assert ("429", None) == (world.b.look().hold_cause, world.b.look().cleared_ago)
    world.a.reset()
    assert ("", True) == (world.b.look().hold_cause, world.b.look().cleared_ago is not None)


def test_nobody_probes_during_a_pause(world: World) -> None:
    open_up(world)
    world.a.hold(LONG, "429")
    assert None is world.b.claim_probe("b", LONG)[0]


def test_members_are_counted_until_they_leave_or_lapse(world: World) -> None:
    assert 1 == world.a.join("a", LONG).members
    assert 1 == world.a.join("a", LONG).members
    assert 2 == world.b.join("b", SHORT).members
    world.lapse()
    assert 1 == world.b.look().members
    world.a.leave("a")
    assert 0 == world.b.look().members


def test_a_member_for_no_time_is_none(world: World) -> None:
    """So it can be tried whether the record takes anything, and nobody notices."""
    world.a.join("a", 0.0)
    assert 0 == world.b.look().members
    world.a.join("a", LONG)
    world.a.join("b", 0.0)
    assert 1 == world.b.look().members


def test_a_process_that_leaves_gives_back_lease_and_claims(world: World) -> None:
    open_up(world)
    fence_of(world)
    world.a.leave("a")
    assert 0.0 == world.b.look().lease_for
    fence, _ = world.b.claim_probe("b", LONG)
    assert fence is not None
    world.b.conclude("b", fence, None)
    for key in ("k1", "k2"):
        assert world.a.claim_key("a", key, LONG).mine
    assert world.b.claim_key("b", "k3", LONG).mine
    world.a.leave("a")
    assert [True, True] == [world.b.claim_key("b", key, LONG).mine for key in ("k1", "k2")]
    assert not world.a.claim_key("a", "k3", LONG).mine


def test_a_reset_ends_everything_that_stops_anybody(world: World) -> None:
    opened = open_up(world)
    old = fence_of(world)
    world.a.hold(LONG, "429")
    world.a.release_key("a", "k", denial=DENIAL)
    world.b.reset()
    view = world.a.look()
    assert replace(view, cleared_ago=None) == replace(SharedState(), generation=view.generation)
    assert view.generation > opened.generation
    assert replace(world.a.conclude("a", old, OPENING), cleared_ago=view.cleared_ago) == view
    assert world.b.claim_key("b", "k", LONG).mine


def test_a_reset_of_a_closed_store_is_heard_of(world: World) -> None:
    world.a.reset()
    assert world.b.look().generation > 0


def test_a_survey_says_who_probes_and_how_many_keys_are_refused(world: World) -> None:
    assert StoreReport(SharedState()) == world.a.survey()
    open_up(world)
    fence = fence_of(world, "a")
    report = world.b.survey()
    assert ("a", 0) == (report.prober, report.denied)
    assert report.view.opening is not None
    assert LONG - 60 < report.view.lease_for <= LONG
    world.a.conclude("a", fence, None)
    assert None is world.b.survey().prober


def test_a_survey_knows_nobody_whose_lease_is_over(world: World) -> None:
    open_up(world)
    fence_of(world, "a", SHORT)
    world.lapse()
    assert None is world.b.survey().prober


def test_a_survey_counts_the_keys_that_are_refused_now(world: World) -> None:
    for key in ("k1", "k2", "k3", "k4"):
        world.a.release_key("a", key, denial=DENIAL)
    world.a.release_key("a", "k5", denial=replace(DENIAL, seconds=SHORT))
    world.a.release_key("a", "k1", denial=DENIAL)
    world.a.forget_key("k2")
    world.a.release_key("a", "k3", token=("t", LONG))
    world.lapse()
    assert 2 == world.b.survey().denied
    world.a.reset()
    assert 0 == world.b.survey().denied


def test_a_store_says_that_it_is_one(world: World) -> None:
    assert isinstance(world.a, Store)


def test_a_closed_store_opens_again(world: World) -> None:
    opened = open_up(world)
    world.a.close()
    assert opened.generation == world.a.look().generation

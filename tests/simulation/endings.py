"""What must hold at the end of a scenario: everybody is served, nothing is left, and the sums are right."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.support.private import COUNTER, METRICS, PREFIX, metrics_of

from .answers import BAD, DENIED, OK

if TYPE_CHECKING:
    from .witness import Witness
    from .world import World

Wrong = Callable[["World"], "str | None"]
AT_THE_END: list[tuple[str, Wrong]] = []
AFTER_CLOSE: list[tuple[str, Wrong]] = []


def promise(where: list[tuple[str, Wrong]], name: str) -> Callable[[Wrong], Wrong]:
    """The function tells what is wrong, or nothing."""

    def register(wrong: Wrong) -> Wrong:
        where.append((name, wrong))
        return wrong

    return register


@promise(AT_THE_END, "nobody is forgotten (G9)")
def _(world: World) -> str | None:
    late = [call for call in world.witness.waiting.values() if world.witness.patience_left(call) < -1e-6]
    return f"{len(late)} calls wait, and are past their deadline; the first of key {late[0].key}" if late else None


@promise(AT_THE_END, "everybody is served after a recovery (G8)")
def _(world: World) -> str | None:
    waiting = [v for v in world.witness.waiting.values() if v.at < world.served_by and not world.may_fail(v.key)]
    if waiting:
        return f"{len(waiting)} calls wait still, {world.now - world.served_by:.0f} s after all should be served"
    unserved = [call for call in world.roll if not call.jwt and not world.may_fail(call.key)]
    if unserved:
        return f"{len(unserved)} keys get no token from a server that is well, the first: {unserved[0].outcome}"
    return None


@promise(AT_THE_END, "a recovering server is not knocked over (G8)")
def _(world: World) -> str | None:
    capacity = world.server.capacity
    return f"it was, {capacity.knocks} times" if capacity is not None and capacity.knocks else None


@promise(AT_THE_END, "the sums of the metrics are right")
def _(world: World) -> str | None:
    reported, seen = _reported(world.witness), _seen(world.witness)
    wrong = {name: (reported[name], seen[name]) for name in seen if reported[name] != seen[name]}
    return f"metrics say and the server saw: {wrong}" if wrong else None


@promise(AT_THE_END, "what is exported is what was counted")
def _(world: World) -> str | None:
    if world.registry is None:
        return None
    pool = world.witness.pool
    running = metrics_of(pool).take_snapshot().in_progress
    shown = {
        (sample.name, tuple(value for name, value in sample.labels.items() if name != "pool")): sample.value
        for family in world.registry.collect()
        for sample in family.samples
    }
    for metric in METRICS:
        if metric.kind == COUNTER:
            for labels, count in metrics_of(pool).counters.totals[metric.name].items():
                expected = count + running.get(metric.name, {}).get(labels, 0.0)
                if abs(shown[PREFIX + metric.name, labels] - expected) > 1e-6:
                    return (
                        f"{metric.name}{labels} is exported as {shown[PREFIX + metric.name, labels]}, not {expected}"
                    )
    return None


@promise(AFTER_CLOSE, "nothing is left after close (G26)")
def _(world: World) -> str | None:
    dispatcher = world.witness.dispatcher
    if (
        dispatcher.in_flight.permits
        or dispatcher.waiters.flights
        or dispatcher.waiters.count
        or dispatcher.in_flight.probe is not None
    ):
        attempts, flights = len(dispatcher.in_flight.permits), len(dispatcher.waiters.flights)
        return f"{attempts} attempts, {flights} flights and {dispatcher.waiters.count} calls are left"
    tasks = sorted(task.name for task in world.sim.greens)
    if tasks:
        return f"{len(tasks)} tasks are left: {', '.join(tasks[:5])}"
    timers = world.witness.driver._wakeup._timers
    return f"{len(timers)} timers are left" if timers else None


def _reported(w: Witness) -> dict[str, float]:
    """What the metrics say."""
    count = metrics_of(w.pool).counters.count
    kinds = ("ok", "down", "network", "fault", "throttled", "denied", "local")
    reported: dict[str, float] = {f"attempts {kind}": count("attempts_total", kind) for kind in kinds}
    reported["calls ok"] = count("calls_total", "ok") + count("calls_total", "ok_retried")
    reported["calls error"] = sum(count("calls_total", how) for how in ("error", "error_retried", "fast_fail"))
    reported["calls cancelled"] = count("calls_total", "cancelled")
    reported["requests"] = count("token_requests_total")
    reported["transitions"] = count("breaker_transitions_total")
    reported["probes"] = count("breaker_probes_total")
    reported["holds"] = count("holds_total")
    reported["refusals"] = count("denials_total")
    reported["retries"] = count("retries_total")
    reported["leases lost, probes"] = count("leases_expired_total", "probe")
    reported["leases lost, attempts"] = count("leases_expired_total", "attempt")
    return reported


def _seen(w: Witness) -> dict[str, float]:
    """What the server, the users and the witness saw."""
    seen: dict[str, float] = {
        f"attempts {kind}": w.verdicts[kind] for kind in (OK, *BAD, "throttled", DENIED, "local")
    }
    seen |= {f"calls {how}": w.calls[how] for how in ("ok", "error", "cancelled")}
    seen["requests"] = w.demands + w.adopted
    seen["transitions"] = sum(w.moves.values())
    seen["probes"] = w.probes - sum(attempt.probe for attempt in w.out.values())
    seen["holds"] = w.pauses
    seen["refusals"] = w.refusals
    seen["leases lost, probes"], seen["leases lost, attempts"] = w.lost["probe"], w.lost["attempt"]
    return seen

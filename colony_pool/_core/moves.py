"""How the breaker moves, by a verdict, an operator or another process: and who is told of it."""

from __future__ import annotations

import math

from . import actions as act
from . import events as ev
from .account import Flight
from .members import Fleet
from .settle import Settlement
from .view import Opening

_REPLAYS = {ev.CLOSED: act.TO_CLOSED, ev.OPEN: act.TO_OPEN, ev.HALF_OPEN: act.TO_HALF_OPEN}


class Moves(Settlement):
    """The desk's breaker in motion."""

    _on_time: Flight | None = None  # its schedule goes on while open: it alone has opened the breaker

    def _open_circuit(
        self, now: float, cause: str, status: int, *, after: float | None = None, grow: bool = True,
        by_operator: bool = False, by: float = math.inf,
    ) -> None:  # fmt: skip
        circuit, old = self.circuit, self.circuit.state
        circuit.open(now, cause, status, self._rand(), grow=grow, by=by)
        if after is not None:
            circuit.postpone(now + min(after, self.config.breaker.retry_after_max))
        self._changed(old, now, by_operator=by_operator)
        self._replay_state()

    def _half_open(self, now: float, *, by_operator: bool = False) -> None:
        old = self.circuit.state
        if old == ev.CLOSED:
            self.circuit.opened_at = now
        if old != ev.HALF_OPEN:  # a probe that is out already is the one that was asked for
            self.circuit.half_open()
        self._changed(old, now, by_operator=by_operator)
        self._replay_state()

    def _close_circuit(self, now: float, *, by_operator: bool = False, learnt: bool = False) -> None:
        """Close and forgive: every flight's own backoff ends (G8)."""
        old = self.circuit.state
        self.circuit.close()
        self._restart_window(now)
        self.luck.restart()
        self._on_time = None
        self.queue.forgive(now, self._wall, self.circuit.period)
        self._changed(old, now, by_operator=by_operator, learnt=learnt)
        self._replay_state()

    def _replay_state(self) -> None:
        """Have pybreaker follow to the state of now; where it is there already it does nothing."""
        self._out.append(act.Replay(_REPLAYS[self.circuit.state]))

    def _replay_all(self) -> None:
        """Have it count the failures of now as well."""
        self._replay_state()
        self._out += [act.Replay(act.FAILURE)] * (self.circuit.failures if self.circuit.state == ev.CLOSED else 0)

    def _follow_opening(self, opening: Opening, now: float) -> None:
        """Be open as another process says; whoever was open already takes over when it probes."""
        old = self.circuit.state
        self.circuit.follow(now, opening)
        assert self.fleet is not None  # noqa: S101 - else there is no other process
        self.fleet.end_doubt()
        if old != ev.OPEN:
            self._changed(old, now, learnt=True)
            self._replay_state()

    def _restart_window(self, now: float) -> None:
        """Begin at 1, all processes of a fleet together: each at its share, the first attempt at random (G8)."""
        if self.fleet is None or self.fleet.members <= 1:
            self.window.restart()
        else:
            self.window.restart_shared(self.fleet.members, now, self._rand())

    def _changed(self, old: str, now: float, *, by_operator: bool = False, learnt: bool = False) -> None:
        circuit = self.circuit
        if old == circuit.state != ev.OPEN:  # an operator asked for what is; to open anew is a new delay, and told
            return
        until = max(0.0, circuit.probe_at - now) if circuit.state == ev.OPEN else 0.0
        # 0 if it was closed: then this very moment has opened it, or another process has before.
        since = now - circuit.opened_at
        told = ev.StateChanged(
            old, circuit.state, now, circuit.cause, until, since, self.waiting, by_operator, learnt,
            self.known_good or by_operator,
        )  # fmt: skip
        self._emit(told)
        if self.fleet is not None and not learnt:
            self._tell(self.fleet, now, by_operator=by_operator)

    def _tell(self, fleet: Fleet, now: float, *, by_operator: bool) -> None:
        """Let the other processes know: the holder of the lease reports, anybody may open."""
        circuit = self.circuit
        fleet.end_doubt()
        if circuit.state == ev.HALF_OPEN:
            if by_operator:  # who does not wait for the fleet, either
                fleet.lease_until = math.inf
            return
        opening = circuit.opening(now) if circuit.state == ev.OPEN else None
        fence = fleet.end_lease()
        if fence is not None:
            self._out.append(act.Conclude(circuit.generation, fence, opening))
        elif opening is not None:
            self._out.append(act.TellOpen(circuit.generation, fleet.generation, opening))
        elif by_operator:
            self._out.append(act.TellReset())

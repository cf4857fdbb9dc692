"""A store in memory, with a clock of its own and every fault that a store can have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from colony_pool._shared.store import Denial, KeyState, Opening, StoreUnavailable, View


class Book:
    """One endpoint's record, by the protocol of ``colony_pool._shared.store``."""

    carries_tokens = True

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.calls: Counter[str] = Counter()
        self.forget()

    def forget(self) -> None:
        """Begin anew, empty: as a server that was restarted."""
        self._generation, self._fence = 0, 0
        self._opening: Opening | None = None
        self._opened_at = self._lease_until = self._hold_until = -1.0
        self._prober = self._cause = ""
        self._members: dict[str, float] = {}
        self._claims: dict[str, tuple[str, float]] = {}
        self._denials: dict[str, tuple[float, Denial]] = {}
        self._tokens: dict[str, tuple[str, float]] = {}

    def meet(self, verb: str) -> None:
        """Each call comes through here, and may sleep or fail."""
        self.calls[verb] += 1

    def view(self) -> View:
        now, opening = self._clock(), self._opening
        if opening is not None:
            since = now - self._opened_at
            opening = replace(
                opening, probe_in=max(0.0, opening.probe_in - since), opened_for=opening.opened_for + since
            )
        return View(
            self._generation, opening, max(0.0, self._lease_until - now), max(0.0, self._hold_until - now),
            self._cause, sum(until > now for until in self._members.values()),
        )  # fmt: skip

    def _move(self, opening: Opening | None) -> None:
        self._generation += 1
        self._opening, self._opened_at, self._lease_until = opening, self._clock(), -1.0

    def look(self) -> View:
        self.meet("look")
        return self.view()

    def open(self, owner: str, generation: int, opening: Opening) -> View:
        self.meet("open")
        if generation == self._generation:
            self._move(opening)
        return self.view()

    def claim_probe(self, owner: str, seconds: float) -> tuple[int | None, View]:
        self.meet("claim_probe")
        view = self.view()
        free = view.lease_for == 0.0 or self._prober == owner
        if view.opening is None or view.opening.probe_in > 0.0 or view.hold_for > 0.0 or not free:
            return None, view
        self._fence += 1
        self._prober, self._lease_until = owner, self._clock() + seconds
        return self._fence, self.view()

    def conclude(self, owner: str, fence: int, opening: Opening | None) -> View:
        self.meet("conclude")
        if (owner, fence) == (self._prober, self._fence) and self.view().lease_for > 0.0:
            self._move(opening)
        return self.view()

    def hold(self, seconds: float, cause: str) -> View:
        self.meet("hold")
        if self._clock() + seconds > self._hold_until:
            self._hold_until, self._cause = self._clock() + seconds, cause
        return self.view()

    def join(self, owner: str, seconds: float) -> View:
        self.meet("join")
        self._members[owner] = self._clock() + seconds
        return self.view()

    def leave(self, owner: str) -> None:
        self.meet("leave")
        self._members.pop(owner, None)
        if self._prober == owner:
            self._lease_until = -1.0
        self._claims = {key: claim for key, claim in self._claims.items() if claim[0] != owner}

    def claim_key(self, owner: str, key: str, seconds: float) -> KeyState:
        self.meet("claim_key")
        now, view = self._clock(), self.view()
        holder, until = self._claims.get(key, ("", -1.0))
        busy = until - now if holder != owner and until > now else 0.0
        ends, denial = self._denials.get(key, (-1.0, None))
        denial = replace(denial, seconds=ends - now) if denial is not None and ends > now else None
        jwt, gone = self._tokens.get(key, ("", -1.0))
        token = (jwt, gone - now) if gone > now else None
        if view.opening is not None or view.hold_for > 0.0 or busy or denial or token:
            return KeyState(False, view, busy, denial, token)
        self._claims[key] = (owner, now + seconds)
        return KeyState(True, view)

    def release_key(
        self, owner: str, key: str, *, denial: Denial | None = None, token: tuple[str, float] | None = None
    ) -> None:
        self.meet("release_key")
        if self._claims.get(key, ("", 0.0))[0] == owner:
            del self._claims[key]
        if denial is not None:
            self._denials[key] = (self._clock() + denial.seconds, denial)
        if token is not None:
            self._tokens[key] = (token[0], self._clock() + token[1])

    def forget_key(self, key: str) -> None:
        self.meet("forget_key")
        self._denials.pop(key, None)
        self._tokens.pop(key, None)

    def reset(self) -> None:
        self.meet("reset")
        self._move(None)
        self._hold_until = -1.0
        self._denials.clear()

    def close(self) -> None: ...


class FaultyStore(Book):
    """A ``Book`` at the other end of a wire: ``latency`` seconds away, and broken in the verbs of ``failing``."""

    def __init__(self, clock: Callable[[], float], sleep: Callable[[float], None], latency: float = 0.001) -> None:
        super().__init__(clock)
        self._sleep = sleep
        self.latency = latency
        self.slow: dict[str, float] = {}
        self.failing: set[str] = set()

    def meet(self, verb: str) -> None:
        super().meet(verb)
        self._sleep(self.slow.get(verb, self.latency))
        if verb in self.failing:
            raise StoreUnavailable(f"{verb} failed")

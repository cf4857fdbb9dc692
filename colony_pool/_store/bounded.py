"""What a store says, reduced to what this process could have decided itself.

A store's content is written by other versions, other teams and by hand. So every answer passes here, whatever the
store is, and this is the one place where it is judged:

=================== ==============================================================================================
a time              0 to the longest that this process's own options allow; no NaN, no infinity, no huge number
a time too long     reduced once: its end stays where it was when it was first seen, and does not move with each look
a level             0 to 60
a status            of a denial 400 to 499 and neither 408 nor 429; of an opening 0 to 599
a text              one printable line of at most 300 characters; a code 100
another type        the lowest value: 0, "" or ``None``; an answer that is no answer at all is ``StoreUnavailable``
a refusal           of a lease though nothing that it tells is against one: ``StoreUnavailable``, so that this process
                    decides alone
=================== ==============================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .._core.token import MAX_LIFE
from ..config import DispatcherConfig
from .plain import number, text, whole
from .protocol import KeyState, OpenState, SharedDenial, SharedState, Store, StoreReport, StoreUnavailable

MAX_LEVEL = 60
_MAX_CODE = 100
_MAX_MEMBERS = 100_000
_MAX_SEALED = 65_536
_MAX_KEYS = 1024  # whose refusals are too long, and are watched
_LONGEST_CLAIM = 60.0
_REPORT = 1.0  # a lease outlives its probe by this
_AGE = 365 * 86_400.0
_NO_REFUSAL = (408, 429)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The longest times that a process's own options allow, seconds."""

    probe: float
    lease: float
    hold: float
    denial: float

    @classmethod
    def of_operator(cls) -> Bounds:
        """Return those of somebody who has no options, and wants to see what there is."""
        return cls(_AGE, _AGE, _AGE, _AGE)

    @classmethod
    def of(cls, config: DispatcherConfig) -> Bounds:
        """Return those of ``config``."""
        return cls(
            probe=max(config.breaker.open_delay_max, config.breaker.retry_after_max),
            lease=max(config.timeout.total, config.probe_timeout) + _REPORT,
            hold=config.policy.rate_limit_max,
            denial=config.policy.rejection_delay_max,
        )


class _Rest:
    """The rest of one time. One that is too long is reduced where it is first seen, and then runs down."""

    __slots__ = ("_ends",)

    def __init__(self) -> None:
        self._ends: float | None = None

    @property
    def is_reduced(self) -> bool:
        """What was seen last is too long."""
        return self._ends is not None

    def of(self, seconds: object, longest: float, now: float) -> float:
        """What is left of ``seconds``, ``longest`` at most."""
        rest = number(seconds)
        if rest <= longest:
            self._ends = None
            return rest
        if self._ends is None:
            self._ends = now + longest
        return max(0.0, self._ends - now)


class BoundedStore:
    """A ``Store`` that passes on what ``store`` is told, and believes no more of its answers than it can be true.

    Arguments:
        store: any.
        bounds: what this process could have decided itself.
        clock: monotonic seconds.
    """

    def __init__(self, store: Store, bounds: Bounds, clock: Callable[[], float]) -> None:
        self._store = store
        self._bounds = bounds
        self._clock = clock
        self._probe, self._lease, self._hold = _Rest(), _Rest(), _Rest()
        self._denials: dict[str, _Rest] = {}  # of keys whose refusal is too long
        self.carries_tokens = store.carries_tokens
        self.fallback = store.fallback

    def look(self) -> SharedState:
        return self._view(self._store.look())

    def survey(self) -> StoreReport:
        survey = self._store.survey()
        prober = text(survey.prober) or None
        return StoreReport(self._view(survey.view), prober, whole(survey.denied))

    def open(self, owner: str, generation: int, opening: OpenState) -> SharedState:
        return self._view(self._store.open(owner, generation, opening))

    def claim_probe(self, owner: str, seconds: float) -> tuple[int | None, SharedState]:
        fence, answer = self._store.claim_probe(owner, seconds)
        view = self._view(answer)
        if given := whole(fence):
            return given, view
        may_probe = view.opening is not None and view.opening.probe_in <= 0.0
        if may_probe and view.lease_for <= 0.0 and view.hold_for <= 0.0:
            raise StoreUnavailable("its record lets nobody probe for longer than this process's options allow")
        return None, view

    def conclude(self, owner: str, fence: int, opening: OpenState | None) -> SharedState:
        return self._view(self._store.conclude(owner, fence, opening))

    def hold(self, seconds: float, cause: str, *, age: float = 0.0) -> SharedState:
        return self._view(self._store.hold(seconds, cause, age=age))

    def join(self, owner: str, seconds: float) -> SharedState:
        return self._view(self._store.join(owner, seconds))

    def leave(self, owner: str) -> None:
        self._store.leave(owner)

    def claim_key(self, owner: str, key: str, seconds: float, *, min_life: float = 0.0) -> KeyState:
        answer = self._store.claim_key(owner, key, seconds, min_life=min_life)
        view = self._view(answer.view)
        denial = self._denial(key, answer.denial)
        is_over = denial is None and answer.denial is not None
        is_none = answer.token is not None and _token(answer.token) is None
        if (is_over or is_none) and not answer.mine:  # here, and not in the record, where it would stay in the way
            self._store.forget_key(key)
            answer = self._store.claim_key(owner, key, seconds, min_life=min_life)
            view, denial = self._view(answer.view), self._denial(key, answer.denial)
        return KeyState(
            mine=answer.mine is True, view=view, busy_for=number(answer.busy_for, _LONGEST_CLAIM), denial=denial,
            token=_token(answer.token),
        )  # fmt: skip

    def release_key(
        self, owner: str, key: str, *, denial: SharedDenial | None = None, token: tuple[str, float] | None = None
    ) -> None:
        self._store.release_key(owner, key, denial=denial, token=token)

    def forget_key(self, key: str) -> None:
        self._store.forget_key(key)

    def clear_hold(self) -> None:
        self._store.clear_hold()

    def reset(self, *, keep_hold: bool = False) -> None:
        self._store.reset(keep_hold=keep_hold)

    def close(self) -> None:
        self._store.close()

    def _view(self, answer: SharedState) -> SharedState:
        now, bounds = self._clock(), self._bounds
        opening = None
        if answer.opening is not None:
            opening = OpenState(
                probe_in=self._probe.of(answer.opening.probe_in, bounds.probe, now),
                level=whole(answer.opening.level, MAX_LEVEL),
                opened_for=number(answer.opening.opened_for, _AGE),
                cause=text(answer.opening.cause),
                status=whole(answer.opening.status, 599),
            )
        hold_for = self._hold.of(answer.hold_for, bounds.hold, now)
        return SharedState(
            generation=whole(answer.generation),
            opening=opening,
            lease_for=self._lease.of(answer.lease_for, bounds.lease, now),
            hold_for=hold_for,
            hold_cause=text(answer.hold_cause) if hold_for else "",
            members=whole(answer.members, _MAX_MEMBERS),
            hold_age=number(answer.hold_age, _AGE) if hold_for else 0.0,
            cleared_ago=_ago(answer.cleared_ago),
        )

    def _denial(self, key: str, answer: SharedDenial | None) -> SharedDenial | None:
        if answer is None:
            self._denials.pop(key, None)
            return None
        rest = self._denials.get(key) or _Rest()
        seconds = rest.of(answer.seconds, self._bounds.denial, self._clock())
        if rest.is_reduced:
            self._denials[key] = rest
            for oldest in list(self._denials)[:-_MAX_KEYS]:
                self._denials.pop(oldest, None)
        else:
            self._denials.pop(key, None)
        if seconds <= 0.0:
            return None
        status = max(whole(answer.status, 499), 400)
        status = 400 if status in _NO_REFUSAL else status
        code = text(answer.code, _MAX_CODE) or None
        return SharedDenial(seconds, whole(answer.times, MAX_LEVEL), status, code, text(answer.detail))


def _ago(answer: object) -> float | None:
    """Since when; ``None`` for what has not been yet, or cannot be told: it would end each hold anew."""
    known = isinstance(answer, (int, float)) and not isinstance(answer, bool) and answer >= 0.0  # a NaN is not
    return number(answer, _AGE) if known else None


def _token(answer: object) -> tuple[str, float] | None:
    """``(sealed, seconds of life)``; ``None`` for what cannot be one."""
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        return None
    sealed, seconds = answer
    life = number(seconds, MAX_LIFE)
    if not isinstance(sealed, str) or len(sealed) > _MAX_SEALED or life <= 0.0:
        return None
    return sealed, life

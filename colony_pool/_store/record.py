"""The record of one endpoint and its verbs as plain data: what MemoryStore and HostStore have in common.

``now`` is the store's clock, and every time in a record is a point on it; a ``SharedState`` tells only durations.
A ``Transaction`` is what a store lays open within one, and ``RecordStore`` has the verbs; a store of this kind
adds where the record lies and how a transaction is made. RedisStore says the same in Lua, and one suite of tests
holds them together.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

from .plain import FAR, number, text, whole
from .protocol import KeyState, OpenState, SharedDenial, SharedState, Store, StoreReport


@dataclass(slots=True)
class EndpointRecord:
    """Breaker, lease, hold and members. ``cause`` and ``status`` are of the opening.

    A store that can lose its record gives a new one the ``epoch`` of its clock's milliseconds, so that generations
    and fences of the lost one do not come again.
    """

    epoch: int = 0
    generation: int = 0
    is_open: bool = False
    probe_at: float = 0.0
    level: int = 0
    opened_at: float = 0.0
    cause: str = ""
    status: int = 0
    fence: int = 0
    prober: str | None = None
    lease_until: float = 0.0
    hold_until: float = 0.0
    hold_cause: str = ""
    hold_at: float = 0.0  # when the server asked for it
    cleared_at: float = 0.0  # when an operator last ended one
    members: dict[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, record: object) -> EndpointRecord:
        """Return the record of what was written down; a field of another type has its lowest value.

        Raises:
            ValueError: it is no record, or one of another version.
        """
        names = {item.name for item in fields(cls)}
        if not isinstance(record, dict) or not record.keys() <= names:
            raise ValueError("it is no record of an endpoint")
        endpoint = cls(**record)
        for name in ("probe_at", "opened_at", "lease_until", "hold_until", "hold_at", "cleared_at"):
            setattr(endpoint, name, number(getattr(endpoint, name), low=-FAR))
        for name in ("epoch", "generation", "level", "status", "fence"):
            setattr(endpoint, name, whole(getattr(endpoint, name)))
        endpoint.is_open = endpoint.is_open is True
        endpoint.cause, endpoint.hold_cause, endpoint.prober = (
            text(endpoint.cause),
            text(endpoint.hold_cause),
            text(endpoint.prober) or None,
        )
        members: Any = endpoint.members
        endpoint.members = (
            {str(name): number(until) for name, until in members.items()} if isinstance(members, dict) else {}
        )
        return endpoint

    def view(self, now: float) -> SharedState:
        """What the record says, as durations from ``now``."""
        opening = None
        if self.is_open:
            probe_in, opened_for = max(0.0, self.probe_at - now), max(0.0, now - self.opened_at)
            opening = OpenState(probe_in, self.level, opened_for, self.cause, self.status)
        hold_for = max(0.0, self.hold_until - now)
        return SharedState(
            generation=self.generation,
            opening=opening,
            lease_for=max(0.0, self.lease_until - now),
            hold_for=hold_for,
            hold_cause=self.hold_cause if hold_for else "",
            members=sum(until > now for until in self.members.values()),
            hold_age=max(0.0, now - self.hold_at) if hold_for else 0.0,
            cleared_ago=now - self.cleared_at if 0.0 < self.cleared_at <= now else None,
        )

    def move(self, opening: OpenState | None, now: float) -> None:
        """Open or close: a new generation, in which nobody probes yet."""
        self.generation = (self.generation or self.epoch) + 1
        self.prober, self.lease_until = None, 0.0
        self.is_open = opening is not None
        if opening is not None:
            self.probe_at, self.level = now + opening.probe_in, opening.level
            self.opened_at, self.cause, self.status = now - opening.opened_for, opening.cause, opening.status

    def clear_hold(self, now: float) -> None:
        """End the hold, and tell those that have heard of it."""
        self.hold_until, self.cleared_at = 0.0, now

    def may_probe(self, owner: str, now: float) -> bool:
        """Open, its delay over, nobody held, and nobody else probes."""
        free = self.prober in (None, owner) or now >= self.lease_until
        return self.is_open and now >= self.probe_at and now >= self.hold_until and free

    def lease(self, owner: str, until: float) -> int:
        """Give ``owner`` the lease; its fence."""
        self.fence = (self.fence or self.epoch) + 1
        self.prober, self.lease_until = owner, until
        return self.fence

    def accepts_fence(self, owner: str, fence: int, now: float) -> bool:
        """Whether ``fence`` is the lease that runs, or one of a record that was lost and nobody has probed since."""
        return fence > self.fence or (self.prober == owner and self.fence == fence and now < self.lease_until)

    def prober_at(self, now: float) -> str | None:
        """Who probes."""
        return self.prober if now < self.lease_until else None

    def remove(self, owner: str) -> None:
        """Count ``owner`` no more, and end its lease."""
        self.members.pop(owner, None)
        if self.prober == owner:
            self.prober, self.lease_until = None, 0.0


@dataclass(slots=True)
class Key:
    """What is known of one API key: who exchanges it, that it was refused, its token."""

    owner: str | None = None
    claimed_until: float = 0.0
    denied_until: float = 0.0
    times: int = 0
    status: int = 0
    code: str | None = None
    detail: str = ""
    token: str | None = None
    token_until: float = 0.0

    @classmethod
    def read(cls, *values: object) -> Key:
        """Return the record of what was written down; a field of another type has its lowest value."""
        owner, claimed_until, denied_until, times, status, code, detail, token, token_until = values
        return cls(
            text(owner) or None, number(claimed_until), number(denied_until), whole(times), whole(status),
            text(code) or None, text(detail), token if isinstance(token, str) else None, number(token_until),
        )  # fmt: skip

    def is_busy(self, owner: str, now: float) -> bool:
        """Whether somebody else holds the claim."""
        return self.owner not in (None, owner) and now < self.claimed_until

    def end_claim(self, owner: str) -> None:
        """End the claim, if it is of ``owner``."""
        if self.owner == owner:
            self.owner, self.claimed_until = None, 0.0

    @property
    def ends(self) -> float:
        """When nothing of it is true any more."""
        return max(self.claimed_until, self.denied_until, self.token_until)

    def state(self, owner: str, view: SharedState, now: float, min_life: float) -> KeyState:
        """What a process that may not exchange the key is told; a token that ends within ``beyond`` is none."""
        denial = None
        if now < self.denied_until:
            denial = SharedDenial(self.denied_until - now, self.times, self.status, self.code, self.detail)
        return KeyState(
            mine=False,
            view=view,
            busy_for=self.claimed_until - now if self.is_busy(owner, now) else 0.0,
            denial=denial,
            token=(self.token, self.token_until - now)
            if self.token is not None and self.token_until - now > min_life
            else None,
        )

    def learn(self, denial: SharedDenial | None, token: tuple[str, float] | None, now: float) -> None:
        """Note what came of an exchange; a token ends a denial."""
        if token is not None:
            self.token, self.token_until = token[0], now + token[1]
            self.denied_until = 0.0
        if denial is not None:
            self.denied_until = now + denial.seconds
            self.times, self.status, self.code, self.detail = denial.times, denial.status, denial.code, denial.detail
            self.token, self.token_until = None, 0.0


class KeyTable(Protocol):
    """The keys of an endpoint."""

    def get(self, name: str) -> Key:
        """Return the record of a key; an empty one, if there is none."""

    def put(self, name: str, key: Key) -> None:
        """Keep it; until it ends, at least."""

    def free(self, owner: str) -> None:
        """End all claims of ``owner``."""

    def denied(self, now: float) -> int:
        """How many are refused."""

    def clear_denials(self) -> None:
        """End all denials."""


@dataclass(slots=True)
class Transaction:
    """One endpoint within one transaction."""

    now: float
    endpoint: EndpointRecord
    keys: KeyTable


class RecordStore(Store, abc.ABC):
    """The verbs of ``Store`` over ``Transaction``."""

    carries_tokens = False
    fallback: Store | None = None

    @abc.abstractmethod
    def _reading(self) -> AbstractContextManager[tuple[float, EndpointRecord]]:
        """``(now, endpoint)``, of which nothing is written back."""

    @abc.abstractmethod
    def _writing(self) -> AbstractContextManager[Transaction]:
        """Keep others out, and write back what was changed, all or nothing."""

    @contextmanager
    def _changing(self) -> Iterator[tuple[float, EndpointRecord]]:
        with self._writing() as transaction:
            yield transaction.now, transaction.endpoint

    def look(self) -> SharedState:
        with self._reading() as (now, endpoint):
            return endpoint.view(now)

    def survey(self) -> StoreReport:
        with self._writing() as transaction:
            return StoreReport(
                transaction.endpoint.view(transaction.now),
                transaction.endpoint.prober_at(transaction.now),
                transaction.keys.denied(transaction.now),
            )

    def open(self, owner: str, generation: int, opening: OpenState) -> SharedState:
        with self._changing() as (now, endpoint):
            if endpoint.generation == generation:
                endpoint.move(opening, now)
            return endpoint.view(now)

    def claim_probe(self, owner: str, seconds: float) -> tuple[int | None, SharedState]:
        with self._changing() as (now, endpoint):
            fence = endpoint.lease(owner, now + seconds) if endpoint.may_probe(owner, now) else None
            return fence, endpoint.view(now)

    def conclude(self, owner: str, fence: int, opening: OpenState | None) -> SharedState:
        with self._changing() as (now, endpoint):
            if endpoint.accepts_fence(owner, fence, now):
                endpoint.move(opening, now)
            return endpoint.view(now)

    def hold(self, seconds: float, cause: str, *, age: float = 0.0) -> SharedState:
        with self._changing() as (now, endpoint):
            if now + seconds > endpoint.hold_until and now - age >= endpoint.cleared_at:
                endpoint.hold_until, endpoint.hold_cause, endpoint.hold_at = now + seconds, cause, now - age
            return endpoint.view(now)

    def join(self, owner: str, seconds: float) -> SharedState:
        with self._changing() as (now, endpoint):
            endpoint.members = {name: until for name, until in endpoint.members.items() if until > now}
            endpoint.members[owner] = now + seconds
            return endpoint.view(now)

    def leave(self, owner: str) -> None:
        with self._writing() as transaction:
            transaction.endpoint.remove(owner)
            transaction.keys.free(owner)

    def claim_key(self, owner: str, key: str, seconds: float, *, min_life: float = 0.0) -> KeyState:
        with self._writing() as transaction:
            now, view, record = transaction.now, transaction.endpoint.view(transaction.now), transaction.keys.get(key)
            state = record.state(owner, view, now, min_life)
            if view.opening or view.hold_for or state.busy_for or state.denial or state.token:
                return state
            record.owner, record.claimed_until = owner, now + seconds
            transaction.keys.put(key, record)
            return KeyState(mine=True, view=view)

    def release_key(
        self, owner: str, key: str, *, denial: SharedDenial | None = None, token: tuple[str, float] | None = None
    ) -> None:
        with self._writing() as transaction:
            record = transaction.keys.get(key)
            if record.is_busy(owner, transaction.now):
                return
            record.end_claim(owner)
            record.learn(denial, token, transaction.now)
            if not self.carries_tokens:
                record.token, record.token_until = None, 0.0
            transaction.keys.put(key, record)

    def forget_key(self, key: str) -> None:
        with self._writing() as transaction:
            record = transaction.keys.get(key)
            record.denied_until = 0.0
            record.token, record.token_until = None, 0.0
            transaction.keys.put(key, record)

    def clear_hold(self) -> None:
        with self._changing() as (now, endpoint):
            endpoint.clear_hold(now)

    def reset(self, *, keep_hold: bool = False) -> None:
        with self._writing() as transaction:
            transaction.endpoint.move(None, transaction.now)
            if not keep_hold:
                transaction.endpoint.clear_hold(transaction.now)
            transaction.keys.clear_denials()

    def close(self) -> None:
        return

"""A runner on a bench: a runtime that does nothing by itself, and a dispatcher that says what it is told to say."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import Any

from tests.support.private import (
    AT_ONCE,
    Account,
    AttemptRegistry,
    Driver,
    Flight,
    Instant,
    Notifier,
    Outcome,
    Permit,
    Waiter,
)
from tests.support.private import actions as act


class Flag:
    """An event that nobody waits for: it notes for how long somebody would have."""

    def __init__(self) -> None:
        self.flag = False
        self.waits: list[float | None] = []

    def set(self) -> None:
        self.flag = True

    def is_set(self) -> bool:
        return self.flag

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        return self.flag


class Mutex:
    """A lock that says whether it was free."""

    def __init__(self) -> None:
        self.held = False

    def acquire(self, blocking: bool = True) -> bool:
        assert blocking is False, "nobody waits for the dispatcher"
        free, self.held = not self.held, True
        return free

    def release(self) -> None:
        assert self.held
        self.held = False


class Later:
    """A timer, its delay and what it calls."""

    def __init__(self, delay: float, fire: Callable[[], object]) -> None:
        self.delay, self.fire = delay, fire
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class StillRuntime:
    """Time stands, tasks and timers are kept until the test runs them."""

    name = "still"

    def __init__(self) -> None:
        self.time, self.wall = 5.0, 1e9
        self.here: Hashable | None = None
        self.no_threads = self.ends = False
        self.tasks: deque[tuple[Callable[..., object], tuple[Any, ...], Hashable | None]] = deque()
        self.timers: list[Later] = []
        self.flags: list[Flag] = []
        self.forked = False
        self.hurries = 0

    def monotonic(self) -> float:
        return self.time

    def now(self) -> float:
        return self.wall

    def random(self) -> float:
        return 0.0

    def current_context(self) -> Hashable | None:
        return self.here

    def external_context(self) -> Hashable | None:
        return None

    def is_ending(self) -> bool:
        return self.ends

    def may_wait(self) -> bool:
        return True

    def spawn(self, fn: Callable[..., object], *args: Any, context: Hashable | None = None) -> None:
        if self.no_threads:
            raise RuntimeError("can't start new thread")
        self.tasks.append((fn, args, context))

    def run_one(self) -> None:
        fn, args, _ = self.tasks.popleft()
        fn(*args)

    def run_uninterrupted(self, fn: Callable[[], object]) -> None:
        self.hurries += 1
        fn()

    def call_later(self, delay: float, fn: Callable[[], object]) -> Later:
        if self.no_threads:
            raise RuntimeError("can't start new thread")
        self.timers.append(Later(delay, fn))
        return self.timers[-1]

    def event(self) -> Flag:
        self.flags.append(Flag())
        return self.flags[-1]

    def lock(self) -> Mutex:
        return Mutex()

    def offload(self, fn: Callable[..., Any], *args: Any) -> Any:
        return fn(*args)

    def run_in_thread(self, fn: Callable[[], object]) -> None:
        if self.no_threads:
            raise RuntimeError("can't start new thread")
        fn()

    def spawn_lasting(self, fn: Callable[[], object]) -> None:
        self.spawn(fn)

    def after_fork(self) -> None:
        self.forked = True

    def close(self, timeout: float) -> None:
        """Nothing to end."""


class Script:
    """Answers every input with what stands next in ``says``, and keeps what it heard."""

    def __init__(self) -> None:
        self.says: deque[list[act.Action]] = deque()
        self.heard: list[tuple[Any, ...]] = []
        self.tokenless_for: list[float] = []
        self.mended: list[tuple[Any, ...]] = []

    def _answer(self, *heard: Any) -> list[act.Action]:
        self.heard.append(heard)
        return self.says.popleft() if self.says else []

    def demand(self, waiter: Waiter, at: Instant, *, tokenless_for: float = 0.0) -> list[act.Action]:
        self.tokenless_for.append(tokenless_for)
        return self._answer("demand", waiter, at)

    def result(self, permit: Permit, outcome: Outcome, at: Instant) -> list[act.Action]:
        return self._answer("result", permit, outcome, at)

    def tick(self, at: Instant) -> list[act.Action]:
        return self._answer("tick", at)

    def mend(self, callers: Any, asked: Any, at: Instant) -> list[act.Action]:
        self.mended.append((callers, asked, at))
        return []

    def cancel(self, waiter: Waiter, at: Instant) -> list[act.Action]:
        waiter.done = True
        return self._answer("cancel", waiter, at)

    def code_given(self, account: Account, at: Instant) -> list[act.Action]:
        return self._answer("code_given", account, at)

    def code_missing(self, account: Account, outcome: Outcome, at: Instant) -> list[act.Action]:
        return self._answer("code_missing", account, outcome, at)


class Pybreaker:
    """What the runner needs of it."""

    def __init__(self) -> None:
        self.replayed: list[str] = []
        self.listeners: list[object] = []
        self.delivered = 0

    def mirror(self, what: str) -> None:
        self.replayed.append(what)

    def deliver(self) -> None:
        self.delivered += 1


class Bench:
    """A runner, and all that it is connected with."""

    def __init__(self, **parts: Any) -> None:
        self.runtime, self.script, self.breaker = StillRuntime(), Script(), Pybreaker()
        self.events: list[Any] = []
        self.made: list[Permit] = []
        self.outcome = Outcome("ok", 200, jwt="j", life=60.0)
        self.attempts = AttemptRegistry()
        self.changed: list[act.TokenChanged] = []
        self.listeners: list[Callable[[Any], object]] = [self.events.append]
        breaker: Any = parts.pop("breaker", self.breaker)
        runtime: Any = self.runtime
        notifier = Notifier(runtime, breaker, parts.pop("listeners", self.listeners), AT_ONCE)
        parts = {
            "ask_code": lambda account: None, "token_changed": self.changed.append, "after": None, "store": None,
            "lines": AT_ONCE, **parts,
        }  # fmt: skip
        dispatcher: Any = self.script
        self.driver = Driver(dispatcher, runtime, notifier, self.attempts, self.attempt, **parts)

    def attempt(self, permit: Permit) -> Outcome:
        self.made.append(permit)
        return self.outcome

    def feed(self, *actions: act.Action) -> list[Instant]:
        """One input that the dispatcher answers with ``actions``; what it was told of the time."""
        clocks: list[Instant] = []

        def step(at: Instant) -> list[act.Action]:
            clocks.append(at)
            return list(actions)

        self.driver.submit(step)
        return clocks

    def wait(self, event: Flag | None = None, context: Hashable | None = None) -> Waiter:
        """A caller that the driver knows, and whom the dispatcher has heard."""
        caller = Waiter(Account(), 5.0)
        self.driver.request_token(caller, event or Flag(), context)
        caller.joined = 0.0
        return caller


def permit(account: Account | None = None, *, is_probe: bool = False) -> Permit:
    return Permit(Flight(account or Account(), 0.0), 0.0, 30.0, is_probe=is_probe)

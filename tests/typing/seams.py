"""What users put in place of the pool's own parts, without a base class; mypy --strict reads it, nobody runs it."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

from typing_extensions import Unpack

from colony_pool import Agent, AsyncColonyPool, ColonyPool, Response
from colony_pool.testing import MemoryStore, SimRuntime, SimTask
from colony_pool.types import (
    BadReply,
    CancelToken,
    KeyState,
    NetworkFailure,
    OpenState,
    PoolOptions,
    RawResponse,
    RequestOptions,
    Runtime,
    SharedDenial,
    SharedState,
    Store,
    StoreReport,
    StoreUnavailable,
    Transport,
)

T = TypeVar("T")
URL = "http://127.0.0.1/api/v1"


class Canned:
    """A transport that ignores most of what it is given."""

    def send(
        self, method: str, path: str, *, headers: Mapping[str, str], body: bytes | None, **options: Any
    ) -> RawResponse:
        if method == "GET":
            raise NetworkFailure("timeout", "no answer in time", sent=True)
        if body is None:
            raise BadReply(200, "the body broke off")
        return RawResponse(200, {"content-type": "application/json"}, b"{}")

    def connections(self) -> tuple[int, int]:
        return 0, 0

    def opened(self) -> int:
        return 0

    def close(self) -> None: ...

    def after_fork(self) -> None: ...


class Slow:
    """A transport that names its options, and can be cut."""

    def send(
        self, method: str, path: str, *, headers: Mapping[str, str], body: bytes | None, total: float | None = None,
        max_body: int = 65_536, cancel: CancelToken | None = None, priority: bool = False, once: bool = True,
        since: float = -math.inf,
    ) -> RawResponse:  # fmt: skip
        rest = threading.Event()
        if cancel is not None:
            cancel.watch(rest.set)
        if rest.wait(total):
            raise NetworkFailure("aborted", "given up", sent=True)
        return RawResponse(503, {}, b"")

    def connections(self) -> tuple[int, int]:
        return 1, 0

    def opened(self) -> int:
        return 1

    def close(self) -> None: ...

    def after_fork(self) -> None: ...


class NoTransport:
    """It cannot send."""

    def close(self) -> None: ...


class OwnStore:
    """A store that is out of order, and knows nothing."""

    carries_tokens = False
    fallback = None

    def look(self) -> SharedState:
        raise StoreUnavailable("out of order")

    def survey(self) -> StoreReport:
        return StoreReport(self.look())

    def open(self, owner: str, generation: int, opening: OpenState) -> SharedState:
        return SharedState(generation=generation + 1, opening=opening)

    def claim_probe(self, owner: str, seconds: float) -> tuple[int | None, SharedState]:
        return None, self.look()

    def conclude(self, owner: str, fence: int, opening: OpenState | None) -> SharedState:
        return self.look()

    def hold(self, seconds: float, cause: str, *, age: float = 0.0) -> SharedState:
        return self.look()

    def join(self, owner: str, seconds: float) -> SharedState:
        return self.look()

    def leave(self, owner: str) -> None: ...

    def claim_key(self, owner: str, key: str, seconds: float, *, min_life: float = 0.0) -> KeyState:
        return KeyState(False, self.look(), denial=SharedDenial(60.0, 1, 401, None, "Invalid API key"))

    def release_key(
        self, owner: str, key: str, *, denial: SharedDenial | None = None, token: tuple[str, float] | None = None
    ) -> None: ...

    def forget_key(self, key: str) -> None: ...

    def clear_hold(self) -> None: ...

    def reset(self, *, keep_hold: bool = False) -> None: ...

    def close(self) -> None: ...


class OwnTimer:
    def cancel(self) -> None: ...


class OwnRuntime:
    """Threads, at their plainest."""

    name = "own"

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> float:
        return time.time()

    def random(self) -> float:
        return 0.5

    def current_context(self) -> Hashable | None:
        return None

    def external_context(self) -> Hashable | None:
        return None

    def spawn(self, fn: Callable[..., object], *args: Any, context: Hashable | None = None) -> None:
        threading.Thread(target=fn, args=args).start()

    def may_wait(self) -> bool:
        return True

    def run_uninterrupted(self, fn: Callable[[], object]) -> None:
        fn()

    def is_ending(self) -> bool:
        return False

    def call_later(self, delay: float, fn: Callable[[], object]) -> OwnTimer:
        return OwnTimer()

    def event(self) -> threading.Event:
        return threading.Event()

    def lock(self) -> threading.Lock:
        return threading.Lock()

    def offload(self, fn: Callable[..., T], *args: Any) -> T:
        return fn(*args)

    def run_in_thread(self, fn: Callable[[], object]) -> None:
        self.spawn(fn)

    def spawn_lasting(self, fn: Callable[[], object]) -> None:
        self.spawn(fn)

    def after_fork(self) -> None: ...

    def close(self, timeout: float) -> None: ...


def in_place_of_the_pools_own() -> None:
    ColonyPool(URL, transport=Canned(), shared=OwnStore(), runtime=OwnRuntime())
    AsyncColonyPool(URL, transport=Slow(), shared=MemoryStore(), runtime=OwnRuntime())
    transport: Transport = Canned()
    store: Store = OwnStore()
    runtime: Runtime = OwnRuntime()
    ColonyPool(URL, transport=NoTransport())  # type: ignore[arg-type] # it has no send
    ColonyPool(URL, shared=Canned())  # type: ignore[arg-type] # no store
    ColonyPool(URL, runtime=OwnStore())  # type: ignore[arg-type] # no runtime
    print(transport.opened(), store.look().opening, runtime.name)


def options_that_are_words() -> None:
    ColonyPool(URL, runtime="auto", token_cache="disk", shared="host")
    ColonyPool(URL, runtime="threads", token_cache=None, shared=None)
    ColonyPool(URL, runtime="gevent", shared="redis://127.0.0.1/0")
    AsyncColonyPool(URL, runtime="threads", token_cache="disk", shared="host")
    ColonyPool(URL, runtime="asyncio")  # type: ignore[arg-type] # no such runtime
    ColonyPool(URL, token_cache="redis")  # type: ignore[arg-type] # no such cache
    ColonyPool(URL, shared=True)  # type: ignore[arg-type] # no store
    ColonyPool(URL, runtime=os.environ["RUNTIME"])  # type: ignore[arg-type] # any word at all
    AsyncColonyPool(URL, runtime="trio")  # type: ignore[arg-type] # no such runtime
    AsyncColonyPool(URL, token_cache="memory")  # type: ignore[arg-type] # no such cache


def made(**options: Unpack[PoolOptions]) -> ColonyPool:
    """A function that passes the options of a pool on."""
    return ColonyPool(URL, **options)


def posted(agent: Agent, **options: Unpack[RequestOptions]) -> Response:
    """A function that passes the options of a call on."""
    return agent.post("/posts", **options)


def passed_on() -> None:
    posted(made(runtime="threads", token_cache=None).agent("col_a"), json={}, timeout=3.0)
    made(runtime="asyncio")  # type: ignore[arg-type] # no such runtime
    made(max_wiat=5)  # type: ignore[call-arg] # no such option
    task: SimTask = SimRuntime().task(lambda: None)
    print(task.done)

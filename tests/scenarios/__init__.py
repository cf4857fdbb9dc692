"""Behaviour over real sockets, one suite for every kind of concurrency.

Each scenario is a function that asserts what a guarantee promises. It runs in a process of its own, so that
gevent's patching never leaks: ``python -m tests.scenarios NAME RUNTIME``, with RUNTIME one of ``RUNTIMES``.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import threading
from collections.abc import Callable
from typing import Any

from ._loops import LoopPool, Loops

GEVENT = ("gevent", "gevent-late", "gevent-unpatched")

RUNTIMES = ("threads", *GEVENT, "asyncio")

SCENARIOS: dict[str, tuple[Callable[[Any], None], tuple[str, ...]]] = {}


def load() -> None:
    """Import the modules of this package, whose scenarios register themselves."""
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith(("_", "test_")):
            importlib.import_module(f"{__name__}.{module.name}")


def scenario(*runtimes: str) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Register a scenario, for all runtimes or for those named."""

    def register(fn: Callable[[Any], None]) -> Callable[[Any], None]:
        SCENARIOS[fn.__name__] = (fn, runtimes or RUNTIMES)
        return fn

    return register


class Task:
    """A thread, a greenlet or an asyncio task that keeps what came of it."""

    def __init__(self, world: World, fn: Callable[[], Any]) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        self.has_ended = False
        self._done = world.event()
        self._greenlet: Any = None
        self._cancel: Any = None

        def body() -> None:
            try:
                self.value = fn()
            except BaseException as error:
                self.error = error
            finally:
                self.has_ended = True
                self._done.set()

        if world.loops is not None:
            self._cancel = world.loops.spawn(body)
        elif world.gevent:
            import gevent

            self._greenlet = gevent.spawn(body)
        else:
            threading.Thread(target=body, daemon=True).start()

    def kill(self, exception: type[BaseException] | None = None) -> None:
        if self._cancel is not None:
            self._cancel()
            return
        import gevent

        self._greenlet.kill(exception or gevent.GreenletExit, block=False)

    def join(self) -> Task:
        assert self._done.wait(60), "a task hangs"
        return self

    def result(self) -> Any:
        self.join()
        if self.error is not None:
            raise self.error
        return self.value


class World:
    """A FakeColony, pools on it, tasks."""

    def __init__(self, kind: str) -> None:
        from colony_pool.testing import FakeColony

        self.kind = kind
        self.gevent = kind.startswith("gevent")
        self.loops: Loops | None = Loops() if kind == "asyncio" else None
        self.colony = FakeColony()
        self.colonies = [self.colony]
        self.pools: list[Any] = []

    def pool(self, base_url: str | None = None, **options: Any) -> Any:
        from colony_pool import AsyncColonyPool, ColonyPool

        options = {"token_cache": None, "registry": None, **options}
        options["runtime"] = "gevent" if self.gevent else "threads"
        pool: Any
        if self.loops is not None:
            pool = LoopPool(self.loops, AsyncColonyPool(base_url or self.colony.base_url, **options))
        else:
            pool = ColonyPool(base_url or self.colony.base_url, **options)
        self.pools.append(pool)
        return pool

    def other_colony(self, **options: Any) -> Any:
        """A second server."""
        from colony_pool.testing import FakeColony

        self.colonies.append(FakeColony(**options))
        return self.colonies[-1]

    def fast(self, divisor: float = 100.0, **options: Any) -> Any:
        """A pool whose schedules are ``divisor`` times as fast."""
        from colony_pool.config import DispatcherConfig, scaled

        fast = scaled(DispatcherConfig(), divisor)
        mine = {"auth_token_retry": fast.retry, "breaker": fast.breaker, "policy": fast.policy}
        return self.pool(**{**mine, **options})

    def spawn(self, fn: Callable[..., Any], *args: Any) -> Task:
        return Task(self, lambda: fn(*args))

    def native(self, fn: Callable[[], Any]) -> Callable[[], bool]:
        """Run ``fn`` in a native thread, whatever gevent has patched; the returned function says if it has ended."""
        import _thread

        start = _thread.start_new_thread
        if self.gevent:
            from gevent.monkey import get_original

            start = get_original("_thread", "start_new_thread")
        ended: list[BaseException | None] = []

        def body() -> None:
            try:
                fn()
                ended.append(None)
            except BaseException as error:
                ended.append(error)

        start(body, ())

        def has_ended() -> bool:
            if ended and ended[0] is not None:
                raise ended[0]
            return bool(ended)

        return has_ended

    def threads(self) -> int:
        """Native threads of this process, but for those that gevent keeps for DNS."""
        if self.loops is not None:
            assert self.loops.all  # these threads are not a pool's: they are there before it, or they are not counted
        count = len(os.listdir("/proc/self/task"))
        if self.gevent:
            import gevent

            count -= gevent.get_hub().threadpool.size
        return count

    def sockets(self) -> int:
        """Open sockets of this process that belong to a pool: not those to a server's control side."""
        found = -2 * len(self.loops.all) if self.loops is not None else 0  # with which a loop wakes itself
        for number in os.listdir("/proc/self/fd"):
            try:
                found += os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
            except OSError:
                continue
        return found - sum(colony._process._idle.qsize() for colony in self.colonies)

    def event(self) -> Any:
        if self.loops is not None:
            return self.loops.event()
        if self.gevent:
            import gevent.event

            return gevent.event.Event()
        return threading.Event()

    def pause(self, seconds: float) -> None:
        """Let the other tasks run."""
        self.event().wait(seconds)

    def until(self, condition: Callable[[], object], what: str = "a condition") -> None:
        """Wait until ``condition()`` holds; a minute is for ever."""
        for _ in range(6000):
            if condition():
                return
            self.pause(0.01)
        raise AssertionError(f"{what} never came true")

    def token_requests(self) -> list[Any]:
        return [r for r in self.colony.requests() if r.path.endswith("/auth/token")]

    def close(self) -> None:
        for pool in self.pools:
            pool.close()
        for colony in self.colonies:
            colony.close()
        if self.loops is not None:
            self.loops.close()


def error_of(fn: Callable[..., Any], *args: Any, **options: Any) -> BaseException:
    """The exception that ``fn`` raises."""
    try:
        fn(*args, **options)
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")

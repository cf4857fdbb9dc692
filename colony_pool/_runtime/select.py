"""Which runtime this process is to use."""

from __future__ import annotations

import sys
import time
from typing import Literal

from .protocol import Runtime

RuntimeName = Literal["auto", "threads", "gevent"]


def make_runtime(choice: RuntimeName | Runtime) -> Runtime:
    """Return a fresh runtime: ``"threads"``, ``"gevent"``, or ``"auto"``, gevent if it has patched this process.

    A ``Runtime`` is returned as it is.

    Raises:
        ValueError: no such runtime.
        ImportError: gevent is asked for and not installed.
    """
    if not isinstance(choice, str) and hasattr(choice, "call_later"):
        return choice
    if choice not in ("auto", "threads", "gevent"):
        raise ValueError(f"runtime={choice!r}: must be 'auto', 'threads', 'gevent' or a Runtime")
    name = choice
    if name == "auto":
        name = "gevent" if gevent_has_patched() else "threads"
    if name == "threads":
        from .threads import ThreadRuntime

        return ThreadRuntime()
    try:
        from .gevent import GeventRuntime
    except ImportError as error:
        raise ImportError('runtime="gevent" needs gevent: pip install "colony_pool[gevent]"') from error
    return GeventRuntime()


def gevent_has_patched() -> bool:
    """Say whether gevent has patched this process by now."""
    # Not imported means not patched: looking must not import it.
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("socket"))


def pause(seconds: float) -> None:
    """Sleep where any task may, before gevent has patched or after, and let the hub run if this thread has one.

    A thread without a hub is not given one for this: threads that make their first at the same time meet in gevent's
    imports, and may not come out.
    """
    monkey, hubs = sys.modules.get("gevent.monkey"), sys.modules.get("gevent._hub_local")
    sleep = time.sleep
    if monkey is not None and hubs is not None and hubs.get_hub_if_exists() is None:
        sleep = monkey.get_original("time", "sleep")
    sleep(seconds)

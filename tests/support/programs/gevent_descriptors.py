"""Run by a test, in a process that gevent has patched: a native thread asks the store and ends, again and again."""

from __future__ import annotations

import gevent.monkey

gevent.monkey.patch_all()

import sys  # noqa: E402 - after the patching, as in any such program
from pathlib import Path  # noqa: E402

from tests.support.private import GeventRuntime, Runtime, Store, open_store  # noqa: E402

THREADS = 20


def count(folder: str) -> int:
    """Threads, or descriptors, of this process."""
    return len(list(Path("/proc/self", folder).iterdir()))


def ask(store: Store, runtime: Runtime) -> None:
    done, before = runtime.event(), count("task")

    def verb() -> None:
        try:
            store.look()
        finally:
            done.set()

    runtime.run_in_thread(verb)
    assert done.wait(60.0)
    runtime.close(1.0)  # an idle thread ends at once
    while count("task") > before:
        runtime.event().wait(0.001)


def main(shared: str) -> None:
    gevent.get_hub()  # gevent's own modules are loaded with the first one: not in two threads at once
    store = open_store(shared, "https://api.example", timeout=30.0)  # a busy machine is not what is tested
    assert store is not None
    ask(store, GeventRuntime())
    before = count("fd")
    for _ in range(THREADS):
        ask(store, GeventRuntime())
    print(count("fd") - before)


if __name__ == "__main__":
    main(sys.argv[1])

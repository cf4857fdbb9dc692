"""Run by a test, in a process that gevent has patched: many threads of gevent's pool, and greenlets, at one store."""

from __future__ import annotations

import gevent.monkey

gevent.monkey.patch_all()

import sys  # noqa: E402 - after the patching, as in any such program

from tests.support.private import open_store  # noqa: E402


def main(shared: str) -> None:
    store = open_store(shared, "https://api.example")
    assert store is not None
    pool = gevent.get_hub().threadpool
    threads = [pool.spawn(store.join, f"thread {n}", 1000.0) for n in range(20)]
    greenlets = [gevent.spawn(store.join, f"greenlet {n}", 1000.0) for n in range(20)]
    for thread in threads:
        thread.get()
    for greenlet in greenlets:
        greenlet.get()
    print(store.look().members)
    store.close()


if __name__ == "__main__":
    main(sys.argv[1])

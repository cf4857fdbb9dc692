"""Faults of the host: no descriptors left, a full or read-only disk, a server or a client that stands still."""

from __future__ import annotations

import errno
import json
import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.namespaces import mount_tmpfs, private_mounts, run
from tests.support.private import engine_of

from . import World, scenario
from ._after import assert_documented, assert_recovered, key


@contextmanager
def _limit(what: int, soft: int) -> Iterator[None]:
    before = resource.getrlimit(what)
    resource.setrlimit(what, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(what, before)


@contextmanager
def _no_descriptors() -> Iterator[None]:
    """Take all descriptors that there are."""
    highest = max(int(number) for number in os.listdir("/proc/self/fd"))
    held: list[int] = []
    with _limit(resource.RLIMIT_NOFILE, highest + 2):
        try:
            while True:
                held.append(os.dup(1))
        except OSError:
            yield
        finally:
            for number in held:
                os.close(number)


def _idle(pool: Any) -> int:
    """Connections that wait for an API call; on asyncio those of token requests are others."""
    return sum(connections.idle() for connections in engine_of(pool).network.beside.all()) or int(
        pool.status().connections[1]
    )


@scenario("threads", "gevent", "gevent-unpatched", "asyncio")
def g11_a_process_without_descriptors_is_told_so_and_recovers(w: World) -> None:
    """Who has an idle connection is served; the others get one documented error, and nothing is left of them."""
    from colony_pool import ColonyNetworkError, RetryConfig

    pool, fresh = (w.pool(auth_token_retry=RetryConfig(max_retries=0)) for _ in range(2))
    behind = w.pool(auth_token_retry=RetryConfig(max_retries=0), proxy="http://127.0.0.1:9")
    agents = [pool.agent(key(i)) for i in range(20)]
    for agent in agents:
        agent.token()
    for task in [w.spawn(agent.get, "/users/me") for agent in agents[:4]]:
        task.result()
    idle = _idle(pool)
    assert 1 <= idle <= 4
    with _no_descriptors():
        w.colony.pause()
        calls = [w.spawn(agent.get, "/users/me") for agent in agents]
        w.until(lambda: sum(call.error is not None for call in calls) == len(calls) - idle, "the others are told")
        w.colony.resume()
        errors = [call.join().error for call in calls]
        cold = [w.spawn(fresh.agent(key(i)).token).join().error for i in range(20)]
        cold += [w.spawn(behind.agent(key(i)).token).join().error for i in range(20)]
        for each in (fresh, behind):
            assert each.status().breaker.state == "closed", "what this host lacks says nothing of the endpoint"
    assert idle == errors.count(None)
    assert 0 == cold.count(None)
    for error in filter(None, errors + cold):
        assert_documented(error, ColonyNetworkError, words="too many open files")
    assert_recovered(w, pool)
    assert_recovered(w, fresh)


def _entries(folder: Path) -> list[Path]:
    """All files, those that are still being written too."""
    return [path for path in folder.rglob("*") if path.is_file()]


def _saved(folder: Path) -> int:
    """How many tokens are there, each whole: the temporary name of one that is being written does not count."""
    return sum(1 for path in folder.rglob("*.json"))


def _full_disk_costs_only_the_cache(w: World, folder: Path, fault: Callable[[], Any]) -> None:
    os.environ["COLONY_SDK_TOKEN_CACHE_DIR"] = str(folder / "cache")
    pool = w.pool(token_cache="disk")
    kept = pool.agent(key("kept")).token()
    w.until(lambda: _saved(folder / "cache") == 1, "there is room for the first one")
    with fault():
        for i in range(5):
            assert pool.agent(key(i)).get("/users/me").status == 200
        other = w.pool(token_cache="disk")
        assert other.agent(key("kept")).token() == kept, "what was there is still there, whole"
        w.until(lambda: not engine_of(pool).driver._tasks, "whoever saves has tried")
        assert len(_entries(folder / "cache")) == 1, "no half of a file, and no temporary one"
    assert pool.agent(key("later")).token()
    w.until(lambda: _saved(folder / "cache") == 2, "saved again")
    for path in _entries(folder / "cache"):
        assert json.loads(path.read_text())["v"] == 1
    assert_recovered(w, pool)
    pool.close()  # whoever still saves must be done before the folder goes


@scenario("threads", "gevent", "asyncio")
def g21_a_full_disk_costs_the_cache_and_nothing_else(w: World) -> None:
    """Full by a limit on files, which every system has; the next scenario fills a disk."""
    with tempfile.TemporaryDirectory() as name:
        _full_disk_costs_only_the_cache(w, Path(name), lambda: _limit(resource.RLIMIT_FSIZE, 20))


@contextmanager
def _disk_of_its_own() -> Iterator[Path]:
    private_mounts()
    with tempfile.TemporaryDirectory() as name:
        mount_tmpfs(Path(name), "size=64k")
        try:
            yield Path(name)
        finally:
            run("umount", name)


@contextmanager
def _filled(folder: Path) -> Iterator[None]:
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as full:
            if full.errno != errno.ENOSPC:
                raise
    try:
        yield
    finally:
        filler.unlink()


@scenario("threads", "gevent", "asyncio")
def g21_a_disk_without_a_free_block_costs_the_cache_and_nothing_else(w: World) -> None:
    with _disk_of_its_own() as folder:
        _full_disk_costs_only_the_cache(w, folder, lambda: _filled(folder))


@scenario("threads", "gevent", "asyncio")
def g19_g21_a_token_refused_is_not_taken_again_from_a_read_only_disk(w: World) -> None:
    """The entry cannot be removed; it must not be believed a second time, by those who know better."""
    with _disk_of_its_own() as folder:
        os.environ["COLONY_SDK_TOKEN_CACHE_DIR"] = str(folder / "cache")
        first = w.pool(token_cache="disk").agent(key("one")).token()
        w.until(lambda: _saved(folder) == 1, "saved")
        mount_tmpfs(folder, "remount,ro")
        pool = w.pool(token_cache="disk")
        agent = pool.agent(key("one"))
        assert agent.token() == first, "it can be read"
        w.pause(1.1)  # the disk is asked once a second at most
        w.colony.revoke_tokens()
        assert agent.get("/users/me").status == 200
        assert agent.token() != first
        agent.invalidate()
        w.pause(1.1)
        assert agent.get("/users/me").status == 200
        assert w.colony.count("/users/me", status=401) == 1, "it was not used again"
        assert_recovered(w, pool)

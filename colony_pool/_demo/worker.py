"""A worker: some of a fleet's agents in a process of their own, as ``python -m``; it says how they are doing.

Each fleet keeps to its own processes, since a thousand agents on their own keep a processor busy, and in one process
the pool's agents would pay for that.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from .. import ColonyPool
from ..pool import metrics_of
from .fleets import alone, maker_of, pooled
from .hire import ALONE, ONE_DOOR, Job, Report
from .run import Crew, patch, spawner

_TICK = 0.1  # seconds
_PROBES = ("success", "failure", "lost")  # one that was given back before it left was none


def main(job: Job) -> None:
    """Play ``job``'s agents until somebody ends this process, or no longer listens to it."""
    logger = logging.getLogger("colony_pool")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False  # the reports say what the log would tell
    allow_sockets(2 * len(job.numbers) + 256)
    with _pool(job) as pool:
        make = maker_of(pool) if pool is not None else alone(job.base_url)
        crew = Crew(make, job.numbers, job.agents, job.plan)
        _say(ready=True)
        line = sys.stdin.readline()
        if not line:
            return  # whoever has started it is gone
        start = float(line)
        try:
            crew.begin(spawner(job.runtime), start)
        except RuntimeError as error:  # "can't start new thread"
            n = len(job.numbers)
            _say(error=f"{error} for {n:,} agents: try fewer --agents, or greenlets (--runtime gevent)")
            return
        _tell(crew, pool, start + job.plan.end)


def _tell(crew: Crew, pool: ColonyPool | None, end: float) -> None:
    late, told = 0.0, False
    while True:
        _say(report=asdict(_report(crew, pool, late)))
        now = time.monotonic()
        if not told and (crew.all_back or now >= end):
            crew.stop()
            _say(tally=asdict(crew.tally()))
            told = True
        time.sleep(_TICK)
        if not told:
            late = max(late, time.monotonic() - now - _TICK)


def _report(crew: Crew, pool: ColonyPool | None, late: float) -> Report:
    if pool is None:
        return Report(holding=crew.holding, lost=crew.lost, late=late)
    status = pool.status()
    probes = sum(metrics_of(pool).journal.count("breaker_probes_total", result) for result in _PROBES)
    return Report(
        crew.holding, crew.lost, status.waiters, status.breaker.state, status.breaker.next_probe_in, probes,
        status.shared, late,
    )  # fmt: skip


@contextlib.contextmanager
def _pool(job: Job) -> Iterator[ColonyPool | None]:
    if job.kind == ALONE:
        yield None
        return
    shared = "host" if job.kind == ONE_DOOR and job.workers > 1 else None
    with pooled(job.base_url, shared=shared, exports=job.exports, runtime=job.runtime) as pool:
        yield pool


def allow_sockets(wanted: int) -> None:
    """Agents on their own take a socket each, and many systems allow 1,024 or fewer unless they are asked."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    limit = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def _say(**facts: Any) -> None:
    # When nobody listens any more, this raises, and so the process ends with the one that has started it.
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    job = Job.read(sys.argv[1])
    if job.runtime == "gevent":
        patch()
    try:
        main(job)
    except BrokenPipeError:
        sys.stderr.close()  # nor is anybody interested in a last "Exception ignored"
    except Exception as problem:  # noqa: BLE001 - whatever it was, it is told in one line
        _say(error=f"a process of the demo failed: {type(problem).__name__}: {problem}")

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
from .agents import AgentGroup, patch, spawner
from .clients import alone, make_pool, maker_of
from .processes import ALONE, ONE_DOOR, Assignment, Progress

_TICK = 0.1  # seconds
_PROBES = ("success", "failure", "lost")  # one that was given back before it left was none


def main(assignment: Assignment) -> None:
    """Play ``assignment``'s agents until somebody ends this process, or no longer listens to it."""
    logger = logging.getLogger("colony_pool")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False  # the reports say what the log would tell
    allow_sockets(2 * len(assignment.numbers) + 256)
    with _pool(assignment) as pool:
        make = maker_of(pool) if pool is not None else alone(assignment.base_url)
        group = AgentGroup(make, assignment.numbers, assignment.agents, assignment.schedule)
        _say(ready=True)
        line = sys.stdin.readline()
        if not line:
            return  # whoever has started it is gone
        start = float(line)
        try:
            group.begin(spawner(assignment.runtime), start)
        except RuntimeError as error:  # "can't start new thread"
            n = len(assignment.numbers)
            _say(error=f"{error} for {n:,} agents: try fewer --agents, or greenlets (--runtime gevent)")
            return
        stream_reports(group, pool, start + assignment.schedule.end)


def stream_reports(group: AgentGroup, pool: ColonyPool | None, end: float) -> None:
    late, told = 0.0, False
    while True:
        _say(report=asdict(_report(group, pool, late)))
        now = time.monotonic()
        if not told and (group.all_back or now >= end):
            group.stop()
            _say(totals=asdict(group.totals()))
            told = True
        time.sleep(_TICK)
        if not told:
            late = max(late, time.monotonic() - now - _TICK)


def _report(group: AgentGroup, pool: ColonyPool | None, late: float) -> Progress:
    if pool is None:
        return Progress(with_token=group.with_token, lost=group.lost, late=late)
    status = pool.status()
    probes = sum(pool.journal.count("breaker_probes_total", result) for result in _PROBES)
    return Progress(
        group.with_token, group.lost, status.waiters, status.breaker.state, status.breaker.next_probe_in, probes,
        status.shared, late,
    )  # fmt: skip


@contextlib.contextmanager
def _pool(assignment: Assignment) -> Iterator[ColonyPool | None]:
    if assignment.kind == ALONE:
        yield None
        return
    shared = "host" if assignment.kind == ONE_DOOR and assignment.workers > 1 else None
    with make_pool(
        assignment.base_url, shared=shared, exports=assignment.exports, runtime=assignment.runtime
    ) as pool:
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
    assignment = Assignment.read(sys.argv[1])
    if assignment.runtime == "gevent":
        patch()
    try:
        main(assignment)
    except BrokenPipeError:
        sys.stderr.close()  # nor is anybody interested in a last "Exception ignored"
    except Exception as problem:  # noqa: BLE001 - whatever it was, it is told in one line
        _say(error=f"a process of the demo failed: {type(problem).__name__}: {problem}")

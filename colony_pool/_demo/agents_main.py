"""Some of a contestant's agents in a process of their own, run with ``python -m``; it reports their progress.

Contestants share no process: a thousand agents alone keep a processor busy, and would slow down the pool's agents.
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
from .agents import AgentGroup, patch, spawner
from .clients import alone, make_pool, maker_of
from .processes import ALONE, SHARED, Assignment, Progress

_TICK = 0.1  # seconds
_PROBES = ("success", "failure", "lost")  # a probe that was never sent does not count


def main(assignment: Assignment) -> None:
    """Run ``assignment``'s agents until this process is ended, or until nobody reads its reports."""
    logger = logging.getLogger("colony_pool")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False  # the reports replace the log
    allow_sockets(2 * len(assignment.numbers) + 256)
    with _pool(assignment) as pool:
        make = maker_of(pool) if pool is not None else alone(assignment.base_url)
        group = AgentGroup(make, assignment.numbers, assignment.agents, assignment.schedule)
        _say(ready=True)
        line = sys.stdin.readline()
        if not line:
            return  # the demo is gone
        start = float(line)
        try:
            group.begin(spawner(assignment.runtime), start)
        except RuntimeError as error:  # "can't start new thread"
            n = len(assignment.numbers)
            _say(error=f"{error} for {n:,} agents: try fewer --agents, or greenlets (--runtime gevent)")
            return
        stream_reports(group, pool, start + assignment.schedule.end)


def stream_reports(group: AgentGroup, pool: ColonyPool | None, end: float) -> None:
    late, sent = 0.0, False
    while True:
        _say(report=asdict(_report(group, pool, late)))
        now = time.monotonic()
        if not sent and (group.all_back or now >= end):
            group.stop()
            _say(totals=asdict(group.totals()))
            sent = True
        time.sleep(_TICK)
        if not sent:
            late = max(late, time.monotonic() - now - _TICK)


def _report(group: AgentGroup, pool: ColonyPool | None, late: float) -> Progress:
    if pool is None:
        return Progress(with_token=group.with_token, lost=group.lost, late=late)
    status = pool.status()
    probes = sum(metrics_of(pool).counters.count("breaker_probes_total", result) for result in _PROBES)
    return Progress(
        group.with_token, group.lost, status.waiters, status.breaker.state, probes,
        status.shared, late,
    )  # fmt: skip


@contextlib.contextmanager
def _pool(assignment: Assignment) -> Iterator[ColonyPool | None]:
    if assignment.kind == ALONE:
        yield None
        return
    shared = "host" if assignment.kind == SHARED and assignment.processes > 1 else None
    with make_pool(
        assignment.base_url, shared=shared, exports=assignment.exports, runtime=assignment.runtime
    ) as pool:
        yield pool


def allow_sockets(wanted: int) -> None:
    """Raise the limit of open files: agents alone need a socket each, and many systems allow 1,024 by default."""
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
    # When nobody reads any more, this raises, and so the process ends with the demo that started it.
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    assignment = Assignment.read(sys.argv[1])
    if assignment.runtime == "gevent":
        patch()
    try:
        main(assignment)
    except BrokenPipeError:
        sys.stderr.close()  # nobody needs a last "Exception ignored" either
    except Exception as problem:  # noqa: BLE001 - whatever it was, one line reports it
        _say(error=f"a process of the demo failed: {type(problem).__name__}: {problem}")

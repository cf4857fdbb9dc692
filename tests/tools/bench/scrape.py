"""What a scrape costs: one pool with 1,000 agents, each with a token."""

from __future__ import annotations

import statistics
import time

from tests.tools.bench.report import emit


def main() -> None:
    from prometheus_client import CollectorRegistry, generate_latest

    from colony_pool import ColonyPool
    from colony_pool.testing import FakeColony

    registry = CollectorRegistry()
    with FakeColony() as colony, ColonyPool(colony.base_url, registry=registry, token_cache=None) as pool:
        for i in range(1000):
            pool.agent(f"col_{i}").token()
        times, reads = [], []
        for _ in range(200):
            start = time.perf_counter()
            list(registry.collect())
            middle = time.perf_counter()
            page = generate_latest(registry)
            times.append(time.perf_counter() - middle)
            reads.append(middle - start)
    whole, read = statistics.median(times) * 1e3, statistics.median(reads) * 1e3
    emit(ms=round(whole, 3), read_ms=round(read, 3), bytes=len(page))


if __name__ == "__main__":
    main()

"""One process of a host: ``python -m tests.support.programs.host_worker URL KEY SHARED``. It does what it is told, a
line at a time.

``open`` has its breaker opened, as by an operator; ``token`` asks for a token and prints it. A probe is told of after
``LEASE`` seconds at the latest, and an outage has one every ``INTERVAL``.
"""

from __future__ import annotations

import sys
import threading

from colony_pool import BreakerConfig, ColonyPool

LEASE, INTERVAL = 4.0, 0.25


def main(url: str, key: str, shared: str) -> None:
    """Serve until the input ends: whoever started it may be killed while it waits."""
    breaker = BreakerConfig(open_delay=INTERVAL, open_delay_max=INTERVAL)
    with ColonyPool(
        url, shared=shared, share_tokens=shared != "host", registry=None, runtime="threads", breaker=breaker,
        probe_timeout=LEASE, max_wait=3600.0,
    ) as pool:  # fmt: skip
        agent = pool.agent(key)
        print("ready", flush=True)
        for line in sys.stdin:
            if line.strip() == "open":
                pool.breaker.open()
            else:
                threading.Thread(target=lambda: print(agent.token(), flush=True), daemon=True).start()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3])

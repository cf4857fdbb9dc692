"""One of several processes that share a metrics directory: ``python -m tests.dashboards.worker URL STATE``.

It gets a token, opens its breaker if STATE is ``open``, says ``ready`` and stays until its standard input ends.
"""

from __future__ import annotations

import sys

from colony_pool import ColonyPool


def main() -> None:
    url, state = sys.argv[1:]
    with ColonyPool(url, token_cache=None, name="shared") as pool:
        pool.agent("col_agent").token()
        if state == "open":
            pool.breaker.open()
        print("ready", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()

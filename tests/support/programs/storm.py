"""A host of agents that is restarted: ``python -m tests.support.programs.storm BASE_URL AGENTS RUNTIME CACHE`` is one
life of it.

It asks for the tokens of all its agents at once, prints how many it got, and ends. ``CACHE`` is ``disk``
or ``none``.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and "gevent" in sys.argv:
    from gevent import monkey

    monkey.patch_all()

import threading
from typing import Any

from colony_pool import ColonyPool


def main() -> None:
    base_url, count, runtime, where = sys.argv[1:]
    options: dict[str, Any] = {"runtime": runtime, "token_cache": "disk" if where == "disk" else None}
    with ColonyPool(base_url, registry=None, max_wait=3600.0, **options) as pool:
        tokens: list[str] = []
        agents = [pool.agent(f"col_storm_{number}") for number in range(int(count))]
        tasks = [threading.Thread(target=lambda a=agent: tokens.append(a.token())) for agent in agents]
        for task in tasks:
            task.start()
        for task in tasks:
            task.join()
        print(len(set(tokens)), flush=True)


if __name__ == "__main__":
    main()

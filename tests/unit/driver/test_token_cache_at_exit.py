"""A token that was paid for is on disk when the interpreter ends in an ordinary way (G21).

Each case is a process of its own, with a disk that takes its time: a token that nobody waits for is lost each time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from colony_pool.testing import FakeColony

# A disk that is slow to replace a file, and slower still to whoever does not wait.
SLOW = """
import os, time
at_once, later = os.replace, time.sleep
def replace(*args):
    later(0.3)
    at_once(*args)
os.replace = replace
BASE = os.environ["COLONY_BASE_URL"]
"""
POOL = f"{SLOW}\nfrom colony_pool import ColonyPool\npool = ColonyPool()\nagent = pool.agent('col_x')\n"
IN_A_CHILD = f"""{SLOW}
import multiprocessing
from colony_pool import ColonyPool
def child():
    ColonyPool().agent('col_x').token()
if __name__ == '__main__':
    process = multiprocessing.get_context('{{}}').Process(target=child)
    process.start()
    process.join()
"""
KEPT = {
    "end of main": f"{POOL}agent.token()",
    "an API call": f"{POOL}agent.get('/users/me')",
    "closed": f"{POOL}agent.token()\npool.close()",
    "sys.exit": f"{POOL}import sys\nagent.token()\nsys.exit(3)",
    "an exception": f"{POOL}agent.token()\nraise RuntimeError('mine')",
    "Ctrl-C": f"{POOL}agent.token()\nraise KeyboardInterrupt",
    "daemon threads parked": (
        f"{POOL}import threading\nagent.token()\npool.breaker.open()\n"
        "[threading.Thread(target=pool.agent(f'col_{i}').token, daemon=True).start() for i in range(5)]"
    ),
    "another thread": f"{POOL}import threading\nthreading.Thread(target=agent.token).start()",
    "atexit, after the pool was made": f"{POOL}import atexit\natexit.register(agent.token)",
    "atexit, before the pool was made": (
        f"import atexit\natexit.register(lambda: pool.agent('col_x').token())\n{POOL}pool.agent('col_other').token()"
    ),
    "asyncio": (
        f"{SLOW}import asyncio\nfrom colony_pool import AsyncColonyPool\nasync def main():\n"
        "    await AsyncColonyPool().agent('col_x').token()\nasyncio.run(main())"
    ),
    "asyncio, an API call": (
        f"{SLOW}import asyncio\nfrom colony_pool import AsyncColonyPool\nasync def main():\n"
        "    await AsyncColonyPool().agent('col_x').get('/users/me')\nasyncio.run(main())"
    ),
    "gevent": f"from gevent import monkey\nmonkey.patch_all()\n{POOL}agent.token()",
    "gevent, unpatched": f"{POOL}ColonyPool(runtime='gevent').agent('col_x').token()",
    "a pool that is made in atexit": (
        f"{SLOW}import atexit\nfrom colony_pool import ColonyPool\n"
        "atexit.register(lambda: ColonyPool().agent('col_x').token())"
    ),
    "SIGTERM that is handled": (
        f"{POOL}import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(1))\nagent.token()\n"
        "os.kill(os.getpid(), signal.SIGTERM)"
    ),
    "multiprocessing, spawn": IN_A_CHILD.format("spawn"),
    "multiprocessing, fork": IN_A_CHILD.format("fork"),
    "multiprocessing, forkserver": IN_A_CHILD.format("forkserver"),
    "multiprocessing, fork, with the parent's pool": (
        f"{POOL}import multiprocessing\npool.agent('col_y').token()\n"
        "process = multiprocessing.get_context('fork').Process(target=agent.token)\nprocess.start()\nprocess.join()"
    ),
    "a fork": f"{POOL}pool.agent('col_y').token()\nif os.fork():\n    os.wait()\nelse:\n    agent.token()",
}  # fmt: skip
LOST = {
    "os._exit": f"{POOL}agent.token()\nos._exit(0)",
    "SIGTERM": f"{POOL}import signal\nagent.token()\nos.kill(os.getpid(), signal.SIGTERM)",
    "SIGKILL": f"{POOL}import signal\nagent.token()\nos.kill(os.getpid(), signal.SIGKILL)",
}


@pytest.fixture(scope="module")
def colony() -> Iterator[FakeColony]:
    with FakeColony() as server:
        yield server


def run(code: str, folder: Path, colony: FakeColony) -> set[str]:
    """Run ``code`` as a script; the tokens that are on disk afterwards."""
    script = folder / "script.py"
    script.write_text(code)
    environment = {
        **os.environ, "COLONY_SDK_TOKEN_CACHE_DIR": str(folder / "cache"), "COLONY_BASE_URL": colony.base_url,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }  # fmt: skip
    environment.pop("COLONY_SDK_NO_TOKEN_CACHE", None)
    subprocess.run([sys.executable, str(script)], env=environment, check=False, capture_output=True, timeout=60)
    return {json.loads(file.read_text())["token"] for file in (folder / "cache").glob("*.json")}


@pytest.mark.slow
@pytest.mark.parametrize("case", KEPT)
def test_g21_a_token_is_on_disk_when_the_interpreter_ends(case: str, tmp_path: Path, colony: FakeColony) -> None:
    before = colony.stats().tokens_issued
    left = run(KEPT[case], tmp_path, colony)
    issued = colony.stats().tokens_issued - before
    assert len(left) == issued
    # The first releases of 3.12 start no thread in an exit handler: then no token is paid for.
    assert issued > 0 or ("atexit" in case and sys.version_info[:2] == (3, 12))


@pytest.mark.parametrize("case", LOST)
def test_g21_a_process_that_is_killed_keeps_no_promise(case: str, tmp_path: Path, colony: FakeColony) -> None:
    """It is said so in the README; and what it leaves half-written is no token."""
    assert run(LOST[case], tmp_path, colony) == set()

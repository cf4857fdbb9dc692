"""A supervisor restarts 200 agents, again and again, in the middle of whatever they do.

What dies is a process, with whatever it runs on: two runtimes are enough, and for the slower one of these, one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from . import World, scenario

AGENTS, KILLS, MAXSIZE = 200, 2, 64


def _life(w: World, cache: str, folder: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.programs.storm", w.colony.base_url, str(AGENTS), w.kind, cache]
    env = {**os.environ, "COLONY_SDK_TOKEN_CACHE_DIR": folder}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _killed_at(w: World, life: subprocess.Popen[str], tokens: int) -> bool:
    """SIGKILL, once the server has issued so many tokens. Says if it was in time."""
    with life:
        w.until(lambda: w.colony.count("/auth/token", status=200) >= tokens or life.poll() is not None)
        life.send_signal(signal.SIGKILL)
        return life.wait() == -signal.SIGKILL


def _storm(w: World, cache: str, folder: str) -> int:
    """Two lives that are killed, and one that may finish; how many tokens they have cost."""
    w.colony.capacity(80.0, max_in_flight=MAXSIZE, knockout=0.0)
    killed = [_killed_at(w, _life(w, cache, folder), 40 * (number + 1)) for number in range(KILLS)]
    assert any(killed)
    out, err = _life(w, cache, folder).communicate(timeout=60)
    assert f"{AGENTS}\n" == out, err
    assert w.colony.stats().max_in_flight <= MAXSIZE
    return w.colony.count("/auth/token", status=200)


@scenario("threads", "gevent")
def g8_g21_a_storm_of_restarts_with_the_cache_pays_once_for_each_token(w: World) -> None:
    """And again for those that were on their way when SIGKILL came. Each file of the cache is a whole entry."""
    with tempfile.TemporaryDirectory() as name:
        assert AGENTS <= _storm(w, "disk", name) <= AGENTS + MAXSIZE * KILLS
        folder = Path(name)
        entries = [json.loads(path.read_text()) for path in folder.glob("[!.]*.json")]
        assert AGENTS == len(entries) == len({entry["token"] for entry in entries})
        assert len(list(folder.iterdir())) <= AGENTS + MAXSIZE * KILLS


@scenario("threads")
def g8_a_storm_of_restarts_without_a_cache_pays_again_and_ends(w: World) -> None:
    with tempfile.TemporaryDirectory() as name:
        assert _storm(w, "none", name) > AGENTS
        assert list(Path(name).iterdir()) == []

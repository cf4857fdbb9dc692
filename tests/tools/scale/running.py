"""Plays run by a test, each by a process of its own: several at once, since they idle most of the time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.shell import environment, patient

ALONE = ("--processes", "1", "--agents", "800", "--shared", "none")


def plays(tmp_path: Path, *plays: tuple[str, ...]) -> list[dict[str, Any]]:
    """Play all of ``plays`` at once and return what each cost; skip where the system grants no networks.

    Stores are waited for some seconds: a busy machine is not what is tested. Not for longer than an attempt may take,
    though, which is given up meanwhile.
    """
    env = patient(environment(tmp_path), tmp_path, 5.0)
    running = [_start(play, env) for play in plays]
    try:
        rows = [json.loads(process.communicate()[0]) for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()
    for row in rows:
        if "impossible" in row:
            pytest.skip(row["impossible"])
    return rows


def _start(play: tuple[str, ...], env: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.tools.scale.play", *play]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)


def assert_as_one(fleet: dict[str, Any], alone: dict[str, Any], processes: int) -> None:
    """The fleet cost the endpoint as much as one process of as many agents, and nobody was lost.

    A process cannot doubt the endpoint before an attempt of its own has failed, and by then a second one may be under
    way, on a busy machine a third. So each but the first costs some attempts more, however long the outage is; on
    virtual time, where nothing is late, ``tests/simulation/test_fleet.py`` has the fifth for itself.
    """
    assert (0, 0) == (alone["agents_lost"], alone["knocks"]), alone
    assert (0, 0) == (fleet["agents_lost"], fleet["knocks"]), fleet
    assert fleet["attempts_in_outage"] <= 1.2 * alone["attempts_in_outage"] + 3 * (processes - 1), (fleet, alone)
    assert fleet["store_verbs"]["open"] >= 1, "one told all others"

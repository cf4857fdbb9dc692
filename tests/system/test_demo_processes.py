"""``colony-pool demo --processes``: a short play of it in real processes, and how it ends when it is disturbed."""

from __future__ import annotations

import io
import json
import os
import re
import signal
from pathlib import Path

import pytest
from rich.console import Console

from tests.support.private import Assignment, DemoResult, Schedule
from tests.support.private import demo_notes as notes
from tests.support.private import demo_page as page
from tests.support.private import demo_rows as rows
from tests.support.private import play_demo as play
from tests.support.shell import assert_failed, cli, environment, finish, patient, start, until

PROCESSES, AGENTS = 3, 24
SHORT = Schedule(warm_up=0.5, life=2.0, down_at=1.0, outage=6.0, give_up=8.0)


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "tmp").mkdir()
    return {**environment(tmp_path), "TMPDIR": str(tmp_path / "tmp")}


def workers(pid: int) -> dict[str, int]:
    """The processes of the demo at ``pid`` that have agents, by side and number."""
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        words = Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
        if "colony_pool._demo.agents_main" in words:
            assignment = Assignment.read(words[-2])
            found[f"{assignment.kind} {assignment.number}"] = int(child)
    return found


def running(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[DemoResult, str]:
    """One short play, and what it said meanwhile."""
    folder, said = tmp_path_factory.mktemp("played"), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", patient(dict(os.environ), folder)["PYTHONPATH"])
        result = play(AGENTS, "threads", Console(file=said, width=100), processes=PROCESSES, schedule=SHORT)
    return result, said.getvalue()


def test_g1_processes_that_share_a_breaker_send_fewer_probes_than_those_with_a_breaker_each(
    played: tuple[DemoResult, str],
) -> None:
    shared, separate, alone = played[0].results
    assert 0 < sum(shared.probes) < sum(separate.probes)
    assert shared.counts.attempts_during_outage < separate.counts.attempts_during_outage
    assert separate.counts.attempts_during_outage < alone.counts.attempts_during_outage
    assert all(probes > 0 for probes in separate.probes)
    assert () == alone.probes


def test_every_agent_of_every_process_is_counted(played: tuple[DemoResult, str]) -> None:
    shared, separate, _ = played[0].results
    for side in (shared, separate):
        assert PROCESSES == len(side.probes)
        assert (AGENTS, 0) == (side.counts.agents, side.counts.agents_lost)
        assert () == side.deaths


def test_the_table_the_page_and_the_json_tell_the_same(played: tuple[DemoResult, str]) -> None:
    result, said = played
    values = json.loads(json.dumps(result.as_dict()))
    assert PROCESSES == values["processes"]
    sides = [values["colony_pool"], values["separate"], values["alone"]]
    table = {what: cells for what, *cells in rows(result)}
    assert [f"{side['attempts_during_outage']:,}" for side in sides] == table["requests during the outage"]
    assert [f"{sum(side['probes'])}" for side in sides[:2]] + ["-"] == table["half-open probes"]
    html = page(result)
    assert 3 == html.count("<svg") == html.count("</svg>")
    for cells in table.values():
        for cell in cells:
            assert f">{cell}" in html
    for note in notes(result):
        assert note.split(":")[0].replace("'", "&#x27;") in html
    for phase in ("HEALTHY", "OUTAGE", "RECOVERY"):
        assert phase in said
    assert max(len(line) for line in said.splitlines()) <= 100


def test_a_process_that_is_killed_is_told_of_and_ctrl_c_leaves_no_process_and_no_file(
    env: dict[str, str], tmp_path: Path
) -> None:
    process = start(env, "demo", "--agents", "8", "--processes", "2", "--runtime", "threads", "--metrics-port", "0")
    url = until(process, "metrics: ")
    assert re.fullmatch(r"metrics: http://127\.0\.0\.1:\d+/metrics\n", url)
    until(process, "HEALTHY")
    found = workers(process.pid)
    assert {"shared 0", "shared 1", "separate 0", "separate 1", "alone 0"} == set(found)
    os.kill(found["shared 1"], signal.SIGKILL)
    line = until(process, "process 2 of 2")
    assert f"pid {found['shared 1']}) was killed (SIGKILL): its 4 agents are lost" in line
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert (130, "colony-pool: interrupted\n") == (done.returncode, done.stderr)
    assert [] == running(list(found.values()))
    assert [] == list((tmp_path / "tmp").iterdir())


@pytest.mark.parametrize(
    ("agents", "processes", "words"),
    [("200", "0", "from 1 to 16"), ("200", "17", "from 1 to 16"), ("3", "4", "at most the number of agents, 3")],
)
def test_what_processes_may_be_is_told(env: dict[str, str], agents: str, processes: str, words: str) -> None:
    done = cli(env, "demo", "--agents", agents, "--processes", processes)
    assert_failed(done, 2, f"--processes {processes}: must be", words)


def test_the_help_explains_it(env: dict[str, str]) -> None:
    done = cli(env, "demo", "--help")
    assert 0 == done.returncode
    assert "--processes" in done.stdout
    assert 'shared="host"' in done.stdout

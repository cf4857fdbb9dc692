"""``colony-pool demo``, as a shell sees it: it is played, all of it, in processes of its own."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.support.shell import assert_failed, cli, environment, finish, start, until, without


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_the_demo_tells_the_same_in_all_its_forms(env: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "demo.html"
    done = cli(env, "demo", "--agents", "20", "--json", "--report", str(path))
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    ours, alone = result["colony_pool"], result["alone"]
    assert (ours["agents_lost"], ours["never_back"], ours["knocks"]) == (0, 0, 0)
    assert ours["attempts_during_outage"] <= 100 < alone["attempts_during_outage"]
    for phase in ("HEALTHY", "OUTAGE", "RECOVERY"):
        assert phase in done.stderr
    page = path.read_text(encoding="utf-8")
    for text in (page, done.stderr):
        assert f"{alone['attempts_during_outage']:,}" in text
        assert "col_agent" not in text
    assert page.startswith("<!doctype html>")
    assert page.count("<svg") == page.count("</svg>") == 2
    assert not re.search(r"<script|<link|https?:|url\(", page)
    assert max(len(line) for line in done.stderr.splitlines() if str(path) not in line) <= 100


@pytest.mark.parametrize("runtime", ["threads", "gevent"])
@pytest.mark.parametrize("phase", ["HEALTHY", "OUTAGE"])
def test_ctrl_c_ends_the_demo_and_all_that_it_started(env: dict[str, str], runtime: str, phase: str) -> None:
    process = start(env, "demo", "--agents", "20", "--runtime", runtime)
    until(process, phase)
    started = children(process.pid)
    assert started
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert (done.returncode, done.stderr) == (130, "colony-pool: interrupted\n")
    assert [pid for pid in started if Path(f"/proc/{pid}").exists()] == []


def test_the_demo_serves_its_metrics_and_knows_a_taken_port(env: dict[str, str], tmp_path: Path) -> None:
    process = start({**env, "TMPDIR": str(tmp_path)}, "demo", "--agents", "2", "--metrics-port", "0")
    url = until(process, "metrics: ").split()[1]
    until(process, "OUTAGE")  # its agents have been at it for seconds
    with urllib3.PoolManager(retries=False) as manager:
        text = manager.request("GET", url).data.decode()
    states = re.findall(r'colony_pool_breaker_state{pool="demo",state="\w+"} ([01])[.]0', text)
    assert ["0", "0", "1"] == sorted(states)
    port = url.split(":")[2].split("/")[0]
    assert_failed(cli(env, "demo", "--agents", "2", "--metrics-port", port), 2, f"--metrics-port {port}", "in use")
    process.send_signal(signal.SIGTERM)  # ends it as Ctrl-C does
    assert finish(process).returncode == 130
    assert [] == list(tmp_path.glob("colony-pool-demo-*")), "nothing is left"


def test_the_demo_says_that_gevent_is_missing(env: dict[str, str], tmp_path: Path) -> None:
    assert_failed(
        cli(without(env, "gevent", tmp_path), "demo", "--runtime", "gevent"), 2, 'pip install "colony_pool[gevent]"'
    )

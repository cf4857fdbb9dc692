"""``colony-pool status --url`` against real pools' metrics, real endpoints that are none, and a real terminal."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from rich.console import Console

import colony_pool as cp
from colony_pool.testing import FakeColony
from tests.support.private import PoolNumbers, Report, Sample, Section, advice, render, span, summarize
from tests.support.private import read_numbers as read
from tests.support.shell import assert_failed, cli, environment, finish, start, until

NOBODY = "127.0.0.1:9"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The metrics of two pools: one calm, one that an operator has opened."""
    registry = CollectorRegistry()
    with (
        FakeColony() as colony,
        cp.ColonyPool(colony.base_url, registry=registry, token_cache=None, name="calm") as calm,
        cp.ColonyPool(colony.base_url, registry=registry, token_cache=None, name="open") as other,
    ):
        calm.agent("col_a").token()
        other.breaker.open()
        yield f"127.0.0.1:{calm.start_metrics_server(0)}"


class Page(BaseHTTPRequestHandler):
    """Answers ``/200/words`` with that status and these words."""

    def do_GET(self) -> None:
        _, status, words = self.path.split("/", 2)
        self.send_response(int(status))
        self.end_headers()
        self.wfile.write(words.replace("_", " ").encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def stranger() -> Iterator[str]:
    """An HTTP server that is no metrics endpoint."""
    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


# -- once -------------------------------------------------------------------------------------------------


def test_a_pool_is_a_section_and_trouble_comes_first(env: dict[str, str], address: str) -> None:
    done = cli(env, "status", "--url", address)
    assert (0, "") == (done.returncode, done.stderr)
    first, *rest = done.stdout.splitlines()
    assert first.startswith("The endpoint does not answer for 1 of 2 pools: tell its owner. 0 calls wait.")
    assert "Do not restart the agents" in done.stdout
    titles = [line.rstrip() for line in rest if f" at {address}" in line]
    assert [f"open at {address}", f"calm at {address}"] == titles
    topics = ["breaker", "probe", "rate limit", "waiting", "refused", "tokens", "attempts", "calls", "retries"]
    found = [re.split("  +", line)[0] for line in rest if "  " in line.rstrip()]
    assert topics * 2 == found
    assert re.search("breaker +open for [0-9.]+ s", done.stdout)
    assert re.search("tokens +1 valid, first ends in (23 h 59 min|1 d)", done.stdout)


def test_json_is_for_scripts(env: dict[str, str], address: str) -> None:
    output = json.loads(cli(env, "status", "--url", f"http://{address}/metrics", "--json").stdout)
    calm, troubled = output["pools"]
    assert ("calm", "closed", 1, 1) == (calm["pool"], calm["state"], calm["tokens"], calm["processes"])
    assert ("open", "open", 1) == (troubled["pool"], troubled["state"], troubled["not_closed"])
    assert troubled["next_probe_in"] is not None
    assert calm["attempts_per_s"] is None, "a rate needs two readings"
    assert {} == output["errors"]


def test_an_endpoint_that_does_not_answer_is_5_and_the_others_are_shown(env: dict[str, str], address: str) -> None:
    done = cli(env, "status", "--url", address, "--url", NOBODY, "--json")
    assert 5 == done.returncode
    output, failure = map(json.loads, done.stdout.splitlines())
    assert {"http://127.0.0.1:9/metrics": "connection refused"} == output["errors"]
    assert 2 == len(output["pools"])
    assert "unavailable: http://127.0.0.1:9/metrics: connection refused" == failure["message"]
    assert failure["hint"].startswith("Check that the process is running")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/404/nothing", "HTTP 404"),
        ("/302/elsewhere", "HTTP 302"),
        ("/200/<html>hello</html>", "not in Prometheus' text format"),
        ('/200/{"status":"ok"}', "not in Prometheus' text format"),
        ("/200/hello", "not in Prometheus' text format"),
        ("/200/\xff", "not in Prometheus' text format"),
        ("/200/", "holds no metrics of a ColonyPool"),
        ("/200/up_1", "holds no metrics of a ColonyPool"),
    ],
)
def test_what_is_no_metrics_endpoint_is_5_and_one_line(
    env: dict[str, str], stranger: str, path: str, words: str
) -> None:
    assert_failed(cli(env, "status", "--url", stranger + path), 5, "unavailable: http", words, "Check that")


def test_what_cannot_be_reached_is_5_and_says_why(env: dict[str, str]) -> None:
    assert_failed(cli(env, "status", "--url", NOBODY), 5, "http://127.0.0.1:9/metrics: connection refused")
    assert_failed(cli(env, "status", "--url", "http://no.such.host.invalid"), 5, "name cannot be resolved")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        process = start(env, "status", "--url", f"127.0.0.1:{port}")
        with server.accept()[0] as connection:
            connection.recv(1000)
            connection.sendall(b"220 this is mail\r\n")
        assert_failed(finish(process), 5, "it is no HTTP server")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--url", "ftp://x"), "--url ftp://x: must be an http"),
        (("--url", "http://"), "--url http://: must be an http"),
        (("--url", "http://x:port"), "--url: its host or its port cannot be read"),
        (("--url", "http://me:pass-word@x"), "--url of x: must have no user and no password"),
        (("--url", "x", "--shared", "host"), "--url: cannot be combined with --shared"),
        (("--url", "x", "--base-url", "https://y"), "--url: cannot be combined with --base-url"),
        (("--interval", "0.1"), "--interval 0.1: must be from 0.2 to 3600 seconds"),
        (("--interval", "nan"), "--interval nan: must be from"),
        (("--interval", "inf", "--url", "x"), "--interval inf: must be from"),
        (("--interval", "soon"), "--interval"),
    ],
)
def test_what_makes_no_sense_is_2_and_named(env: dict[str, str], args: tuple[str, ...], words: str) -> None:
    done = cli(env, "status", *args)
    assert_failed(done, 2, words)
    assert "pass-word" not in done.stderr


def test_a_variable_for_the_record_is_no_objection_to_url(env: dict[str, str], address: str) -> None:
    assert 0 == cli({**env, "COLONY_POOL_SHARED": "host"}, "status", "--url", address).returncode


# -- on and on --------------------------------------------------------------------------------------------


def test_it_goes_on_until_ctrl_c_and_knows_rates_from_the_second_reading_on(
    env: dict[str, str], address: str
) -> None:
    process = start(env, "status", "--watch", "--interval", "0.2", "--json", "--url", address)
    assert process.stdout is not None
    readings = [json.loads(process.stdout.readline()) for _ in range(3)]
    process.send_signal(signal.SIGINT)
    assert 130 == finish(process).returncode
    assert [2, 2, 2] == [len(reading["pools"]) for reading in readings]
    assert [None, 0.0, 0.0] == [reading["pools"][0]["attempts_per_s"] for reading in readings]


def test_it_watches_on_while_an_endpoint_does_not_answer(env: dict[str, str]) -> None:
    process = start(env, "status", "--watch", "--interval", "0.2", "--url", NOBODY)
    for _ in range(2):
        assert "connection refused" in until(process, NOBODY)
    process.send_signal(signal.SIGINT)
    assert 130 == finish(process).returncode


def on_a_terminal(env: dict[str, str], wanted: str, *args: str) -> tuple[int, str]:
    """Run it on a terminal of 120 x 40 until ``wanted`` has been seen, then press Ctrl-C."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        env.pop(name, None)
    command = [sys.executable, "-m", "colony_pool", *args]
    process = subprocess.Popen(
        command, env={**env, "TERM": "xterm-256color"}, stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    try:
        while wanted.encode() not in seen:
            assert select.select([ours], [], [], 60.0)[0], seen
            seen += os.read(ours, 1 << 16)
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # a terminal that nobody has open any more
            while piece := os.read(ours, 1 << 16):
                seen += piece
        return process.wait(60), seen.decode()
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_on_a_terminal_it_refreshes_in_place_and_leaves_the_screen_as_it_was(
    env: dict[str, str], address: str
) -> None:
    code, seen = on_a_terminal(env, f"calm at {address}", "status", "--watch", "--interval", "0.2", "--url", address)
    assert 130 == code
    assert "\x1b[?1049h" in seen.split("does not answer")[0], "a screen of its own"
    assert "\x1b[?1049l" in seen
    assert "╭" in seen, "each pool is a box"
    assert "Traceback" not in seen


# -- how it looks -----------------------------------------------------------------------------------------


def drawn(width: int, *, terminal: bool, encoding: str = "utf-8", no_color: bool = False) -> str:
    pools = [
        Section(f"pool-{state} at 127.0.0.1:9464", state, None, 2, 0, [("breaker", state), ("probe", "in 2.0 s")])
        for state in ("open", "half_open", "closed")
    ]
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    env = {"TERM": "xterm"}
    on = Console(file=file, width=width, force_terminal=terminal, no_color=no_color, _environ=env)
    on.print(render(Report(pools, {}, ["http://x/metrics: HTTP 404"]), on))
    file.flush()
    return raw.getvalue().decode(encoding)


def test_a_wide_terminal_shows_pools_side_by_side_in_the_colours_of_their_state() -> None:
    lines = drawn(130, terminal=True).splitlines()
    row = next(line for line in lines if "pool-open" in line)
    assert "pool-half_open" in row
    assert "\x1b[31m" in row, "red: open"
    assert "\x1b[33m" in row, "yellow: half-open"


@pytest.mark.parametrize("width", [40, 80])
def test_a_narrow_terminal_cuts_nothing_off(width: int) -> None:
    output = re.sub(r"\x1b\[[\d;]*m", "", drawn(width, terminal=True))
    assert "…" not in output
    assert max(map(len, output.splitlines())) <= width
    assert 3 == output.count("127.0.0.1:9464")
    assert (width >= 50) == ("╭" in output), "a box is worth its columns only where there are many"


def test_without_colour_there_is_none() -> None:
    assert not re.search(r"\x1b\[[\d;]*3\d", drawn(100, terminal=True, no_color=True))


def test_a_terminal_that_knows_ascii_alone_gets_nothing_else() -> None:
    assert drawn(100, terminal=True, encoding="ascii").isascii()


def test_a_pipe_gets_plain_lines() -> None:
    output = drawn(100, terminal=False)
    assert output.isascii()
    lines = [line.rstrip() for line in output.splitlines()]
    assert ["", "pool-open at 127.0.0.1:9464", "breaker  open", "probe    in 2.0 s"] == lines[3:7]


# -- what it makes of numbers -----------------------------------------------------------------------------


def test_a_counter_that_went_back_has_begun_anew() -> None:
    def sample(count: float, at: float) -> Sample:
        return Sample(PoolNumbers("p", {("attempts_total", (("outcome", "ok"),)): count}), at)

    assert summarize("a", sample(100.0, 10.0), sample(80.0, 0.0)).attempts_per_s == 2.0
    assert summarize("a", sample(5.0, 10.0), sample(80.0, 0.0)).attempts_per_s == 0.5
    assert summarize("a", sample(5.0, 10.0), None).attempts_per_s is None


def test_what_a_process_has_nothing_to_tell_about_is_not_known() -> None:
    """An application that serves the shared files by itself shows infinities."""
    (numbers,) = read(
        'colony_pool_breaker_state{pool="p",state="closed"} 1\n'
        'colony_pool_breaker_next_probe_timestamp_seconds{pool="p"} +Inf\n'
        'colony_pool_waiters{pool="p",kind="probe"} NaN\n'
    )
    seen = summarize("a", Sample(numbers, 1e9), None)
    assert (seen.state, seen.next_probe_in, seen.waiters) == ("closed", None, 0)


def test_all_that_a_pool_exports_is_told() -> None:
    def page(attempts: int, lost: int) -> Sample:
        (numbers,) = read(
            'colony_pool_breaker_state{pool="p",state="closed"} 3\n'
            'colony_pool_breaker_state{pool="p",state="open"} 1\n'
            'colony_pool_breaker_last_transition_timestamp_seconds{pool="p"} 999999800\n'
            'colony_pool_breaker_next_probe_timestamp_seconds{pool="p"} 1000000012\n'
            'colony_pool_hold_end_timestamp_seconds{pool="p"} 1000000050\n'
            'colony_pool_waiters{pool="p",kind="probe"} 1200\n'
            'colony_pool_waiters{pool="p",kind="hold"} 30\n'
            'colony_pool_denied_keys{pool="p"} 1\n'
            'colony_pool_tokens{pool="p",freshness="fresh"} 7\n'
            'colony_pool_tokens{pool="p",freshness="expired"} 2\n'
            'colony_pool_token_earliest_expiry_timestamp_seconds{pool="p"} 1000007200\n'
            'colony_pool_admission_window{pool="p"} 4.4\n'
            'colony_pool_retry_budget_tokens{pool="p"} 8\n'
            'colony_pool_retry_budget_limit_tokens{pool="p"} 10\n'
            f'colony_pool_attempts_total{{pool="p",outcome="ok"}} {attempts}\n'
            f'colony_pool_retries_total{{pool="p"}} {attempts // 5}\n'
            f'colony_pool_calls_total{{pool="p",outcome="ok"}} {attempts}\n'
            f'colony_pool_calls_total{{pool="p",outcome="error"}} {lost}\n'
        )
        return Sample(numbers, 1e9 if attempts else 1e9 - 10.0)

    section = summarize("http://h:1/metrics", page(20, 5), page(0, 0)).as_section()
    assert ("p at h:1", "open", 50.0, 1230, 1) == (
        section.title, section.state, section.rate_limited_for, section.waiting, section.refused,
    )  # fmt: skip
    assert section.rows == [
        ("breaker", "open in 1 of 4 processes for 3 min 20 s"),
        ("probe", "in 12 s"),
        ("rate limit", "50 s more"),
        ("waiting", "1,230 calls: 1,200 for the next probe, 30 for the rate limit to end"),
        ("refused", "1 key"),
        ("tokens", "7 valid, first ends in 2 h; 2 expired"),
        ("attempts", "2.0 per s, of these 0.4 retries; limit 4 at once"),
        ("calls", "80.0% got a token"),
        ("retries", "8 of 10 left"),
    ]


def seen(
    state: str = "closed", *, limited: float | None = None, waiting: int | None = 0, refused: int = 0
) -> Section:
    return Section("p", state, limited, waiting, refused, [])


@pytest.mark.parametrize(
    ("sections", "problems", "words"),
    [
        ([seen()], [], "All is well."),
        ([seen(limited=50.0), seen("open")], ["x"], "The server limits the rate of requests for 50 s more."),
        (
            [seen("open", waiting=1), seen()],
            ["x"],
            "does not answer for 1 of 2 pools: tell its owner. 1 call waits. ",
        ),
        ([seen("half_open", waiting=None)], [], "The endpoint does not answer: tell its owner. Valid tokens are"),
        ([seen(refused=2)], ["x"], "Look at x"),
        ([seen(refused=2), seen(refused=1)], [], "3 keys are refused: correct them."),
        ([seen(refused=1)], [], "1 key is refused: correct it."),
    ],
)
def test_the_advice_is_about_what_matters_most(sections: list[Section], problems: list[str], words: str) -> None:
    assert words in advice(Report(sections, {}, problems, "Look at x"))


def test_what_is_no_exposition_is_refused() -> None:
    with pytest.raises(ValueError, match=r"."):
        list(read("<html>502</html>"))
    assert list(read("")) == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "-"), (0.04, "0.0 s"), (59.6, "60 s"), (61, "1 min 1 s"), (3600, "1 h"), (90_061, "1 d 1 h")],
)
def test_spans_read_well(seconds: float | None, words: str) -> None:
    assert span(seconds) == words

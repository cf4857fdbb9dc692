"""Metrics of many processes when things go wrong: no agent fails or hangs for them, nothing is lost or doubled."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from colony_pool.testing import FakeColony
from tests.support.private import reap, shared_registry

HEAD = """
import gc, logging, multiprocessing, os, shutil, signal, sys, threading, time, weakref
from colony_pool import ColonyPool, Timeout
from tests.support.private import exporter_of, metrics_of, shared_registry
from prometheus_client import CollectorRegistry, Counter, mmap_dict

DIR = os.environ["PROMETHEUS_MULTIPROC_DIR"]

def shown(pool="app", metric="attempts_total", **labels):
    labels = labels or {"outcome": "ok"}
    return shared_registry(DIR).get_sample_value(f"colony_pool_{metric}", {"pool": pool, **labels})

def made(name="app", **options):
    return ColonyPool(token_cache=None, name=name, timeout=Timeout(total=0.5), **options)

def until(condition):
    for _ in range(400):
        if condition():
            return True
        threading.Event().wait(0.02)
    return False
"""


@pytest.fixture
def colony() -> Iterator[FakeColony]:
    with FakeColony() as server:
        yield server


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "metrics").mkdir()
    return tmp_path / "metrics"


def run(script: str, directory: Path, colony: FakeColony) -> tuple[list[str], str]:
    """What ``script`` printed, and what it wrote to stderr."""
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(directory), "COLONY_BASE_URL": colony.base_url}
    command = [sys.executable, "-W", "ignore", "-c", HEAD + script]
    done = subprocess.run(command, env=env, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), done.stderr


def test_a_directory_that_is_gone_is_one_line_in_the_log(directory: Path, colony: FakeColony) -> None:
    script = """
with made() as pool:
    shutil.rmtree(DIR)
    pool.agent("col_a").token()
    pool.breaker.open()
    pool.breaker.close()
    count = metrics_of(pool).counters.count
    until(lambda: count("breaker_transitions_total") == 2)  # told after who has asked goes on
    print(count("attempts_total", "ok"), count("breaker_transitions_total"))
    os.mkdir(DIR)
    print(until(lambda: shown() == 1.0))
"""
    printed, logged = run(script, directory, colony)
    assert printed == ["1", "2", "True"], "counted meanwhile, and written as soon as that can be"
    assert logged.count("metrics cannot be written") == 1
    assert "Traceback" not in logged
    assert "closed by an operator" in logged, "what an operator reads does not depend on it"


def test_a_log_handler_that_hangs_over_it_holds_up_no_agent(directory: Path, colony: FakeColony) -> None:
    script = """
entered, leave = threading.Event(), threading.Event()

class Hangs(logging.Handler):
    def handle(self, record):
        entered.set()
        return leave.wait(60.0)

logging.getLogger("colony_pool").addHandler(Hangs())
with made() as pool:
    shutil.rmtree(DIR)
    began = time.monotonic()
    tokens = [pool.agent(f"col_{i}").token() for i in range(5)]
    print(len(tokens), entered.wait(10.0))
    pool.breaker.open()
    pool.breaker.close()
    tokens = [pool.agent(f"col_{i}").token() for i in range(10)]
    print(len(tokens), time.monotonic() - began < 30.0)
    leave.set()
"""
    printed, _ = run(script, directory, colony)
    assert printed == ["5", "True", "10", "True"]


def test_a_full_disk_kills_nobody(directory: Path, colony: FakeColony) -> None:
    """To write to a page of a file for which there is no room is SIGBUS."""
    script = """
full = [0] * 10
full[1], full[2] = 4096, 1000
os.statvfs = lambda path: os.statvfs_result(full)
with made() as pool:
    print(bool(pool.agent("col_a").token()), shown())
"""
    printed, logged = run(script, directory, colony)
    assert printed == ["True", "None"]
    assert logged.count("No space left") == 1


def test_a_signal_that_closes_a_pool_in_the_midst_of_writing_hangs_nobody(
    directory: Path, colony: FakeColony
) -> None:
    script = """
one, other = made("one"), made("other")
one.agent("col_a").token()
other.agent("col_a").token()
other.breaker.open()

def wait():
    try:
        other.agent("col_parked").token()
    except Exception as error:
        print(type(error).__name__)

parked = threading.Thread(target=wait)
parked.start()
until(lambda: other.status().waiters)
signal.signal(signal.SIGTERM, lambda *_: other.close())
write, struck = mmap_dict.MmapedDict.write_value, []

def strike(self, *what):
    write(self, *what)
    if threading.current_thread() is threading.main_thread() and not struck:
        struck.append(True)
        os.kill(os.getpid(), signal.SIGTERM)

mmap_dict.MmapedDict.write_value = strike
one.close()
parked.join()
print(struck, sum(shown("other", "calls_total", outcome=each) for each in ("ok", "error", "fast_fail", "cancelled")))
"""
    assert run(script, directory, colony)[0] == ["PoolClosedError", "[True]", "2.0"]


@pytest.mark.parametrize(
    ("counts", "held_up_for"), [("own.inc()", None), ("exporter_of(pool).write()", 0.5)], ids=["application", "pool"]
)
def test_g24_a_child_does_not_inherit_the_lock_of_the_files(
    directory: Path, colony: FakeColony, counts: str, held_up_for: float | None
) -> None:
    """``prometheus_client`` has one for all. A fork waits for the pool's writer, and not for the application's."""
    script = f"""
own, is_writing, forked = Counter("own", "of the application"), threading.Event(), threading.Event()
write = mmap_dict.MmapedDict.write_value

def held_up(self, *what):
    if threading.current_thread() is slow and not is_writing.is_set():
        is_writing.set()
        forked.wait({held_up_for})  # as long as a slow disk; a fork that does not wait is over by then
    write(self, *what)

def keep_counting():
    while not is_writing.is_set():  # another thread may be at it, and do for this one, too
        {counts}

pool = made()
pool.agent("col_a").token()
mmap_dict.MmapedDict.write_value = held_up
slow = threading.Thread(target=keep_counting)
slow.start()
is_writing.wait()
pid = os.fork()
if pid == 0:
    signal.alarm(20)
    pool.agent("col_child").token()
    pool.close()
    os._exit(0)
forked.set()
print(os.waitpid(pid, 0)[1])
pool.close()
print(shown())
"""
    assert run(script, directory, colony)[0] == ["0", "2.0"]


def test_a_child_of_multiprocessing_that_returns_has_written_all(directory: Path, colony: FakeColony) -> None:
    script = """
pool = made()

def work():
    for number in range(5):
        pool.agent(f"col_{os.getpid()}_{number}").token()
    until(lambda: metrics_of(pool).counters.count("calls_total") == 5)  # who has a token need not wait for that

for _ in range(2):
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join()
shared = shared_registry(DIR)
print(shown(), shared.get_sample_value("colony_pool_attempt_duration_seconds_count", {"pool": "app"}))
"""
    assert run(script, directory, colony)[0] == ["10.0", "10.0"]


def test_pools_of_two_registries_do_not_overwrite_each_other(directory: Path, colony: FakeColony) -> None:
    script = """
with made() as one, made(registry=CollectorRegistry()) as other:
    for pool, key in ((one, "col_a"), (other, "col_b"), (one, "col_c")):
        before = metrics_of(pool).counters.count("attempts_total")
        pool.agent(key).token()
        until(lambda: metrics_of(pool).counters.count("attempts_total") > before)
        exporter_of(pool).write(1.0)
    print(shown(), shown(metric="breaker_state", state="closed"))
"""
    assert run(script, directory, colony)[0] == ["3.0", "2.0"]


def test_a_pool_ticks_on_when_the_one_that_ticked_is_closed_or_gone(directory: Path, colony: FakeColony) -> None:
    script = """
gone = made("gone")
gone.agent("col_a").token()
gone = weakref.ref(gone)
print(until(lambda: gc.collect() is None or gone() is None))
one, other = made("one"), made("other")
one.agent("col_a").token()
other.agent("col_b").token()
one.close()
other.agent("col_c").token()
other.agent("col_d").token()
print(until(lambda: shown("other") == 3.0))
other.close()
"""
    assert run(script, directory, colony)[0] == ["True", "True"]


def test_a_child_that_counts_something_else_says_nothing_of_the_parent(directory: Path, colony: FakeColony) -> None:
    """``prometheus_client`` begins all that the parent has counted at 0 there: the earliest of all moments."""
    script = """
own = Counter("own", "of the application")
with made() as pool:
    pool.agent("col_a").token()
    pool.breaker.open()
    exporter_of(pool).write(1.0)
    name = "colony_pool_breaker_opened_timestamp_seconds"
    before = shared_registry(DIR).get_sample_value(name, {"pool": "app"})
    read, wrote = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        own.inc()
        os.write(wrote, b"x")
        signal.pause()
    os.read(read, 1)
    after = shared_registry(DIR).get_sample_value(name, {"pool": "app"})
    print(before > 1e9, abs(after - before) < 60.0)  # two clocks are read for it, each time anew
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
"""
    assert run(script, directory, colony)[0] == ["True", "True"]


def test_a_file_of_an_earlier_process_of_this_number_is_not_its_grave(colony: FakeColony) -> None:
    """As in a container that was restarted: the same pids, and on tmpfs writing does not make a file younger."""
    script = """
for mode in ("livesum", "livemax", "livemin"):
    path = f"{DIR}/gauge_{mode}_{os.getpid()}.db"
    open(path, "wb").write(bytes(65536))
    os.utime(path, (1e9, 1e9))
with made() as pool:
    pool.agent("col_a").token()
    until(lambda: shown(metric="attempts_total"))
    print(shown(metric="breaker_state", state="closed"))
"""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as memory:
        assert run(script, Path(memory), colony)[0] == ["1.0"]


@pytest.mark.parametrize("content", [b"", b"\xff\x00\x00\x00damaged" * 50])
def test_a_damaged_file_does_not_hide_the_others(
    directory: Path, colony: FakeColony, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    run('with made() as pool:\n    pool.agent("col_a").token()\n', directory, colony)
    (directory / "counter_999.db").write_bytes(content)
    registry = shared_registry(str(directory))
    for _ in range(2):
        assert b'colony_pool_attempts_total{outcome="ok",pool="app"} 1.0' in generate_latest(registry)
    assert caplog.text.count("counter_999.db cannot be read") == 1


def test_the_dead_are_left_out_where_they_cannot_be_taken_away(
    directory: Path, colony: FakeColony, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = """
pool = made()
pool.agent("col_a").token()
until(lambda: shown() == 1.0)
os._exit(0)
"""
    run(script, directory, colony)

    def refuse(path: str) -> None:
        raise PermissionError(path)

    monkeypatch.setattr("prometheus_client.multiprocess.os.remove", refuse)
    page = generate_latest(shared_registry(str(directory)))
    assert b'colony_pool_attempts_total{outcome="ok",pool="app"} 1.0' in page
    assert b"colony_pool_breaker_state{" not in page


def test_a_zombie_is_dead_and_a_number_that_no_process_has_is_nobody(directory: Path) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    for number in (pid, 10**30):
        (directory / f"gauge_livesum_{number}.db").write_bytes(bytes(65536))
    assert sorted(reap(str(directory))) == [pid, 10**30]
    os.waitpid(pid, 0)
    shutil.rmtree(directory)
    assert reap(str(directory)) == []

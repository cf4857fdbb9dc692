"""A pool and its metrics server, made before gevent patches the process (gunicorn ``--preload``)."""

from __future__ import annotations

import subprocess
import sys

BEGIN = """
import logging, threading, time, urllib.request
from prometheus_client import CollectorRegistry
from colony_pool import ColonyPool
from colony_pool.testing import FakeColony

colony = FakeColony()
pool = ColonyPool(colony.base_url, token_cache=None, registry=CollectorRegistry())
"""
TWO = """
pool.agent("col_warm").token()
while threading.active_count() > 1:
    time.sleep(0.01)
from gevent import monkey
monkey.patch_all()
start, nap = (monkey.get_original(*name) for name in (("_thread", "start_new_thread"), ("time", "sleep")))
answers = []

def ask(number):
    while not go:
        pass
    try:
        answers.append(pool.agent(f"col_{number}").token()[:3])
    except BaseException as error:
        answers.append(repr(error))

go = []
for number in range(6):
    start(ask, (number,))
go.append(True)
while len(answers) < 6:
    nap(0.01)
print(set(answers))
"""
SERVER = """
port = pool.start_metrics_server(0)
pool.agent("col_a").token()
from gevent import monkey
monkey.patch_all()
import gevent
read = lambda: b"colony_pool_attempts_total" in urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read()
print(gevent.spawn(read).get(), pool.agent("col_b").token()[:3], gevent.spawn(read).get())
pool.close()
try:
    gevent.spawn(read).get()
except OSError as error:
    print(error.reason.errno)
"""


def said(script: str) -> str:
    run = subprocess.run(
        [sys.executable, "-c", BEGIN + script + "\ncolony.close()"],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_threads_that_find_gevent_patched_late_make_one_fresh_runtime() -> None:
    assert "{'eyJ'}\n" == said(TWO)


def test_a_metrics_server_from_before_gevent_patched_answers_on_and_ends() -> None:
    assert "True eyJ True\n111\n" == said(SERVER)

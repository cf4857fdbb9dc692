"""FakeColony where the program is no Python that could be started again: a frozen application, an embedded one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

CODE = """
import gc, os, subprocess, sys, warnings

warnings.simplefilter("error")
if sys.argv[1] == "gevent":
    from gevent import monkey

    monkey.patch_all()
{what}

def started(*args, **options):
    raise AssertionError("a process was started")

subprocess.Popen = started
from colony_pool import ColonyPool
from colony_pool.testing import FakeColony, FakeColonyError

descriptors = len(os.listdir("/proc/self/fd"))
with FakeColony() as colony, ColonyPool(colony.base_url, token_cache=None, registry=None) as pool:
    agent = pool.agent("col_frozen")
    assert agent.get("/users/me").status == 200
    colony.behave("status", status=404, only="/users/me")
    try:
        agent.get("/users/me")
    except Exception as error:
        assert error.status == 404
    assert colony.count("/users/me") == 2
    try:
        colony.pause()
    except FakeColonyError as error:
        assert "no process of its own" in str(error)
    child = os.fork()
    if not child:
        assert colony.count("/users/me") == 2
        colony.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert colony.stats().open_connections, "a child ends nothing"
try:
    colony.stats()
except FakeColonyError as error:
    assert "closed" in str(error)
try:
    FakeColony(tls=("/no/such/file", "/no/such/file"))
except FakeColonyError as error:
    assert "did not start" in str(error)
else:
    raise AssertionError("it started")
del agent, pool
gc.collect()
assert len(os.listdir("/proc/self/fd")) == descriptors
print("ok", colony.port)
"""
PROGRAMS = {
    "frozen": "sys.frozen = True",
    "another program": "sys.executable = '/usr/sbin/uwsgi'",
    "nothing": "sys.executable = None",
    "gone": "sys.executable = '/no/such/dir/python3'",
}


@pytest.mark.parametrize("kind", ["threads", "gevent"])
@pytest.mark.parametrize("what", PROGRAMS)
def test_it_is_a_thread_where_the_program_is_no_python(what: str, kind: str) -> None:
    code = textwrap.dedent(CODE).format(what=PROGRAMS[what])
    here = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, kind], capture_output=True, text=True, timeout=60, cwd=here, check=False
    )
    assert done.stdout.startswith("ok "), done.stdout + done.stderr
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(done.stdout.split()[1])), timeout=5.0)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_it_ends_when_nobody_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from colony_pool.testing import FakeColony
    from tests.conftest import until

    monkeypatch.setattr(sys, "frozen", True, raising=False)
    before = len(os.listdir("/proc/self/fd"))
    colony = FakeColony()
    assert colony.stats().requests == 0
    del colony
    until(lambda: len(os.listdir("/proc/self/fd")) <= before)

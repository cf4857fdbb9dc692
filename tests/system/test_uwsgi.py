"""G24 under a real uWSGI, which forks in C: Python is told of it late, or never."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest

from colony_pool.testing import FakeColony, subject
from tests.support.servers import Server

UWSGI = Path(sys.executable).with_name("uwsgi")
THREADS, LAZY = ["--enable-threads"], ["--lazy-apps", "--enable-threads"]
GEVENT = ["--enable-threads", "--gevent", "20", "--gevent-monkey-patch"]
EARLY = ["--gevent", "20", "--gevent-early-monkey-patch"]
CASES = {
    "plain": ([], ""), "threads": (THREADS, ""), "several_threads": ([*THREADS, "--threads", "4"], ""),
    "hooks": ([*THREADS, "--py-call-uwsgi-fork-hooks"], ""), "gevent": (GEVENT, ""), "gevent_early": (EARLY, ""),
    "lazy": (LAZY, ""), "host_plain": ([], "host"), "host_threads": (THREADS, "host"),
    "host_gevent": (GEVENT, "host"), "redis_plain": ([], "redis"), "redis_threads": (THREADS, "redis"),
    "redis_gevent": (GEVENT, "redis"),
}  # fmt: skip


@contextmanager
def served(colony: FakeColony, options: list[str], shared: str, warm: int, folder: Path) -> Iterator[str]:
    if not UWSGI.exists():
        if os.environ.get("CI"):
            pytest.fail("uWSGI is not installed")
        pytest.skip("uWSGI is not installed: pip install uwsgi (it is built, by gcc)")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        str(UWSGI), "--http-socket", f"127.0.0.1:{port}", "--module", "tests.support.programs.uwsgi_app", "--master",
        "--processes", "3", "--need-app", "--die-on-term", "--venv", sys.prefix,
        "--pythonpath", str(Path(__file__).parents[2]), *options,
    ]  # fmt: skip
    env = {**os.environ, "COLONY": colony.base_url, "SHARED": shared, "WARM": str(warm)}
    env["COLONY_POOL_STATE_DIR"] = str(folder / "state")
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        try:
            while not _answers(port):
                assert process.poll() is None, (folder / "log").read_text()
                Event().wait(0.05)
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def _store(shared: str, folder: Path) -> Iterator[str]:
    """What ``shared=`` is to be: for ``redis`` a server that runs meanwhile."""
    if shared != "redis":
        yield shared
        return
    server = Server("redis", folder)
    try:
        yield server.url
    finally:
        server.kill()


def _read(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=30.0) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return error.read().decode()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("case", "warm"), [*((case, 4) for case in CASES), ("plain", 0), ("threads", 0), ("gevent", 0), ("threads", 1)]
)
def test_g24_uwsgi_workers_get_their_own_answers(case: str, warm: int, tmp_path: Path) -> None:
    keys = [f"col_{number}" for number in range(48)]
    options, shared = CASES[case]
    with (
        FakeColony() as colony,
        _store(shared, tmp_path) as store,
        served(colony, options, store, warm, tmp_path) as url,
        ThreadPoolExecutor(8) as crowd,
    ):
        answers = list(crowd.map(lambda key: _read(url + key), keys))
        assert answers == [subject(key) for key in keys]
        counts = dict(_read(url).split() for _ in range(30))
        asked = [request for request in colony.requests() if request.path.endswith("/auth/token")]
        if len(counts) == 3:  # else a worker has not been met
            masters = 0 if case == "lazy" else warm
            assert sum(map(int, counts.values())) == len(asked) - masters

"""``colony-pool status`` and ``reset`` where the server is far away, or the URL is none that can be used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.private import OpenState, RedisStore
from tests.support.servers import Server
from tests.support.shell import assert_failed, cli, environment
from tests.system.test_store_faults import Proxy

URL = "https://api.example/v1"
LONG = 10_000.0
DOWN = OpenState(probe_in=LONG, level=3, opened_for=200.0, cause="HTTP 502", status=502)


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {**environment(tmp_path), "COLONY_BASE_URL": URL}


def test_what_is_wrong_with_a_url_is_2_and_not_an_outage(env: dict[str, str]) -> None:
    pytest.importorskip("redis")
    for url in ("redis://127.0.0.1:1/0?sokcet_timeout=1", "redis://127.0.0.1:1/zero"):
        assert_failed(cli(env, "status", "--shared", url), 2, "--shared ")


def test_an_operator_may_be_far_from_the_server(env: dict[str, str], tmp_path: Path) -> None:
    """Farther than an agent's call could wait: three answers at least, half a second each."""
    server = Server("valkey", tmp_path)
    proxy = Proxy(server.port)
    proxy.delay = 0.5
    try:
        assert 0 == cli(env, "status", "--shared", f"redis://127.0.0.1:{proxy.port}").returncode
    finally:
        proxy.close()
        server.kill()


def test_a_reset_that_a_server_may_still_carry_out_is_not_denied(env: dict[str, str], tmp_path: Path) -> None:
    server = Server("valkey", tmp_path)
    proxy = Proxy(server.port)
    store = RedisStore(server.url, URL)
    try:
        store.reset()  # the server knows the script
        store.open("me", store.look().generation, DOWN)
        command = [sys.executable, "-u", "-m", "colony_pool", "reset", "--shared"]
        process = subprocess.Popen(
            [*command, f"redis://127.0.0.1:{proxy.port}?socket_timeout=2"],
            env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stderr is not None
        seen = ""
        while "[y/N]" not in seen:
            seen += process.stderr.read(1)
        proxy.delay = LONG
        _, err = process.communicate("y\n", timeout=100)
        assert 5 == process.returncode
        assert "It may have been reset nevertheless" in err
        assert None is store.look().opening
    finally:
        store.close()
        proxy.close()
        server.kill()

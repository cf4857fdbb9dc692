"""``colony-pool status`` and ``reset``, and how ``token`` shares its host's door: real processes, real records."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from colony_pool.testing import FakeColony
from tests.support.private import (
    HostStatus,
    HostStore,
    OpenState,
    RedisStore,
    Report,
    SharedDenial,
    SharedState,
    Store,
    TokenCache,
    advice,
)
from tests.support.servers import Server
from tests.support.shell import (
    KEY,
    Done,
    assert_failed,
    assert_failed_as_json,
    cli,
    environment,
    finish,
    patient,
    start,
    without,
)

URL = "https://api.example/v1"
LONG = 10_000.0
DOWN = OpenState(probe_in=LONG, level=3, opened_for=200.0, cause="HTTP 502", status=502)
DUE = OpenState(probe_in=0.0, level=3, opened_for=200.0, cause="HTTP 502", status=502)
JWT = "eyJ.secret.jwt"
ME = pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A user's variables, in this process, too: what a test puts into the record is what a command finds."""
    env = {**patient(environment(tmp_path), tmp_path), "COLONY_BASE_URL": URL}
    for name in ("COLONY_SDK_TOKEN_CACHE_DIR", "COLONY_POOL_STATE_DIR"):
        monkeypatch.setenv(name, env[name])
    return env


@pytest.fixture
def store(env: dict[str, str]) -> Iterator[HostStore]:
    del env  # it moved the state
    store = HostStore(URL)
    yield store
    store.close()


def status(env: dict[str, str], *args: str) -> dict[str, Any]:
    done = cli(env, "status", "--json", *args)
    assert (0, "") == (done.returncode, done.stderr)
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def lines(done: Done) -> dict[str, str]:
    """What a person reads, by the word that it begins with."""
    assert (0, "") == (done.returncode, done.stderr)
    shown = (line.rstrip().partition("  ") for line in done.stdout.splitlines())
    return {topic: words.strip() for topic, gap, words in shown if gap}


# -- status -----------------------------------------------------------------------------------------------


def test_status_of_a_host_where_nothing_has_happened(env: dict[str, str]) -> None:
    assert {
        "breaker": "closed",
        "probe": "none is needed",
        "rate limit": "none",
        "waiting": "0 processes with calls that wait",
        "refused": "0 keys",
        "tokens": "none in this host's cache",
    } == lines(cli(env, "status"))


def test_status_says_whose_record_it_is(env: dict[str, str]) -> None:
    """Root, who has no agents, would else be told that all is well."""
    assert ["All is well.", "", f"{URL}, as this host (user {ME}) knows it"] == [
        line.rstrip() for line in cli(env, "status").stdout.splitlines()[:3]
    ]


def test_status_json_is_for_scripts(env: dict[str, str], store: HostStore) -> None:
    store.open("me", 0, DOWN)
    store.hold(LONG, "HTTP 429 from the rate limit")
    store.join("me", LONG)
    store.release_key("me", "k", denial=SharedDenial(LONG, 1, 401, None, "no"))
    facts = status(env)
    since, due, paused_for = (facts.pop(name) for name in ("since", "next_probe_in", "hold_for"))
    assert facts.pop("at") <= time.time()
    assert 200.0 <= since < 200.0 + LONG / 2
    assert LONG / 2 < due <= LONG
    assert LONG / 2 < paused_for <= LONG
    assert facts == {
        "api": URL, "shared": "this host", "state": "open", "cause": "HTTP 502", "prober": None, "lease_for": None,
        "hold_cause": "HTTP 429 from the rate limit", "members": 1, "denied": 1, "tokens": [],
    }  # fmt: skip


def test_status_says_who_probes(env: dict[str, str], store: HostStore) -> None:
    store.open("me", 0, DUE)
    assert ("open", 0.0) == (status(env)["state"], status(env)["next_probe_in"])
    assert "with the next call" == lines(cli(env, "status"))["probe"]
    store.claim_probe("here/123/abc", LONG)
    facts = status(env)
    assert ("half_open", "here/123/abc", None) == (facts["state"], facts["prober"], facts["next_probe_in"])
    assert 0.0 < facts["lease_for"] <= LONG
    shown = lines(cli(env, "status"))
    assert shown["breaker"].startswith("half-open for 3 min")
    assert "here/123/abc" in shown["probe"]


def test_g23_status_tells_how_long_tokens_last_and_shows_none(env: dict[str, str], store: HostStore) -> None:
    del store
    cache = TokenCache(URL)
    cache.save("col_a", JWT, time.time() + LONG)
    cache.save("col_b", JWT, time.time() + 2 * LONG)
    cache.save("col_c", JWT, time.time() - 1.0)
    done = cli(env, "status", "--json")
    first, second = json.loads(done.stdout)["tokens"]
    assert LONG / 2 < first <= LONG < second <= 2 * LONG
    assert JWT not in done.stdout
    assert lines(cli(env, "status"))["tokens"].startswith("2 in this host's cache; first ends in 2 h")


def test_status_is_of_one_api(env: dict[str, str], store: HostStore) -> None:
    store.open("me", 0, DOWN)
    assert "closed" == status(env, "--base-url", "https://another.example")["state"]
    assert "open" == status(env, "--base-url", URL)["state"]


def test_status_watches_until_ctrl_c(env: dict[str, str], store: HostStore) -> None:
    process = start(env, "status", "--json", "--watch", "--interval", "0.2")
    assert process.stdout is not None
    assert "closed" == json.loads(process.stdout.readline())["state"]
    store.open("me", 0, DOWN)
    while json.loads(process.stdout.readline())["state"] != "open":
        pass
    process.send_signal(signal.SIGINT)
    assert 130 == finish(process).returncode


def broken(env: dict[str, str]) -> None:
    """A folder that is open to others is not used."""
    folder = Path(env["COLONY_POOL_STATE_DIR"]) / "host"
    folder.mkdir(parents=True)
    folder.chmod(0o777)


def test_what_cannot_be_read_is_5(env: dict[str, str]) -> None:
    broken(env)
    assert_failed(cli(env, "status"), 5, "unavailable: ", "is open to others")
    assert "is open to others" in assert_failed_as_json(cli(env, "status", "--json"), 5, "unavailable")["message"]
    assert_failed(cli(env, "reset", "--yes"), 5, "is open to others", "Nothing was reset")


def test_status_watches_on_while_it_cannot_be_read(env: dict[str, str]) -> None:
    broken(env)
    process = start(env, "status", "--json", "--watch", "--interval", "0.2")
    assert process.stdout is not None
    assert "is open to others" in json.loads(process.stdout.readline())["error"]
    (Path(env["COLONY_POOL_STATE_DIR"]) / "host").chmod(0o700)
    while "error" in json.loads(process.stdout.readline()):
        pass
    process.send_signal(signal.SIGINT)
    assert 130 == finish(process).returncode


def test_status_and_reset_of_a_fleet(env: dict[str, str], tmp_path: Path) -> None:
    server = Server("valkey", tmp_path)
    try:
        store: Store = RedisStore(server.url, URL)
        store.open("me", 0, DOWN)
        store.close()
        env["COLONY_POOL_SHARED"] = server.url  # a URL may hold a password: the variable keeps it out of `ps`
        assert ("open", server.url) == (status(env)["state"], status(env)["shared"])
        assert 0 == cli(env, "reset", "--yes").returncode
        assert "closed" == status(env)["state"]
    finally:
        server.kill()
    env["COLONY_POOL_SHARED"] = server.url.replace("//", "//:pass-word@")
    done = cli(env, "status")
    assert_failed(done, 5, "unavailable")
    assert "pass-word" not in done.stderr


def test_status_of_a_server_that_is_gone_says_where_this_host_stands(env: dict[str, str]) -> None:
    pytest.importorskip("redis")
    assert_failed(cli(env, "status", "--shared", "redis://127.0.0.1:1/0"), 5, "unavailable", "--shared host")


def test_a_fleet_without_its_extra_says_what_to_install(env: dict[str, str], tmp_path: Path) -> None:
    env = without(env, "redis", tmp_path)
    for command in ("token", "status", "reset"):
        assert_failed(cli(env, command, "--shared", "redis://h"), 2, "--shared", "colony-pool[redis]")


def test_what_is_told_of_one_token_and_of_one_process() -> None:
    shown = HostStatus(URL, "this host", "closed", None, "", None, None, None, 50.0, "HTTP 429", 1, 1, [90_061.0])
    section = shown.as_section()
    assert "The server limits the rate of requests for 50 s more." in advice(Report([section], {}))
    words = dict(section.rows)
    assert ("50 s more (HTTP 429)", "1 process with calls that wait") == (words["rate limit"], words["waiting"])
    assert ("1 key", "1 in this host's cache; it ends in 1 d 1 h") == (words["refused"], words["tokens"])


# -- reset ------------------------------------------------------------------------------------------------


def answered(env: dict[str, str], answer: str) -> Done:
    process = subprocess.Popen(
        [sys.executable, "-m", "colony_pool", "reset"],
        env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    out, err = process.communicate(answer, timeout=100)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.mark.parametrize("answer", ["", "n\n", "\n", "never\n"])
def test_nothing_is_reset_without_a_yes(env: dict[str, str], store: HostStore, answer: str) -> None:
    opened = store.open("me", 0, DOWN)
    done = answered(env, answer)
    assert (2, "") == (done.returncode, done.stdout)
    assert "nothing was reset" in done.stderr.splitlines()[-1]
    assert opened.generation == store.look().generation


def test_reset_shows_what_there_is_asks_and_ends_it(env: dict[str, str], store: HostStore) -> None:
    opened = store.open("me", 0, DOWN)
    store.hold(LONG, "HTTP 429")
    store.release_key("me", "k", denial=SharedDenial(LONG, 1, 401, None, "no"))
    done = answered(env, "y\n")
    words = "a rate limit with 2 h 46 min to go was ended (HTTP 429)"
    assert (0, f"{URL}: reset for this host (user {ME}); {words}\n") == (done.returncode, done.stdout)
    assert "HTTP 502" in done.stderr
    assert "Reset it? [y/N] " in done.stderr
    survey = store.survey()
    view = replace(survey.view, cleared_ago=None)
    assert (SharedState(generation=survey.view.generation), 0) == (view, survey.denied)
    assert survey.view.generation > opened.generation


def test_g13_reset_rate_limit_ends_the_pause_alone(env: dict[str, str], store: HostStore) -> None:
    opened = store.open("me", 0, DOWN)
    store.hold(LONG, "HTTP 429")
    for ended in ("a rate limit with 2 h 46 min to go was ended (HTTP 429)", "there was no rate limit"):
        done = cli(env, "reset", "--rate-limit", "--yes")
        words = f"{URL}: rate limit cleared for this host (user {ME}); {ended}\n"
        assert (0, words) == (done.returncode, done.stdout), done.stderr
        view = store.look()
        assert (opened.generation, True, 0.0) == (view.generation, view.opening is not None, view.hold_for)


def test_reset_does_not_ask_who_has_said_yes(env: dict[str, str], store: HostStore) -> None:
    store.open("me", 0, DOWN)
    done = cli(env, "reset", "--yes")
    assert (0, "") == (done.returncode, done.stderr)
    assert None is store.look().opening


# -- token ------------------------------------------------------------------------------------------------


@pytest.fixture
def colony(env: dict[str, str]) -> Iterator[FakeColony]:
    with FakeColony() as colony:
        env["COLONY_BASE_URL"] = colony.base_url
        yield colony


def test_g16_shell_scripts_of_one_host_make_one_exchange_for_a_key(env: dict[str, str], colony: FakeColony) -> None:
    colony.latency(0.5)
    scripts = [start(env, "token") for _ in range(4)]
    done = [finish(script) for script in scripts]
    assert [(0, "")] * 4 == [(one.returncode, one.stderr) for one in done]
    assert 1 == len({one.stdout for one in done})
    assert 1 == colony.count("/auth/token")


def test_g13_the_next_script_keeps_the_pause_that_the_last_one_was_told_of(
    env: dict[str, str], colony: FakeColony
) -> None:
    colony.behave("status", status=429, headers={"Retry-After": "600"})
    assert 4 == cli(env, "token").returncode
    assert_failed(cli(env, "token"), 4, "rate limited for", "Come back in ", "the API key is fine")
    assert 1 == colony.count("/auth/token")
    assert "HTTP 429" in status(env)["hold_cause"]
    assert 4 == cli(env, "token", "--shared", "none").returncode
    assert 2 == colony.count("/auth/token")


def test_g14_a_key_that_was_refused_rests_for_all_scripts(env: dict[str, str], colony: FakeColony) -> None:
    colony.deny(KEY)
    assert_failed(cli(env, "token"), 3, "denied")
    assert_failed(cli(env, "token"), 3, "denied")
    assert 1 == colony.count("/auth/token")
    assert 1 == status(env)["denied"]
    assert 0 == cli(env, "reset", "--yes").returncode
    assert_failed(cli(env, "token"), 3, "denied")
    assert 2 == colony.count("/auth/token")


def test_a_record_that_cannot_be_used_costs_a_script_nothing(env: dict[str, str], colony: FakeColony) -> None:
    del colony
    broken(env)
    done = cli(env, "token")
    assert (0, "") == (done.returncode, done.stderr)

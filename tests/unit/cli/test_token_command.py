"""``colony-pool token``, help and misuse, as a shell sees them: real processes against a real server on loopback."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from colony_pool.testing import FakeColony
from tests.support.shell import KEY, assert_failed, assert_failed_as_json, cli, environment, finish, start, without

JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+")


@pytest.fixture
def colony() -> Iterator[FakeColony]:
    with FakeColony() as server:
        yield server


@pytest.fixture
def env(tmp_path: Path, colony: FakeColony) -> dict[str, str]:
    return environment(tmp_path, colony)


# -- token ------------------------------------------------------------------------------------------------


def test_token_prints_the_jwt_and_nothing_else(env: dict[str, str]) -> None:
    done = cli(env, "token")
    assert (done.returncode, done.stderr) == (0, "")
    assert JWT.fullmatch(done.stdout.removesuffix("\n"))


def test_g21_a_second_run_takes_the_token_from_disk(env: dict[str, str], colony: FakeColony) -> None:
    first = cli(env, "token")
    colony.behave("status", status=502)
    assert first.stdout == cli(env, "token").stdout
    assert colony.count("/auth/token") == 1


def test_token_json(env: dict[str, str]) -> None:
    answer = json.loads(cli(env, "token", "--json").stdout)
    assert {"token", "expires_at"} == set(answer)
    assert JWT.fullmatch(answer["token"])
    assert answer["expires_at"] > 1_700_000_000


def test_the_key_may_come_from_a_file_and_the_address_from_an_option(
    env: dict[str, str], colony: FakeColony, tmp_path: Path
) -> None:
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    del env["COLONY_API_KEY"], env["COLONY_BASE_URL"]
    done = cli(env, "token", "--api-key-file", str(path), "--base-url", colony.base_url)
    assert done.returncode == 0, done.stderr


def test_token_waits_until_the_server_is_back(env: dict[str, str], colony: FakeColony) -> None:
    colony.behave("status", status=502)
    process = start(env, "token", "--max-wait", "60")
    while not colony.count("/auth/token"):
        assert process.poll() is None
    colony.behave("healthy")
    done = finish(process)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("status", [401, 403, 404, 422])
def test_denied_is_3(env: dict[str, str], colony: FakeColony, status: int) -> None:
    colony.deny(KEY, status=status)
    assert_failed(cli(env, "token"), 3, "denied: ", str(status))


def test_denied_for_want_of_a_code_is_3_and_does_not_blame_the_key(env: dict[str, str], colony: FakeColony) -> None:
    colony.key(KEY, totp_secret="JBSWY3DPEHPK3PXP")
    assert_failed(cli(env, "token"), 3, "2FA", "totp=")


def test_throttled_is_4_and_says_when_to_come_back(env: dict[str, str], colony: FakeColony) -> None:
    colony.behave("status", status=429, headers={"Retry-After": "600"})
    assert_failed(cli(env, "token"), 4, "in 600 s", "the API key is fine")


@pytest.mark.parametrize("status", [500, 502, 503])
def test_unavailable_is_5_and_says_when_to_come_back(env: dict[str, str], colony: FakeColony, status: int) -> None:
    colony.behave("status", status=status)
    assert_failed(cli(env, "token", "--max-wait", "0"), 5, str(status), "Come back in ")


def test_no_network_is_5(env: dict[str, str], colony: FakeColony) -> None:
    colony.stop_listening()
    assert_failed(cli(env, "token"), 5, "no answer")


def test_a_server_that_quotes_the_key_does_not_get_it_printed(env: dict[str, str], colony: FakeColony) -> None:
    colony.behave("status", status=400, body=json.dumps({"detail": f"what is {KEY}?"}))
    assert_failed(cli(env, "token"), 3, "what is")


def test_a_failure_is_json_on_request(env: dict[str, str], colony: FakeColony) -> None:
    colony.behave("status", status=429, headers={"Retry-After": "600"})
    facts = assert_failed_as_json(cli(env, "token", "--json", "--shared", "none"), 4, "throttled")
    assert (facts["status"], facts["retry_after"]) == (429, 600)
    assert "Come back in 600 s, not sooner: trying prolongs it; the API key is fine" == facts["hint"]
    assert "Come back" not in facts["message"]
    colony.behave("status", status=502)
    facts = assert_failed_as_json(cli(env, "token", "--json", "--max-wait", "0"), 5, "unavailable")
    assert (facts["status"], facts["retry_after"] > 0) == (502, True)
    assert "--base-url" in facts["hint"], "the library's hint, with the shell's name of the option"
    colony.deny(KEY)
    colony.behave("healthy")
    facts = assert_failed_as_json(cli(env, "token", "--json"), 3, "denied")
    assert (facts["status"], facts["retry_after"]) == (401, None)
    del env["COLONY_API_KEY"]
    assert_failed_as_json(cli(env, "token", "--json"), 2, "misused")
    assert_failed_as_json(cli(env, "token", "--json", "--key"), 2, "misused")


def test_no_key_is_misuse(env: dict[str, str]) -> None:
    del env["COLONY_API_KEY"]
    assert_failed(cli(env, "token"), 2, "COLONY_API_KEY", "--api-key-file")


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe\x00", None])
def test_a_useless_key_file_is_misuse(env: dict[str, str], tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    assert_failed(cli(env, "token", "--api-key-file", str(path)), 2, "--api-key-file")


def test_a_key_that_cannot_be_one_is_misuse_and_is_not_shown(env: dict[str, str]) -> None:
    env["COLONY_API_KEY"] = "sk_secret_of_another"
    done = cli(env, "token")
    assert_failed(done, 2, "api_key")
    assert "secret_of_another" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("token", "--base-url", "http://example.com"), "--base-url http://example.com: an API key would travel"),
        (("token", "--max-wait", "-1"), "--max-wait"),
        (("token", "--max-wait", "nan"), "--max-wait"),
        (("token", "--key", "x"), "token --help"),
        (("token", "--shared", "hots"), "--shared hots"),
        (("token", "--shared", "redis://:secret@:1"), "--shared"),
        (("status", "--shared", "none"), "--shared none"),
        (("status", "--shared", "http://h"), "--shared http://h"),
        (("status", "--base-url", "example.com"), "--base-url"),
        (("status", "--interval", "0"), "--interval"),
        (("reset", "everything"), "reset --help"),
        (("token", "more"), "token --help"),
        (("tokens",), "colony-pool --help"),
        (("demo", "--runtime", "asyncio"), "--runtime asyncio"),
        (("demo", "--agents", "0"), "--agents"),
        (("demo", "--agents", "many"), "--agents"),
        (("demo", "--metrics-port", "70000"), "--metrics-port"),
        (("demo", "--report", "/no/where.html"), "--report"),
        (("demo", "--report", "/"), "--report"),
    ],
)
def test_misuse_is_2_and_one_line(env: dict[str, str], args: tuple[str, ...], said: str) -> None:
    assert_failed(cli(env, *args), 2, said)


@pytest.mark.slow
def test_ctrl_c_while_it_waits_is_130_and_one_line(env: dict[str, str], colony: FakeColony) -> None:
    colony.behave("hang")
    for args in ((), ("--json",)):
        process = start(env, "token", *args)
        while not colony.stats().in_flight:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        done = finish(process)
        if args:
            assert_failed_as_json(done, 130, "interrupted")
        else:
            assert_failed(done, 130, "interrupted")
        while colony.stats().in_flight:
            pass


def test_output_that_cannot_be_written_is_1(env: dict[str, str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "colony_pool", "token"],
            env=env, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "colony-pool: cannot write the output: No space left on device\n"


def under_a_shell(env: dict[str, str], command: str) -> subprocess.CompletedProcess[str]:
    """What a shell makes of ``colony-pool`` in ``command``."""
    line = f'colony() {{ "{sys.executable}" -m colony_pool "$@"; }}; {command}'
    done = subprocess.run(["sh", "-c", line], check=False, env=env, capture_output=True, text=True, timeout=100)
    assert "Traceback" not in done.stdout + done.stderr
    return done


@pytest.mark.slow
def test_streams_that_are_closed_are_no_bug_of_ours(env: dict[str, str]) -> None:
    """As a daemon starts its children; and a shell script takes for a token whatever is on stdout."""
    assert under_a_shell(env, "colony token >&-").stderr == (
        "colony-pool: cannot write the output: stdout is closed\n"
    )
    done = under_a_shell(env, "colony token --shared nobody 2>&-")
    assert (2, "", "") == (done.returncode, done.stdout, done.stderr)
    done = under_a_shell(env, "colony reset <&-")
    assert 2 == done.returncode
    assert "nothing was reset" in done.stderr


def test_a_letter_that_the_terminal_does_not_know_is_spelt_out(env: dict[str, str]) -> None:
    done = under_a_shell({**env, "PYTHONIOENCODING": "ascii"}, "colony status --base-url https://k\xe4se.example")
    assert (0, "") == (done.returncode, done.stderr)
    assert r"k\xe4se.example" in done.stdout


# -- all of it --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "args", [("--help",), ("-h",), *((name, "--help") for name in ("token", "status", "reset", "demo"))]
)
def test_help(env: dict[str, str], args: tuple[str, ...]) -> None:
    done = cli(env, *args)
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("Exit codes:", "130 Ctrl-C") if len(args) > 1 else ("token", "demo"):
        assert word in " ".join(done.stdout.split())


def test_without_a_command_it_shows_its_help(env: dict[str, str]) -> None:
    done = cli(env)
    assert done.returncode == 2
    assert "Usage" in done.stdout + done.stderr


def test_version(env: dict[str, str]) -> None:
    import colony_pool

    assert f"colony-pool {colony_pool.__version__}\n" == cli(env, "--version").stdout


@pytest.mark.parametrize("missing", ["typer", "rich"])
@pytest.mark.parametrize("command", ["token", "demo"])
def test_without_its_extra_it_says_what_to_install(
    env: dict[str, str], tmp_path: Path, missing: str, command: str
) -> None:
    env = without(env, missing, tmp_path)
    assert_failed(cli(env, command), 2, 'pip install "colony_pool[cli]"')
    assert_failed_as_json(cli(env, command, "--json"), 2, "misused")

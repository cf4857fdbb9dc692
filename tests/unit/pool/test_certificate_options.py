"""Whom TLS trusts: the option, the environment, the system, in this order (G22)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

import colony_pool as cp
from colony_pool.sdk import ColonyClient
from colony_pool.testing import FakeColony

VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
NO_RETRIES = cp.RetryConfig(max_retries=0)


class Files:
    """Certificates on disk: of the server's authority, and of another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        authority, other = trustme.CA(), trustme.CA()
        self.right, self.wrong = str(folder / "right.pem"), str(folder / "wrong.pem")
        authority.cert_pem.write_to_path(self.right)
        other.cert_pem.write_to_path(self.wrong)
        issued = authority.issue_cert("localhost")
        self.server = str(folder / "server.pem"), str(folder / "server.key")
        Path(self.server[0]).write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(self.server[1])

    def hashed(self) -> str:
        """A folder as OpenSSL looks into it."""
        folder = self.folder / "hashed"
        folder.mkdir(exist_ok=True)
        command = ["openssl", "x509", "-hash", "-noout", "-in", self.right]
        name = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        shutil.copy(self.right, folder / f"{name}.0")
        return str(folder)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def colony(files: Files) -> Iterator[FakeColony]:
    with FakeColony(tls=files.server) as server:
        yield server


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def pool_on(base_url: str, **options: Any) -> cp.ColonyPool:
    return cp.ColonyPool(base_url, token_cache=None, registry=None, auth_token_retry=NO_RETRIES, **options)


def trusts(colony: FakeColony, **options: Any) -> bool:
    """Whether a pool that is made now trusts the server."""
    with pool_on(colony.base_url, **options) as pool:
        failure: cp.ColonyNetworkError | None = None
        try:
            pool.agent("col_a").token(max_wait=0)
        except cp.ColonyNetworkError as error:
            failure = error
    said = ("", "") if failure is None else (failure.message, failure.hint)
    assert failure is None or "tls: " in said[0]
    assert failure is None or all(name in said[1] for name in ("ca_certs=", *VARIABLES[::2], "CURL_CA_BUNDLE"))
    return failure is None


@pytest.mark.parametrize(
    ("variables", "option", "good"),
    [
        ({}, None, False),
        ({}, "right", True),
        ({}, "", False),
        ({"SSL_CERT_FILE": "right"}, None, True),
        ({"REQUESTS_CA_BUNDLE": "right"}, None, True),
        ({"CURL_CA_BUNDLE": "right"}, None, True),
        ({"SSL_CERT_DIR": "hashed"}, None, True),
        ({"REQUESTS_CA_BUNDLE": "hashed"}, None, True),
        ({}, "hashed", True),
        ({"SSL_CERT_FILE": "wrong", "REQUESTS_CA_BUNDLE": "right"}, None, False),
        ({"REQUESTS_CA_BUNDLE": "wrong", "CURL_CA_BUNDLE": "right"}, None, False),
        ({"SSL_CERT_FILE": "", "REQUESTS_CA_BUNDLE": "", "CURL_CA_BUNDLE": "right"}, None, True),
        ({"SSL_CERT_FILE": "wrong", "SSL_CERT_DIR": "hashed"}, None, True),
        ({"REQUESTS_CA_BUNDLE": "wrong", "SSL_CERT_DIR": "hashed"}, None, True),
        ({"SSL_CERT_FILE": "right", "SSL_CERT_DIR": "hashed"}, "wrong", False),
        ({"SSL_CERT_FILE": "nowhere.pem"}, "right", True),
    ],
)
def test_g22_the_first_that_is_set_says_whom_to_trust(
    monkeypatch: pytest.MonkeyPatch, colony: FakeColony, files: Files, variables: dict[str, str],
    option: str | None, good: bool,
) -> None:  # fmt: skip
    known = {"right": files.right, "wrong": files.wrong, "hashed": files.hashed(), "": ""}
    for name, value in variables.items():
        monkeypatch.setenv(name, known.get(value, value))
    assert trusts(colony, ca_certs=None if option is None else known[option]) is good


def test_g22_a_scheme_in_capitals_is_the_same(colony: FakeColony, files: Files) -> None:
    base_url = colony.base_url.replace("https:", "HTTPS:")
    with pool_on(base_url, ca_certs=files.right) as pool:
        assert pool.agent("col_a").get("/users/me").status == 200
    with pytest.raises(ValueError, match="ca_certs="):
        pool_on(base_url, ca_certs="/nonexistent.pem")


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "ca_certs", "client_cert"])
def test_a_file_that_cannot_be_used_is_an_error_that_names_it_and_who_has_named_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    empty, garbage, missing = (tmp_path / each for each in ("empty.pem", "garbage.pem", "missing.pem"))
    empty.touch()
    garbage.write_bytes(b"\x00-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n")
    for path in (empty, garbage, missing):
        options: dict[str, Any] = {}
        if name.isupper():
            monkeypatch.setenv(name, str(path))
        else:
            options[name] = path
        with pytest.raises(ValueError, match=rf"{name}={re.escape(repr(str(path)))}: .*\(.+\)"):
            pool_on("https://localhost:9/api", **options)
        if name.isupper():
            with pytest.raises(ValueError, match=name):
                ColonyClient("col_a", "https://localhost:9/api").get_me()
        pool_on("http://localhost:9/api", **options).close()  # nothing is in TLS
    with pytest.raises(ValueError, match="ca_certs=3: must be the path of a file or a folder"):
        pool_on("https://localhost:9", ca_certs=3)


def test_the_command_line_has_both_options(colony: FakeColony, files: Files, tmp_path: Path) -> None:
    said_by = (*VARIABLES, "no_proxy", "NO_PROXY")
    environment = {name: value for name, value in os.environ.items() if name not in said_by}
    environment |= {
        "COLONY_API_KEY": "col_a",
        "COLONY_SDK_TOKEN_CACHE_DIR": str(tmp_path),
        "SSL_CERT_FILE": files.wrong,
    }

    def run(*options: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "colony_pool", "token", "--base-url", colony.base_url, "--shared", "none"]
        done = subprocess.run([*command, *options], check=False, capture_output=True, text=True, env=environment)
        return done.returncode, done.stderr

    assert run("--ca-certs", files.right) == (0, "")
    shutil.rmtree(tmp_path)
    code, said = run("--max-wait", "0")
    assert code == 5
    assert "set --ca-certs to a file" in said
    code, said = run("--ca-certs", "/nonexistent.pem")
    assert code == 2
    assert "--ca-certs '/nonexistent.pem'" in said
    code, said = run("--proxy", "http://u:S3CRET@proxy.corp.invalid:1")
    assert code == 2
    assert "S3CRET" not in said
    assert "--proxy none" in said
    assert run("--proxy", "socks5://h")[0] == 2
    assert run("--proxy", "none", "--ca-certs", files.right)[0] == 0
    environment["HTTPS_PROXY"] = "socks5://u:S3CRET@127.0.0.1:9"
    code, said = run("--base-url", "https://api.colony.invalid", "--max-wait", "0")
    assert code == 5
    assert "HTTPS_PROXY in the environment must be the URL of an HTTP proxy" in said
    assert "S3CRET" not in said

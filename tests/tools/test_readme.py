"""The pages are true: what is generated is up to date, every snippet and command runs and prints what it says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import colony_pool
from colony_pool import errors
from colony_pool.testing import FakeColony
from tests.scenarios import RUNTIMES
from tests.tools.readme import GUARANTEES, PAGES, PROOF, README, ROOT, filled, proofs

TEXT, PROVED = README.read_text(), PROOF.read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```(?:\n```text\n(.*?)```)?", TEXT, re.DOTALL)
SNIPPETS = [(code, output) for kind, code, output in BLOCKS if kind == "python"]
INLINE = sorted(set(re.findall(r"`python -m (tests\.[^`]+)`", TEXT + PROVED)))
PYTEST = sorted(set(re.findall(r"`python -m pytest ([^`]+)`", TEXT + PROVED)))
COMMANDS = [
    pytest.param(line, marks=[pytest.mark.slow] if "colony-pool demo" in line else [])
    for kind, code, _ in BLOCKS
    if kind == "sh"
    for line in code.splitlines()
    if line.strip()
]


@pytest.fixture(scope="module")
def colony() -> Iterator[FakeColony]:
    with FakeColony() as server:
        yield server


def environment(colony: FakeColony, tmp_path: Path) -> dict[str, str]:
    scripts = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "COLONY_BASE_URL": colony.base_url,
        "COLONY_API_KEY": "col_of_the_readme",
        "COLONY_SDK_TOKEN_CACHE_DIR": str(tmp_path),
        "COLONY_POOL_STATE_DIR": str(tmp_path / "state"),
    }


def test_what_is_generated_is_up_to_date() -> None:
    for path in PAGES:
        text = path.read_text()
        assert filled(text) == text, "python -m tests.tools.readme"


@pytest.mark.slow
@pytest.mark.parametrize("command", INLINE)
def test_a_command_in_the_text_is_one(command: str) -> None:
    """It is not run, since it may take an hour; but there is such a module, and it knows these words."""
    module, *words = shlex.split(command)
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], check=False, capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert [] == [word for word in words if not word.isdigit() and word not in done.stdout]


def collected(*words: str) -> str:
    options = ["-p", "no:cacheprovider", "-o", "addopts=", "--collect-only", "-q"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *words], check=False, capture_output=True, text=True, cwd=ROOT,
        timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("words", PYTEST)
def test_a_command_of_pytest_finds_tests(words: str) -> None:
    assert "::" in collected(*shlex.split(words))


@pytest.mark.slow
def test_the_fast_lane_proves_each_guarantee_and_runs_on_each_runtime() -> None:
    names = collected()
    assert [] == [number for number in GUARANTEES if not re.search(rf"\W(test_)?(g\d+_)*g{number}_", names)]
    assert [] == [kind for kind in RUNTIMES if f"-{kind}]" not in names]


@pytest.mark.parametrize("words", PYTEST)
def test_what_a_command_of_pytest_names_is_there(words: str) -> None:
    assert [] == [word for word in words.split() if "/" in word and not (ROOT / word).exists()]


def test_every_guarantee_has_a_proof() -> None:
    assert [number for number in GUARANTEES if not proofs()[number]] == []


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_snippet(number: int, colony: FakeColony, tmp_path: Path) -> None:
    code, output = SNIPPETS[number]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=environment(colony, tmp_path), check=False,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert output == done.stdout


@pytest.mark.parametrize("line", COMMANDS)
def test_command(line: str, colony: FakeColony, tmp_path: Path) -> None:
    install, _, line = line.rpartition("&&")
    if "pytest" in line:
        # That is this very run: what is to be seen is that the check of a clean checkout runs it as it stands here.
        assert "README.md" in (ROOT / ".ci" / "run").read_text()
        return
    if install:
        extra = re.search(r"\[(\w+)\]", install)
        assert extra
        assert f"\n{extra[1]} = [" in (ROOT / "pyproject.toml").read_text()
    done = subprocess.run(
        shlex.split(line),
        env=environment(colony, tmp_path),
        check=False,
        capture_output=True,
        text=True,
        timeout=110,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout


def test_every_public_error_is_explained() -> None:
    for name in errors.__all__:
        assert f"`{name}`" in TEXT, name


def test_the_version_is_said_once() -> None:
    assert colony_pool.__version__ in (ROOT / "colony_pool" / "_version.py").read_text()
    assert 'dynamic = ["version"]' in (ROOT / "pyproject.toml").read_text()


def test_every_link_within_the_project_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), (page, target)

"""``python -m tests.tools.sdk_suite``: colony-sdk's own tests, with our clients in the place of its own.

It takes the tests from the source distribution of the SDK that is installed (or ``--version``), and runs them twice:
as they are, and with ``colony_pool.sdk``'s classes. It fails if a test ends otherwise with ours than with the SDK's,
unless that stands in ``KNOWN``; if one that stands there does not differ any more; and if anything would have left
this machine. A minute; needs a package index.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import xml.etree.ElementTree as ET  # what it reads is pytest's own
from contextlib import ExitStack, suppress
from pathlib import Path

import colony_sdk

ROOT = Path(__file__).parent.parent.parent
PLUGIN = Path(__file__).parent / "sdk" / "as_the_sdk.py"
LONGEST = 175  # seconds that all of it may take
FEWEST = 1_000  # tests; with fewer something is wrong with this program
# Tests that end otherwise with our clients, and why that is right. Five at most.
KNOWN: dict[str, str] = {}

Outcomes = dict[str, str]


def main() -> int:
    """Return 0 when nothing differs but what is known to."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.sdk_suite", description=__doc__)
    parser.add_argument("--version", default=colony_sdk.__version__, help="of colony-sdk; default: what is installed")
    version, until = parser.parse_args().version, time.monotonic() + LONGEST
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        libraries = installed(version, folder, until)
        runs = [Run(libraries, suite_of(version, folder / kind), is_ours=kind == "ours") for kind in ("sdk", "ours")]
        for run in runs:
            stack.callback(run.end)
        theirs, ours = [run.outcomes(until) for run in runs]
        reached = sorted({line for run in runs for line in run.reached()})
    passed = [sum(outcome == "passed" for outcome in outcomes.values()) for outcomes in (theirs, ours)]
    print(
        f"colony-sdk {version}: of {len(theirs)} tests {passed[0]} pass with the SDK's clients, {passed[1]} with ours"
    )
    found = judged(theirs, ours, KNOWN) + [f"would have left this machine: {line}" for line in reached]
    print("\n".join(found) or f"no test ends otherwise, but {len(KNOWN)} that are known to")
    return bool(found)


def judged(theirs: Outcomes, ours: Outcomes, known: dict[str, str]) -> list[str]:
    """What is wrong, a line each."""
    found = []
    if len(theirs) < FEWEST:
        found.append(f"only {len(theirs)} tests were run")
    if len(known) > 5:
        found.append(f"{len(known)} differences are known: five at most")
    for test in sorted({*theirs, *ours, *known}):
        before, now = theirs.get(test, "not run"), ours.get(test, "not run")
        if before != now and test not in known:
            found.append(f"differs: {test} {before} with the SDK's client, {now} with ours")
        if before == now and test in known:
            found.append(f"does not differ any more: {test}")
    return found


def installed(version: str, folder: Path, until: float) -> Path:
    """A folder with what the suite needs and this environment may lack."""
    libraries = folder / "libraries"
    wanted = ["pytest-asyncio", "pytest-timeout", *([f"colony-sdk=={version}"] * (version != colony_sdk.__version__))]
    pip(until, "install", "--target", str(libraries), *wanted)
    pip(until, "download", "--no-binary", "colony-sdk", "--no-deps", "--dest", str(folder), f"colony-sdk=={version}")
    return libraries


def suite_of(version: str, folder: Path) -> Path:
    """The source distribution, unpacked once more: tests of it may write beside themselves."""
    (archive,) = folder.parent.glob("colony_sdk-*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return folder / f"colony_sdk-{version}"


def pip(until: float, *arguments: str) -> None:
    """Run pip, and say what it said if it fails."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=until - time.monotonic())
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}:\n{done.stderr}")


class Run:
    """pytest in a process of its own, over the suite in ``suite``; it begins at once."""

    def __init__(self, libraries: Path, suite: Path, *, is_ours: bool) -> None:
        self._report, self._reached = suite / "report.xml", suite / "reached.txt"
        shutil.copy(PLUGIN, suite)
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("COLONY_", "PYTEST_"))
        }
        environment |= {
            "PYTHONPATH": os.pathsep.join(map(str, (suite, libraries, ROOT))),
            "HOME": str(suite),  # no cache of tokens but this run's
            "SDK_SUITE_OURS": "1" if is_ours else "",
            "SDK_SUITE_REACHED": str(self._reached),
        }
        options = ["-q", "-p", "no:cacheprovider", "-p", PLUGIN.stem, "-o", "pythonpath=", "--timeout=60"]
        command = [sys.executable, "-m", "pytest", *options, f"--junitxml={self._report}", "tests"]
        self._log = suite / "log.txt"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                command, cwd=suite, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def outcomes(self, until: float) -> Outcomes:
        """How each test ended; waits for the end of all, and no longer than ``until``."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=max(0.0, until - time.monotonic()))
        self.end()
        said = self._log.read_text()
        if not self._report.exists():
            raise SystemExit(f"the suite came to no end:\n{said[-4000:]}")
        cases = ET.parse(self._report).getroot().iter("testcase")
        return {f"{case.get('classname')}::{case.get('name')}": _outcome(case) for case in cases}

    def end(self) -> None:
        """End it, if it has not come to its end."""
        self._process.kill()
        self._process.wait()

    def reached(self) -> list[str]:
        """What would have left this machine."""
        return self._reached.read_text().splitlines() if self._reached.exists() else []


def _outcome(case: ET.Element) -> str:
    kinds = {"failure": "failed", "error": "failed", "skipped": "skipped"}
    return next((kinds[child.tag] for child in case if child.tag in kinds), "passed")


if __name__ == "__main__":
    sys.exit(main())

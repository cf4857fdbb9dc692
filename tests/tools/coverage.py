"""``python -m tests.tools.coverage``: the core's own fast tests run every line and every branch of it, or this fails.

The fast tests are those of the mutation run, without its long random drivers: full coverage must not be luck.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = sorted(str(path) for path in Path("tests/unit/core").glob("test_*.py"))
PLUGIN = ("-p", "tests.tools.mutation.plugin", "-p", "no:cacheprovider")


def main() -> int:
    """Return 0 when nothing was missed."""
    argparse.ArgumentParser(prog="python -m tests.tools.coverage", description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = f"--data-file={folder}/coverage"
        what = ["--branch", "--source=colony_pool/_core"]
        tests = ["-m", "pytest", *PLUGIN, *TESTS]
        run = subprocess.run([sys.executable, "-m", "coverage", "run", data, *what, *tests], check=False)
        if run.returncode:
            return run.returncode
        shown = ["--show-missing", "--skip-covered", "--fail-under=100"]
        return subprocess.run([sys.executable, "-m", "coverage", "report", data, *shown], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

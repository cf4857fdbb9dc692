"""What users of the SDK rely on, in a process that gevent has patched: the same tests once more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FILES = ("test_as_with_the_sdk.py", "test_errors.py", "test_rotation.py", "test_stand_ins.py")
PATCHED = "from gevent import monkey; monkey.patch_all(); import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"


@pytest.mark.slow
def test_all_of_it_holds_under_gevent() -> None:
    pytest.importorskip("gevent")
    options = ["-q", "-p", "no:cacheprovider", *(str(HERE / name) for name in FILES)]
    command = [sys.executable, "-W", "ignore:Monkey-patching", "-c", PATCHED, *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=250, cwd=HERE.parents[2])
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]

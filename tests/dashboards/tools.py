"""The tools that these tests need and no ``pip`` brings: skipped aloud at home, demanded where ``CI`` is set.

``prometheus`` and ``promtool`` and ``chromium`` are looked for on ``PATH``, ``node`` too; Grafana's types in the
folder that ``GRAFANA_TYPES`` names (``npm install @grafana/schema@13.2.3 typescript@5.9.3`` in it).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DASHBOARDS = ROOT / "dashboards"
SDK_NEEDS = (3, 11)


def missing(what: str) -> None:
    """Skip at home, fail in CI: a check that silently does not run is none."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, and CI is set", pytrace=False)
    pytest.skip(f"{what} is missing")


def need(*names: str) -> str:
    """Path of the first of ``names`` that is there."""
    for name in names:
        if (path := shutil.which(name)) is not None:
            return path
    missing(" or ".join(names))
    raise AssertionError("not reached")


def need_sdk() -> None:
    """grafana-foundation-sdk, which the oldest Pythons cannot have."""
    if sys.version_info < SDK_NEEDS:
        pytest.skip("grafana-foundation-sdk needs Python 3.11")
    if find_spec("grafana_foundation_sdk") is None:
        missing("grafana-foundation-sdk (pip install '.[dashboards]')")


def need_types() -> Path:
    """The ``node_modules`` that holds ``@grafana/schema`` and ``typescript``."""
    need("node")
    modules = Path(os.environ.get("GRAFANA_TYPES", "no such folder")) / "node_modules"
    if not (modules / "@grafana/schema").is_dir() or not (modules / "typescript").is_dir():
        missing("@grafana/schema with typescript (folder in GRAFANA_TYPES)")
    return modules


def run(*command: str | Path, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a tool and return what it said."""
    return subprocess.run([*map(str, command)], check=False, capture_output=True, text=True, input=given, timeout=60)

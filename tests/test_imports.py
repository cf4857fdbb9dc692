"""The shape of the house, read from its imports: they point one way, and each foreign library has one door."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import colony_pool

ROOT = Path(colony_pool.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# What each part may see of the others, from the inside out.
LEAVES = {"errors", "config", "_check", "_version"}
SEES: dict[str, set[str]] = {
    "errors": set(),
    "_check": set(),
    "config": {"_check"},
    "_version": set(),
    "_core": LEAVES | {"_core"},
    "status": set(),
    "_weakset": set(),
    "_runtime": LEAVES | {"_runtime"},
    "_http": LEAVES | {"_http", "_runtime", "_weakset"},
    "_shared": LEAVES | {"_core", "_runtime", "_shared", "_shell"},
    "_shell": LEAVES | {"_core", "_http", "_runtime", "_shell", "_weakset", "status"},
    "prometheus": LEAVES | {"_core", "_runtime", "_shell", "prometheus"},
    "agent": LEAVES | {"_core", "_shell", "_runtime"},
    "pool": LEAVES | {"_core", "_http", "_shell", "_runtime", "_weakset", "_shared", "prometheus", "agent", "status"},
    "_aio": LEAVES
    | {
        "_aio",
        "_core",
        "_http",
        "_shell",
        "_weakset",
        "_runtime",
        "_shared",
        "agent",
        "pool",
        "prometheus",
        "status",
    },
    "sdk": LEAVES | {"_aio", "_http", "_shell", "agent", "pool", "sdk"},
    "httpx": LEAVES | {"_aio", "_http", "_shell", "agent"},
    "requests": LEAVES | {"_http", "_shell", "agent"},
    "testing": LEAVES | {"testing", "_core", "_runtime", "_shared"},
}
TOP = {"__init__", "__main__", "cli", "_cli", "_demo"}  # these may see everything
DOORS = {
    "urllib3": {
        "_http/connection.py", "_http/exchange.py", "_http/failures.py", "_http/pools.py", "_demo/fleets.py",
        "_cli/top.py",
    },
    "pybreaker": {"_shell/breaker.py"},
    "prometheus_client": {
        "prometheus/__init__.py", "prometheus/_collector.py", "prometheus/_mirror.py", "prometheus/_reader.py",
        "prometheus/_server.py", "prometheus/_sidecar.py",
    },
    "redis": {"_store/redis.py"},
    "colony_sdk": {"sdk/_async.py", "sdk/_client.py", "sdk/_compat.py", "sdk/_errors.py"},
    "httpx": {"_aio/attempt.py", "_aio/auth.py", "_aio/client.py", "_aio/pool.py", "httpx.py", "sdk/_async.py"},
    "requests": {"requests.py"},
    "cryptography": {"_store/sealing.py"},
    "gevent": {"_runtime/gevent.py", "_runtime/hub_thread.py", "_demo/agents.py", "cli.py"},
}  # fmt: skip
WORLD = {"time", "threading", "random", "logging", "socket", "os", "asyncio", "select", "subprocess"}


def part(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """``(dots, module)`` of each import that runs; what only a type checker reads does not count."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.level, node.module
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.level, alias.name) for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    name, own = path.relative_to(ROOT).as_posix(), part(path)
    depth = len(path.relative_to(ROOT).parts)
    for dots, module in imported(path):
        top = module.split(".")[0]
        if dots == 0:
            assert name in DOORS.get(top, {name}), f"{name} imports {top}"
            assert not (own == "_core" and top in WORLD), f"{name} is pure, and imports {top}"
        elif own not in TOP:
            seen = top if dots == depth else own
            assert seen in SEES[own] | {own}, f"{name} imports {seen}"


def test_the_core_is_never_impure_through_the_back_door() -> None:
    """What ``_core`` imports of the standard library is data and mathematics."""
    allowed = {
        "__future__", "base64", "bisect", "collections", "collections.abc", "copy", "dataclasses", "datetime",
        "email.utils", "heapq", "itertools", "json", "math", "re", "typing", "urllib.parse",
    }  # fmt: skip
    found = {module for path in (ROOT / "_core").glob("*.py") for dots, module in imported(path) if dots == 0}
    assert found <= allowed


def test_an_import_loads_no_extra_and_nothing_of_event_loops() -> None:
    """Short scripts pay for what they use: pybreaker, which imports redis if it can, comes with the first pool."""
    code = """if True:
        import sys
        import colony_pool
        heavy = {"asyncio", "cryptography", "gevent", "httpx", "opentelemetry", "pybreaker", "redis", "requests"}
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
        colony_pool.ColonyPool(registry=None).close()
        assert "pybreaker" in sys.modules
        assert colony_pool.AsyncColonyPool and colony_pool.AsyncAgent
    """
    subprocess.run([sys.executable, "-c", code], check=True)

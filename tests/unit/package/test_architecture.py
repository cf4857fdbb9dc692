"""The architecture, read from the source: who may import whom, who owns what, and one thing for each name."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import colony_pool

ROOT = Path(colony_pool.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
NAMES = [path.relative_to(ROOT).as_posix() for path in FILES]

# From the inside out: each may import what stands before it, and itself.
LAYERS = (
    "_version", "_check", "errors", "config", "status", "_weakset", "_runtime", "_core", "_log", "_fork", "_metrics",
    "_http", "_driver", "_store", "_engine", "agent", "prometheus", "pool", "_aio", "httpx", "requests", "sdk",
    "testing", "types", "_demo", "_cli", "cli", "__init__", "__main__",
)  # fmt: skip
# Tighter than that.
ONLY = {"_runtime": {"_check"}, "_core": {"_check", "errors", "config"}, "testing": {"_runtime", "_core", "_store"}}
# Who imports a library of somebody else's.
IMPORTERS = {
    "urllib3": {
        "_http/connection.py", "_http/decoding.py", "_http/exchange.py", "_http/failures.py", "_http/pools.py",
        "_demo/clients.py", "_cli/scraper.py",
    },
    "pybreaker": {"_driver/pybreaker_bridge.py", "pool.py", "_aio/pool.py"},  # the latter two for a type checker
    "prometheus_client": {
        "prometheus/__init__.py", "prometheus/_collector.py", "prometheus/_mirror.py", "prometheus/_reader.py",
        "prometheus/_server.py", "prometheus/_sidecar.py",
    },
    "redis": {"_store/redis.py"},
    "colony_sdk": {
        "sdk/__init__.py", "sdk/_async.py", "sdk/_client.py", "sdk/_compat.py", "sdk/_errors.py",
        "sdk/_importlib_bootstrap.py", "sdk/_importlib_bootstrap_async.py",
    },
    "httpx": {
        "_aio/attempt.py", "_aio/auth.py", "_aio/client.py", "_aio/engine.py", "_aio/token_headers.py", "httpx.py",
        "sdk/_async.py", "sdk/_replaced_httpx.py",
    },
    "httpcore": {"_aio/dialer.py", "sdk/_replaced_httpx.py"},
    "requests": {"requests.py"},
    "cryptography": {"_store/sealing.py"},
    "gevent": {"_runtime/gevent.py", "_runtime/hub_thread.py", "_demo/agents.py", "cli.py"},
}  # fmt: skip
WORLD = {"time", "threading", "random", "logging", "socket", "os", "asyncio", "select", "subprocess"}
# What the core imports of the standard library is data and mathematics.
PURE = {
    "__future__", "base64", "bisect", "collections", "collections.abc", "copy", "dataclasses", "datetime",
    "email.utils", "heapq", "itertools", "json", "math", "re", "typing", "urllib.parse",
}  # fmt: skip
# Public names that are the same on purpose: one for each HTTP library, in a module of that library's name.
SAME_BY_DESIGN = {"ColonyAuth"}
# Objects of the core that others are handed.
CORE_OBJECTS = {"account", "permit", "waiter", "flight", "dispatcher", "denial"}
# Private names of libraries that are used, as (file, name): the table in tests/README.md.
TABLE = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
LIBRARIES = set(re.findall(r"^\| `([\w/]+\.py)` \| `(_\w+)` \|", TABLE, re.MULTILINE))
PRIVATE_MODULE = re.compile(r"[a-z0-9_]+\.(_[a-z0-9_]+)")


def tree_of(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_text(encoding="utf-8"))


def layer(name: str) -> str:
    return name.split("/", maxsplit=1)[0].removesuffix(".py")


def imports(name: str) -> Iterator[tuple[str, bool]]:
    """``(module, ours)`` of each import, also of those for a type checker alone; ours without ``colony_pool.``"""
    folder = name.split("/")[:-1]
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or "", False
        elif isinstance(node, ast.ImportFrom):
            base = [*folder[: len(folder) - node.level + 1], *(node.module or "").split(".")]
            prefix = "/".join(part for part in base if part)
            for alias in node.names:
                found = f"{prefix}/{alias.name}" if prefix else alias.name
                yield (found if _file_of(found) else prefix), True


def _file_of(module: str) -> str:
    """The file of one of our modules; "" if there is none of that name."""
    return next((name for name in (f"{module}.py", f"{module}/__init__.py") if name in NAMES), "")


@pytest.mark.parametrize("name", NAMES)
def test_imports_point_one_way(name: str) -> None:
    mine = layer(name)
    allowed = ONLY.get(mine, set(LAYERS[: LAYERS.index(mine)])) | {mine}
    for module, ours in imports(name):
        if ours and (seen := module.split("/")[0]):
            assert seen in allowed, f"{name} imports {module}"


@pytest.mark.parametrize("name", NAMES)
def test_each_foreign_library_is_imported_in_few_places(name: str) -> None:
    for module, ours in imports(name):
        top = module.split(".")[0]
        assert ours or name in IMPORTERS.get(top, {name}), f"{name} imports {top}"


def test_the_core_is_pure() -> None:
    found = {module for name in NAMES if layer(name) == "_core" for module, ours in imports(name) if not ours}
    assert found <= PURE
    assert not found & WORLD


def test_no_two_modules_import_each_other() -> None:
    """Not by way of others, either, and not for a type checker alone."""
    sees = {name: {_file_of(module) for module, ours in imports(name) if ours} - {"", name} for name in NAMES}
    while True:
        leaves = {name for name, others in sees.items() if not others & set(sees)}
        if not leaves:
            break
        sees = {name: others for name, others in sees.items() if name not in leaves}
    assert [] == sorted(sees), "these are in a circle, or lead to one"


def test_no_class_of_the_core_inherits_from_another() -> None:
    """But protocols, enums, exceptions and tuples with names."""
    bases = {
        (name, node.name, ast.unparse(base))
        for name in NAMES
        if layer(name) == "_core"
        for node in ast.walk(tree_of(name))
        if isinstance(node, ast.ClassDef)
        for base in node.bases
    }
    allowed = {"Protocol", "Enum", "Exception", "NamedTuple"}
    assert set() == {found for found in bases if found[2] not in allowed}


@pytest.mark.parametrize("name", NAMES)
def test_nobody_reads_a_private_name_of_another_module(name: str) -> None:
    tree = tree_of(name)
    mine = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
    mine |= {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or not node.attr.startswith("_") or node.attr.startswith("__"):
            continue
        owner = ast.unparse(node.value)
        if owner in ("self", "cls", "super()") or node.attr in mine:
            continue
        assert (name, node.attr) in LIBRARIES, f"{name}:{node.lineno} reads {owner}.{node.attr}"


def private_modules(name: str) -> Iterator[str]:
    """Private modules of libraries that are imported, or looked up in ``sys.modules``."""
    for module, ours in imports(name):
        if not ours and (found := PRIVATE_MODULE.fullmatch(module)) is not None:
            yield found[1]
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "sys.modules.get":
            module = str(ast.literal_eval(node.args[0]))
            if (found := PRIVATE_MODULE.fullmatch(module)) is not None:
                yield found[1]


@pytest.mark.parametrize("name", NAMES)
def test_private_modules_of_libraries_stand_in_the_table(name: str) -> None:
    assert set() == {(name, module) for module in private_modules(name)} - LIBRARIES


def test_the_table_of_private_names_has_no_row_too_many() -> None:
    assert LIBRARIES
    assert [] == [(name, what) for name, what in sorted(LIBRARIES) if what not in (ROOT / name).read_text("utf-8")]


@pytest.mark.parametrize("name", [name for name in NAMES if layer(name) not in ("_core", "testing", "_demo")])
def test_nothing_outside_the_core_writes_to_its_objects(name: str) -> None:
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, (ast.Store, ast.Del)):
            owner = ast.unparse(node.value).split(".")[-1].lstrip("_")
            assert owner not in CORE_OBJECTS, f"{name}:{node.lineno} writes {ast.unparse(node)}"


@pytest.mark.parametrize("name", [name for name in NAMES if layer(name) != "_core"])
def test_nothing_is_assigned_to_an_object_by_another_one(name: str) -> None:
    """An object's attributes are its own: others call its methods. Values made here are still ours."""
    tree = tree_of(name)
    for function in ast.walk(tree):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                owner = ast.unparse(node.value)
                assert not owner.startswith("self._") or owner.count(".") < 1 or node.attr in _fields_of(tree), (
                    f"{name}:{node.lineno} assigns {ast.unparse(node)}"
                )


def _fields_of(tree: ast.Module) -> set[str]:
    """Names of attributes that classes of this module have."""
    found = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"
    }
    return found | {
        node.target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def test_no_two_classes_have_one_name() -> None:
    """Who searches for a name finds one place."""
    homes: dict[str, list[str]] = defaultdict(list)
    for name in NAMES:
        for node in ast.walk(tree_of(name)):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(name)
    assert {} == {word: where for word, where in homes.items() if len(where) > 1 and word not in SAME_BY_DESIGN}


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

"""urllib3 does HTTP by its public API: each private name of it that is left stands in one table, with its reason."""

from __future__ import annotations

import ast
import http.client
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import urllib3

import colony_pool

ROOT = Path(colony_pool.__file__).parent
PRIVATE = re.compile(r"_(?!_)\w+")
FOREIGN = ("urllib3", "http.client")


def _of_foreign_sources() -> set[str]:
    """Every name that begins with an underscore in the sources of urllib3 and http.client."""
    files = [*Path(urllib3.__file__).parent.rglob("*.py"), Path(inspect.getfile(http.client))]
    return {name for path in files for name in re.findall(r"(?<![\w])_(?!_)\w+", path.read_text())}


def _imports_foreign(tree: ast.AST) -> bool:
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
        if any(name == one or name.startswith(one + ".") for name in names for one in FOREIGN):
            return True
    return False


def _is_ours(node: ast.expr) -> bool:
    """Whether the object is one of this library's own, as far as its source tells."""
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def _touched(tree: ast.AST) -> Iterator[str]:
    """Names read from, or written into, objects that are not ``self``; and imported ones."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not _is_ours(node.value):
            yield node.attr
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "setattr", "hasattr"):
            yield from (
                arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
            )
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(FOREIGN):
            yield from (alias.name for alias in node.names)


def _classes(tree: ast.AST) -> Iterator[ast.ClassDef]:
    """Those that build on a foreign class, themselves or as a mixin of such a one."""
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    names = {base.id for one in classes for base in one.bases if isinstance(base, ast.Name)}
    for one in classes:
        if one.name in names or any(not _is_builtin(base) for base in one.bases):
            yield one


def _is_builtin(base: ast.expr) -> bool:
    return isinstance(base, ast.Name) and base.id in ("Exception", "Protocol")


def _inherited(one: ast.ClassDef) -> Iterator[str]:
    """What a class defines, or reads of ``self``."""
    for node in ast.walk(one):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Attribute) and _is_ours(node.value):
            yield node.attr
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def private_names() -> set[str]:
    """Private names of urllib3 and http.client that stand in this library's code."""
    theirs, found = _of_foreign_sources(), set[str]()
    for path in ROOT.rglob("*.py"):
        tree = ast.parse(path.read_text())
        if not _imports_foreign(tree) and path.parent.name != "_http":
            continue
        found.update(_touched(tree))
        if _imports_foreign(tree):
            found.update(name for one in _classes(tree) for name in _inherited(one))
    return {name for name in found if PRIVATE.fullmatch(name)} & theirs


def test_each_private_name_of_urllib3_and_http_client_stands_in_the_table() -> None:
    page = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `[\w/]+\.py` \| `(_\w+)` \| (?:urllib3|http\.client) \|", page, re.MULTILINE)
    assert private_names() == set(table)

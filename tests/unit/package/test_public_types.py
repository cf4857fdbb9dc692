"""What stands in a public signature has a public home, what is public is documented, and nothing else is public.

A public home is a module without an underscore in its path, whose ``__all__`` has the name.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import colony_pool as cp
from colony_pool import testing
from colony_pool.httpx import ColonyAuth as HttpxAuth
from colony_pool.requests import ColonyAuth as RequestsAuth

ROOT = "colony_pool"
HANDLES = {"Agent", "AsyncAgent"}  # a pool makes them: nobody else calls their constructors
CALLS = {"delete", "get", "invalidate", "patch", "post", "put", "request", "token"}
OFFERED: dict[type, set[str]] = {
    cp.ColonyPool: {
        "agent", "base_url", "breaker", "clear_rate_limit", "close", "forget", "name", "start_metrics_server",
        "status",
    },
    cp.AsyncColonyPool: {"aclose", "agent", "breaker", "clear_rate_limit", "close", "forget", "pool", "status"},
    cp.Agent: CALLS,
    cp.AsyncAgent: CALLS,
    HttpxAuth: set(),
    RequestsAuth: set(),
}  # fmt: skip
SPECIAL = {"__init__", "__call__", "__enter__", "__aenter__"}  # that have a signature users see


class Signature(NamedTuple):
    """A function, or a class for its fields, and the module whose names it uses."""

    owner: Any
    module: str


def public_objects() -> Iterator[tuple[str, Any]]:
    """``(where, object)`` of each name in the ``__all__`` of each public module."""
    names = [ROOT, *(found.name for found in pkgutil.walk_packages(cp.__path__, f"{ROOT}."))]
    for name in names:
        if not any(part.startswith("_") for part in name.split(".")):
            module = importlib.import_module(name)
            yield from ((f"{name}.{word}", getattr(module, word)) for word in module.__all__)


def is_ours(thing: object) -> bool:
    return str(getattr(thing, "__module__", "")).split(".")[0] == ROOT


def is_public(name: str) -> bool:
    return name in SPECIAL or not name.startswith("_")


def signatures_of(where: str, thing: Any) -> Iterator[tuple[str, Signature]]:
    """Those of a function, or of a class: its fields, its public methods and properties, its constructor."""
    if inspect.isfunction(thing):
        yield where, Signature(thing, thing.__module__)
    if not isinstance(thing, type):
        return
    for cls in filter(is_ours, thing.__mro__):
        yield f"{where} as a {cls.__name__}", Signature(cls, cls.__module__)
        for name, member in vars(cls).items():
            function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            of_handle = name == "__init__" and cls.__name__ in HANDLES
            if is_public(name) and not of_handle and inspect.isfunction(function) and is_ours(function):
                yield f"{where}.{name}", Signature(function, function.__module__)


def names_for_type_checkers(module: str) -> dict[str, Any]:
    """What ``module`` imports under ``if TYPE_CHECKING``."""
    home = importlib.import_module(module)
    names: dict[str, Any] = {"__package__": home.__package__, "__name__": module}
    for node in ast.parse(Path(home.__file__ or "").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            exec(compile(ast.Module(node.body, []), module, "exec"), names)
    return names


def classes_in(hint: Any) -> Iterator[type]:
    """All classes that an annotation names, at any depth."""
    if isinstance(hint, (list, tuple)):
        for one in hint:
            yield from classes_in(one)
    elif typing.get_args(hint):  # first: on Python 3.10 ``Unpack[...]`` says of itself that it is a TypeVar
        yield from classes_in([typing.get_origin(hint), *typing.get_args(hint)])
    elif isinstance(hint, typing.TypeVar):
        yield from classes_in([hint.__bound__, *hint.__constraints__])
    elif isinstance(hint, type):
        yield hint


OBJECTS = dict(public_objects())
PUBLIC = {id(thing) for thing in OBJECTS.values()}
SIGNATURES = dict(
    found for where, thing in OBJECTS.items() if is_ours(thing) for found in signatures_of(where, thing)
)


def homeless() -> Iterator[str]:
    """Classes of ours in public signatures that no public module has."""
    for name, (owner, module) in SIGNATURES.items():
        for word, hint in typing.get_type_hints(owner, localns=names_for_type_checkers(module)).items():
            for cls in classes_in(hint) if is_public(word) else ():
                if is_ours(cls) and id(cls) not in PUBLIC:
                    yield f"{name}: {word} is a {cls.__module__}.{cls.__qualname__}"


def test_every_class_in_a_public_signature_has_a_public_home() -> None:
    assert [] == list(homeless())


def test_the_signatures_are_found() -> None:
    """Or the test above proves nothing."""
    found = set(SIGNATURES)
    assert {"colony_pool.ColonyPool.__init__", "colony_pool.AsyncAgent.get", "colony_pool.types.Store.hold"} <= found
    assert {"colony_pool.testing.MemoryStore.claim_key", "colony_pool.httpx.ColonyAuth.__init__"} <= found
    hints = typing.get_type_hints(cp.Agent.get, localns=names_for_type_checkers("colony_pool.agent"))
    assert {"RequestOptions", "Response", "str"} == {cls.__name__ for cls in classes_in(list(hints.values()))}


def test_everything_that_is_public_is_documented() -> None:
    assert [] == [name for name, one in SIGNATURES.items() if "__" not in name and not inspect.getdoc(one.owner)]


def attributes_of(thing: object) -> set[str]:
    """Public ones that are neither methods nor properties."""
    return {name for name in dir(thing) if not name.startswith("_") and not hasattr(type(thing), name)}


def described_in(cls: type) -> set[str]:
    """What stands under ``Attributes:`` in the docstring of the class."""
    words = (inspect.getdoc(cls) or "").partition("Attributes:")[2].split("\n\n")[0]
    return set(re.findall(r"^    (\w+):", words, re.MULTILINE))


def test_a_class_that_users_hold_has_no_other_public_names() -> None:
    """What is for the other modules of this library is a function of its module, or begins with an underscore."""
    with cp.ColonyPool("http://127.0.0.1:9/api", token_cache=None, registry=None) as pool:
        view = cp.AsyncColonyPool(pool=pool)
        agent = pool.agent("col_a")
        held = [pool, view, agent, view.agent("col_b"), *(auth(agent) for auth in (HttpxAuth, RequestsAuth))]
        for thing in held:
            theirs = {name for cls in type(thing).__mro__ if not is_ours(cls) for name in vars(cls)}
            names = {name for name in dir(thing) if not name.startswith("_")} - theirs
            assert OFFERED[type(thing)] == names, type(thing)
            assert attributes_of(thing) == described_in(type(thing)), type(thing)
        asyncio.run(view.close())


def test_the_attributes_of_what_tests_use_are_described() -> None:
    sim = testing.SimRuntime()
    with testing.FakeColony() as colony:
        for thing in (colony, sim, sim.task(print), sim.event(), sim.lock(), testing.MemoryStore()):
            assert attributes_of(thing) <= described_in(type(thing)), type(thing)


def test_nothing_needs_the_types_at_run_time() -> None:
    """They import asyncio, which a script that uses threads alone does without."""
    code = """if True:
        import sys
        import colony_pool
        colony_pool.ColonyPool(registry=None).close()
        assert "colony_pool.types" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", code], check=True)

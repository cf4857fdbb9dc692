"""One class name, one class: who searches for a name finds one place."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import colony_pool
from colony_pool import testing

ROOT = Path(colony_pool.__file__).parent
# Names that still stand for two classes. It only gets shorter: a name that has one class again is taken out.
STILL_TWICE = {
    "Abort", "Call", "Denial", "Door", "Exchange", "Line", "Reply", "Sharing", "_Keys", "_TheEnd", "_Timer",
}  # fmt: skip
# Public names that are the same on purpose: one for each HTTP library, in a module of that library's name.
BY_DESIGN = {"ColonyAuth"}


def homes() -> dict[str, list[str]]:
    """Each class name with the files that define a class of that name."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(path.relative_to(ROOT).as_posix())
    return found


def test_no_two_classes_have_one_name() -> None:
    twice = {name: where for name, where in homes().items() if len(where) > 1}
    assert {} == {name: where for name, where in twice.items() if name not in STILL_TWICE | BY_DESIGN}


def test_the_list_of_exceptions_has_no_name_that_is_settled() -> None:
    twice = {name for name, where in homes().items() if len(where) > 1}
    assert set() == (STILL_TWICE | BY_DESIGN) - twice


def test_every_type_in_a_public_signature_of_testing_has_a_public_home() -> None:
    public = [getattr(testing, name) for name in testing.__all__]
    classes = [one for one in public if isinstance(one, type)]
    assert all(one.__doc__ for one in public)
    for cls in classes:
        for name, method in vars(cls).items():
            words = re.findall(r"(?:Sim|Fake)\w+", str(getattr(method, "__annotations__", {})))
            assert name.startswith("_") or set(words) <= set(testing.__all__), f"{cls.__name__}.{name}"

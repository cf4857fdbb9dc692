"""How bugs are planted (``bugs.py``): each by name, for as long as a ``with`` lasts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

Bug = Callable[[], contextlib.AbstractContextManager[Any]]
BUGS: dict[str, tuple[str, Bug]] = {}  # by name: the promise that it breaks, and how to plant it


def breaks(promise: str) -> Callable[[Callable[[], Iterator[None]]], Bug]:
    """The function plants a bug, named as it is, until it is resumed."""

    def register(plant: Callable[[], Iterator[None]]) -> Bug:
        bug: Bug = contextlib.contextmanager(plant)
        BUGS[plant.__name__.replace("_", " ")] = (promise, bug)
        return bug

    return register

"""A caller's own exception, passed on to each call that it ends: a copy for each.

One object raised in many calls would grow the traceback of all of them, and tie their frames together. What ends a
task rather than a call (``SystemExit``, a kill) is not passed on: the calls that wait did not ask for it.
"""

from __future__ import annotations

import copy

from ..errors import ColonyAPIError

# Who defines what ends a task; a user's own ``BaseException`` is none of these.
_OF_TASKS = frozenset({"asyncio", "concurrent", "gevent", "greenlet"})


def ends_a_task(error: BaseException) -> bool:
    """Whether ``error`` is meant for the task in which it is raised, and not for its callers."""
    if isinstance(error, Exception):
        return False
    if isinstance(error, (SystemExit, KeyboardInterrupt, GeneratorExit)):
        return True
    return any(cls.__module__.partition(".")[0] in _OF_TASKS for cls in type(error).__mro__)


def own_copy(error: BaseException, what: str) -> BaseException:
    """Return an exception that only one call raises: as ``error``, which ``what`` raised, or caused by it."""
    mine = None if ends_a_task(error) else _copied(error) or _rebuilt(error)
    if mine is None:
        mine = ColonyAPIError(f"{what} raised {type(error).__name__}")
        mine.__cause__ = error
        return mine
    mine.__cause__, mine.__context__ = error.__cause__, error.__context__
    mine.__suppress_context__ = error.__suppress_context__
    return mine.with_traceback(error.__traceback__)


def _copied(error: BaseException) -> BaseException | None:
    try:
        mine = copy.copy(error)
        return mine if _alike(mine, error) else None
    except Exception:  # noqa: BLE001 - a user's own class: it need not bear to be copied
        return None


def _rebuilt(error: BaseException) -> BaseException | None:
    """Without its ``__init__``, which may take other arguments than it passes on."""
    try:
        mine = type(error).__new__(type(error), *error.args)
        mine.args = error.args
        mine.__dict__.update(error.__dict__)
        return mine if _alike(mine, error) else None
    except Exception:  # noqa: BLE001 - as above
        return None


def _alike(mine: BaseException, error: BaseException) -> bool:
    return mine is not error and type(mine) is type(error) and mine.args == error.args and str(mine) == str(error)

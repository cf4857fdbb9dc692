"""Keys that were rotated in this process: all clients of an old one go on with its successor."""

from __future__ import annotations

from typing import Any

__all__ = ["RotatingKey", "note_rotation"]

_MOST = 10_000  # successors that are known at once; the oldest are forgotten first
_successors: dict[tuple[str, str], str] = {}  # by API and old key


class RotatingKey:
    """The attribute ``api_key`` of a client: what was put there, or the key that has replaced it since."""

    def __get__(self, client: Any, owner: type) -> str:
        """Of the class itself, as for any attribute that only instances have: ``AttributeError``."""
        values = {} if client is None else vars(client)
        if "api_key" not in values:
            raise AttributeError(f"{owner.__name__!r} has no attribute 'api_key'")
        key: str = values["api_key"]
        if _successors:
            values["api_key"] = key = _latest(client.base_url, key)
        return key

    def __set__(self, client: Any, key: str) -> None:
        vars(client)["api_key"] = key


def note_rotation(base_url: str, old: str, new: str) -> None:
    """The API at ``base_url`` has given ``new`` for ``old``, which is worth nothing from now on."""
    if old == new:
        return
    _successors.pop((base_url, new), None)  # the API has given it anew, so it is good, whatever was before
    _successors[base_url, old] = new
    while len(_successors) > _MOST:
        _successors.pop(next(iter(_successors)), None)


def _latest(base_url: str, key: str) -> str:
    while (successor := _successors.get((base_url, key))) is not None:
        key = successor
    return key

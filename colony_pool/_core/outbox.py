"""The actions that one input leads to, in their order."""

from __future__ import annotations

from .actions import Action


class Outbox:
    """A list of actions that grows while an input is decided, and is taken at its end."""

    __slots__ = ("_actions",)

    def __init__(self) -> None:
        self._actions: list[Action] = []

    def add(self, action: Action) -> None:
        """Append one action."""
        self._actions.append(action)

    def take(self) -> list[Action]:
        """Return what has been added since the last time."""
        actions, self._actions = self._actions, []
        return actions

"""What a client keeps of one API call while it is made, and made again."""

from __future__ import annotations

from .._driver.replays import Replays

__all__ = ["CallState"]


class CallState:
    """One API call.

    Attributes:
        transfer: an upload or a download, to which the SDK gives whatever token its client has.
        replays: what has been done about tokens that were refused; ``None`` as long as that is nothing.
        failures: the SDK's count of failed calls as it was before this one.
    """

    __slots__ = ("_has_dropped", "failures", "replays", "transfer")

    def __init__(self, *, transfer: bool) -> None:
        self.transfer = transfer
        self.replays: Replays | None = None
        self.failures = 0
        self._has_dropped = False

    def may_drop_token(self) -> bool:
        """Whether it is made again for the loss of a token that was not the pool's: once."""
        self._has_dropped, before = True, self._has_dropped
        return not before

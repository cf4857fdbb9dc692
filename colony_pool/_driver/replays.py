"""What one API call does about answers of 401 (G19)."""

from __future__ import annotations

from .credential import AgentState
from .tokens import Submit, TokenSource

_REPLAYS = 8  # of one API call, whatever its answers of 401 say


class Replays:
    """Decides whether a call whose token was refused is made again.

    Another token that is at hand is tried; with one that is too young to be known the call is made again a little
    later; else the server is asked for a new token, once in a call.

    Arguments:
        submit: puts an input to the dispatcher.
        once: after a new token the call is made only once again, and with a young token, too.
    """

    __slots__ = ("_key", "_left", "_may_ask", "_once", "_submit", "_tokens", "is_new")

    def __init__(self, tokens: TokenSource, key: AgentState, submit: Submit, *, once: bool = False) -> None:
        self._tokens = tokens
        self._key = key
        self._submit = submit
        self._once = once
        self._left = _REPLAYS
        self._may_ask = True
        self.is_new = False  # whether the next token is another one

    def worked(self, jwt: str) -> None:
        """The call has worked with ``jwt``."""
        self._tokens.worked(self._key, jwt, self._submit)

    def pause(self, jwt: str) -> float | None:
        """Seconds until the call is made again, with the token of then; ``None``: its 401 stands. May block."""
        tokens, key = self._tokens, self._key
        self.is_new = False
        try:
            if not self._left:
                return None
            self._left -= 1
            if tokens.has_another(key, jwt):
                self.is_new = True
                return 0.0
            young = tokens.known_in(key, jwt, once=self._once)
            if young is not None:
                return young
            if not self._may_ask:
                tokens.doubt(key, jwt)
                return None
            self._may_ask = False
            self.is_new = tokens.on_401(key, jwt)
            if self._once:
                self._left = 0
            return 0.0 if self.is_new else None
        finally:
            del jwt  # no traceback of ours holds a token

"""How a command ends: exit codes that shell scripts can rely on, and one line on stderr that says why.

Nothing that the user, the network or the server did ends in a traceback, and no line shows a key.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from ..errors import joined

OK, BROKEN, MISUSED, DENIED, THROTTLED, UNAVAILABLE, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

_WORDS = {
    BROKEN: "broken",
    MISUSED: "misused",
    DENIED: "denied",
    THROTTLED: "throttled",
    UNAVAILABLE: "unavailable",
    INTERRUPTED: "interrupted",
}


class Failed(Exception):
    """A command ends with ``code``, for a reason that fits one line.

    Attributes:
        code: the exit code.
        message: what happened.
        hint: what to do next; empty if there is nothing to advise.
        status: the HTTP status behind it, or ``None``.
        retry_after: seconds until another run can help, or ``None`` if time alone does not help.
    """

    def __init__(
        self, code: int, message: str, *, hint: str = "", status: int | None = None, retry_after: float | None = None
    ) -> None:
        self.code = code
        self.message = " ".join(message.split())
        self.hint = " ".join(hint.split())
        self.status = status
        self.retry_after = retry_after
        super().__init__(joined(self.message, self.hint))

    def as_dict(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "error": _WORDS[self.code],
            "message": self.message,
            "hint": self.hint,
            "status": self.status,
            "retry_after": self.retry_after,
            "exit_code": self.code,
        }


def report_failure(failure: Failed, *, as_json: bool) -> int:
    """Say why on stderr, and as JSON on stdout if ``as_json``; return the exit code."""
    if as_json:
        print(json.dumps(failure.as_dict()), flush=True)
    if sys.stderr is not None:  # if it is closed, print would write to stdout, where a script looks for a token
        start = "\n" if failure.code == INTERRUPTED and sys.stderr.isatty() else ""  # after the terminal's own ^C
        print(f"{start}colony-pool: {failure}", file=sys.stderr)
    return failure.code

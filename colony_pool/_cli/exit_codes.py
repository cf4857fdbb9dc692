"""How a command ends: exit codes that shell scripts may rely on, and one line on stderr that says why.

Never a traceback for what the user, the network or the server did, and never a key.
"""

from __future__ import annotations

import json
import sys
from typing import Any

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
        status: the HTTP status behind it, or ``None``.
        retry_after: seconds until coming back can help, or ``None`` when time alone does not.
    """

    def __init__(self, code: int, line: str, *, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(" ".join(line.split()))
        self.code = code
        self.status = status
        self.retry_after = retry_after

    def as_dict(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "error": _WORDS[self.code],
            "message": str(self),
            "status": self.status,
            "retry_after": self.retry_after,
            "exit_code": self.code,
        }


def report_failure(failure: Failed, *, as_json: bool) -> int:
    """Tell why, on stderr and as JSON on stdout if that was asked for; return the exit code."""
    if as_json:
        print(json.dumps(failure.as_dict()), flush=True)
    if sys.stderr is not None:  # closed; print would take stdout instead, where a script looks for a token
        start = "\n" if failure.code == INTERRUPTED and sys.stderr.isatty() else ""  # after the terminal's own ^C
        print(f"{start}colony-pool: {failure}", file=sys.stderr)
    return failure.code

"""The entry point of the command line ``colony-pool``. The commands are in ``_cli/``, one file each."""

from __future__ import annotations

import signal
import sys

from ._cli.exit_codes import INTERRUPTED, MISUSED, Failed, report_failure

__all__ = ["main"]

_MISSING, _INSTALL = "the command line needs typer and rich", 'Run pip install "colony_pool[cli]"'


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Arguments:
        argv: the arguments without the program's name; default: those of this process.

    Returns:
        The exit code, see ``_cli/exit_codes.py``. After a failure, one line on stderr has said why.
    """
    args = sys.argv[1:] if argv is None else argv
    try:
        return _run(args)
    except Failed as failure:
        return report_failure(failure, as_json="--json" in args)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # people press it twice
        return report_failure(Failed(INTERRUPTED, "interrupted"), as_json="--json" in args)


def _run(args: list[str]) -> int:
    try:
        import rich  # noqa: F401 - only whether it is there
        import typer  # noqa: F401
    except ImportError:
        raise Failed(MISUSED, _MISSING, hint=_INSTALL) from None
    from ._cli.app import run

    return run(args)


if __name__ == "__main__":
    raise SystemExit(main())

"""The typer application: all commands by name."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

from .. import __version__
from . import demo, metrics, reset, status, token
from .exit_codes import BROKEN, INTERRUPTED, MISUSED, Failed

app = typer.Typer(
    name="colony-pool",
    help="Tokens for The Colony's agents, behind one shared circuit breaker.",
    epilog="To see what it does, in half a minute: colony-pool demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("token", help=token.HELP, epilog=token.EXIT_CODES)(token.command)
app.command("status", help=status.HELP, epilog=status.EXIT_CODES)(status.command)
app.command("reset", help=reset.HELP, epilog=reset.EXIT_CODES)(reset.command)
app.command("demo", help=demo.HELP, epilog=demo.EXIT_CODES)(demo.command)
app.add_typer(metrics.app)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"colony-pool {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def run(args: list[str]) -> int:
    """Run the command that ``args`` name; return its exit code or raise ``Failed``."""
    if sys.stdout is None:
        raise Failed(BROKEN, "cannot write the output: stdout is closed")
    if isinstance(sys.stdout, io.TextIOWrapper):  # a character that the terminal does not know must not end it
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = app(args=args, prog_name="colony-pool", standalone_mode=False)
        sys.stdout.flush()
    except OSError as error:
        # The rest of the buffer would fail again when the interpreter ends, with a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Failed(BROKEN, f"cannot write the output: {error.strerror}") from None
    except Exception as error:
        # typer may ship click under another name, so its usage errors are recognised by a method.
        if not hasattr(error, "format_message"):
            raise
        context = getattr(error, "ctx", None)
        where = context.command_path if context is not None else "colony-pool"
        message = error.format_message().strip().rstrip(".")
        if not message:  # no command was named, and typer has shown the help
            return MISUSED
        raise Failed(MISUSED, message, hint=f"See {where} --help") from None
    if code == INTERRUPTED:  # typer turns a KeyboardInterrupt into an exit code
        raise KeyboardInterrupt
    return int(code or 0)

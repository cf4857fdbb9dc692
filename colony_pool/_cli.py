"""The commands of ``colony-pool``, on typer.

Exit codes are a promise to shell scripts: 0 ok, 2 misused, 3 denied, 4 throttled, 5 unavailable, 130 Ctrl-C.
A failure is one line on stderr that says what happened and when to come back; never a traceback, never a key.
"""

from __future__ import annotations

import json as jsonlib
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from . import __version__
from .errors import (
    ColonyAPIError,
    ColonyAuthError,
    ColonyConflictError,
    ColonyNotFoundError,
    ColonyRateLimitError,
    ColonyValidationError,
)
from .pool import ColonyPool

MISUSED, DENIED, THROTTLED, UNAVAILABLE, INTERRUPTED = 2, 3, 4, 5, 130
_REFUSALS = (ColonyAuthError, ColonyNotFoundError, ColonyConflictError, ColonyValidationError)
_KEY_BYTES = 4096
_CODES = (
    "Exit codes: 0 ok, 2 misused (no key, bad option), 3 denied (this key was refused), 4 throttled (the server "
    "counts), 5 unavailable (down, or no network), 130 Ctrl-C."
)

app = typer.Typer(
    name="colony-pool",
    help="One guarded door to The Colony's token endpoint. Try it: colony-pool demo",
    epilog=_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Failed(Exception):
    """A command ends with ``code`` and one line."""

    def __init__(self, code: int, line: str) -> None:
        super().__init__(line)
        self.code = code


def run() -> int:
    """Run the command that ``sys.argv`` names; return the exit code."""
    try:
        app(prog_name="colony-pool")
    except Failed as failure:
        print(f"colony-pool: {' '.join(str(failure).split())}", file=sys.stderr)
        return failure.code
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


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
    logging.getLogger("colony_pool").addHandler(logging.NullHandler())  # the one line is all that stderr gets


@app.command(epilog=_CODES)
def token(
    api_key_file: Annotated[
        Path | None,
        typer.Option(help="File that holds the API key. Default: the variable COLONY_API_KEY.", show_default=False),
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option(help="The API. Default: COLONY_BASE_URL, else the public one.", show_default=False),
    ] = None,
    max_wait: Annotated[
        float,
        typer.Option(
            min=0, help="Seconds to wait while the endpoint is down. 3600 rides out an hour; 0 never waits."
        ),
    ] = 122.0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object, on failure too.")] = False,
) -> None:
    """Print a JWT for an API key: for shell scripts and cron.

    A token in the cache on disk (shared with colony-sdk) is printed at once; otherwise the server is asked, and
    while it is down this waits its turn. The key comes from COLONY_API_KEY or a file, never from the command line,
    where every user of the host could read it.

    Example: curl -H "Authorization: Bearer $(colony-pool token)" https://thecolony.ai/api/v1/users/me
    """
    key = ""
    try:
        key = _key(api_key_file)
        with ColonyPool(base_url, max_wait=max_wait, runtime="threads", registry=None) as pool:
            jwt = pool.agent(key).token()
            expires = pool.status().tokens.earliest_expiry
    except KeyboardInterrupt:
        raise Failed(INTERRUPTED, "interrupted") from None
    except ValueError as error:
        raise Failed(MISUSED, _clean(str(error), key)) from None
    except ColonyAPIError as error:
        code, name, line, after = _explain(error)
        line = _clean(line, key)
        if json:
            _print_json({"error": name, "message": line, "status": error.status, "retry_after": after})
        raise Failed(code, line) from None
    if json:
        _print_json({"token": jwt, "expires_at": expires})
    else:
        print(jwt)


@app.command(epilog="Exit codes: 0 ok, 2 misused, 130 Ctrl-C.")
def demo(
    agents: Annotated[int, typer.Option(min=1, max=5000, help="How many agents on each side.")] = 200,
    report: Annotated[
        Path | None, typer.Option(help="Write one self-contained HTML page with the chart.", show_default=False)
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Serve the pool's Prometheus metrics meanwhile.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the jitter.")] = 1,
    runtime: Annotated[
        str, typer.Option(help="auto (gevent if installed), gevent or threads.", metavar="auto|gevent|threads")
    ] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON; progress goes to stderr.")] = False,
) -> None:
    """An hour's outage in 20 seconds: agents behind one pool, next to the same agents each on their own.

    Starts two servers on loopback and as many real agents against each. Both servers are healthy, then answer 502,
    then come back with room for a quarter of the agents a second. All schedules run 180 times faster than in life;
    the whole takes about half a minute. The figures in the table at the end are what the servers counted.
    """
    from ._demo import DemoError, Plan, present

    try:
        plan = Plan(agents=agents, seed=seed, runtime=runtime, metrics_port=metrics_port)
        present(plan, report, as_json=json)
    except KeyboardInterrupt:
        raise Failed(INTERRUPTED, "demo interrupted") from None
    except (ValueError, DemoError) as error:
        raise Failed(MISUSED, str(error)) from None


def _print_json(value: dict[str, Any]) -> None:
    print(jsonlib.dumps(value))


def _key(path: Path | None) -> str:
    """The API key, without whatever surrounds it. Raises ``ValueError`` that shows nothing of it."""
    if path is None:
        key = os.environ.get("COLONY_API_KEY", "").strip()
        if not key:
            raise ValueError("no API key: set COLONY_API_KEY, or name a file with --api-key-file")
        return key
    try:
        with path.open(encoding="utf-8") as file:
            key = file.read(_KEY_BYTES).strip()
    except OSError as error:
        raise ValueError(f"--api-key-file {path}: {(error.strerror or 'cannot be read').lower()}") from None
    except UnicodeDecodeError:
        raise ValueError(f"--api-key-file {path}: holds no text") from None
    if not key:
        raise ValueError(f"--api-key-file {path}: is empty")
    return key


def _explain(error: ColonyAPIError) -> tuple[int, str, str, float | None]:
    """``(exit code, its name, the line, seconds until it is worth coming back)``."""
    after: float | None = getattr(error, "retry_after", None)
    when = "later" if after is None else f"in {max(1.0, after):.0f} s"
    if isinstance(error, _REFUSALS):
        return DENIED, "denied", f"denied: {error}. Coming back helps only once that is put right", None
    if isinstance(error, ColonyRateLimitError):
        return THROTTLED, "throttled", f"throttled: {error}. Come back {when}, not sooner", after
    if after is None:
        after, when = 60.0, "in a minute"
    return UNAVAILABLE, "unavailable", f"unavailable: {error}. Come back {when}", after


def _clean(line: str, key: str) -> str:
    """A server may quote what it was sent; a key is never printed."""
    return line.replace(key, "col_...") if key else line

"""The commands as typer sees them; what they do is in ``cli.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import cli

_CODES = "Exit codes: 0 done, 2 misused, 3 denied, 4 throttled, 5 unavailable, 130 interrupted."

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help=f"One guarded door to The Colony's /auth/token.\n\n{_CODES}",
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from . import __version__

        print(f"colony-pool {__version__}")
        raise typer.Exit


@app.command(help=f"Print a JWT for COLONY_API_KEY, from the disk cache if it can. {_CODES}")
def token(
    api_key_file: Annotated[
        Path | None, typer.Option(help="Read the key from this file instead of COLONY_API_KEY.")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(envvar="COLONY_BASE_URL", help="The API.", show_default=False)
    ] = None,
    max_wait: Annotated[float, typer.Option(help="Seconds to wait while the endpoint is down.", min=0)] = 122.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object, also for failures.")] = False,
) -> int:
    return cli.run_token(api_key_file, base_url, max_wait, as_json=as_json)


@app.command(help="Play an outage and its end: one pool next to agents on their own. About 30 seconds.")
def demo(
    agents: Annotated[int, typer.Option(help="Agents in each fleet.", min=1, max=5000)] = 200,
    report: Annotated[Path | None, typer.Option(help="Write a page with charts to this file.")] = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="Serve the pool's Prometheus metrics here meanwhile; 0 picks a port.")
    ] = None,
    runtime: Annotated[str, typer.Option(help="auto, gevent or threads.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> int:
    return cli.run_demo(agents, report, metrics_port, runtime, as_json=as_json)

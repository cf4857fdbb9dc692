"""``colony-pool metrics serve``: one metrics endpoint for many processes of a host."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from .exit_codes import MISUSED, Failed

app = typer.Typer(
    name="metrics",
    help="Prometheus metrics of many processes on one host.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
HELP = """Serve the metrics of all processes of a host on one port, at /metrics.

For pre-fork servers (gunicorn, uwsgi): start them with PROMETHEUS_MULTIPROC_DIR set to an empty directory, and run \
this command beside them with the same directory. The counters of all workers add up; the gauges of a worker that \
died disappear with the next scrape.

Example: colony-pool metrics serve --dir /run/agents/metrics --port 9464
"""
EXIT_CODES = "Exit codes: 0 ended by SIGTERM, 2 misused, 130 Ctrl-C."


@app.command("serve", help=HELP, epilog=EXIT_CODES)
def serve(
    directory: Annotated[
        Path,
        typer.Option(
            "--dir", metavar="DIR", envvar="PROMETHEUS_MULTIPROC_DIR", help="The directory of the processes' files.",
        ),
    ],
    port: Annotated[int, typer.Option(metavar="PORT", min=0, max=65535, help="The port; 0 picks a free one.")] = 9464,
    addr: Annotated[str, typer.Option(metavar="ADDRESS", help="Listen here; 0.0.0.0 is all.")] = "127.0.0.1",
) -> None:  # fmt: skip
    """Carry out ``colony-pool metrics serve``; ``HELP`` says what it does."""
    from ..prometheus._sidecar import serve_directory

    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    try:
        server, thread = serve_directory(str(directory), port, addr)
    except ValueError as error:
        raise Failed(MISUSED, f"--dir: {error}") from None
    except OSError as error:
        raise Failed(MISUSED, f"--port {port}: cannot listen on {addr}: {(error.strerror or '').lower()}") from None
    print(f"serving {directory} at http://{addr}:{server.server_port}/metrics", flush=True)
    try:
        ended.wait()
    finally:
        server.shutdown()
        server.server_close()
        thread.join(1.0)

"""``colony-pool metrics serve``: one page for many processes, and no ghosts on it."""

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
HELP = """Serve what all processes of a host have counted, at /metrics.

For pre-fork servers (gunicorn, uwsgi): start them with PROMETHEUS_MULTIPROC_DIR set to an empty directory, and this \
beside them with the same one. Counters of all workers add up; what a worker that died has said of its present state \
is taken away with the next scrape.

Example: colony-pool metrics serve --dir /run/agents/metrics --port 9464
"""
EXIT_CODES = "Exit codes: 0 ended by SIGTERM, 2 misused, 130 Ctrl-C."


@app.command("serve", help=HELP, epilog=EXIT_CODES)
def serve(
    directory: Annotated[
        Path,
        typer.Option(
            "--dir", metavar="DIR", envvar="PROMETHEUS_MULTIPROC_DIR", help="Where the processes write.",
        ),
    ],
    port: Annotated[int, typer.Option(metavar="PORT", min=0, max=65535, help="0 picks a free one.")] = 9464,
    addr: Annotated[str, typer.Option(metavar="ADDRESS", help="Whom to serve; 0.0.0.0 is everybody.")] = "127.0.0.1",
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

"""``python -m tests.tools.bench [SECTION ...]``: this library against the alternatives, every figure from one run.

Each case runs in a process of its own (gevent must patch before anything is imported), bounded in time: one that
fails or takes too long is a row that says so. A section's rows come as one table and as one JSON line each; ``*``
marks the best of a column. ``--markdown FILE`` writes the tables for a page of documentation. Peers come from the
extra ``bench``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tests.tools.bench.report import FAILED, Row
from tests.tools.bench.sections import SECTIONS, SIZES, Options, Run

PEERS = (
    "urllib3", "pybreaker", "prometheus-client", "gevent", "colony-sdk", "tenacity", "stamina", "circuitbreaker",
    "purgatory", "google-auth", "authlib", "azure-core", "botocore", "msal",
)  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.bench", description=__doc__)
    parser.add_argument("sections", nargs="*", help=f"some of {', '.join(SECTIONS)} (default: all)")
    parser.add_argument("--agents", type=int, nargs="+", default=SIZES, help="sizes of the outage")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there, too")
    args = parser.parse_args(argv)
    unknown = [name for name in args.sections if name not in SECTIONS]
    if unknown:
        parser.error(f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    print(machine())
    page, failures = [machine()], 0
    for name in args.sections or SECTIONS:
        table, run = SECTIONS[name]
        began, rows = time.monotonic(), []
        for row in _measured(run, Options(tuple(args.agents))):
            rows.append(row)
            print(json.dumps({"bench": name, **row}), flush=True)
        print(f"\n{table.text(rows)}\n({name}: {time.monotonic() - began:.0f} s)\n", flush=True)
        page.append(table.markdown(rows))
        failures += _failures(rows)
        if args.markdown is not None:  # after each section: what was measured is not lost with the next one
            args.markdown.write_text("\n\n".join(page) + "\n")
    return 1 if failures else 0


def _measured(run: Run, options: Options) -> Iterator[Row]:
    """Rows of one section; one that says why when it could not go on."""
    try:
        yield from run(options)
    except Exception as error:
        yield {FAILED: f"{type(error).__name__}: {error}"}


def machine() -> str:
    """What this run was made on."""
    found = []
    for name in PEERS:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} missing")
    python = f"{platform.python_implementation()} {platform.python_version()}"
    host = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {_cpu()}"
    return f"{python}, {host}; {', '.join(found)}."


def _cpu() -> str:
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text().splitlines() if cpus.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")


def _failures(rows: list[Row]) -> int:
    """Count the cases of this library's own that failed: a peer that melts is a result."""
    return sum(FAILED in row and str(row.get("client", "colony_pool")).startswith("colony_pool") for row in rows)


if __name__ == "__main__":
    sys.exit(main())

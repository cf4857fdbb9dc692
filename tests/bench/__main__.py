"""``python -m tests.bench [hot dispatch scrape cold get outage]``: every figure is a ratio within one run.

Each section runs in a process of its own (gevent must patch before anything is imported) and prints a table
and one machine-readable line. Peers come from the ``bench`` extra.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

SECTIONS = ("hot", "dispatch", "scrape", "cold", "get", "outage")
PEERS = ("urllib3", "pybreaker", "prometheus-client", "gevent", "colony-sdk", "google-auth", "tenacity")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("sections", nargs="*", default=[], help=f"some of {', '.join(SECTIONS)} (default: all)")
    parser.add_argument("--agents", type=int, nargs="*", default=[200], help="sizes of the outage (default: 200)")
    args = parser.parse_args()
    print(f"Python {platform.python_version()} on {platform.machine()}, {_cores()} cores; {_versions()}")
    for section in args.sections or SECTIONS:
        if section == "outage":
            _outage(args.agents)
            continue
        for runtime in ("threads", "gevent") if section not in ("dispatch", "scrape") else ("threads",):
            subprocess.run([sys.executable, "-m", f"tests.bench.{section}", runtime], check=True)
    return 0


def _cores() -> int:
    import os

    return os.cpu_count() or 1


def _versions() -> str:
    found = []
    for name in PEERS:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} missing")
    return ", ".join(found)


def _outage(sizes: list[int]) -> None:
    print("\nOutage of an hour (20 s, schedules / 180), then a server of N/4 requests a second; gevent")
    heads = ("in outage", 11), ("burst/.1s", 11), ("knocks", 8), ("lost", 7), ("never", 7), ("last back", 11)
    print(f"{'client':28}{'N':>6}" + "".join(f"{head:>{width}}" for head, width in heads))
    for n in sizes:
        for client, patience in (
            ("colony_pool", None), ("colony_pool", 60.0), ("colony-sdk", None), ("tenacity", None),
            ("pybreaker.call", None), ("pybreaker.calling", None),
        ):  # fmt: skip
            command = [
                sys.executable,
                "-m",
                "tests.outage",
                "--client",
                client,
                "--agents",
                str(n),
                "--runtime",
                "gevent",
            ]
            command += ["--patience", str(patience)] if patience else []
            out = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
            if out.returncode:
                print(f"{client:28}{n:>6}  failed: {out.stderr.strip().splitlines()[-1:]}")
                continue
            row = json.loads(out.stdout)
            name = client + (" (max_wait covers it)" if patience else "")
            print(
                f"{name:28.28}{n:>6}{row['attempts_during_outage']:>11}{row['burst_per_100ms']:>11}{row['knocks']:>8}"
                f"{row['agents_lost']:>7}{row['never_back']:>7}{row['last_back_s']:>9.1f} s"
            )
            print("json " + json.dumps(row), flush=True)


if __name__ == "__main__":
    raise SystemExit(main())

"""``python -m tests.simulation``: plays scenarios, replays one, or plays the incident and the week."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time

from .explore import Found, explore, history, replay_command, table


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code: 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("seeds", "incident", "week"), default="seeds")
    parser.add_argument("--seeds", type=int, default=2000, help="how many (default: 2000)")
    parser.add_argument("--base", type=int, default=0, help="the first of them (default: 0)")
    parser.add_argument("--seed", type=int, help="play this one alone")
    parser.add_argument("--history", action="store_true", help="with --seed: tell all that happened")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once (default: 1)")
    args = parser.parse_args(argv)
    if args.what != "seeds":
        from .replays import print_replay

        return print_replay(args.what)
    if args.seed is not None:
        return _one(args.seed, args.history)
    return _many(args.base, args.seeds, args.jobs)


def _one(seed: int, in_full: bool) -> int:
    lines = list(history(seed))
    for line in lines if in_full else lines[-1:]:
        print(line)
    return int(lines[-1].startswith("BROKEN"))


def _many(base: int, seeds: int, jobs: int) -> int:
    start = time.perf_counter()
    found = Found()
    with contextlib.suppress(KeyboardInterrupt):  # what was played until then is told
        for part in explore(base, seeds, jobs):
            found.add(part)
            for seed, _, words in part.broken:
                print(f"{replay_command(seed)}  # {words}", flush=True)
            if sys.stderr.isatty():
                print(f"\r{found.seeds:,} of {seeds:,}", end="", file=sys.stderr)
    for line in table(found):
        print(line)
    took = time.perf_counter() - start
    print(f"{found.seeds:,} seeds, {found.hours:,.0f} virtual hours, {took:.0f} s, {found.seeds / took:.0f} seeds/s")
    print(f"processor: {found.seconds:.0f} s, {1e3 * found.seconds / max(1, found.seeds):.1f} ms a seed")
    print(f"{len(found.broken)} seeds broke a promise" if found.broken else "every promise held")
    return int(bool(found.broken))


if __name__ == "__main__":
    raise SystemExit(main())

"""``python -m tests.simulation.fleet --hosts 10000 --agents 10``: what an outage costs a fleet, its endpoint and its
store."""

from __future__ import annotations

import argparse
import sys
import time

from .hosts import Plan, play


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.fleet", description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="*", default=[1, 10, 100, 1000])
    parser.add_argument("--agents", type=int, default=20, help="on each host")
    parser.add_argument("--outage", type=float, default=120.0, help="seconds")
    parser.add_argument(
        "--rate", type=float, default=None, help="requests/s afterwards (default: a quarter of N, ...)"
    )
    parser.add_argument("--latency", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    missed = 0
    for hosts in args.hosts:
        start = time.perf_counter()
        agents = hosts * args.agents
        rate = args.rate or min(max(20.0, agents / 4), 64 / args.latency / 2)
        plan = Plan(hosts, args.agents, args.outage, latency=args.latency, rate=rate, seed=args.seed)
        result = play(plan)
        good = result.knocks == 0 and result.lost == 0 and result.probes == result.intervals
        missed += not good
        words = (
            f"{hosts} hosts of {args.agents}, {rate:.0f}/s: {result.in_outage} attempts in {args.outage:.0f} s "
            f"({result.before_open} before it opened), {result.probes} probes in {result.intervals} intervals; "
            f"{agents} tokens in {result.recovery:.1f} s (ideal {result.ideal:.1f}), {result.per_token:.2f} attempts "
            f"each, {result.knocks} knocks, {result.lost} lost; "
            f"store {result.store_mean:.0f} calls/s, most {result.store_peak}"
        )
        print(f"{'ok  ' if good else 'MISS'} {words}", flush=True)
        print(f"     {result.verbs} ({time.perf_counter() - start:.0f} s)", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Plays the incident and the week at full scale and prints their figures."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict

from . import incident, week
from .world import disk


def print_replay(what: str) -> int:
    """Play ``what`` and print what it came to."""
    start = time.process_time()
    logging.getLogger("colony_pool").addHandler(logging.NullHandler())  # else it goes to stderr
    results: list[incident.Incident | week.Week] = []
    if what == "incident":
        results += [incident.play(1000, patience) for patience in (3600.0, None)]
    else:
        for cold in (False, True):
            with disk():
                results.append(week.play(cold=cold))
    for result in results:
        for name, value in asdict(result).items():
            shown = f"{value:,.1f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else value
            print(f"{name.replace('_', ' '):18} {shown}")
        print()
    print(f"processor: {time.process_time() - start:.0f} s")
    return 0

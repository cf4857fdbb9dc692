"""What is generated in the pages of this project: ``python -m tests.tools.readme`` writes it, ``--check`` checks it.

The tables of options come from the docstrings and signatures, that of the guarantees from the names of the tests:
each proof carries its number (``test_g7_...``, or ``g7_...`` for a scenario over real sockets).
"""

from __future__ import annotations

import argparse
import inspect
import re
from pathlib import Path
from typing import Any

import colony_pool as cp
from tests.support.private import METRICS

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PROOF = ROOT / "tests" / "README.md"
DASHBOARDS = ROOT / "dashboards" / "README.md"
PAGES = (README, PROOF, DASHBOARDS)
GUARANTEES = {
    1: "Breaker open, any number of waiters, keys and runtimes: exactly one attempt on the wire until its verdict.",
    2: "No lock is held across I/O, a sleep or your callback; no call waits for a listener or a log handler.",
    3: "A caller killed at any moment leaks nothing, and nobody notices; what it is killed with passes through.",
    4: "The probe is a lease with a deadline: it is void when it runs out, its socket closed, the next one leaves.",
    5: "A verdict of an older generation changes nothing; a token that comes late still serves.",
    6: "The open delay doubles from 2 s to 60 s with 80-100 % jitter: about 100 attempts in an hour for any N.",
    7: "The probe is a waiter's own request, of the key most likely to succeed; a refusal in the API's own "
    "words proves that it lives.",
    8: "A good probe closes the breaker and forgives all backoffs and failures, as does a success that ends "
    "a shorter outage; the queue leaves at the pace the server bears, no key is retried more than three times a "
    "second; under a rate limit whoever has been without a token longest goes first.",
    9: "A call parks while waiting can help, and fails at once when it cannot; its own attempts do not count.",
    10: "It opens after 16 failures in a row without a success, a herd that fails together counting once.",
    11: "One table classifies every answer; a 4xx not in the API's own words is down, our own trouble is local.",
    12: "In any 60 s, retries <= 2 x first attempts + 10 (or one agent's whole schedule, if that is more), over all "
    "agents; a refused retry waits its turn. Failures count per closed period.",
    13: "A 429, a 400 or 403 that says when to come back, or a 503 with no request left, holds everybody until then; "
    "it ends with one attempt, "
    "or when an operator ends it; the headers hold before the first 429.",
    14: "A key refused in the API's words rests 60 s, doubling to an hour, alone; "
    "a server that refuses everybody is at fault itself.",
    15: "A one-time code is asked for before the permit is taken, one call per key at a time; none is sent twice.",
    16: "A thousand calls on a cold key make one request; its failure is shared by all and cached for nobody.",
    17: "Soft points are spread by key; past them one background attempt refreshes and nobody waits.",
    18: "Within 60 s of expiry callers wait for a new token; a valid one is served in every state.",
    19: "A 401 drops only the token that was refused: one refresh, one replay, once per key and minute.",
    20: "A wall clock that steps never prolongs a token; a laptop that slept refreshes.",
    21: "The disk cache is the SDK's own, in both directions; it reads plain files of this user alone (0600), "
    "waits for none, and no error of it reaches a caller.",
    22: "The pool's own requests: https or loopback only, certificates verified, no redirect followed, no answer too "
    "big, too slow or too odd.",
    23: "Keys, tokens and codes are in no repr, log, error, traceback, metric, event, pickle or file but the cache.",
    24: "After a fork the child has fresh locks, sockets and no waiters; it keeps its tokens.",
    25: "POST and PUT are repeated only under an Idempotency-Key, PATCH and DELETE not at all once sent.",
    26: "close() wakes every waiter, leaves no thread, greenlet or socket, and finishes when it was cut short.",
    27: "A probe and an attempt after a failure use a connection that is new, or proven since; one that brought 502, "
    "503 without Retry-After, 504 or 520 to 530, that is silent, older than 5 minutes or idle for one is left.",
}
_SHOWN = 2  # proofs named per guarantee
CONFIGS = (
    cp.RetryConfig, cp.BreakerConfig, cp.RetryBudgetConfig, cp.Timeout, cp.KeepAliveConfig, cp.PolicyConfig,
)  # fmt: skip


def proofs() -> dict[int, list[str]]:
    """The names of the tests and scenarios that carry each guarantee's number."""
    found: dict[int, list[str]] = {number: [] for number in GUARANTEES}
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for name in re.findall(r"^def ((?:test_)?g\d+_\w+)\(", path.read_text(), re.MULTILINE):
            for number in re.findall(r"g(\d+)_", name):
                found[int(number)].append(name)
    return found


def _telling(name: str) -> tuple[bool, int]:
    """What runs over real sockets first, then what is short."""
    return name.startswith("test_"), len(name)


def guarantees() -> str:
    """The table of guarantees, each with the tests that prove it."""
    lines = ["| | what holds | proved by |", "| --- | --- | --- |"]
    for number, names in proofs().items():
        shown = ", ".join(f"`{name}`" for name in sorted(names, key=_telling)[:_SHOWN])
        rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        lines.append(f"| G{number} | {GUARANTEES[number]} | {shown}{rest} |")
    return "\n".join(lines)


def options() -> str:
    """The tables of options, with defaults and units."""
    parts = []
    for owner in (cp.ColonyPool, *CONFIGS):
        words = described(owner)
        lines = [
            f"**`{owner.__name__}`** {_first_sentence(owner)}",
            "",
            "| option | default | |",
            "| --- | --- | --- |",
        ]
        for name, default in defaults(owner).items():
            lines.append(f"| `{name}` | {default} | {words[name]} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _first_sentence(owner: type) -> str:
    return " ".join((inspect.getdoc(owner) or "").split("\n\n")[0].split()).replace("``", "`")


def metrics() -> str:
    """The table of metrics, from the catalogue."""
    lines = ["| metric `colony_pool_...` | type | labels beside `pool` | what it says |", "| --- | --- | --- | --- |"]
    for metric in METRICS:
        labels = "; ".join(f"`{name}`: {', '.join(values)}" for name, values in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels or '-'} | {metric.help} *{metric.question}* |")
    return "\n".join(lines)


def described(owner: type) -> dict[str, str]:
    """What the docstring of ``owner`` says of each option."""
    text = (inspect.getdoc(owner) or "").split("Arguments:\n", 1)[1].split("\n\n")[0]
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if match := re.fullmatch(r"    (\w+(?:, \w+)*): (.*)", line):
            name = match[1]
            found[name] = match[2]
        else:
            found[name] += " " + line.strip()
    return {
        single: words.replace("``", "`").replace("|", "\\|")
        for names, words in found.items()
        for single in names.split(", ")
    }


def defaults(owner: type) -> dict[str, str]:
    """The default of each option, as one would write it."""
    found = {}
    for name, parameter in inspect.signature(owner).parameters.items():
        found[name] = _written(name, parameter.default)
    return found


def _written(name: str, default: Any) -> str:
    known = {"registry": "`prometheus_client.REGISTRY`", "auth_token_retry": "`AUTH_TOKEN_RETRY`"}
    if name in known:
        return known[name]
    if isinstance(default, frozenset):
        return "`{" + ", ".join(map(str, sorted(default))) + "}`"
    return "-" if default is None else f"`{default:g}`" if isinstance(default, float) else f"`{default!r}`"


def filled(text: str) -> str:
    """``text`` with every generated part that it has as it should be."""
    for name, make in (("guarantees", guarantees), ("options", options), ("metrics", metrics)):
        start, end = f"<!-- {name}: python -m tests.tools.readme -->", f"<!-- end of {name} -->"
        before, _, rest = text.partition(start)
        if not rest:
            continue
        text = f"{before}{start}\n\n{make()}\n\n{end}{rest.partition(end)[2]}"
    return text


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.readme", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if something is out of date")
    args = parser.parse_args()
    stale = [path for path in PAGES if filled(path.read_text()) != path.read_text()]
    if args.check:
        names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
        print(f"out of date: {names}; python -m tests.tools.readme" if stale else "what is generated is up to date")
        return int(bool(stale))
    for path in stale:
        path.write_text(filled(path.read_text()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""The catalogue of metrics: the one place where their names, labels and meanings are written down.

Zero-initialisation, the collector, the multi-process mirror, the table in the documentation and the check that
every metric is on a panel of the dashboard all read it. It is data: nothing here counts anything.

Conventions: base units, ``_total`` on counters, ``_timestamp_seconds`` for moments (never "seconds since": PromQL
has ``time()``), plural gauges for counts, no ratio that PromQL can make. Every label has a closed list of values,
and all of their combinations exist from the start: a counter that is born at its first event hides that event from
``rate()``. The label ``pool`` comes on top of those named here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from .._core.events import CLOSED, HALF_OPEN, OPEN, STATES
from .._core.outcome import KINDS, NETWORK_ERROR, UNAVAILABLE
from .._core.shared_state import STORE_FAILURES, STORES
from .._core.waiters import WAITS

PREFIX = "colony_pool_"
COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
SUM, MAX, MIN = "livesum", "livemax", "livemin"

# Every pair that can happen; the last three only by an operator's hand.
TRANSITIONS = (
    (CLOSED, OPEN),
    (OPEN, HALF_OPEN),
    (HALF_OPEN, OPEN),
    (HALF_OPEN, CLOSED),
    (OPEN, CLOSED),
    (CLOSED, HALF_OPEN),
    (OPEN, OPEN),
)
CALLS = ("ok", "ok_retried", "error", "error_retried", "fast_fail", "cancelled")
PROBES = ("success", "failure", "cancelled", "lost")
PARKED = ("resumed", "failed", "cancelled")
SOURCES = ("flight", "coalesced", "disk", "margin", "refused")
TRIGGERS = ("miss", "soft", "forced")
RETRIES_DENIED = ("budget", "deadline", "outcome")
HOLDS = ("throttled", "exhausted", "shared")
FRESHNESS = ("fresh", "soft", "margin", "expired")
_FAST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_WAIT = (0.005, 0.05, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 122.0, 300.0, 900.0, 3600.0)
_LONG = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: without ``PREFIX``.
        kind: counter, gauge or histogram.
        help: what it counts, as Prometheus shows it.
        question: what an operator asks it.
        labels: ``(name, values)`` of each label beside ``pool``.
        pairs: the combinations that exist, where that is not all of them.
        buckets: upper bounds, seconds.
        mode: how a gauge of several processes, or several pools of one name, becomes one number.
        lazy: a gauge that is absent while there is nothing to tell.
    """

    name: str
    kind: str
    help: str
    question: str
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    pairs: tuple[tuple[str, ...], ...] = ()
    buckets: tuple[float, ...] = ()
    mode: str = SUM
    lazy: bool = False

    @property
    def full_name(self) -> str:
        """As it is exported."""
        return PREFIX + self.name

    @property
    def label_names(self) -> tuple[str, ...]:
        """Without ``pool``."""
        return tuple(name for name, _ in self.labels)

    def series(self) -> Iterator[tuple[str, ...]]:
        """Every combination of label values that exists."""
        if self.pairs:
            return iter(self.pairs)
        return product(*(values for _, values in self.labels))


def _counter(name: str, text: str, question: str, **labels: tuple[str, ...]) -> Metric:
    return Metric(name, COUNTER, text, question, tuple(labels.items()))


def _gauge(
    name: str, text: str, question: str, *, mode: str = SUM, lazy: bool = False, **labels: tuple[str, ...]
) -> Metric:
    return Metric(name, GAUGE, text, question, tuple(labels.items()), mode=mode, lazy=lazy)


def _histogram(name: str, text: str, question: str, buckets: tuple[float, ...]) -> Metric:
    return Metric(name, HISTOGRAM, text, question, buckets=buckets)


METRICS: tuple[Metric, ...] = (
    # -- calls and waiting
    _counter(
        "calls_total", "Calls for a token that the hot path could not serve, by how they ended.",
        "Do agents get tokens?", outcome=CALLS,
    ),
    _histogram(
        "call_duration_seconds", "Seconds that those calls took.", "How long does an agent wait in all?", _WAIT
    ),
    _gauge("waiters", "Calls that wait now, by what they wait for.", "Who is blocked, and by what?", kind=WAITS),
    _counter(
        "wait_seconds_total", "Seconds that calls spent waiting, added up, by what they waited for.",
        "What do agents lose time to?", kind=WAITS,
    ),
    _counter(
        "parked_calls_total", "Calls that waited while the breaker was not closed or on hold, by how they ended.",
        "How many failures did parking avoid?", result=PARKED,
    ),
    # -- attempts and retries
    _counter(
        "attempts_total", "Requests to the token endpoint, by class of answer.", "What does the endpoint answer?",
        outcome=KINDS,
    ),
    _histogram("attempt_duration_seconds", "Seconds that one attempt took.", "Is the endpoint slow?", _FAST),
    _gauge("attempts_in_flight", "Requests to the token endpoint on the wire now.", "What is on the wire?"),
    _gauge("admission_window", "Token attempts allowed in flight at once; below 1 they are spaced.",
           "How fast are agents let through?"),
    _counter("window_cuts_total", "Times at which failures made the admission window smaller.",
             "Does the endpoint bear the pace?"),
    _counter("retries_total", "Attempts of a flight that had failed before, by its last failure; probes are none.",
             "Do we amplify?", reason=(UNAVAILABLE, NETWORK_ERROR)),
    _counter("retries_denied_total", "Retries that were not made, or had to wait (budget), by reason.",
             "Why was a retry not made?", reason=RETRIES_DENIED),
    _gauge("retry_budget_tokens", "Retries that the budget allows now.", "How much retry budget is left?"),
    _gauge("retry_budget_limit_tokens", "What the balance would be without any retry.", "Out of how much?"),
    # -- the breaker
    _gauge("breaker_state", "Breakers in this state; of one pool in one process, 1 for the state it is in.",
           "Is any breaker not closed?", state=STATES),
    Metric("breaker_transitions_total", COUNTER, "Changes of the breaker's state.", "Does it flap?",
           (("from_state", STATES), ("to_state", STATES)), TRANSITIONS),
    _counter("breaker_state_seconds_total", "Seconds spent in each state of the breaker.",
             "What share of the time was it open?", state=STATES),
    _gauge("breaker_last_transition_timestamp_seconds", "Unix time of the last change of state, or of the start.",
           "Since when?", mode=MAX),
    _gauge("breaker_opened_timestamp_seconds", "Unix time at which it last left closed; absent while closed.",
           "Open since when, all probes in between included?", mode=MIN, lazy=True),
    _gauge("breaker_next_probe_timestamp_seconds", "Unix time before which no probe leaves; absent while closed.",
           "When is the next probe?", mode=MIN, lazy=True),
    _counter("breaker_probes_total", "Half-open probes, by result; lost: its lease ran out; cancelled: given back.",
             "Do probes succeed?", result=PROBES),
    _gauge("breaker_probes_in_flight", "Probes on the wire now; never more than one per breaker.",
           "Is there one probe?"),
    _histogram("breaker_recovery_seconds", "Seconds from open to closed.", "How long do outages last?", _LONG),
    # -- holds and refusals
    _counter("holds_total", "Times at which everybody was put on hold: by a 429, a rate limit used up, or a process "
             "that shares the endpoint.",
             "Does the server count?", reason=HOLDS),
    _gauge("hold_end_timestamp_seconds", "Unix time at which the present hold ends; absent without one.",
           "When does the hold end?", mode=MAX, lazy=True),
    _counter("denials_total", "Refusals of a single key, or of its one-time code.", "Are keys refused?",
             kind=("key", "code")),
    _gauge("denied_keys", "Keys that rest now because they were refused.", "How many agents are locked out?"),
    _counter("server_faults_total", "Refusals that were blamed on the server, since it refused so many good keys.",
             "Does the server refuse everybody?"),
    # -- tokens
    _counter("token_requests_total", "Requests that the hot path could not serve, by who served them: a flight of "
             "their own, one they joined, the disk, a token in its margin; or refused.",
             "What does single flight save?", source=SOURCES),
    _counter("token_refreshes_total", "Flights that ended, by what began them and by result.",
             "Why do we refresh; do soft refreshes fail?", trigger=TRIGGERS, result=("success", "failure")),
    _histogram("token_refresh_seconds", "Seconds from a flight's first caller to its end.",
               "How long does a token take?", _WAIT),
    _gauge("agents", "Agents (API keys) that have been asked for.", "How many agents are there?"),
    _gauge("tokens", "Tokens held now, by age.", "Are tokens held?", freshness=FRESHNESS),
    _gauge("token_earliest_expiry_timestamp_seconds",
           "Unix time at which the first valid token ends; absent without one.",
           "When does the first token run out?", mode=MIN, lazy=True),
    _gauge("token_last_refresh_timestamp_seconds", "Unix time at which a token was last given; absent before.",
           "When did a refresh last succeed?", mode=MAX, lazy=True),
    # -- connections
    _gauge("connections", "Connections, by what they do now.", "Is the connection pool full?",
           state=("in_use", "idle")),
    _gauge("connections_limit", "Requests allowed at once (maxsize).", "Out of how many?"),
    _counter("connections_opened_total", "Connections opened.", "Are connections used again?"),
    # -- the store that processes share
    _gauge("shared_store_state", "Processes whose shared store is in this state; none: they share nothing.",
           "Do processes share one probe?", state=STORES),
    _counter("shared_store_failures_total", "Times at which the shared store failed, or was too slow to wait for.",
             "How often does a process decide alone?", kind=STORE_FAILURES),
    # -- the library itself
    _counter("stale_results_total", "Verdicts of an older generation: they changed nothing.",
             "Do late answers come?"),
    _counter("leases_expired_total", "Attempts given up because no verdict came by their deadline.",
             "Do attempts hang?", kind=("probe", "attempt")),
    _counter("listener_errors_total", "Exceptions raised by users' listeners; they changed nothing.",
             "Is a listener broken?"),
    _counter("notices_dropped_total", "Notices to users' listeners and log handlers that were dropped: one was too "
             "slow.",
             "Does a listener or a log handler hang?"),
)  # fmt: skip

BY_NAME = {metric.name: metric for metric in METRICS}

"""Below the first screen: calls and retries, tokens, where time goes, connections, the library itself."""

from __future__ import annotations

from .model import BLUE, GREEN, ORANGE, RED, YELLOW, Panel, Query, R, Section, Step


def _quantiles(metric: str, *which: str) -> tuple[Query, ...]:
    return tuple(
        Query(f"histogram_quantile({int(q) / 100:g}, sum by (le)(rate(@{metric}_bucket{R})))", f"p{q}") for q in which
    )


CALLS = Section("What do calls and retries do?", (
    Panel(
        kind="timeseries", title="Calls, by how they ended", unit="cpm", stack=True, runbook="colonypoolcallsfailing",
        says="Calls for a token that memory could not serve. fast_fail: told at once, as waiting could not help.",
        queries=(Query(f"60 * sum by (outcome)(rate(@calls_total{R}))", "{{outcome}}"),), steps=(Step(600, ORANGE),),
    ),
    Panel(
        kind="timeseries", title="Answers of the endpoint", unit="rpm", stack=True,
        runbook="colonypoolrefreshfailing",
        says="Requests to the token endpoint, by class of answer.",
        queries=(Query(f"60 * sum by (outcome)(rate(@attempts_total{R}))", "{{outcome}}"),),
        steps=(Step(600, ORANGE),),
    ),
    Panel(
        kind="timeseries", title="Share of attempts that are retries", unit="percentunit", most=1.0, line=True,
        says="Amplification. The budget keeps it below two thirds; probes are not retries.",
        queries=(Query(f"sum(rate(@retries_total{R})) / (sum(rate(@attempts_total{R})) > 0)", "retries"),),
        steps=(Step(0.5, ORANGE), Step(0.67, RED)), runbook="colonypoolretrybudgetexhausted",
    ),
    Panel(
        kind="timeseries", title="Retries, by what had failed", unit="cpm", stack=True,
        says="Attempts of a flight whose last attempt had this outcome.",
        queries=(Query(f"60 * sum by (reason)(rate(@retries_total{R}))", "{{reason}}"),), steps=(Step(60, ORANGE),),
        runbook="colonypoolretrybudgetexhausted",
    ),
    Panel(
        kind="timeseries", title="Retries not made, by why", unit="cpm", stack=True,
        says="budget: had to wait its turn; deadline: would come too late for its caller; outcome: is never retried.",
        queries=(Query(f"60 * sum by (reason)(rate(@retries_denied_total{R}))", "{{reason}}"),),
        steps=(Step(1, ORANGE),), runbook="colonypoolretrybudgetexhausted",
    ),
    Panel(
        kind="timeseries", title="Retry budget", says="Retries allowed now, and what it would be without any retry.",
        queries=(Query("sum(@retry_budget_tokens)", "left"), Query("sum(@retry_budget_limit_tokens)", "limit")),
        base=RED, steps=(Step(2, ORANGE), Step(5, GREEN)), runbook="colonypoolretrybudgetexhausted",
    ),
    Panel(
        kind="timeseries", title="Admission window, and what is on the wire", width=12,
        says="Attempts allowed at once, and made at once. After a recovery the window starts at 1 and grows with "
        "each success: agents are let through at the pace that the server bears.",
        queries=(Query("sum(@admission_window)", "window"), Query("sum(@attempts_in_flight)", "in flight")),
        base=ORANGE, steps=(Step(1, GREEN),), runbook="colonypoolendpointslow",
    ),
    Panel(
        kind="timeseries", title="Window cuts", bars=True, width=12,
        says="Times at which failures made the window smaller.", queries=(
            Query(f"sum(increase(@window_cuts_total{R}))", "cuts"),), steps=(Step(5, ORANGE),),
        runbook="colonypoolendpointslow",
    ),
))  # fmt: skip

TOKENS = Section("Tokens", (
    Panel(
        kind="timeseries", title="Tokens, by age", stack=True, runbook="colonypoolnovalidtoken",
        says="fresh; soft: refreshed ahead of time, in the background; margin: its last minute; expired.",
        queries=(Query("sum by (freshness)(@tokens)", "{{freshness}}"),), base=RED, steps=(Step(1, GREEN),),
    ),
    Panel(
        kind="timeseries", title="Who served requests", unit="cpm", stack=True, runbook="colonypoolcallsfailing",
        says="flight: a request of its own; coalesced: joined another's; disk: the cache; margin: a token in its "
        "last minute; refused: told at once.",
        queries=(Query(f"60 * sum by (source)(rate(@token_requests_total{R}))", "{{source}}"),),
        steps=(Step(600, ORANGE),),
    ),
    Panel(
        kind="timeseries", title="Requests saved by single flight", unit="percentunit", most=1.0, base=BLUE,
        says="Share of the calls that joined a flight which was under way.",
        queries=(Query(
            f'sum(rate(@token_requests_total{{source="coalesced"}}{R})) / (sum(rate(@token_requests_total{R})) > 0)',
            "coalesced",
        ),),
        steps=(Step(0.5, GREEN),), runbook="colonypoolcallsfailing",
    ),
    Panel(
        kind="timeseries", title="Refreshes", unit="cpm", stack=True, runbook="colonypoolrefreshfailing",
        says="miss: no token; soft: ahead of time; forced: a 401 took the token. Many forced: the server forgets.",
        queries=(Query(f"60 * sum by (trigger, result)(rate(@token_refreshes_total{R}))", "{{trigger}} {{result}}"),),
        steps=(Step(60, ORANGE),),
    ),
    Panel(
        kind="timeseries", title="Duration of a refresh", unit="s", runbook="colonypoolendpointslow",
        says="From a flight's first caller to its end, all waiting and all retries included.",
        queries=_quantiles("token_refresh_seconds", "50", "95", "99"), steps=(Step(5, ORANGE), Step(60, RED)),
    ),
    Panel(
        kind="timeseries", title="Since the endpoint last gave a token", unit="s", runbook="colonypooltokensrunout",
        says="Long means an outage, or that nobody asks.",
        queries=(Query("time() - max by (pool)(@token_last_refresh_timestamp_seconds)", "{{pool}}"),),
        steps=(Step(600, ORANGE), Step(3600, RED)),
    ),
    Panel(
        kind="timeseries", title="Agents, and keys at rest", width=24, height=6, runbook="colonypoolkeysrefused",
        says="Agents (API keys) that were asked for, and those among them that rest because they were refused.",
        queries=(Query("sum(@agents)", "agents"), Query("sum(@denied_keys)", "refused keys")), steps=(
            Step(10_000, ORANGE),),
    ),
))  # fmt: skip

TIME = Section("Where does time go?", (
    Panel(
        kind="heatmap", title="Duration of attempts", unit="s", width=12, height=8, runbook="colonypoolendpointslow",
        says="How many attempts took how long.", steps=(Step(5, ORANGE),),
        queries=(Query(f"sum by (le)(increase(@attempt_duration_seconds_bucket{R}))", "{{le}}"),),
    ),
    Panel(
        kind="timeseries", title="Duration of attempts, quantiles", unit="s", width=12, height=8, line=True,
        says="Is the endpoint slow? Timeouts count with what they took.", runbook="colonypoolendpointslow",
        queries=_quantiles("attempt_duration_seconds", "50", "95", "99"), steps=(Step(1, ORANGE), Step(5, RED)),
    ),
    Panel(
        kind="timeseries", title="Agents kept waiting, by what for", stack=True, runbook="colonypoolagentsparked",
        says="Seconds of waiting per second: the mean number of agents that stood still.",
        queries=(Query(f"sum by (kind)(rate(@wait_seconds_total{R}))", "{{kind}}"),),
        steps=(Step(1, ORANGE), Step(100, RED)),
    ),
    Panel(
        kind="timeseries", title="Waiting now, by what for", stack=True, runbook="colonypoolagentsparked",
        says="probe: the breaker is not closed; hold: the server counts; flight: their own request is under way.",
        queries=(Query("sum by (kind)(@waiters)", "{{kind}}"),), steps=(Step(1, ORANGE), Step(100, RED)),
    ),
    Panel(
        kind="timeseries", title="Duration of calls", unit="s", runbook="colonypoolagentsparked",
        says="How long an agent waits in all, of the calls that memory could not serve.",
        queries=_quantiles("call_duration_seconds", "50", "95", "99"), steps=(Step(5, ORANGE), Step(122, RED)),
    ),
))  # fmt: skip

CONNECTIONS = Section("Connections, and the library itself", (
    Panel(
        kind="timeseries", title="Connections", runbook="colonypoolconnectionssaturated",
        says="In use, idle, and how many requests are allowed at once.",
        queries=(Query("sum by (state)(@connections)", "{{state}}"), Query("sum(@connections_limit)", "limit")),
        steps=(Step(58, ORANGE),),
    ),
    Panel(
        kind="timeseries", title="Connections opened", unit="cpm", runbook="colonypoolconnectionssaturated",
        says="Far below the number of attempts when connections are used again.",
        queries=(Query(f"60 * sum(rate(@connections_opened_total{R}))", "opened"),
                 Query(f"60 * sum(rate(@attempts_total{R}))", "attempts")),
        steps=(Step(60, ORANGE),),
    ),
    Panel(
        kind="timeseries", title="Late verdicts and lost leases", bars=True, runbook="colonypoolprobestuck",
        says="Verdicts of an older generation, which changed nothing; attempts and probes that were given up at "
        "their deadline.",
        queries=(Query(f"sum(increase(@stale_results_total{R}))", "late"),
                 Query(f"sum by (kind)(increase(@leases_expired_total{R}))", "lost: {{kind}}")),
        steps=(Step(5, ORANGE),),
    ),
    Panel(
        kind="timeseries", title="Shared store", runbook="colonypoolstoreunavailable",
        says="Processes by what they know of the store that they share. Where it is unavailable each process decides "
        "alone, and sends probes of its own; failures say how often it did not answer, or not in time.",
        queries=(Query("sum by (state)(@shared_store_state)", "{{state}}"),
                 Query(f"sum by (kind)(increase(@shared_store_failures_total{R}))", "failures: {{kind}}")),
        steps=(Step(1000, ORANGE),),
    ),
    Panel(
        kind="timeseries", title="Errors of listeners and of scrapes", bars=True, width=12, height=6,
        says="Exceptions of users' listeners, notices that a slow one missed, pools that a scrape could not read. "
        "Any is somebody's bug.",
        queries=(Query(f"sum(increase(@listener_errors_total{R}))", "listeners"),
                 Query(f"sum(increase(@notices_dropped_total{R}))", "dropped"),
                 Query(f"sum(increase(@collect_errors_total{R}))", "scrapes")),
        steps=(Step(1, RED),), runbook="colonypoollistenererrors",
    ),
    Panel(
        kind="table", title="Versions", width=12, height=6, runbook="colonypoolabsent",
        says="What runs where.", base=BLUE, steps=(Step(1, GREEN), Step(1000, YELLOW)),
        queries=(Query("count by (version, python, instance)(@build_info)"),),
    ),
))  # fmt: skip

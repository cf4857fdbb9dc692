"""The first screen: is it up, which breaker, since when, what answers, who waits, and what to do now."""

from __future__ import annotations

from .model import BLUE, GREEN, GREY, ORANGE, RED, YELLOW, Panel, Query, R, Say, Section, Step

_NOT_CLOSED = 'sum(@breaker_state{state!="closed"})'

TO_DO = """| You see | Do | Do not |
| --- | --- | --- |
| **breaker open** | call the endpoint's owner; wait for the next probe | restart agents: they lose their place and their tokens |
| **on hold** | wait until it ends; look for whoever asks too often | press on: each request counts against you |
| **keys refused** | put the keys right, then `agent.invalidate()` | retry them |
| **server refuses all** | call the endpoint's owner | rotate keys |
| **nothing at all** | look at the scrape, then at the process | trust this page |

[Runbook](${runbook})"""  # noqa: E501 - a row of a Markdown table

IS_IT_UP = Section("Is it up?", (
    Panel(
        kind="stat", title="What to do now", width=12, height=4, runbook="at-3-am",
        says="The most urgent of: good keys refused by the server, breaker not closed, on hold, single keys refused. "
        "Empty means that nothing was scraped.",
        queries=(Query(
            "8 * ((sum(increase(@server_faults_total[5m])) or vector(0)) > bool 0)"
            f" + 4 * ({_NOT_CLOSED} > bool 0)"
            " + 2 * ((count(@hold_end_timestamp_seconds > time()) or vector(0)) > bool 0)"
            " + (sum(@denied_keys) > bool 0)"
        ),),
        unit="none", empty="NO DATA: look at the scrape first", base=RED,
        steps=(Step(0, GREEN), Step(1, BLUE), Step(2, YELLOW), Step(4, RED)),
        maps=(
            Say(0, 0, "All is well. Nothing to do.", GREEN),
            Say(1, 1, "Some keys are refused: put them right", BLUE),
            Say(2, 3, "On hold (429): wait, start nothing new", YELLOW),
            Say(4, 7, "DOWN: call the endpoint's owner, restart nothing", RED),
            Say(8, 15, "SERVER REFUSES GOOD KEYS: call its owner", RED),
        ),
    ),
    Panel(
        kind="stat", title="Breaker", width=3, height=4, unit="none",
        says="Breakers that are not closed: one per pool and process.",
        queries=(Query(_NOT_CLOSED),), steps=(Step(1, RED),),
        maps=(Say(0, 0, "closed", GREEN), Say(1, 1, "OPEN", RED)),
    ),
    Panel(
        kind="stat", title="Open for", width=3, height=4, unit="dthms", empty="closed",
        says="Time since the first breaker left closed, all probes in between included.",
        queries=(Query("time() - min(@breaker_opened_timestamp_seconds)"),), steps=(Step(0, ORANGE), Step(120, RED)),
    ),
    Panel(
        kind="stat", title="Next probe in", width=3, height=4, unit="dthms", empty="none due",
        says="Time until the next probe may leave; 0 when it waits for somebody to ask.",
        queries=(Query("clamp_min(min(@breaker_next_probe_timestamp_seconds) - time(), 0)"),),
        steps=(Step(0, BLUE), Step(120, ORANGE)),
    ),
    Panel(
        kind="stat", title="Hold ends in", width=3, height=4, unit="dthms", empty="no hold",
        runbook="colonypoolonhold",
        says="Time until requests may leave again after a 429 or a rate limit that is used up.",
        queries=(Query("clamp_min(max(@hold_end_timestamp_seconds) - time(), 0)"),),
        steps=(Step(0, YELLOW), Step(120, ORANGE)),
    ),
    Panel(
        kind="bargauge", title="What the endpoint answered, last 5 minutes", width=8, height=6,
        says="Requests to the token endpoint by class of answer. down: 502, 503, 504 and what is no answer of the "
        "endpoint's own; network: none at all; fault: 500, 501, or refusals blamed on the server; throttled: 429; "
        "denied: a key refused; local: given up by us.",
        queries=(Query("sum by (outcome)(increase(@attempts_total[5m]))", "{{outcome}}"),),
        unit="short", decimals=0, steps=(Step(0, GREEN),), runbook="colonypoolrefreshfailing",
    ),
    Panel(
        kind="stat", title="Agents with a valid token", width=4, height=6, unit="percentunit", decimals=0, base=GREY,
        says="Share of the agents (API keys) of the selected processes that hold a token which the endpoint would "
        "still accept. They go on working in any state of the breaker.",
        queries=(Query('sum(@tokens{freshness!="expired"}) / sum(@agents)'),),
        steps=(Step(0, RED), Step(0.5, ORANGE), Step(0.99, GREEN)), empty="no agents",
        runbook="colonypoolnovalidtoken",
    ),
    Panel(
        kind="stat", title="First token runs out in", width=4, height=6, unit="dthms", empty="no token", base=RED,
        says="Time until the first valid token ends. Short is normal for an agent that stopped asking, and an "
        "emergency while the breaker is open.",
        queries=(Query("min(@token_earliest_expiry_timestamp_seconds) - time()"),),
        steps=(Step(60, ORANGE), Step(300, GREEN)), runbook="colonypooltokensrunout",
    ),
    Panel(
        kind="stat", title="Agents waiting", width=4, height=6, unit="short",
        says="Calls that wait for a token now, for whatever reason.",
        queries=(Query("sum(@waiters)"),), steps=(Step(1, ORANGE), Step(100, RED)), runbook="colonypoolagentsparked",
    ),
    Panel(
        kind="stat", title="Calls that got a token, 15 min", width=4, height=6, unit="percentunit", decimals=1,
        says="Of the calls that could not be served from memory and have ended, without those that were cancelled.",
        queries=(Query(
            'sum(increase(@calls_total{outcome=~"ok|ok_retried"}[15m]))'
            ' / (sum(increase(@calls_total{outcome!="cancelled"}[15m])) > 0)'
        ),),
        base=GREY, steps=(Step(0, RED), Step(0.99, ORANGE), Step(0.999, GREEN)), empty="no calls",
        runbook="colonypoolcallsfailing",
    ),
))  # fmt: skip

THE_BREAKER = Section("Which breaker, and why?", (
    Panel(
        kind="state-timeline", title="State of the breakers", width=13, height=9, unit="none",
        says="Worst state of each breaker. Openings shorter than the scrape interval do not show here, but in the "
        "counters below.",
        queries=(Query(
            'max by (instance, pool)(2 * clamp_max(@breaker_state{state="open"}, 1)'
            ' or clamp_max(@breaker_state{state="half_open"}, 1))', "{{pool}} {{instance}}",
        ),),
        steps=(Step(1, YELLOW), Step(2, RED)),
        maps=(Say(0, 0, "closed", GREEN), Say(1, 1, "half-open", YELLOW), Say(2, 2, "open", RED)),
    ),
    Panel(
        kind="text", title="What to do, and what not", width=11, height=9, says="The runbook in five lines.",
        text=TO_DO, runbook="at-3-am",
    ),
    Panel(
        kind="timeseries", title="Share of time not closed", unit="percentunit", most=1.0,
        says="Exact at any scrape interval: from a counter of seconds, not from samples of the state.",
        queries=(Query(
            f'sum by (pool)(rate(@breaker_state_seconds_total{{state!="closed"}}{R}))'
            f" / sum by (pool)(rate(@breaker_state_seconds_total{R}))", "{{pool}}",
        ),),
        steps=(Step(0.01, ORANGE), Step(0.5, RED)),
    ),
    Panel(
        kind="timeseries", title="Changes of state", bars=True, stack=True, runbook="colonypoolbreakerflapping",
        says="closed to open: opened; half_open to closed: recovered; open to half_open and back: a probe failed.",
        queries=(Query(
            f"sum by (from_state, to_state)(increase(@breaker_transitions_total{R}))",
            "{{from_state}} to {{to_state}}",
        ),),
        steps=(Step(5, ORANGE),),
    ),
    Panel(
        kind="timeseries", title="Probes, by result", bars=True, stack=True, runbook="colonypoolprobestuck",
        says="lost: no verdict by the lease's deadline; cancelled: its caller went away or an operator stepped in.",
        queries=(Query(f"sum by (result)(increase(@breaker_probes_total{R}))", "{{result}}"),),
        steps=(Step(5, ORANGE),),
    ),
    Panel(
        kind="timeseries", title="Probes on the wire per breaker", unit="short", line=True, most=2,
        says="The promise of the library: never more than one. Above the line it is a bug.",
        queries=(Query("sum by (pool, instance)(@breaker_probes_in_flight) / sum by (pool, instance)(@breaker_state)",
                       "{{pool}} {{instance}}"),),
        steps=(Step(1.01, RED),), runbook="colonypoolprobenotsingle",
    ),
    Panel(
        kind="timeseries", title="Parked calls, by how they ended", bars=True, stack=True,
        says="Calls that waited while the breaker was not closed or on hold. Each resumed one is a failure that its "
        "agent never saw.",
        queries=(Query(f"sum by (result)(increase(@parked_calls_total{R}))", "{{result}}"),),
        steps=(Step(100, ORANGE),), runbook="colonypoolagentsparked",
    ),
    Panel(
        kind="timeseries", title="Holds and refusals", bars=True, stack=True, runbook="colonypoolonhold",
        says="Holds of everybody by reason, refusals of single keys or codes, and refusals of good keys that were "
        "blamed on the server.",
        queries=(
            Query(f"sum by (reason)(increase(@holds_total{R}))", "hold: {{reason}}"),
            Query(f"sum by (kind)(increase(@denials_total{R}))", "refused: {{kind}}"),
            Query(f"sum(increase(@server_faults_total{R}))", "blamed on the server"),
        ),
        steps=(Step(1, ORANGE),),
    ),
    Panel(
        kind="stat", title="Time in the present state", width=8, height=4, unit="dthms", base=BLUE,
        says="Since the last change of any breaker, each probe included.",
        queries=(Query("time() - max(@breaker_last_transition_timestamp_seconds)"),), steps=(Step(86_400, GREEN),),
    ),
    Panel(
        kind="stat", title="Outages that ended in this period", width=8, height=4, unit="short", decimals=0,
        says="Recoveries of all selected breakers, as PromQL estimates them at the edges of the period.",
        queries=(Query("sum(increase(@breaker_recovery_seconds_count[$__range]))"),),
        steps=(Step(1, ORANGE), Step(5, RED)), runbook="colonypoolbreakerflapping",
    ),
    Panel(
        kind="stat", title="Their mean length", width=8, height=4, unit="dthms", empty="no outage",
        says="From open to closed.",
        queries=(Query("sum(increase(@breaker_recovery_seconds_sum[$__range]))"
                       " / (sum(increase(@breaker_recovery_seconds_count[$__range])) > 0)"),),
        steps=(Step(60, ORANGE), Step(600, RED)),
    ),
))  # fmt: skip

"""What ``colony-pool status`` knows, and how it says it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .._core.answer import CHECK_BASE_URL
from .._shared.store import Store
from .._shell.token_cache import lives
from .pool_sample import span
from .store_option import shell_names


@dataclass(frozen=True, slots=True)
class HostStatus:
    """What the processes of a host or a fleet know of one API. Times in seconds; ``None``: not so.

    Attributes:
        api: its address.
        shared: who shares it.
        state: closed, half_open (a probe is out) or open.
        since: how long it has not been closed.
        cause: what opened it, in words.
        next_probe_in: until the next probe may leave.
        prober: the process that probes: host, process id, and what tells it from others of that name.
        lease_for: until it is believed to be dead.
        hold_for: until the present hold ends.
        hold_cause: who asked for it.
        members: processes with calls that wait.
        denied: keys that are refused for the time being.
        tokens: seconds of life that are left of each token in this host's cache, the first to end first. Of every
            API: the cache does not tell whose they are.
    """

    api: str
    shared: str
    state: str
    since: float | None
    cause: str
    next_probe_in: float | None
    prober: str | None
    lease_for: float | None
    hold_for: float | None
    hold_cause: str
    members: int
    denied: int
    tokens: list[float]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @property
    def calm(self) -> bool:
        """Nothing keeps anybody from getting a token."""
        return self.state == "closed" and self.hold_for is None


def read_host_status(store: Store, api: str, shared: str, wall: float) -> HostStatus:
    """Read it, or raise ``StoreUnavailable``."""
    survey = store.survey()
    view, opening = survey.view, survey.view.opening
    return HostStatus(
        api=api,
        shared=shared,
        state="closed" if opening is None else "open" if survey.prober is None else "half_open",
        since=opening.opened_for if opening is not None else None,
        cause=opening.cause if opening is not None else "",
        next_probe_in=opening.probe_in if opening is not None and survey.prober is None else None,
        prober=survey.prober,
        lease_for=view.lease_for if survey.prober is not None else None,
        hold_for=view.hold_for or None,
        hold_cause=view.hold_cause,
        members=view.members,
        denied=survey.denied,
        tokens=sorted(lives(wall)),
    )


def rows(told: HostStatus) -> list[tuple[str, str]]:
    """The same in words."""
    state = told.state.replace("_", "-")
    breaker = state if told.since is None else f"{state} for {span(told.since)} ({told.cause})"
    if told.since is not None and not told.tokens:  # a wrong address looks like an outage
        breaker += f"; {shell_names(CHECK_BASE_URL)}"
    if told.prober is not None:
        probe = f"out now, sent by {told.prober}, which is believed dead in {span(told.lease_for)}"
    elif told.next_probe_in is None:
        probe = "none is needed"
    else:
        probe = f"in {span(told.next_probe_in)}" if told.next_probe_in else "with the next call"
    return [
        ("breaker", breaker),
        ("probe", probe),
        ("hold", "none" if told.hold_for is None else f"{span(told.hold_for)} more ({told.hold_cause})"),
        ("waiting", f"{_count(told.members, 'process', 'processes')} with calls that wait"),
        ("refused", _count(told.denied, "key", "keys")),
        ("tokens", _tokens(told.tokens)),
    ]


def _tokens(left: list[float]) -> str:
    if not left:
        return "none in this host's cache"
    ends = (
        f"it ends in {span(left[0])}"
        if len(left) == 1
        else f"first ends in {span(left[0])}, last in {span(left[-1])}"
    )
    return f"{len(left)} in this host's cache; {ends}"


def _count(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"

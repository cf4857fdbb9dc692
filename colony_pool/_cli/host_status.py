"""What the processes that share a record know of an API, as ``colony-pool status`` shows it."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from .._core.outcome import CHECK_BASE_URL
from .._driver.token_cache import lives
from .._store.protocol import Store
from .render import Report, Section, counted, span
from .store_option import describe_store, shell_names, with_user


@dataclass(frozen=True, slots=True)
class HostStatus:
    """What the processes of a host or a fleet know of one API. Times in seconds; ``None``: does not apply.

    Attributes:
        api: its address.
        shared: where the record is: this host, or a URL without its password.
        state: of the breaker: closed, half_open (a probe is out) or open.
        since: how long it has not been closed.
        cause: what opened it, in words.
        next_probe_in: until the next probe may start.
        prober: the process that probes: host, process id, and what tells it from others of that name.
        lease_for: until the prober is taken for dead.
        hold_for: until the present rate limit ends.
        hold_cause: what started the rate limit.
        members: processes with calls that wait.
        denied: keys that the server refuses; they are not retried for the time being.
        tokens: remaining life of each token in this host's cache, the first to end first. They are of every API: the
            cache does not say whose they are.
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

    def as_section(self) -> Section:
        """What a person reads."""
        return Section(
            title=f"{self.api}, as {with_user(self.shared)} knows it",
            state=self.state,
            rate_limited_for=self.hold_for,
            waiting=None,
            refused=self.denied,
            rows=[
                ("breaker", self._breaker()),
                ("probe", self._probe()),
                (
                    "rate limit",
                    f"{span(self.hold_for)} more ({self.hold_cause})" if self.hold_for else "none",
                ),
                ("waiting", f"{counted(self.members, 'process', 'processes')} with calls that wait"),
                ("refused", counted(self.denied, "key", "keys")),
                ("tokens", self._tokens()),
            ],
        )

    def as_report(self) -> Report:
        """The same as the one section of a report."""
        return Report([self.as_section()], {"at": time.time(), **self.as_dict()})

    def _breaker(self) -> str:
        state = self.state.replace("_", "-")
        if self.since is None:
            return state
        words = f"{state} for {span(self.since)} ({self.cause})"
        return words if self.tokens else f"{words}; {shell_names(CHECK_BASE_URL)}"  # a wrong address looks the same

    def _probe(self) -> str:
        if self.prober is not None:
            return f"out now, sent by {self.prober}, which is taken for dead in {span(self.lease_for)}"
        if self.next_probe_in is None:
            return "none is needed"
        return f"in {span(self.next_probe_in)}" if self.next_probe_in else "with the next call"

    def _tokens(self) -> str:
        if not self.tokens:
            return "none in this host's cache"
        first, last = span(self.tokens[0]), span(self.tokens[-1])
        ends = f"it ends in {first}" if len(self.tokens) == 1 else f"first ends in {first}, last in {last}"
        return f"{len(self.tokens)} in this host's cache; {ends}"


def read_host_status(store: Store, api: str, shared: str) -> HostStatus:
    """Read it, or raise ``StoreUnavailable``. ``shared`` is the option's value."""
    survey = store.survey()
    view, opening = survey.view, survey.view.opening
    return HostStatus(
        api=api,
        shared=describe_store(shared),
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
        tokens=sorted(lives(time.time())),
    )

"""Every option, frozen and checked when it is built.

Times are float seconds, a ``ratio`` is 0..1 unless said otherwise. A bad value raises ``ValueError`` that
names the option, the value and what is allowed. Defaults here are the ones the guarantees speak of.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from ._check import LARGEST, LONGEST_TIMEOUT, flag, number, ordered, statuses, whole

__all__ = [
    "AUTH_TOKEN_RETRY",
    "BreakerConfig",
    "KeepAliveConfig",
    "PolicyConfig",
    "RetryBudgetConfig",
    "RetryConfig",
    "Timeout",
]

DEFAULT_BASE_URL = "https://thecolony.ai/api/v1"
_MOST_RETRIES = 1_000_000
_DOUBLINGS = 60  # of a delay; after so many it stays as it is
_LONGEST_LIFE = 10 * 365 * 86_400  # of a token, seconds: a longer one is believed nowhere
_RETRY_STATUSES = frozenset({429, 502, 503, 504})
_AUTH_RETRY_STATUSES = frozenset({502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryConfig:
    """When a failed request is sent again, and after how long.

    The Nth retry waits ``min(base_delay * 2 ** (N - 1), max_delay)`` seconds, or what ``Retry-After`` says.

    Arguments:
        max_retries: retries after the first attempt. On the token endpoint it is a patience rather than a
            count: the sum of that many delays is how long a call parks (``0`` parks never).
        base_delay: seconds before the first retry.
        max_delay: cap of one delay, seconds.
        retry_on: HTTP statuses that are retried.
        max_retry_after: longest ``Retry-After``, seconds, that is waited for inside a call; beyond it the
            call fails at once. ``Retry-After: 86400`` was once slept literally, twice.
        retry_network_errors: also retry when there was no HTTP answer at all.
        jitter: share of each delay, 0..1, that is taken off at random. 0 keeps the exact schedule.
    """

    max_retries: int = 2
    base_delay: float = 1.0
    max_delay: float = 10.0
    retry_on: frozenset[int] = _RETRY_STATUSES
    max_retry_after: float = 60.0
    retry_network_errors: bool = False
    jitter: float = 0.0

    def __post_init__(self) -> None:
        whole(self, "max_retries", 0, _MOST_RETRIES)
        number(self, "base_delay", 0.0)
        number(self, "max_delay", 0.0)
        number(self, "max_retry_after", 0.0)
        number(self, "jitter", 0.0, 1.0)
        flag(self, "retry_network_errors")
        statuses(self, "retry_on")

    def delay(self, retry: int) -> float:
        """Seconds before the ``retry``-th retry (1 is the first), without jitter."""
        return float(min(self.base_delay * 2.0 ** min(retry - 1, _DOUBLINGS), self.max_delay))

    @property
    def patience(self) -> float:
        """Seconds that all delays together take: 122 for the token endpoint's default."""
        growing = min(self.max_retries, _DOUBLINGS)
        delays = [self.delay(n) for n in range(1, growing + 1)]
        constant = self.delay(_DOUBLINGS + 1) * (self.max_retries - growing)
        return min(math.fsum([*delays, constant]), float(LARGEST))


#: The SDK's schedule for ``/auth/token``: 2, 4, 8, 16, 32, 60 seconds, 122 in all.
#: Not after a 429: a server that limits the rate is left alone.
AUTH_TOKEN_RETRY = RetryConfig(max_retries=6, base_delay=2.0, max_delay=60.0, retry_on=_AUTH_RETRY_STATUSES)


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerConfig:
    """When the breaker opens and how often it probes (G4, G6, G10).

    Arguments:
        fail_max: failures in a row that open it. Five is too few: at 60 % of random failures it trips all
            the time, and a tripped breaker serves worse than a lossy server.
        open_delay: seconds until the first probe; doubles with each failed probe.
        open_delay_max: its cap, seconds.
        jitter: share of the delay, 0..1, taken off at random.
        retry_after_max: longest ``Retry-After`` of a 503, seconds, that postpones a probe.
        reset_after: successes in one closed period after which ``open_delay`` starts anew.
        min_failure_time: seconds without any success before the last of ``fail_max`` failures counts, unless so few
            attempts failed before that it cannot be chance. Behind a balancer with more than half of its servers
            broken, sixteen failures in a row happen within a moment by chance; two seconds without a success do
            not. 0 trips by the count alone.
        count_guarded_calls: calls that ``pool.breaker`` guards count, as with pybreaker: ``fail_max`` failures in a
            row, of them and of the pool's own attempts, open the pool, and a success of either ends the row.
    """

    fail_max: int = 16
    open_delay: float = 2.0
    open_delay_max: float = 60.0
    jitter: float = 0.2
    retry_after_max: float = 900.0
    reset_after: int = 10
    min_failure_time: float = 2.0
    count_guarded_calls: bool = False

    def __post_init__(self) -> None:
        whole(self, "fail_max", 1)
        flag(self, "count_guarded_calls")
        whole(self, "reset_after", 1)
        number(self, "open_delay", 0.001)
        number(self, "open_delay_max", 0.001)
        number(self, "jitter", 0.0, 1.0)
        number(self, "retry_after_max", 0.0)
        number(self, "min_failure_time", 0.0)
        ordered(self, "open_delay", "open_delay_max")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryBudgetConfig:
    """Retries <= ``ratio`` x first attempts + ``reserve`` in any ``window`` seconds (G12).

    Arguments:
        ratio: retries per first attempt. 2.0, since at 60 % random failures a token takes 2.7 attempts;
            Finagle's 0.2 is made for thousands of calls a second, and here a refused retry is a lost agent.
        reserve: retries allowed without any first attempt.
        window: seconds.
    """

    ratio: float = 2.0
    reserve: int = 10
    window: float = 60.0

    def __post_init__(self) -> None:
        number(self, "ratio", 0.0)
        whole(self, "reserve", 0)
        number(self, "window", 0.01)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeout:
    """Bounds of one attempt, seconds.

    Arguments:
        connect: for the TCP connection, all addresses of the host together, and, again, for the TLS handshake.
        read: between two pieces of the answer.
        total: for the whole attempt, however slowly it drips.
    """

    connect: float = 5.0
    read: float = 30.0
    total: float = 30.0

    def __post_init__(self) -> None:
        for name in ("connect", "read", "total"):
            number(self, name, 0.001, LONGEST_TIMEOUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepAliveConfig:
    """For how long a connection is kept for another request.

    It leads to one backend, by one way: a name that has moved, or a balancer that drains a backend, is seen by a new
    connection only. After a failure, and for a probe, a new one is used in any case.

    Arguments:
        max_age: seconds from its opening; 0 keeps none.
        max_idle: seconds at rest. A balancer or a NAT forgets idle connections, often without a word; some do after
            a minute. On Linux the time that the machine sleeps counts.
    """

    max_age: float = 300.0
    max_idle: float = 60.0

    def __post_init__(self) -> None:
        number(self, "max_age", 0.0)
        number(self, "max_idle", 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    """What few ever change: spacing of attempts, ages of tokens, and for how long the refused are left alone.

    Arguments:
        max_spacing: longest time between two starts, seconds, whatever fails (G8).
        overload_spacing: the same while the server answers 503, "too much": it may be able to serve a few a second
            only.
        recent_success: a success younger than this, seconds, means that the server lives and failures are bad luck.
        token_life: seconds assumed when neither ``expires_in`` nor the JWT's ``exp`` says (G17 to G20).
        refresh_after: earliest advisory refresh, as a ratio of the life: one attempt in the background, for which
            nobody waits.
        refresh_jitter: how far, as a ratio of the life, the key's hash spreads advisory refreshes.
        mandatory_margin: seconds before expiry in which callers wait for a new token.
        retry_refresh_min: shortest time from a failed advisory refresh to the next, seconds.
        retry_refresh_max: longest time.
        forced_refresh_interval: seconds between two refreshes that a 401 forces for a token that never worked, per
            key.
        new_token_grace: seconds after its issue within which a 401 may mean that the API does not know a token yet:
            the call is made again with it, up to three times. 0 replaces such a token at once.
        renew_interval: seconds between two exchanges of a key, if all that is wrong with the token is that it ended;
            doubles while tokens live for less than that.
        renew_interval_max: its cap.
        rejection_delay: seconds for which a rejected key is not tried; doubles with each further rejection (G14).
        rejection_delay_max: its cap.
        totp_window: seconds of one TOTP window.
        server_fault_keys: this many keys that worked before must have been tried ...
        server_fault_ratio: ... and more than this ratio of them rejected ...
        server_fault_window: ... within this many seconds to blame the server instead of the keys.
        rate_limit_default: seconds of a pause whose 429 says nothing of its end (G13).
        rate_limit_max: longest pause believed, seconds.
    """

    max_spacing: float = 0.1
    overload_spacing: float = 0.25
    recent_success: float = 5.0
    token_life: float = 86_400.0
    refresh_after: float = 0.6
    refresh_jitter: float = 0.2
    mandatory_margin: float = 60.0
    retry_refresh_min: float = 300.0
    retry_refresh_max: float = 600.0
    forced_refresh_interval: float = 60.0
    new_token_grace: float = 2.2
    renew_interval: float = 5.0
    renew_interval_max: float = 60.0
    rejection_delay: float = 60.0
    rejection_delay_max: float = 3600.0
    totp_window: float = 30.0
    server_fault_keys: int = 5
    server_fault_ratio: float = 0.5
    server_fault_window: float = 60.0
    rate_limit_default: float = 60.0
    rate_limit_max: float = 86_400.0

    def __post_init__(self) -> None:
        for name in ("max_spacing", "overload_spacing", "recent_success"):
            number(self, name, 0.0)
        number(self, "token_life", 0.001, _LONGEST_LIFE)
        number(self, "refresh_after", 0.0, 1.0)
        number(self, "refresh_jitter", 0.0, 1.0)
        for name in ("mandatory_margin", "retry_refresh_min", "retry_refresh_max", "forced_refresh_interval"):
            number(self, name, 0.0)
        for name in ("new_token_grace", "renew_interval", "renew_interval_max"):
            number(self, name, 0.0)
        for name in ("rejection_delay", "rejection_delay_max", "totp_window", "server_fault_window"):
            number(self, name, 0.001)
        for name in ("rate_limit_default", "rate_limit_max"):
            number(self, name, 0.001)
        whole(self, "server_fault_keys", 1)
        number(self, "server_fault_ratio", 0.0, 1.0)
        ordered(self, "retry_refresh_min", "retry_refresh_max")
        ordered(self, "renew_interval", "renew_interval_max")
        ordered(self, "rejection_delay", "rejection_delay_max")

    def rejected_for(self, times: int) -> float:
        """Seconds for which a key is not tried that was rejected so many ``times`` in a row."""
        return float(min(self.rejection_delay * 2.0 ** min(times - 1, _DOUBLINGS), self.rejection_delay_max))


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatcherConfig:
    """All that the dispatcher needs to know, in one value; the pool builds it."""

    CALLED: ClassVar[str] = "ColonyPool"  # whose options these are to whoever reads that one is wrong

    retry: RetryConfig = AUTH_TOKEN_RETRY
    breaker: BreakerConfig = field(default_factory=BreakerConfig)
    retry_budget: RetryBudgetConfig = field(default_factory=RetryBudgetConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    timeout: Timeout = field(default_factory=Timeout)
    max_wait: float = AUTH_TOKEN_RETRY.patience
    probe_timeout: float = 5.0
    maxsize: int = 64
    store_poll_interval: float | None = None  # seconds; None if no store is shared

    def __post_init__(self) -> None:
        number(self, "max_wait", 0.0)
        number(self, "probe_timeout", 0.001, LONGEST_TIMEOUT)
        whole(self, "maxsize", 1, 65_535)  # from one address to one port there are no more connections


def scaled(config: Any, divisor: float) -> Any:
    """Return ``config`` with every schedule in it divided by ``divisor``: the same policy, an hour in seconds.

    For demos and benchmarks. What belongs to the network and the server stays: timeouts, spacing of attempts, the
    budget; they do not get faster when the plan is played faster.
    """
    changes = {}
    for item in fields(config):
        value = getattr(config, item.name)
        if isinstance(value, (RetryConfig, BreakerConfig, PolicyConfig)):
            changes[item.name] = scaled(value, divisor)
        elif item.type == "float" and item.name not in _UNSCALED:
            changes[item.name] = value / divisor
        else:
            changes[item.name] = value
    return type(config)(**changes)


_UNSCALED = frozenset(
    {
        "jitter", "min_failure_time", "max_spacing", "overload_spacing", "recent_success", "refresh_after",
        "refresh_jitter", "server_fault_ratio", "probe_timeout",
    }
)  # fmt: skip


_KINDS: dict[str, type] = {
    "retry": RetryConfig, "auth_token_retry": RetryConfig, "breaker": BreakerConfig,
    "timeout": Timeout, "keep_alive": KeepAliveConfig,
    "retry_budget": RetryBudgetConfig, "policy": PolicyConfig, "allow_insecure": bool,
    "share_tokens": bool,
}  # fmt: skip


def check_kinds(**options: object) -> None:
    """Raise ``ValueError`` for an option of ``ColonyPool`` that is of another kind, such as ``timeout=30``."""
    for name, value in options.items():
        if not isinstance(value, _KINDS[name]):
            raise ValueError(f"ColonyPool({name}={value!r}): must be of type {_KINDS[name].__name__}")

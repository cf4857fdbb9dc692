"""The options of ``ColonyPool``, for whoever passes them on. Meanings and defaults are there alone."""

from __future__ import annotations

import os
from typing import Literal, TypedDict

from .._http.protocol import Transport
from .._http.tls import ClientCert
from .._runtime.protocol import Runtime
from .._store.protocol import Store
from ..config import (
    BreakerConfig,
    KeepAliveConfig,
    PolicyConfig,
    RetryBudgetConfig,
    RetryConfig,
    Timeout,
)
from ..prometheus import CollectorRegistry

__all__ = ["PoolOptions"]


class PoolOptions(TypedDict, total=False):
    """The options of ``ColonyPool``, but ``base_url``. Meanings and defaults are there alone."""

    retry: RetryConfig
    auth_token_retry: RetryConfig
    breaker: BreakerConfig
    retry_budget: RetryBudgetConfig
    max_wait: float | None
    timeout: Timeout
    keep_alive: KeepAliveConfig
    probe_timeout: float
    maxsize: int
    token_cache: Literal["disk"] | None
    registry: CollectorRegistry | None
    runtime: Literal["auto", "threads", "gevent"] | Runtime
    proxy: str | Literal["environment"] | None
    ca_certs: str | os.PathLike[str] | None
    client_cert: ClientCert | None
    user_agent: str | None
    name: str | None
    allow_insecure: bool
    policy: PolicyConfig
    transport: Transport | None
    shared: Literal["host"] | str | Store | None
    share_tokens: bool

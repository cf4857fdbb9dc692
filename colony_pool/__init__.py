"""colony_pool: keeps any number of agents of The Colony authenticated, through outages of ``/auth/token``, too."""

from typing import TYPE_CHECKING

from ._http.api import Response
from ._version import __version__
from .agent import Agent
from .config import (
    AUTH_TOKEN_RETRY,
    BreakerConfig,
    KeepAliveConfig,
    PolicyConfig,
    RetryBudgetConfig,
    RetryConfig,
    Timeout,
)
from .errors import (
    CircuitOpenError,
    ColonyAPIError,
    ColonyAuthError,
    ColonyConflictError,
    ColonyNetworkError,
    ColonyNotFoundError,
    ColonyRateLimitError,
    ColonyServerError,
    ColonyTwoFactorInvalidError,
    ColonyTwoFactorRequiredError,
    ColonyValidationError,
    PoolClosedError,
)
from .pool import ColonyPool
from .status import BreakerStatus, PoolStatus, TokensStatus

if TYPE_CHECKING:
    from ._aio.agent import AsyncAgent
    from ._aio.pool import AsyncColonyPool

__all__ = [
    "AUTH_TOKEN_RETRY",
    "Agent",
    "AsyncAgent",
    "AsyncColonyPool",
    "BreakerConfig",
    "BreakerStatus",
    "CircuitOpenError",
    "ColonyAPIError",
    "ColonyAuthError",
    "ColonyConflictError",
    "ColonyNetworkError",
    "ColonyNotFoundError",
    "ColonyPool",
    "ColonyRateLimitError",
    "ColonyServerError",
    "ColonyTwoFactorInvalidError",
    "ColonyTwoFactorRequiredError",
    "ColonyValidationError",
    "KeepAliveConfig",
    "PolicyConfig",
    "PoolClosedError",
    "PoolStatus",
    "Response",
    "RetryBudgetConfig",
    "RetryConfig",
    "Timeout",
    "TokensStatus",
    "__version__",
]


def __getattr__(name: str) -> object:
    """Import asyncio for who asks for it."""
    if name == "AsyncAgent":
        from ._aio.agent import AsyncAgent

        return AsyncAgent
    if name == "AsyncColonyPool":
        from ._aio.pool import AsyncColonyPool

        return AsyncColonyPool
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

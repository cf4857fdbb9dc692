"""``colony-sdk`` with a pool's tokens: change one import, or ``adopt`` a client that exists already.

>>> from colony_pool.sdk import ColonyClient  # instead of: from colony_sdk import ColonyClient

``AsyncColonyClient`` is here too, once httpx is installed; without it the name is an ``ImportError`` that says so.
"""

from typing import TYPE_CHECKING

from ._client import ColonyClient, adopt
from ._default import default_pool

if TYPE_CHECKING:
    from ._async import AsyncColonyClient

__all__ = ["AsyncColonyClient", "ColonyClient", "adopt", "default_pool"]


def __getattr__(name: str) -> object:
    """Import httpx for who asks for it."""
    if name == "AsyncColonyClient":
        from ._async import AsyncColonyClient

        return AsyncColonyClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

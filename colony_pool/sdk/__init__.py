"""``colony-sdk`` with a pool's tokens: change one import, or ``adopt`` a client that exists already.

>>> from colony_pool.sdk import ColonyClient  # instead of: from colony_sdk import ColonyClient

All public names of ``colony_sdk`` are here, those of a later version, too. All but the two clients are the SDK's own.
``AsyncColonyClient`` needs httpx; without it the name is an ``ImportError`` that says so.
"""

from typing import TYPE_CHECKING

import colony_sdk

from ._client import ColonyClient as ColonyClient
from ._client import adopt as adopt
from ._default import default_pool as default_pool

if TYPE_CHECKING:
    from ._async import AsyncColonyClient as AsyncColonyClient

__all__ = [*colony_sdk.__all__, "adopt", "default_pool"]  # noqa: PLE0604 - they are


if TYPE_CHECKING:  # below the two clients, which stay ours
    from colony_sdk import *  # type: ignore[assignment] # noqa: F403
else:

    def __getattr__(name: str) -> object:
        """Import httpx for who asks for the asynchronous client; what is not ours is the SDK's."""
        if name == "AsyncColonyClient":
            from ._async import AsyncColonyClient

            return AsyncColonyClient
        if not name.startswith("_") and hasattr(colony_sdk, name):
            return getattr(colony_sdk, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

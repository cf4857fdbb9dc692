"""``colony-sdk`` behind a pool's door: change one import, or ``adopt`` a client that there is already.

>>> from colony_pool.sdk import ColonyClient  # instead of: from colony_sdk import ColonyClient
"""

from ._client import ColonyClient, adopt
from ._default import default_pool

__all__ = ["ColonyClient", "adopt", "default_pool"]

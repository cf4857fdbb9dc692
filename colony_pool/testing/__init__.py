"""For tests of agents: a server that fails on request, virtual time for the real pool, a store that is shared."""

from .._shared.memory import MemoryStore
from .fake_colony import FakeColony, FakeColonyError, FakeRequest, FakeStats, subject, totp_code
from .sim import SimDeadlock, SimKilled, SimLockHeld, SimRuntime, SimTask

__all__ = [
    "FakeColony",
    "FakeColonyError",
    "FakeRequest",
    "FakeStats",
    "MemoryStore",
    "SimDeadlock",
    "SimKilled",
    "SimLockHeld",
    "SimRuntime",
    "SimTask",
    "subject",
    "totp_code",
]

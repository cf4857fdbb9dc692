"""For tests of your agents: a server that fails on request, virtual time for the real pool, a store in memory."""

from .._store.memory import MemoryStore
from .fake_colony import FakeColony, FakeColonyError, FakeRequest, FakeStats, subject, totp_code
from .sim import SimDeadlock, SimEvent, SimKilled, SimLock, SimLockHeld, SimRuntime, SimTask, SimTimer

__all__ = [
    "FakeColony",
    "FakeColonyError",
    "FakeRequest",
    "FakeStats",
    "MemoryStore",
    "SimDeadlock",
    "SimEvent",
    "SimKilled",
    "SimLock",
    "SimLockHeld",
    "SimRuntime",
    "SimTask",
    "SimTimer",
    "subject",
    "totp_code",
]

"""For tests of agents: a real server that fails on request, and virtual time for the real pool."""

from .fake_colony import FakeColony, FakeColonyError, FakeRequest, FakeStats, subject, totp_code
from .sim import SimDeadlock, SimKilled, SimLockHeld, SimRuntime, SimTask

__all__ = [
    "FakeColony",
    "FakeColonyError",
    "FakeRequest",
    "FakeStats",
    "SimDeadlock",
    "SimKilled",
    "SimLockHeld",
    "SimRuntime",
    "SimTask",
    "subject",
    "totp_code",
]

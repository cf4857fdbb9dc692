"""Plays one scenario: the real pool, its users, the deeds of operators and clocks; and looks for a broken promise."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pybreaker
from prometheus_client import CollectorRegistry

from colony_pool import ColonyPool
from colony_pool.config import AUTH_TOKEN_RETRY
from tests.support.private import events as ev

from .draw import tokens_per_second
from .endings import AFTER_CLOSE, AT_THE_END
from .ledger import Breach
from .scenario import WALL, Deed, Scenario
from .server import Server, Wire
from .tasks import GreenSim
from .users import Call, User, ask, key_name, totp
from .witness import Complaints, Witness

_LONGEST = 45.0  # seconds that any attempt takes, a deaf one, too
_LEASE = 31.0  # that a probe may be out at most
_WINDOW = 30.0  # of one-time codes
_REFILL = 62.0  # until a retry budget that is used up has something to give
_PATIENCE = 130.0  # of the calls that are made at the end
_ROLL = 12  # keys that make them
_ROLL_PAUSE = 5.0  # seconds between them where nobody can wait for another's probe
_KILL_CHANCE = 0.01  # at each switch point
_log = logging.getLogger("colony_pool")


class Meddler(pybreaker.CircuitBreakerListener):
    """A user's listener: it calls back into the pool, or raises."""

    def __init__(self, world: World, kind: str) -> None:
        self.world, self.kind = world, kind

    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
        if self.kind == "calls back":
            self.world.pool.agent(key_name(0)).invalidate()
        elif self.kind == "raises":
            raise RuntimeError("a listener's own fault")


class World:
    """One scenario."""

    def __init__(self, scenario: Scenario, *, remember: bool = False) -> None:
        self.scenario = scenario
        self.sim = GreenSim(scenario.seed, WALL)
        self.server = Server(self.sim, scenario)
        self.met: Counter[str] = Counter({f"theme {scenario.theme}": 1})
        self.history: list[tuple[float, str, str]] | None = [] if remember else None
        self.witnesses: list[Witness] = []
        self.registry: CollectorRegistry | None = None
        self.served_by = 0.0
        self.roll: list[Call] = []
        self._kills = scenario.kills
        self._dice = Random(f"world {scenario.seed}")
        self._totps = [totp(self, key, plan) for key, plan in enumerate(scenario.keys)]
        self.users = [User(self, plan, n) for n, plan in enumerate(scenario.agents)]
        self.sim.switching, self.sim.quiet = self._switching, self._quiet

    @property
    def now(self) -> float:
        """Virtual seconds since the start."""
        return self.sim.monotonic()

    @property
    def witness(self) -> Witness:
        """Of the process that lives now."""
        return self.witnesses[-1]

    @property
    def pool(self) -> ColonyPool:
        """Of the process that lives now."""
        return self.witness.pool

    def note(self, what: str, words: str) -> None:
        """Write a line of the history."""
        if self.history is not None:
            self.history.append((self.now, what, words))

    def may_fail(self, key: int) -> bool:
        """Whether the server refuses this key for good reasons, or its user has no code to give."""
        plan = self.scenario.keys[key]
        return bool(plan.refused) or plan.totp in ("fixed", "stuck", "raises") or key in self.witness.refused

    # -- the play -------------------------------------------------------------------------------------

    def play(self) -> Breach | None:
        """Play it to its end, or to the first promise that is broken."""
        complaints = Complaints(lambda: self.witness)
        _log.addHandler(complaints)
        propagates, _log.propagate = _log.propagate, False
        try:
            self._begin()
            self._recover()
            self._end()
        except Breach as breach:
            return breach
        except Exception as error:  # a deadlock, a lock held across a switch, a livelock
            return Breach(type(error).__name__, self.now, str(error))
        finally:
            self.sim.switching = self.sim.quiet = lambda: None
            self.sim.end()
            _log.removeHandler(complaints)
            _log.propagate = propagates
        return None

    def _begin(self) -> None:
        self._open()
        for user in self.users:
            self.sim.call_later(user.plan.at, user.start)
        for deed in self.scenario.deeds:
            self.sim.call_later(deed.at, functools.partial(self._do, deed))
        self._run(self.scenario.well_at + _LONGEST)

    def _recover(self) -> None:
        """The server is well, and what was asked before is answered: from here on the time of all can be told."""
        witness, keys = self.witness, len(self.scenario.keys)
        gate = max(self.now, witness.paused_until, *witness.key_paused_until.values(), *witness.wished.values())
        if witness.state != ev.CLOSED:
            gate = max(gate, witness.probe_not_before)
        drain = 2.0 * keys / tokens_per_second(self.scenario)
        self.served_by = gate + _LEASE + _WINDOW + _REFILL + drain
        self._run(self.served_by)
        pause = 0.0 if self.scenario.max_retries else _ROLL_PAUSE
        for key in range(min(keys, _ROLL)):
            self.sim.call_later(key * pause, functools.partial(self._answer_roll, key))
        self._run(self.served_by + _PATIENCE)
        self._judge(AT_THE_END)

    def _answer_roll(self, key: int) -> None:
        if self.may_fail(key):
            return
        call, ledger = Call(key, "roll", self.now, None), self.witness
        era = ledger.eras[key]
        ask(self.pool.agent(key_name(key)), call, None)
        # Who has each new token thrown away, and waits for none, is promised nothing by a server that sheds.
        if self.scenario.max_retries or era == ledger.eras[key]:
            self.roll.append(call)

    def _end(self) -> None:
        self._kills = 0
        for user in self.users:
            user.kill()
        self.sim.task(self.pool.close, "close")
        self._run(self.now + _LONGEST)
        self._judge(AFTER_CLOSE)

    def _run(self, until: float) -> None:
        self.sim.run(until=until)
        self._raise_breach()

    def _judge(self, promises: list[tuple[str, Callable[[World], str | None]]]) -> None:
        for name, wrong in promises:
            if words := wrong(self):
                raise Breach(name, self.now, words)

    def _raise_breach(self) -> None:
        for witness in self.witnesses:
            if witness.breach is not None:
                raise witness.breach

    def _switching(self) -> None:
        self._raise_breach()
        if self._kills and self._dice.random() < _KILL_CHANCE:
            alive = [user for user in self.users if user.alive]
            if alive:
                self._kills -= 1
                self._do(Deed(self.now, "kill", self._dice.choice(alive).number))

    def _quiet(self) -> None:
        if self.witness.stirred:
            self.witness.stirred = False
            self.witness.check("quiet")
        self._raise_breach()

    # -- what happens ---------------------------------------------------------------------------------

    def call(self, key: int, verb: str, max_wait: float | None) -> bool:
        """One call of a user; says whether it got what it wanted."""
        witness = self.witness
        witness.sample()
        call = Call(key, verb, self.now, witness.usable(key))
        ask(witness.pool.agent(key_name(key)), call, max_wait)
        witness.check("return", call)
        self.note("return", f"key {key}: {call.outcome}")
        return call.error is None

    def _open(self) -> None:
        scenario = self.scenario
        witness = Witness(self.sim, self.note, self.met)
        self.registry = CollectorRegistry()
        pool = ColonyPool(
            f"https://s{scenario.seed}.example/api/v1", name="sim", registry=self.registry, runtime=self.sim,
            token_cache="disk" if scenario.disk else None, transport=Wire(self.server, witness),
            auth_token_retry=replace(
                AUTH_TOKEN_RETRY, max_retries=scenario.max_retries, retry_network_errors=scenario.retry_network
            ),
            maxsize=scenario.maxsize,
        )  # fmt: skip
        witness.attach(pool)
        for key, second in enumerate(self._totps):
            pool.agent(key_name(key), totp=second)
        if scenario.listener:
            pool.breaker.add_listener(Meddler(self, scenario.listener))
        self.witnesses.append(witness)

    def _do(self, deed: Deed) -> None:
        self.met[deed.what] += 1
        self.note(deed.what, f"{deed.who} {deed.amount:g}")
        if deed.what in ("kill", "timeout"):
            user = self.users[deed.who]
            (user.kill if deed.what == "kill" else user.time_out)()
        elif deed.what == "step":
            self.witness.stepped_at = self.now
            self.sim.step_wall(deed.amount)
        elif deed.what == "invalidate":
            self.pool.agent(key_name(deed.who)).invalidate()
        elif deed.what == "revoke":
            self.server.revoked |= {jwt for jwt, key in self.server.issued.items() if key == deed.who}
        elif deed.what in ("restart", "end"):
            self._restart(10.0 if deed.what == "end" else 0.0)
        else:
            getattr(self.pool.breaker, deed.what)()

    def _restart(self, after: float) -> None:
        """The process ends; another one begins."""
        self.pool.close()
        self.sim.sleep(after)
        self._open()


@contextlib.contextmanager
def disk() -> Iterator[None]:
    """A place on disk for the token caches of many scenarios; each has an API, and so files, of its own."""
    name = "COLONY_SDK_TOKEN_CACHE_DIR"
    before = os.environ.get(name)
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="colony-sim-", dir=memory if memory.is_dir() else None) as place:
        os.environ[name] = place
        try:
            yield
        finally:
            del os.environ[name]
            if before is not None:
                os.environ[name] = before

"""What the endpoint has done, and whether failures in a row are bad luck or an endpoint that is down for a moment.

Theory of operation. Half of the servers behind a balancer may be broken: an attempt that failed by bad luck is worth
another one at once. An endpoint that is down is not: a quick retry fails there, too. A single failure may be either.
A run of failures is excused only while the *loss* makes it plausible, which is how often attempts failed before the
run began. So a run never raises the loss that excuses it: what counts is the loss at the last success.

Failures are counted in two ways, and the larger number is judged: those of one key in a row, and the *run*, those of
all keys in a row. In the run the failures of one key after each other are one, or a poisoned key would speak for all.

A success that ends a run of several keys which luck does not explain has ended an outage that was too short for the
breaker. It begins a new *epoch*, as a breaker does that closes: every schedule starts again.
"""

from __future__ import annotations

import math


class EndpointHistory:
    """Written when an attempt ends, or when another process's token is found. Times are monotonic seconds.

    Arguments:
        known_good: this address has given a token before.
    """

    __slots__ = ("granted_at", "known_good", "last_failure")

    def __init__(self, *, known_good: bool = False) -> None:
        self.known_good = known_good
        self.granted_at = -math.inf  # when it last gave a token
        self.last_failure = ""  # what the last attempt has met, in words; "" once one has succeeded

    def granted(self, now: float) -> None:
        """It has given a token."""
        self.granted_at = now
        self.known_good = True

    def token_found(self) -> None:
        """Another process has a token of it."""
        self.known_good = True

    def answered(self) -> None:
        """The API itself has answered."""
        self.last_failure = ""

    def failed(self, words: str) -> None:
        """An attempt has failed."""
        self.last_failure = words


_MEMORY = 64  # the loss is that of about so many attempts
_PRIOR = 16  # before anything is known, so many good attempts are taken for granted
_CHANCE = 1e-4  # what is rarer than this is no bad luck
_NOBODY = 0  # the serial of no key


class LossHistory:
    """The loss of one process, and its failures in a row. A key is the serial of its account."""

    __slots__ = (
        "_before", "_failed", "_known", "_loss", "_run", "_seen", "_succeeded", "last_success", "only_key",
        "schedule_epoch",
    )  # fmt: skip
    _failed: int  # the key of the last failure in the run
    only_key: int | None  # the key of all failures in the run; None: there are several

    def __init__(self) -> None:
        self.schedule_epoch = 0
        self.last_success = -math.inf
        self._succeeded = _NOBODY  # the key of the last success
        self._before = -math.inf  # when another key than that one succeeded last
        self.restart()

    def restart(self) -> None:
        """Begin a new epoch: the breaker closes, and what was lost before says nothing of what comes."""
        self.schedule_epoch += 1
        self._seen = _PRIOR
        self._loss = self._known = 0.0
        self._end_run()

    def succeeded(self, key: int, now: float) -> bool:
        """Take a success and say whether it began a new epoch."""
        ends_outage = self.only_key is None and self.likely**self._run < _CHANCE
        self.schedule_epoch += ends_outage
        self.noted(key, now)
        self._count(0.0)
        self._known = self._loss
        self._end_run()
        return ends_outage

    def noted(self, key: int, now: float) -> None:
        """Remember when a key succeeded, a probe's too."""
        if key != self._succeeded:
            self._succeeded, self._before = key, self.last_success
        self.last_success = now

    def failed(self, key: int) -> None:
        """Take a failure."""
        if key != self._failed:
            self._run += 1
            self._failed = key
            self.only_key = key if self._run == 1 else None
        self._count(1.0)

    def excuses(self, fails: int) -> bool:
        """Whether luck explains so many failures of one key in a row, and the run that they are part of."""
        worst = max(fails, self._run)
        return self.likely**worst >= _CHANCE

    def others_succeeded(self, key: int) -> float:
        """When another key than this one succeeded last: of its own, a key alone learns nothing new."""
        return self.last_success if key != self._succeeded else self._before

    @property
    def likely(self) -> float:
        """How likely an attempt fails by bad luck, at most: one sigma above what was known at the last success."""
        share = 1.0 / self._seen
        return min(1.0, self._known + math.sqrt(self._known * share) + share)

    def _count(self, bad: float) -> None:
        self._seen = min(_MEMORY, self._seen + 1)
        self._loss += (bad - self._loss) / self._seen

    def _end_run(self) -> None:
        self._run = 0
        self._failed = self.only_key = _NOBODY

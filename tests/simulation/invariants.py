"""What must hold, whatever happens: each promise is one function, and says what is wrong when it is broken.

They are asked after every event of their kind:

========  ======================================================  ======================
moment    what has just happened                                  subject
========  ======================================================  ======================
start     the dispatcher has started an attempt                   the attempt
send      a request for a token goes out on the wire              (key, one-time code)
void      the dispatcher has given an attempt up                  the attempt
move      the breaker changes its state                           (event, attempt)
told      the dispatcher sends a call away                        the waiting call
wake      the dispatcher asks to be woken                         when
event     a listener hears an event                               (heard, expected)
decision  the dispatcher has worked off one input                 -
quiet     nobody can go on until time does                        -
return    a user's call has come back                             the call
========  ======================================================  ======================

What must hold at the end of a scenario, and how it adds up, stands in ``endings.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from colony_pool import ColonyAPIError
from tests.support.private import events as ev

from .answers import DENIED, DOWN, NETWORK
from .ledger import Attempt, WaitingCall
from .reasons import REASONS, none
from .server import KEY
from .users import Call, TotpRaised

if TYPE_CHECKING:
    from .witness import Witness

Wrong = Callable[["Witness", Any], str | None]
AT: dict[str, list[tuple[str, Wrong]]] = {}
_EPSILON = 1e-6
_CODE_KNOWN = 300.0  # seconds after which the same six digits may come again by chance
_RECHECK = 1.0  # the hot path looks at the wall clock once in so many seconds: a step is seen so much later
_REST = 60.0
_QUICK = 1.1  # a schedule whose delays are no longer than that is quick by itself, as its user wishes
_CODE = re.compile(r"(?<![\w.])\d{6,8}(?![\w.])")


def promise(moment: str, name: str) -> Callable[[Wrong], Wrong]:
    """The function tells what is wrong at ``moment``, or nothing."""

    def register(wrong: Wrong) -> Wrong:
        AT.setdefault(moment, []).append((name, wrong))
        return wrong

    return register


# -- one probe, and only the probe ----------------------------------------------------------------------


@promise("start", "one probe (G1)")
def _(w: Witness, attempt: Attempt) -> str | None:
    if attempt.probe and any(other.probe for other in w.out.values()):
        return "a second probe left while the first had no verdict"
    return None


@promise("start", "only the probe while open (G1)")
def _(w: Witness, attempt: Attempt) -> str | None:
    if attempt.probe != (w.state != ev.CLOSED):
        return f"{'a probe' if attempt.probe else 'an attempt'} left while the breaker was {w.state}"
    return None


@promise("start", "no probe before its time (G6)")
def _(w: Witness, attempt: Attempt) -> str | None:
    if attempt.probe and w.now < w.probe_not_before - _EPSILON:
        return f"a probe left {w.probe_not_before - w.now:.3f} s before its time"
    return None


@promise("start", "nothing during a hold (G13)")
def _(w: Witness, attempt: Attempt) -> str | None:
    if w.now < w.paused_until - _EPSILON:
        return f"an attempt left {w.paused_until - w.now:.3f} s before the end of the hold that the server asked for"
    return None


# -- how many, and for whom -------------------------------------------------------------------------------


@promise("start", "one attempt per key (G16)")
def _(w: Witness, attempt: Attempt) -> str | None:
    if any(other.key == attempt.key for other in w.out.values()):
        return f"a second attempt for key {attempt.key} while the first had no verdict"
    return None


@promise("start", "within the window (G8)")
def _(w: Witness, attempt: Attempt) -> str | None:
    if len(w.out) >= w.dispatcher.config.maxsize:
        return f"{len(w.out) + 1} attempts at once, and maxsize is {w.dispatcher.config.maxsize}"
    out = sum(other.period == attempt.period and not other.probe for other in w.out.values())
    if not attempt.probe and out >= max(1, int(w.dispatcher.limiter.limit)):
        return f"{out + 1} attempts at once in a window of {w.dispatcher.limiter.limit:.2f}"
    return None


@promise("start", "within the budget (G12)")
def _(w: Witness, attempt: Attempt) -> str | None:
    budget = w.dispatcher.config.retry_budget
    if attempt.retry and len(w.retries) > budget.ratio * len(w.firsts) + budget.reserve:
        return f"{len(w.retries)} retries in a minute that saw {len(w.firsts)} first attempts"
    return None


@promise("send", "three attempts of a key within a second (G8, G12)")
def _(w: Witness, sent: tuple[int, str]) -> str | None:
    """The pool's own retries are spaced. An attempt after one that has ended its call is a user's own wish.

    A token, a refusal, a 500 and, as a rule, a network error end a call; so does any failure where nobody retries or
    waits. Whoever calls again at once, or throws the new token away, is not kept from it.
    """
    (key, _), retry = sent, w.dispatcher.config.retry
    if len(w.sent[key]) < 3 or w.now >= w.sent[key][0] + 1.0 - _EPSILON:
        return None
    retried = (DOWN, NETWORK) if retry.retry_network_errors else (DOWN,)
    by_itself = retry.max_retries > 0 and retry.delay(1) > _QUICK and not w.does_not_wait(key)
    if by_itself and key in w.last and w.last[key].means in retried:
        return f"a fourth attempt of key {key} left within {w.now - w.sent[key][0]:.3f} s"
    return None


@promise("send", "a refused key rests (G14)")
def _(w: Witness, sent: tuple[int, str]) -> str | None:
    since, answer = w.refused.get(sent[0], (-_REST, None))
    if answer is not None and answer.code != "AUTH_2FA_INVALID" and w.now < since + _REST - _EPSILON:
        return f"key {sent[0]} was sent again {w.now - since:.3f} s after it had been refused"
    return None


@promise("send", "no code twice (G15)")
def _(w: Witness, sent: tuple[int, str]) -> str | None:
    before = w.codes.get(sent, -_CODE_KNOWN)
    if sent[1] and w.now < before + _CODE_KNOWN:
        return f"a one-time code of key {sent[0]} was sent again after {w.now - before:.3f} s"
    return None


# -- the breaker ----------------------------------------------------------------------------------------


@promise("move", "sixteen failures open it (G10)")
def _(w: Witness, moved: tuple[ev.StateChanged, Attempt | None]) -> str | None:
    event, _ = moved
    if (event.old, event.new, event.by_operator) == (ev.CLOSED, ev.OPEN, False):
        needed = w.dispatcher.config.breaker.fail_max
        if w.failures < needed:
            return f"it opened after {w.failures} failures in a row, of {needed}"
    return None


@promise("move", "a refused key never opens it (G7)")
def _(w: Witness, moved: tuple[ev.StateChanged, Attempt | None]) -> str | None:
    event, attempt = moved
    answer = w.last.get(attempt.key) if attempt is not None else None
    if event.new != ev.OPEN or event.by_operator or answer is None or answer.means != DENIED or w.blamed:
        return None
    return f"it opened because the server refused a key (HTTP {answer.status}): so it lives"


@promise("quiet", "pybreaker agrees")
def _(w: Witness, subject: None) -> str | None:
    shown = (w.pool.breaker.current_state.replace("-", "_"), w.pool.breaker.fail_counter)
    decided = (w.dispatcher.breaker.state, w.dispatcher.breaker.failures)
    if shown != decided or decided[0] != w.state:
        return f"pybreaker shows {shown}, the dispatcher decided {decided}, and told of {w.state}"
    if w.follower.is_behind:
        w.follower.catch_up(*decided)
    if (heard := (w.follower.state, w.follower.failures)) != decided:
        return f"a listener of pybreaker heard {heard}, the dispatcher decided {decided}"
    return None


# -- permits, and what the dispatcher asks for --------------------------------------------------------------


@promise("decision", "every permit comes back once (G3, G5)")
def _(w: Witness, subject: None) -> str | None:
    if w.closed:
        return None
    if set(w.out) != w.dispatcher.in_flight.permits:
        return f"{len(w.out)} attempts have no verdict, the dispatcher knows {len(w.dispatcher.in_flight.permits)}"
    if w.dispatcher.breaker.state == ev.CLOSED:
        period = w.dispatcher.breaker.generation
        out = sum(permit.generation == period and not permit.is_probe for permit in w.out)
        if out != w.dispatcher.limiter.active:
            return f"{w.dispatcher.limiter.active} places of the window are taken, by {out} attempts"
    return None


@promise("decision", "the breaker always makes progress (G4)")
def _(w: Witness, subject: None) -> str | None:
    late = [attempt for attempt in w.out.values() if w.now >= attempt.permit.deadline]
    return f"an attempt of key {late[0].key} is out since {late[0].at:.3f} s and was not given up" if late else None


@promise("void", "nothing is given up too early (G4)")
def _(w: Witness, attempt: Attempt) -> str | None:
    early = attempt.permit.deadline - w.now
    return f"an attempt was given up {early:.3f} s before its deadline" if early > _EPSILON else None


@promise("wake", "no waking in the past")
def _(w: Witness, at: float) -> str | None:
    return (
        f"the dispatcher wants to be woken at {at:.6f}, which is now or past: it would spin" if at <= w.now else None
    )


@promise("quiet", "what is decided is done at once")
def _(w: Witness, subject: None) -> str | None:
    asleep = [waiter for waiter in w.released if waiter in w.driver._callers]
    w.released.clear()
    if asleep:
        return f"{len(asleep)} calls have their answer, and were not woken"
    idle = [attempt.key for attempt in w.out.values() if not attempt.begun]
    if idle:
        return f"attempts of keys {idle} were started, and nobody makes them"
    driver = w.driver
    if driver._inbox._steps or driver._actions or driver._notifier._items:
        return "inputs, actions or events are left lying about"
    return None


@promise("quiet", "status tells the truth")
def _(w: Witness, subject: None) -> str | None:
    if w.closed:
        return None
    status = w.pool.status()
    shown = (status.waiters, status.in_flight, status.breaker.state, status.breaker.probing)
    seen = (len(w.waiting), len(w.out), w.state, any(attempt.probe for attempt in w.out.values()))
    return None if shown == seen else f"status() says {shown}, and it is {seen} (waiters, in flight, state, probing)"


@promise("event", "every event is told, once, in order")
def _(w: Witness, heard: tuple[ev.Event, ev.Event | None]) -> str | None:
    return None if heard[0] is heard[1] else f"listeners hear {heard[0]}, and it was the turn of {heard[1]}"


# -- waiting ----------------------------------------------------------------------------------------------


@promise("told", "nobody waits beyond its deadline (G9)")
def _(w: Witness, call: WaitingCall) -> str | None:
    left = w.patience_left(call)
    return f"a call of key {call.key} was kept {-left:.3f} s longer than it may" if left < -_EPSILON else None


@promise("told", "nobody is sent away for nothing (G9, G11)")
def _(w: Witness, call: WaitingCall) -> str | None:
    failure = call.waiter.failure
    if failure is None:
        return None
    error = failure.raised or failure.exception()
    if not REASONS.get(type(error), none)(w, call, error):
        return f"a call of key {call.key} got {type(error).__name__} without a reason: {error}"
    return None


@promise("told", "a valid token is always served (G18)")
def _(w: Witness, call: WaitingCall) -> str | None:
    token = w.tokens.get(call.key)
    if call.waiter.failure is None or w.closed or token is None or token.dropped <= w.now:
        return None
    if not token.valid(w.now, w.wall):
        return None
    return f"a call of key {call.key} failed, and there was a token for {token.ends - w.now:.3f} s more"


# -- what a user gets -------------------------------------------------------------------------------------


@promise("return", "a token is whole, its key's own, and valid (G18, G20)")
def _(w: Witness, call: Call) -> str | None:
    if not call.jwt:
        return None
    token = w.issued.get(call.jwt)
    if token is None or token.key != call.key:
        return f"key {call.key} got a token that is none, or not its own"
    wall = 0.0 if w.now <= w.stepped_at + _RECHECK + _EPSILON else w.wall
    if not token.valid(w.now, wall):
        return f"key {call.key} got a token that ended {w.now - token.ends:.3f} s ago, or was rejected"
    return None


@promise("return", "who finds a token gets it at once (G17, G18)")
def _(w: Witness, call: Call) -> str | None:
    if call.usable is None or w.closed or call.verb != "token":
        return None
    if call.error is not None or w.now > call.at:
        return f"key {call.key} had a usable token, and waited {w.now - call.at:.3f} s for {call.outcome}"
    return None


@promise("return", "errors are the documented ones (G11)")
def _(w: Witness, call: Call) -> str | None:
    if call.error is None or isinstance(call.error, (ColonyAPIError, TotpRaised, TypeError)):
        return None
    return f"a call of key {call.key} raised {call.error!r}"


@promise("return", "no secret in an error (G23)")
def _(w: Witness, call: Call) -> str | None:
    if call.error is None:
        return None
    words = f"{call.error} {call.error!r} {vars(call.error)}"
    codes = _CODE.findall(words)  # as a word: among the decimals of a time such digits mean nothing
    shown = any(secret in words for secret in (KEY, *w.issued)) or any(code in codes for _, code in w.codes if code)
    return f"an error holds a secret: {words}" if shown else None


@promise("quiet", "the library reports no bug of its own")
def _(w: Witness, subject: None) -> str | None:
    return next(iter(w.complaints), None)

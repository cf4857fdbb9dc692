"""Draws a scenario from a seed.

Each has a theme, so that what is rare in production is common here: a second probe wants an outage, a hold a server
that counts. Times are drawn in coarse steps, or nothing would ever happen at the same time as anything else. Most
scenarios are small: ten agents in two minutes find what a thousand in an hour find, and faster.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from .answers import SHAPES
from .scenario import CALM, WALL, AgentPlan, Deed, KeyPlan, Scenario, Weather

WEATHER = (
    CALM, "down", "silent", "flapping", "lossy", "slow", "counting", "shedding", "refusing", "fault", "broken",
    "limit",
)  # fmt: skip
DEEDS = ("kill", "timeout", "step", "open", "half_open", "close", "invalidate", "revoke", "restart", "end")
# What the weather of a theme is made of; "mixed" is everything.
THEMES: dict[str, tuple[str, ...]] = {
    "outage": ("down", "silent"),
    "flapping": ("flapping",),
    "lossy": ("lossy",),
    "retries": ("lossy",),
    "slow": ("slow", "slow", "down"),
    "counting": ("counting", "counting", "limit"),
    "shedding": ("shedding", "shedding", "down"),
    "refusing": ("refusing", "refusing", "fault"),
    "codes": (CALM, "lossy", "down"),
    "tokens": (CALM, CALM, "down", "lossy"),
    "restarts": (CALM, "down"),
    "recovery": ("down",),
    "broken": ("broken", "fault", "lossy"),
    "mixed": WEATHER,
}
_PATIENCE = (0.0, 0.0, 1.0, 5.0, 20.0, 60.0, None, None, None, 600.0, 3600.0)
_LENGTHS = (2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)
_LIVES = {
    "refusing": (20.0, 40.0),
    "retries": (40.0, 90.0),
    "tokens": (5.0, 20.0, 40.0, 90.0, 150.0),
    "restarts": (90.0, 200.0, 86_400.0),
}
_STEPS = (-86_400.0, -3600.0, -400.0, -30.0, -1.0, 0.5, 30.0, 400.0, 3600.0)


def draw(seed: int) -> Scenario:
    """Everything about the scenario of ``seed``."""
    dice = Random(f"scenario {seed}")
    theme = dice.choice(list(THEMES))
    weather, well_at = _weather(dice, theme)
    keys = _keys(dice, theme)
    agents = _agents(dice, theme, len(keys), well_at)
    recovery = theme == "recovery"
    return Scenario(
        seed=seed,
        theme=theme,
        keys=keys,
        agents=agents,
        weather=weather,
        deeds=_deeds(dice, theme, len(agents), len(keys), well_at),
        well_at=well_at,
        capacity=max(20.0, len(keys) / 4) if recovery else 0.0,
        latency=dice.choice([0.005, 0.02, 0.1]) if recovery else dice.choice([0.0, 0.02, 0.05, 0.5]),
        life=dice.choice(_LIVES.get(theme, (600.0, 86_400.0))),
        expiry=dice.choice(["expires_in", "expires_in", "exp"]),
        disk=theme == "restarts" or dice.random() < 0.05,
        listener=dice.choice(["", "", "", "listens", "raises", "calls back"]),
        kills=dice.choice([0, 0, 1, 3]),
        maxsize=dice.choice([64, 64, 64, 5, 1]) if not recovery else 64,
        max_retries=dice.choice([6] * 9 + [0]),
        retry_network=dice.random() < 0.2,
        clocked=dice.choice([0.0, 0.0, 0.0, 3.0, -3.0]),
    )


def _weather(dice: Random, theme: str) -> tuple[tuple[Weather, ...], float]:
    """A sequence of weathers; the last is fair, and its beginning is returned, too."""
    at = 0.0
    sequence = []
    if theme == "refusing" or (theme != "recovery" and dice.random() < 0.6):
        sequence.append(Weather(0.0))
        at += dice.choice(_LENGTHS if theme != "refusing" else [30.0, 60.0])
    for _ in range(dice.choice([2, 3, 4] if theme in ("outage", "slow") else [1, 1, 2, 3])):
        kind = dice.choice(THEMES[theme])
        spell = _spell(dice, kind, at)
        if theme == "retries":  # so many that only a budget can stop them, and not so many that the breaker does
            spell = replace(spell, ratio=dice.choice([0.8, 0.9]), status=502)
        # An outage of 503s that is over before the breaker opens teaches the window that 503s are bad luck.
        sequence.append(replace(spell, status=502) if theme == "recovery" else spell)
        at += dice.choice(_LENGTHS)
    return (*sequence, Weather(at)), at


def _spell(dice: Random, kind: str, at: float) -> Weather:
    status, ratio, delay, left = 502, 1.0, dice.choice([0.0, 0.05, 0.5]), -1
    if kind in ("down", "flapping", "lossy"):
        status = dice.choice([502, 502, 502, 503, 504, 520, 408])
    if kind == "lossy":
        ratio = dice.choice([0.1, 0.3, 0.6, 0.9])
    elif kind == "slow":
        ratio, delay = dice.choice([0.5, 1.0]), dice.choice([1.0, 4.0, 6.0, 12.0, 28.0, 40.0])
    elif kind == "silent":
        status, delay = 0, dice.choice([0.0, 5.0, 12.0, 40.0])
    elif kind in ("counting", "shedding"):
        ratio, left = dice.choice([0.2, 1.0, 1.0]), dice.choice([-1, -1, 0, 3])
    elif kind == "refusing":
        status, ratio = dice.choice([400, 401, 403, 404, 422]), dice.choice([0.5, 1.0, 1.0])
    elif kind == "fault":
        status, ratio = dice.choice([500, 501]), dice.choice([0.2, 1.0])
    elif kind == "broken":
        ratio = dice.choice([0.3, 1.0])
    shape = dice.choice(SHAPES) if kind in ("counting", "shedding", "limit", "down") else "absent"
    return Weather(at, kind, status, ratio, delay, shape, left, dice.choice([1, 10, 40, 70]))


def _keys(dice: Random, theme: str) -> tuple[KeyPlan, ...]:
    if theme == "retries":
        return (KeyPlan(),) * dice.choice([8, 12, 20])
    if theme == "recovery":
        return (KeyPlan(),) * dice.choice([20, 20, 30, 40, 40, 50, 60, 80, 200])
    keys = []
    for _ in range(dice.choice([1, 1, 2, 3, 5, 8, 12, 30] if theme != "refusing" else [2, 6, 8, 12])):
        totp = dice.choice(["clock", "clock", "fixed", "raises", "stuck", ""]) if theme == "codes" else ""
        if theme == "mixed" and dice.random() < 0.1:
            totp = "clock"
        refused, since, heals = 0, 0.0, float("inf")
        if dice.random() < (0.4 if theme == "refusing" else 0.05):
            refused = dice.choice([401, 401, 403, 404, 422])
            since, heals = dice.choice([0.0, 10.0, 60.0]), dice.choice([5.0, 30.0, 120.0, float("inf")])
        keys.append(KeyPlan(totp, refused, since, heals))
    return tuple(keys)


def _agents(dice: Random, theme: str, keys: int, well_at: float) -> tuple[AgentPlan, ...]:
    """Several agents may share a key; all are there before the weather clears up."""
    count = keys if theme == "recovery" else keys * dice.choice([1, 1, 1, 2, 4])
    span = dice.choice([0.0, 2.0, well_at / 2, well_at] if theme not in ("retries", "refusing") else [0.0, 2.0])
    calls = 1 if theme == "recovery" else dice.choice([1, 2, 4]) if count > 12 else dice.choice([1, 3, 6])
    if theme == "refusing":  # a server that refuses everybody is known by keys that have worked before
        calls = dice.choice([6, 10])
    patience = dice.choice([None, 3600.0]) if theme in ("recovery", "retries") else 0.0
    agents = []
    for n in range(count):
        agents.append(
            AgentPlan(
                key=n % keys,
                at=round(span * dice.random() * 2) / 2,
                calls=calls,
                max_wait=dice.choice(_PATIENCE) if patience == 0.0 else patience,
                pause=dice.choice([0.5, 5.0, 20.0, 60.0] if theme != "refusing" else [10.0, 20.0]),
                again=dice.choice([0.5, 5.0, 30.0, 60.0]),
                verb=dice.choice(["token", "token", "token", "get"]),
            )
        )
    return tuple(agents)


def _deeds(dice: Random, theme: str, agents: int, keys: int, well_at: float) -> tuple[Deed, ...]:
    if theme == "recovery":  # the pace of a recovery is a promise about a server that nobody meddles with
        return ()
    deeds = []
    for _ in range(dice.choice([0, 0, 1, 2, 4])):
        what = dice.choice(DEEDS)
        who = dice.randrange(agents if what in ("kill", "timeout") else keys)
        deeds.append(Deed(_moment(dice, well_at), what, who, dice.choice(_STEPS)))
    if theme == "restarts":
        deeds += [Deed(_moment(dice, well_at), "restart") for _ in range(dice.choice([1, 2, 3]))]
    if theme == "tokens" and dice.random() < 0.4:
        deeds.append(Deed(_moment(dice, well_at), "step", 0, dice.choice([-3600.0, -400.0, -30.0])))
    if theme == "codes" and dice.random() < 0.3:
        at = _moment(dice, well_at)
        step = dice.choice([400.0, 3600.0])
        deeds += [Deed(at, "step", 0, step), Deed(at + dice.choice([1.0, 5.0]), "step", 0, -step)]
    return tuple(sorted(deeds, key=lambda deed: deed.at))


def _moment(dice: Random, well_at: float) -> float:
    return round(dice.random() * well_at * 2) / 2


def tokens_per_second(scenario: Scenario) -> float:
    """The pace of a recovery at best: what the server takes, or 64 connections do."""
    most = 64 / max(scenario.latency, 0.001)
    return min(scenario.capacity or most, most)


__all__ = ["DEEDS", "THEMES", "WALL", "WEATHER", "draw", "tokens_per_second"]

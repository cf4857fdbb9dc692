"""The lines of the log: one for each change, in the words of the metrics."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from tests.support.private import AT_ONCE, EventLog
from tests.support.private import events as ev


def test_the_last_lines_are_written_when_the_interpreter_ends() -> None:
    """A script that fails, and ends without closing its pool, says why."""
    code = """if True:
        import logging
        from colony_pool import ColonyPool, RetryConfig
        from colony_pool.testing import FakeColony
        logging.basicConfig(format="LOG %(message)s")
        colony = FakeColony()
        colony.behave("status", status=502, only="/auth/token")
        once = RetryConfig(max_retries=0)
        pool = ColonyPool(colony.base_url, token_cache=None, registry=None, auth_token_retry=once)
        try:
            pool.agent("col_a").token()
        except Exception:
            pass
    """
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert 1 == done.stderr.count("LOG colony_pool"), done.stderr


def test_each_change_is_one_line_in_the_words_of_the_metrics(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "colony_pool")
    log = EventLog("p", AT_ONCE)
    log.note(ev.StateChanged(ev.CLOSED, ev.OPEN, 1.0, "HTTP 502", 1.9, 0.0, 31), 1.0)
    log.note(ev.StateChanged(ev.HALF_OPEN, ev.CLOSED, 9.0, "HTTP 502", 0.0, 8.0, 30), 9.0)
    log.note(ev.AttemptStarted("", False), 9.0)
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    first = caplog.records[0]
    assert first.getMessage() == (
        "colony_pool p: /auth/token is down (HTTP 502), breaker open; first probe in 1.9 s; 31 calls wait, valid "
        'tokens are served [pool=p event=breaker from_state=closed to_state=open cause="HTTP 502" waiters=31 '
        "next_probe_seconds=1.9]"
    )
    assert first.colony_pool["to_state"] == "open"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (ev.KeyDenied(401, None, 60.0), "one key was refused (HTTP 401) and rests 60 s; no other is affected"),
        (
            ev.KeyDenied(401, "AUTH_2FA_INVALID", 12.0, code_only=True),
            "the one-time code of one agent was refused (HTTP 401 AUTH_2FA_INVALID): its key is fine and rests 12 s",
        ),
        (
            ev.KeyDenied(401, "AUTH_2FA_REQUIRED", 60.0),
            "one agent gave no one-time code and needs one (HTTP 401 AUTH_2FA_REQUIRED): pass totp=; its key is fine "
            "and rests 60 s",
        ),
        (
            ev.KeyDenied(404, None, 60.0),
            "there is nothing at /auth/token (HTTP 404): check base_url; the key that asked is fine and rests 60 s",
        ),
        (
            ev.HoldStarted(30.0, "HTTP 429", "throttled", 1),
            "on hold for 30 s (HTTP 429): nothing is sent to /auth/token until then; 1 call waits, valid tokens are "
            "served",
        ),
    ],
)
def test_g14_a_line_blames_no_healthy_key(caplog: pytest.LogCaptureFixture, event: ev.Event, words: str) -> None:
    EventLog("p", AT_ONCE).note(event, 1.0)
    assert caplog.records[0].getMessage().startswith(f"colony_pool p: {words} [pool=p ")


def test_probes_that_fail_never_crowd_out_the_line_of_the_recovery(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "colony_pool")
    log = EventLog("p", AT_ONCE)
    log.note(ev.StateChanged(ev.CLOSED, ev.OPEN, 1.0, "HTTP 502"), 1.0)
    for i in range(20):
        log.note(ev.StateChanged(ev.OPEN, ev.HALF_OPEN, 2.0 + i, "HTTP 502"), 2.0 + i)
        log.note(ev.StateChanged(ev.HALF_OPEN, ev.OPEN, 2.0 + i, "HTTP 502"), 2.0 + i)
    log.note(ev.StateChanged(ev.HALF_OPEN, ev.CLOSED, 30.0, "HTTP 502"), 30.0)
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert "recovered" in warnings[1]


def test_a_thousand_refusals_are_ten_lines_and_a_count(caplog: pytest.LogCaptureFixture) -> None:
    log = EventLog("p", AT_ONCE)
    for i in range(1000):
        log.note(ev.KeyDenied(401, None, 60.0), i / 100)
    log.note(ev.StateChanged(ev.CLOSED, ev.OPEN, 1.0, "HTTP 502"), 10.0)
    log.note(ev.KeyDenied(401, None, 60.0), 61.0)
    assert len(caplog.records) == 12
    assert "suppressed=990" in caplog.records[-1].getMessage()

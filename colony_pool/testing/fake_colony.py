"""FakeColony: The Colony's API on loopback, in a process of its own, that misbehaves on request.

>>> with FakeColony() as colony:
...     colony.base_url.startswith("http://127.0.0.1:")
True
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ._arguments import between, checked, everywhere_only, script, text
from ._records import FakeRequest, FakeStats
from ._server_process import FakeColonyError, ServerProcess
from ._tokens import subject, totp_code

__all__ = ["FakeColony", "FakeColonyError", "FakeRequest", "FakeStats", "subject", "totp_code"]

_YEAR = 365 * 86_400.0


class FakeColony:
    """A real HTTP server with ``/auth/token``, ``/users/me``, 2FA, rate limits, and a control side.

    Any key that starts with ``col_`` is accepted unless it was denied. ``/users/me``, and any other path below
    ``base_url``, answers ``{"id", "username", "agent"}``, all three the ``subject(api_key)`` of the token.
    ``/echo`` answers with the request, ``/status/404`` with 404.

    Works from threads and greenlets, under gevent's monkey patching and across forks: the server is another
    process, which ends with this one, however this one ends. Each call waits a moment for that process's answer.
    Where this program is no Python that could be started once more, a frozen application, say, the server is a thread
    of it, and ``pause`` is an error.

    Give the pool ``token_cache=None``. Otherwise tokens stay on disk under a port that a later FakeColony may have.

    Arguments:
        expires_in: life of the tokens, seconds; ``None`` is a day.
        tell_expiry: put ``expires_in`` into the answer; otherwise only the JWT says.
        seed: of the random numbers of ``flaky``.
        tls: ``(certificate file, key file)`` for https; ``base_url`` then says ``localhost``.
        host: IPv4 address to listen on; the control side stays on loopback.

    Attributes:
        port: of the server.
        base_url: for ``ColonyPool``.

    Raises:
        FakeColonyError: the process did not start. Every method raises it for a name or value that it does not
            know, and after ``close``.
    """

    def __init__(
        self,
        *,
        expires_in: float | None = 86_400.0,
        tell_expiry: bool = True,
        seed: int = 0,
        tls: tuple[str, str] | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        if expires_in is not None:
            between("expires_in", expires_in, 0.0, _YEAR)
        options = {"expires_in": expires_in, "tell_expiry": tell_expiry, "seed": seed, "tls": tls, "host": host}
        self._process = ServerProcess(options)
        self.port = self._process.port
        self.base_url = f"{'https' if tls else 'http'}://{'localhost' if tls else host}:{self.port}/api/v1"

    def __enter__(self) -> FakeColony:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<FakeColony {self.base_url}>"

    def close(self) -> None:
        """End the server process. Any number of times; a forked child's ``close`` leaves it to the parent."""
        self._process.end()

    def __del__(self) -> None:
        if hasattr(self, "_process"):
            self._process.abandon()

    # -- how it behaves -------------------------------------------------------------------------------

    def behave(self, name: str, *, only: str | None = None, open_only: bool = False, **options: Any) -> None:
        """Behave as ``name`` from now on; ends a schedule for the same paths, and without ``only`` any.

        ========================  =====================================================================
        ``healthy``               as The Colony does
        ``status``                ``status`` (502), ``headers``, ``body``, or ``html`` (a gateway's page)
        ``flaky``                 a ``ratio`` (0.5) of the answers is ``status`` (502)
        ``latency``               each answer takes ``seconds`` (1.0)
        ``hang``                  the request is read and never answered
        ``reset``                 the request is read, then RST
        ``reset_handshake``       RST as soon as the connection is accepted (for all paths)
        ``silence``               the connection is accepted, and ignored (for all paths)
        ``raw``                   the bytes ``data`` (U+0000 to U+00FF), ``then`` close, reset, hang or keep
        ``drip``                  ``bytes_per_s`` (10) for the ``headers`` (True) and the ``body`` (True)
        ``truncated``             Content-Length is twice the body
        ``close_idle``            the connection is closed after ``seconds`` (0) without a request
        ``close_reused``          the connection is closed at its second request, as if at the same moment
        ``html``                  200, and a gateway's page
        ``huge``, ``gzip_bomb``   200, and ``size`` bytes (10 million), or so many once unpacked (50 million)
        ``not_json``, ``not_utf8``, ``no_token``   200, and a body that is not what it should be
        ``expired``               tokens that have expired when they arrive
        ``redirect``              ``status`` (302) to ``location``
        ========================  =====================================================================

        With ``status`` (and when ``flaky`` fails, and where ``close_reused`` closes) the application never sees the
        request: no token is issued and no code is used. Capacity and rate limit do not count ``status`` and
        ``close_reused`` either. With all other behaviours the request is carried out, whatever happens to the answer.

        Arguments:
            name: see the table.
            only: for the paths that end in it; the longest match wins. ``None`` is all paths, and removes the
                behaviours of single paths.
            open_only: on the connections that are open now, and healthy on all that are opened later: a balancer that
                keeps them at a broken backend, a NAT that has forgotten them.
            options: see the table.
        """
        rule = checked(name, options)
        if open_only:
            everywhere_only(name, "open_only=True")
        if only is not None:
            everywhere_only(name, "only=...")
            text("only", only)
        self._process.ask("behave", name=rule[0], options=rule[1], only=only, open_only=bool(open_only))

    def schedule(
        self,
        steps: Iterable[tuple[float, str] | tuple[float, str, Mapping[str, Any]]],
        *,
        every: float | None = None,
        only: str | None = None,
    ) -> None:
        """Change the behaviour by the server's own clock, until the next ``schedule`` or a ``behave`` ends that.

        Arguments:
            steps: ``(seconds from now, behaviour)`` or ``(seconds, behaviour, options)``, in order.
            every: start over after this many seconds, for a server that flaps.
            only: as in ``behave``; other paths keep their behaviours.
        """
        played = script(steps, every, only)
        self._process.ask("schedule", steps=played, every=every, only=only)

    def latency(self, seconds: float) -> None:
        """Delay every answer by ``seconds``, until it is set to 0."""
        self._process.ask("latency", seconds=between("latency", seconds, 0.0, 86_400.0))

    def capacity(
        self, rate: float | None, *, burst: float | None = None, max_in_flight: int = 64, knockout: float = 1.0
    ) -> None:
        """Serve at most ``rate`` token requests a second; ``None`` removes the limit.

        The excess gets 503 after 5 ms. ``rate`` excess arrivals within a second knock the server over: 502 to
        every token request for ``knockout`` seconds. ``stats().knocks`` counts them.

        Arguments:
            rate: token requests a second.
            burst: depth of the bucket; a tenth of ``rate`` if left out, at least 1.
            max_in_flight: most requests at once, of any kind.
            knockout: seconds; 0 for a server that cannot be knocked over.
        """
        if rate is not None:
            between("rate", rate, 0.001, 1e9)
        if burst is not None:
            between("burst", burst, 1.0, 1e9)
        between("max_in_flight", max_in_flight, 1, 1e9, whole=True)
        between("knockout", knockout, 0.0, 86_400.0)
        self._process.ask("capacity", rate=rate, burst=burst, max_in_flight=max_in_flight, knockout=knockout)

    def rate_limit(self, limit: int | None, window: float = 3600.0) -> None:
        """Allow ``limit`` token requests per address and ``window`` seconds; ``None`` removes the limit.

        Every token answer carries ``X-RateLimit-Limit``, ``-Remaining`` and ``-Reset`` (unix time), and beyond
        the limit comes 429 with ``Retry-After``.
        """
        if limit is not None:
            between("limit", limit, 0, 1e9, whole=True)
        self._process.ask("rate_limit", limit=limit, window=between("window", window, 0.001, _YEAR))

    def expires_in(self, seconds: float | None, *, tell: bool = True) -> None:
        """Give tokens issued from now on this life; ``tell=False`` leaves ``expires_in`` out of the answer."""
        if seconds is not None:
            between("expires_in", seconds, 0.0, _YEAR)
        self._process.ask("expires_in", seconds=seconds, tell=tell)

    def key(
        self, api_key: str, *, totp_secret: str | None = None, behaviour: str | None = None, **options: Any
    ) -> None:
        """Give one key a second factor (base32), or a behaviour of its own on ``/auth/token`` (``healthy`` ends it).

        A code is good once in its 30 s window, and in the window after.
        """
        who = subject(text("api_key", api_key))
        if totp_secret is not None:
            try:
                totp_code(text("totp_secret", totp_secret))
            except ValueError:
                raise FakeColonyError("totp_secret: must be base32, as RFC 6238 apps show it") from None
            self._process.ask("key", who=who, settings={"totp_secret": totp_secret})
        if behaviour is not None:
            everywhere_only(behaviour, "one key")
            name, told = checked(behaviour, options)
            self._process.ask("key_rule", who=who, name=name, options=told)
        elif options:
            raise FakeColonyError(f"options {', '.join(options)}: they belong to a behaviour, and none was given")

    def deny(self, api_key: str, *, status: int = 401, code: str | None = "AUTH_INVALID_KEY") -> None:
        """Refuse this key from now on."""
        between("status", status, 400, 499, whole=True)
        self._process.ask(
            "key", who=subject(text("api_key", api_key)), settings={"deny": {"status": status, "code": code}}
        )

    def allow(self, api_key: str) -> None:
        """Accept this key again."""
        self._process.ask("key", who=subject(text("api_key", api_key)), settings={"deny": None})

    def revoke_tokens(self, api_key: str | None = None) -> None:
        """Answer 401 to the tokens issued so far to this key, or to all."""
        self._process.ask("revoke", who=None if api_key is None else subject(api_key))

    def stop_listening(self) -> None:
        """Refuse connections, and drop the open ones. The port stays reserved."""
        self._process.ask("listen", on=False)

    def start_listening(self) -> None:
        """Accept connections again, on the same port."""
        self._process.ask("listen", on=True)

    def close_idle(self) -> None:
        """Close, once, the connections on which no request is being answered, as a gateway does."""
        self._process.ask("close_idle")

    def pause(self) -> None:
        """Stop the process (SIGSTOP): the kernel accepts connections, but nothing is answered, commands included."""
        self._process.pause(True)

    def resume(self) -> None:
        """Let a paused process continue."""
        self._process.pause(False)

    # -- what it saw ----------------------------------------------------------------------------------

    def now(self) -> float:
        """The server's clock, seconds since it started: a mark for ``since``."""
        return self.stats().now

    def stats(self) -> FakeStats:
        """Return the counts."""
        counts = self._process.ask("stats")
        answers = {(path, status): n for path, status, n in counts.pop("answers")}
        return FakeStats(**counts, answers=answers)

    def requests(self, *, since: float = 0.0) -> list[FakeRequest]:
        """Return the requests that arrived at ``since`` or later and have ended, in the order in which they ended."""
        rows: list[FakeRequest] = []
        start = 0
        while True:
            stop, page = self._process.ask("requests", start=start, since=since)
            rows += [FakeRequest(*row) for row in page]
            if stop == start:
                return rows
            start = stop

    def count(self, path: str | None = None, *, status: int | None = None, since: float = 0.0) -> int:
        """Count the ended requests that arrived from ``since`` on, path ending in ``path``, answered ``status``."""
        return int(self._process.ask("count", path=path, status=status, since=since))

    def timeline(self, bucket: float = 0.1, *, path: str = "/auth/token") -> list[tuple[float, dict[int, int]]]:
        """Count requests by status in steps of ``bucket`` seconds: ``[(start, {status: n}), ...]``, none empty."""
        between("bucket", bucket, 0.001, 86_400.0)
        steps: dict[int, dict[int, int]] = {}
        for r in self.requests():
            if r.path.endswith(path):
                step = steps.setdefault(int(r.at / bucket), {})
                step[r.status] = step.get(r.status, 0) + 1
        return [(number * bucket, counts) for number, counts in sorted(steps.items())]

    def reset_stats(self) -> None:
        """Forget the requests and counts so far; keys, tokens and behaviours stay."""
        self._process.ask("reset_stats")

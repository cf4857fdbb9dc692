"""What the processes of many hosts share: a few small keys in a Redis or Valkey that the user already has.

=================== ==============================================================================================
verbs               one Lua script each (``lua.py``): one round trip, atomic, on the server's clock
waiting             0.1 s for a connection and 0.1 s for an answer, no retries. A server that stands still costs one
                    of the two: what cannot be connected to is asked nothing. A look-up of the host's name, which
                    nothing can interrupt, and TLS come on top
connections         one for all threads of a process; where gevent has patched sockets, one for each native thread
                    that asks, until it ends. One that was idle for a minute is not used again
what is kept        for an endpoint, a hash and two sorted sets; for a key, a hash while it is claimed or refused,
                    or has a token. All with a time to live, and named ``colony_pool:1:{hash of base_url}:...``
secrets             API keys appear as a keyed hash; tokens only with ``share_tokens=True``, and then as ciphertext
lost record         a server that was restarted empty knows nothing; generations and fences begin at its clock's
                    milliseconds, so none comes again
cost                a verb takes the server 30 to 40 us (Redis 7.0 and Valkey 9.1, one core), and a client on
                    loopback 0.1 ms: ``python -m tests.tools.bench stores``
=================== ==============================================================================================

At the scale of 10,000 hosts: while the breakers are closed and tokens at hand, nothing is asked. In an outage each
process looks, joins and now and then claims; one verb a second of each makes 10,000 a second, which is a third of
what one server can do, and a connection of each makes 10,000, which is all that one allows unless it is told
otherwise (``maxclients``). The set of members takes 1.5 MB then, and a key that is claimed or refused 0.2 kB.

Redis 6 or later, or Valkey; one server, or what looks like one.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

from .._fork import notice_fork, renew_in_children
from .._runtime.select import gevent_has_patched
from .._runtime.thread_pool import on_thread_exit
from . import lua
from .protocol import KeyState, OpenState, SharedDenial, SharedState, Store, StoreReport, StoreUnavailable

SCHEMES = {"redis": "redis", "rediss": "rediss", "valkey": "redis", "valkeys": "rediss"}
ALLOWED = "redis://, rediss:// or valkey://"
TIMEOUT = 0.1  # seconds
_THREADS = 16  # whose connections are kept; gevent's thread pool has ten
_ANY = 0  # no thread's id
_IDLE = 60.0  # seconds after which a connection is not used again: what stands between may have forgotten it

_Answer = TypeVar("_Answer")


class RedisStore:
    """A ``Store`` for a fleet. Connects with the first verb; safe for threads, greenlets and forks.

    Arguments:
        url: ``redis://``, ``rediss://`` (TLS) or ``valkey://``, with user, password and database as redis-py reads
            them.
        base_url: the API.
        share_tokens: keep tokens; give it sealed ones only (``keys.Sealer``).
        timeout: seconds for a connection, and again for an answer; default: ``TIMEOUT``.

    Raises:
        ValueError: the URL is none of these; its password is not shown.
        ImportError: redis-py is not installed.
    """

    def __init__(self, url: str, base_url: str, *, share_tokens: bool = False, timeout: float | None = None) -> None:
        self._where = shown(url)
        problem = problem_with(url)
        if problem is not None:
            del url  # no traceback of ours holds a secret
            raise problem
        self.carries_tokens = share_tokens
        self.fallback: Store | None = None
        self._connect = partial(_client, url, TIMEOUT if timeout is None else timeout)
        self._clients: dict[int, _Client] = {}  # the one of all threads, or of each, the newest last
        tag = hashlib.sha256(base_url.rstrip("/").encode()).hexdigest()[:16]
        self._prefix = f"colony_pool:1:{{{tag}}}:"
        renew_in_children(self)

    def __repr__(self) -> str:
        return f"RedisStore({self._where!r})"

    def look(self) -> SharedState:
        return self._run(lua.LOOK, read=_view)

    def survey(self) -> StoreReport:
        return self._run(lua.SURVEY, keys=("denied",), read=_survey)

    def open(self, owner: str, generation: int, opening: OpenState) -> SharedState:
        del owner
        return self._run(lua.OPEN, generation, json.dumps(asdict(opening)), read=_view)

    def claim_probe(self, owner: str, seconds: float) -> tuple[int | None, SharedState]:
        return self._run(lua.CLAIM_PROBE, owner, seconds, read=_lease)

    def conclude(self, owner: str, fence: int, opening: OpenState | None) -> SharedState:
        return self._run(lua.CONCLUDE, owner, fence, json.dumps(opening and asdict(opening)), read=_view)

    def hold(self, seconds: float, cause: str, *, age: float = 0.0) -> SharedState:
        return self._run(lua.HOLD, seconds, cause, age, read=_view)

    def join(self, owner: str, seconds: float) -> SharedState:
        return self._run(lua.JOIN, owner, seconds, read=_view)

    def leave(self, owner: str) -> None:
        self._run(lua.LEAVE, owner, f"{self._prefix}key:", keys=(f"claims:{owner}",), read=_nothing)

    def claim_key(self, owner: str, key: str, seconds: float, *, min_life: float = 0.0) -> KeyState:
        keys = (f"key:{key}", f"claims:{owner}")
        return self._run(lua.CLAIM_KEY, owner, seconds, key, min_life, keys=keys, read=_key_state)

    def release_key(
        self, owner: str, key: str, *, denial: SharedDenial | None = None, token: tuple[str, float] | None = None
    ) -> None:
        # A store that carries no tokens is not sent one: only that there was one, which ends a denial.
        carried = token if self.carries_tokens else token is not None or None
        came_of_it = json.dumps(denial and asdict(denial)), json.dumps(carried)
        keys = (f"key:{key}", f"claims:{owner}", "denied")
        self._run(lua.RELEASE_KEY, owner, key, int(self.carries_tokens), *came_of_it, keys=keys, read=_nothing)

    def forget_key(self, key: str) -> None:
        self._run(lua.FORGET_KEY, key, keys=(f"key:{key}", "denied"), read=_nothing)

    def clear_hold(self) -> None:
        self._run(lua.CLEAR_HOLD, read=_nothing)

    def reset(self, *, keep_hold: bool = False) -> None:
        self._run(lua.RESET, int(keep_hold), keys=("denied",), read=_nothing)

    def close(self) -> None:
        """Close the connections; a later verb would make new ones."""
        for thread in list(self._clients):
            self._drop(thread)

    def _run(
        self, script: str, *args: str | float, keys: tuple[str, ...] = (), read: Callable[[Any], _Answer]
    ) -> _Answer:
        """Run one script and read its answer; whatever goes wrong is ``StoreUnavailable``."""
        notice_fork()
        names = [self._prefix + name for name in ("door", "members", *keys)]
        thread = threading.get_native_id() if gevent_has_patched() else _ANY
        try:
            answer = self._client(thread).scripts[script](keys=names, args=args)
            return read(None if answer is None else json.loads(answer))
        except Exception as exc:
            self._drop(thread)
            raise StoreUnavailable(f"{self._where}: {exc}") from exc

    def _client(self, thread: int) -> _Client:
        """Return the client of ``thread``: sockets that gevent has patched serve none but the one that made them."""
        now, client = time.monotonic(), self._clients.get(thread)
        if client is not None and now - client.used_at > _IDLE:
            self._drop(thread)
            client = None
        if client is None:
            for other in list(self._clients)[: 1 - _THREADS]:  # of threads that do not say when they end
                self._drop(other)
            client = self._clients.setdefault(thread, self._connect())
            if thread != _ANY:
                on_thread_exit(partial(self._drop, thread))
        client.used_at = now
        return client

    def _after_fork(self) -> None:
        """In a forked child: close its handles on the connections, which redis-py does without a word on them."""
        self.close()

    def _drop(self, thread: int) -> None:
        client = self._clients.pop(thread, None)
        if client is not None:
            with suppress(Exception):
                client.redis.close()


def _nothing(answer: object) -> None:
    del answer


def _view(answer: dict[str, Any]) -> SharedState:
    opening = answer.pop("opening", None)
    return SharedState(**answer, opening=OpenState(**opening) if opening else None)


def _survey(answer: dict[str, Any]) -> StoreReport:
    return StoreReport(_view(answer["view"]), answer.get("prober"), answer["denied"])


def _lease(answer: dict[str, Any]) -> tuple[int | None, SharedState]:
    return answer["fence"] or None, _view(answer["view"])


def _key_state(answer: dict[str, Any]) -> KeyState:
    denial, token = answer.get("denial"), answer.get("token")
    return KeyState(
        mine=answer["mine"],
        view=_view(answer["view"]),
        busy_for=answer["busy_for"],
        denial=SharedDenial(**{"code": None, **denial}) if denial else None,
        token=(token[0], token[1]) if token else None,
    )


def shown(url: str) -> str:
    """The URL without what may be a password."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return "***" if {"@", ":"} & set(url) else url
    authority = re.split("[/?#]", rest)[0]
    path = rest[len(authority) :]
    if "@" in path:  # of a password with a slash in it, or of an option: either way a part of it would be seen
        return f"{scheme}://***"
    host = authority.rpartition("@")[2]
    return f"{scheme}://{'***@' if '@' in authority else ''}{host}{re.split('[?#]', path)[0]}"


def problem_with(url: str) -> Exception | None:
    """Say why there can be no store with this URL: it is none, or redis-py is not installed, or will not have it."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return ValueError(f"shared={shown(url)!r}: its host or its port cannot be read; it must begin with {ALLOWED}")
    if parts.scheme not in SCHEMES or not host:
        return ValueError(f"shared={shown(url)!r}: must be a URL with a host that begins with {ALLOWED}")
    if re.fullmatch("/?[0-9]*/?", parts.path) is None:  # redis-py would take it for 0
        return ValueError(f"shared={shown(url)!r}: after the host there may be the number of a database, and no more")
    try:
        import redis  # noqa: F401 - whether it is there
    except ImportError:
        return ImportError(f"shared={shown(url)!r} needs redis-py; pip install 'colony-pool[redis]'")
    refusal = _refusal(url)
    return ValueError(f"shared={shown(url)!r}: {refusal}") if refusal else None


def _refusal(url: str) -> str:
    """What redis-py has against its options; else nobody would hear of it before the first outage."""
    try:
        pool = _client(url, TIMEOUT).redis.connection_pool
        pool.connection_class(**pool.connection_kwargs)
    except Exception as exc:  # noqa: BLE001 - of whatever kind
        return str(exc)
    return ""


@dataclass(slots=True)
class _Client:
    redis: Any
    scripts: dict[str, Any]  # redis-py loads one that the server does not know, as after its restart
    used_at: float = 0.0  # monotonic


def _client(url: str, timeout: float) -> _Client:
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    scheme, _, rest = url.partition("://")
    client = Redis.from_url(
        f"{SCHEMES[scheme]}://{rest}",
        socket_connect_timeout=timeout,
        socket_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        protocol=2,  # a connection is ready at once: no HELLO, and with driver_info=None no name, each a round trip
        driver_info=None,
        decode_responses=True,
        encoding_errors="replace",  # of what somebody else has written; it is not to make the server unusable
    )
    return _Client(client, {script: client.register_script(script) for script in lua.SCRIPTS})

"""Tokens that callers have already, and that are still to be left on disk for the next process.

A caller does not wait for the disk: its token is written by another task. A process that ends right after its one
call, as a cron job does, would end before that task begins, and the next one would pay for another token. So what is
still to be written is noted before the caller wakes, and written when the interpreter ends in an ordinary way: the
main thread returns, ``sys.exit``, an exception that nobody catches, the end of a ``multiprocessing`` child. It is
lost with a process that is killed (``SIGTERM``, unless somebody handles it, and ``SIGKILL``), ``os._exit`` and
``exec``.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from typing import Any

from .._core.token import Token
from .._fork import notice_fork
from .._weakset import ThreadSafeWeakSet
from .credential import AgentState
from .token_cache import TokenCache

_AT_THE_END = 2.0  # seconds that the interpreter's end waits for another thread's write: the disk may hang
_LOOK = 0.005


class Unsaved:
    """The tokens of one pool that are not on disk yet. No lock: a finaliser may come in the middle of anything."""

    def __init__(self, cache: TokenCache) -> None:
        self._cache = cache
        self._waiting: dict[str, tuple[AgentState, Token]] = {}
        self._writing: dict[str, object] = {}  # keys whose file is being written, and by whom
        _at_exit.has_come_for(self)

    def note(self, key: AgentState, token: Token) -> None:
        """``token`` is to be saved."""
        self._waiting[key.credential.key] = (key, token)
        if _at_exit.has_come_for(self):
            self.save(key.credential.key)

    def save(self, key: str) -> None:
        """Write what is noted for ``key``; may block. One task at a time: else an older token could come last."""
        me = object()
        while key in self._waiting:
            if self._writing.setdefault(key, me) is not me:
                return  # that one looks again when it has written
            try:
                noted = self._waiting.pop(key, None)
                if noted is not None and noted[0].account.token is noted[1]:
                    self._write(*noted)
            finally:
                del self._writing[key]

    def _write(self, key: AgentState, token: Token) -> None:
        self._cache.save(key.credential.key, token.jwt, token.ends_wall)
        if key.account.token is not token:  # it was refused or invalidated meanwhile, and its file was not there yet
            self._cache.remove(key.credential.key, token.jwt)

    def after_fork(self) -> None:
        """In a forked child: what the parent has to save, and its threads that do, are not here."""
        self._waiting, self._writing = {}, {}

    def save_all(self, until: float) -> None:
        """Write all that is noted, and wait ``until`` then (``time.monotonic``) for what others write."""
        for key in tuple(self._waiting):
            self.save(key)
        while self._writing and time.monotonic() < until:
            time.sleep(_LOOK)


class _SaveAtExit:
    """The end of the interpreter, which is the same for all pools. Nothing is set up before it is needed."""

    def __init__(self) -> None:
        self._pools: ThreadSafeWeakSet[Unsaved] = ThreadSafeWeakSet()
        self._registered = False
        self._process = 0  # the one that has set it up
        self._finalizer: Any = None  # of multiprocessing
        self._has_come = False

    def has_come_for(self, unsaved: Unsaved) -> bool:
        """Remember ``unsaved``; whether the end has come already, so that nothing is to be put off."""
        self._pools.add(unsaved)
        if self._process != os.getpid():
            self._process, self._has_come = os.getpid(), False
        self._set_up()
        # An exit handler that is registered while others run is not called any more.
        return self._has_come or not threading.main_thread().is_alive()

    def _set_up(self) -> None:
        if not self._registered:  # a forked child has its parent's
            self._registered = True
            atexit.register(self.come)
        # A child of multiprocessing ends by os._exit, after finalizers of its own. It drops those that are set right
        # after the fork, when pools are renewed: so each token looks whether it is there.
        process, util = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
        if process is None or util is None or process.parent_process() is None:
            return
        if self._finalizer is None or not self._finalizer.still_active():
            self._finalizer = util.Finalize(None, self.come, exitpriority=0)

    def come(self) -> None:
        """The interpreter ends. Tokens of exit handlers that run after this one are saved at once."""
        notice_fork()
        self._has_come = True
        until = time.monotonic() + _AT_THE_END
        for unsaved in self._pools.all():
            unsaved.save_all(until)


_at_exit = _SaveAtExit()

"""``ColonyPool(shared=...)``: from what is asked for to the client of a store."""

from __future__ import annotations

from typing import Protocol

from .._core.dispatcher import Dispatcher
from .._driver.token_cache import enabled
from .._log import Lines
from .._runtime.protocol import Runtime
from .client import StoreClient
from .factory import open_store
from .protocol import Store
from .sealing import check_sealing

_LOOK_NEAR, _LOOK_FAR = 0.25, 1.0  # seconds between two looks: at a file or an object, over a network


class Cache(Protocol):
    """Tokens on this host's disk."""

    def load(self, key: str, wall: float) -> tuple[str, float] | None:
        """``(jwt, expiry in unix time)``."""


class StoreOption:
    """The options, checked.

    Raises:
        ValueError: ``shared`` is none of what it may be, or there is nothing to share tokens through.
        ImportError: what it needs is not installed.
    """

    def __init__(self, shared: str | Store | None, *, share_tokens: bool, base_url: str) -> None:
        self._shared = shared
        self._share_tokens = share_tokens
        self._base_url = base_url
        store = self._open()
        if store is not None and store.carries_tokens:
            check_sealing()
        self._is_far = isinstance(shared, str) and shared != "host"
        self.look = None if store is None else _LOOK_FAR if self._is_far else _LOOK_NEAR

    def connect(
        self, dispatcher: Dispatcher, runtime: Runtime, *, name: str, cache: Cache | None, lines: Lines
    ) -> StoreClient | None:
        """Make the client of ``dispatcher`` at a store of its own; ``None`` if nothing is shared."""
        store = self._open()
        if store is None:
            return None
        # Whoever is told "elsewhere" must be able to find there what came of it: a disk is one host's alone.
        on_host = cache is not None and enabled() and not self._is_far
        return StoreClient(
            store, dispatcher, runtime, name=name, base_url=self._base_url, claims=store.carries_tokens or on_host,
            on_disk=None if cache is None or not enabled() else lambda key: cache.load(key, runtime.now()),
            owns_store=isinstance(self._shared, str), lines=lines,
        )  # fmt: skip

    def _open(self) -> Store | None:
        return open_store(self._shared, self._base_url, share_tokens=self._share_tokens)

"""``ColonyPool(shared=...)``: what it may be, and the link that it makes."""

from __future__ import annotations

from typing import Protocol
from urllib.parse import urlsplit

from .._core.dispatch import Dispatcher
from .._runtime.protocol import Runtime
from .factory import open_store
from .link import Link
from .store import Store

_SCHEMES = ("redis", "rediss", "valkey", "valkeys", "unix")
_LOOK_NEAR, _LOOK_FAR = 0.25, 1.0  # seconds between two looks: at a file or an object, over a network


class Cache(Protocol):
    """Tokens on this host's disk."""

    def load(self, key: str, wall: float) -> tuple[str, float] | None:
        """``(jwt, expiry in unix time)``."""


class Shared:
    """The options, checked.

    Raises:
        ValueError: ``shared`` is none of what it may be, or there is nothing to share tokens through.
    """

    def __init__(self, shared: str | Store | None, *, share_tokens: bool, base_url: str) -> None:
        is_url = isinstance(shared, str) and urlsplit(shared).scheme in _SCHEMES
        if isinstance(shared, str) and shared != "host" and not is_url:
            raise ValueError("shared: must be None, 'host', a redis:// or valkey:// URL, or a Store")
        if share_tokens and not is_url:
            raise ValueError(
                "share_tokens=True: needs shared= a redis:// or valkey:// URL; a host shares its disk cache"
            )
        self._shared = shared
        self._share_tokens = share_tokens
        self._base_url = base_url
        self.look = None if shared is None else _LOOK_FAR if is_url else _LOOK_NEAR

    def link(self, desk: Dispatcher, runtime: Runtime, *, name: str, cache: Cache | None) -> Link | None:
        """Make the link of ``desk``; ``None`` if nothing is shared."""
        shared = self._shared
        if shared is None:
            return None
        # Whoever is told "elsewhere" must be able to find there what came of it.
        if isinstance(shared, str):
            claims = self._share_tokens or (shared == "host" and cache is not None)
        else:
            claims = shared.carries_tokens or cache is not None
        return Link(
            self._open, desk, runtime, name=name, scope=self._base_url, claims=claims,
            on_disk=lambda key: None if cache is None else cache.load(key, runtime.now()),
            owns_store=isinstance(shared, str),
        )  # fmt: skip

    def _open(self) -> Store:
        if isinstance(self._shared, str):
            return open_store(self._shared, self._base_url, share_tokens=self._share_tokens)
        assert self._shared is not None  # noqa: S101 - else there is no link
        return self._shared

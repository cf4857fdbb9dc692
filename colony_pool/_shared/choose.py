"""Which store ``shared=`` names."""

from __future__ import annotations

from .keys import check_sealing
from .redis import ALLOWED, SCHEMES, RedisStore, shown
from .sqlite import HostStore
from .store import Store

_ALLOWED = f"None, 'host', a URL that begins with {ALLOWED}, or a Store"


def open_store(shared: str | Store | None, base_url: str, *, share_tokens: bool = False) -> Store | None:
    """Return the store; nothing is read, written or connected to yet.

    Arguments:
        shared: ``None``, ``"host"``, a URL of a Redis or Valkey, or a store.
        base_url: the API.
        share_tokens: keep tokens in Redis, sealed.

    Raises:
        ValueError: says what is allowed, and shows no password.
        ImportError: what it needs is not installed.
    """
    is_url = isinstance(shared, str) and shared.partition("://")[0] in SCHEMES and "://" in shared
    if share_tokens and not is_url:
        del shared
        raise ValueError(
            f"share_tokens=True: must go with shared= a URL that begins with {ALLOWED}; "
            "on one host tokens are shared by the token cache on disk"
        )
    if share_tokens:
        check_sealing()
    if shared is None or (not isinstance(shared, str) and isinstance(shared, Store)):
        return shared
    if shared == "host":
        return HostStore(base_url)
    if is_url and isinstance(shared, str):
        return RedisStore(shared, base_url, share_tokens=share_tokens)
    problem = ValueError(f"shared={_shown(shared)}: must be {_ALLOWED}")
    del shared
    raise problem


def _shown(shared: object) -> str:
    return repr(shown(shared)) if isinstance(shared, str) else f"<{type(shared).__name__}>"

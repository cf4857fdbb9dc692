"""Which store ``shared=`` names."""

from __future__ import annotations

from .protocol import Store
from .redis import ALLOWED, SCHEMES, RedisStore, problem_with, shown
from .sealing import check_sealing
from .sqlite import HostStore

_ALLOWED = f"None, 'host', a URL that begins with {ALLOWED}, or a Store"


def open_store(
    shared: str | Store | None, base_url: str, *, share_tokens: bool = False, timeout: float | None = None
) -> Store | None:
    """Return the store; nothing is read, written or connected to yet.

    Arguments:
        shared: ``None``, ``"host"``, a URL of a Redis or Valkey, or a store.
        base_url: the API.
        share_tokens: keep tokens in Redis, sealed.
        timeout: seconds that a server is waited for; default: what an agent's call can spare.

    Raises:
        ValueError: says what is allowed, and shows no password.
        ImportError: what it needs is not installed.
    """
    is_url = isinstance(shared, str) and shared.partition("://")[0] in SCHEMES and "://" in shared
    problem = _problem(shared, is_url, share_tokens)
    if problem is not None:
        del shared  # no traceback of ours holds a password
        raise problem
    if share_tokens:
        check_sealing()
    if shared == "host":
        return HostStore(base_url)
    if isinstance(shared, str):
        # While the server fails nobody is alone; it is the users of a host who find tokens on the host's disk.
        store = RedisStore(shared, base_url, share_tokens=share_tokens, timeout=timeout)
        store.fallback = HostStore(base_url)
        return store
    return shared


def _problem(shared: object, is_url: bool, share_tokens: bool) -> Exception | None:
    if is_url and isinstance(shared, str):
        return problem_with(shared)
    if shared not in (None, "host") and (isinstance(shared, str) or not isinstance(shared, Store)):
        return ValueError(f"shared={_shown(shared)}: must be {_ALLOWED}")
    if share_tokens:
        return ValueError(
            f"share_tokens=True: must go with shared= a URL that begins with {ALLOWED}; "
            "on one host tokens are shared by the token cache on disk"
        )
    return None


def _shown(shared: object) -> str:
    return repr(shown(shared)) if isinstance(shared, str) else f"<{type(shared).__name__}>"

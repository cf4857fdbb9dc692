"""Which store ``shared=`` means."""

from __future__ import annotations

from .store import Store, StoreUnavailable


def open_store(shared: str, base_url: str, *, share_tokens: bool = False) -> Store:
    """Open the store of ``base_url``; raises ``StoreUnavailable`` if that cannot be done now."""
    raise StoreUnavailable(f"{shared.partition(':')[0]} stores are not part of this version")
